"""Whether runs still give what their workload was frozen with: if not, something else has changed too."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable

from scipy import special

from bench.report.power import find_moments, shower
from bench.report.sweep import Arena, Cell, Concern, Sweep
from bench.stats import MIN_PAIRS, summarise

# Chance that unchanged runs are warned of, for one optimizer on one workload: a page may hold forty.
_FALSE_ALARM = 0.001
# Overrides that leave a run as its workload was measured; any other may be what moved its numbers.
_HARMLESS = ("workload", "suite", "optimizer", "reference", "do", "retry", "rerun", "device", "threads")
_HARMLESS_GROUPS = ("seeds", "search", "meter", "place", "report", "hydra")


def find_drift(sweep: Sweep) -> Iterable[Concern]:
    """Return one warning for each cell, run as its workload was measured, that gives something else."""
    if not _is_plain(sweep.manifest.command):
        return
    for arena in sweep.arenas:
        for cell in arena.cells:
            text = _describe_drift(arena, cell)
            if text is not None:
                yield Concern(brief=text, text=f"{text}.")


def _is_plain(command: str) -> bool:
    """Return whether a command overrides nothing that a run's numbers hang on."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    for word in words[words.index("bench") + 1 :] if "bench" in words else ["?"]:
        key = word.partition("=")[0]
        group = key.replace("/", ".").partition(".")[0]
        is_harmless = "=" in word and (key in _HARMLESS or group in _HARMLESS_GROUPS)
        # What seeds change sets how far they spread.
        if word not in ("-m", "--multirun") and (not is_harmless or key == "seeds.vary"):
            return False
    return True


def _describe_drift(arena: Arena, cell: Cell) -> str | None:
    """Return what a cell gave instead of its reference; None where it gave that, or can't be held to it."""
    study, name = cell.study, cell.study.optimizer.name
    workload, frozen = study.workload, find_moments(study).get(name)
    num_frozen = workload.reference.get(name, {}).get("n", 0)
    if frozen is None or study.search.name != "none" or cell.lr != workload.lr.get(name):
        return None
    losses = list(cell.losses.values())
    if not cell.is_complete or len(losses) < MIN_PAIRS or num_frozen < MIN_PAIRS:
        return None
    if workload.effect == "log_ratio":
        if min(losses) <= 0:
            return None
        losses = [math.log(loss) for loss in losses]
    mean, sd = summarise(losses)
    assert sd is not None, losses
    gap = abs(mean - frozen[0])
    # Less than the margin is no difference, whatever the spread: frozen values are rounded, too.
    reach = max(_predict((sd, len(losses)), (frozen[1], num_frozen)), workload.margin)
    if gap <= reach:
        return None
    found, known = summarise(list(cell.losses.values()))[0], workload.reference[name]["val_loss"]
    return (
        f"{arena.name}/{cell.label} gave {found:.4g}, its reference is {known:.4g} "
        f"+- {shower(arena)(reach)}: other hardware, other torch, or a change"
    )


def _predict(mine: tuple[float, int], frozen: tuple[float, float]) -> float:
    """Return how far a mean may lie from a frozen one; each side as its sd and number of seeds.

    Source: Hahn 1970, "Statistical intervals for a normal population", J. Qual. Technol. 2: the prediction
    interval of a mean of new values. Deviation: the sd is pooled over both sides.
    """
    df = mine[1] + frozen[1] - 2
    pooled = math.sqrt(((mine[1] - 1) * mine[0] ** 2 + (frozen[1] - 1) * frozen[0] ** 2) / df)
    return float(special.stdtrit(df, 1 - _FALSE_ALARM / 2)) * pooled * math.sqrt(1 / mine[1] + 1 / frozen[1])
