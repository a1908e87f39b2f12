"""What `do=replay` prints: a stored run that went wrong, taken again under a microscope."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.cause import explain
from bench.checkpoint import Checkpoints
from bench.engine.hunt import Culprit, Hunt
from bench.engine.single import Single
from bench.errors import SpecError, Unsupported
from bench.health import Watching
from bench.identity import run_id
from bench.machine import describe
from bench.record import read_record
from bench.result import Result
from bench.sources import digest_sources
from bench.spec import Compile, Recompute, Run
from bench.tally import evaluation_steps
from bench.trainee import Trainee

_REPLAYED = ("diverged", "failed")


def replay(root: Path, prefix: str | None) -> Iterator[str]:
    """Take a stored run's steps again, and look at everything in those around its end.

    A run is a function of its record, so it is taken from its first step where no state of it is kept: of
    a run that settled there is none. Up to the last evaluation that found nothing amiss it is trained as it
    was; from there on each output, gradient and weight is looked at.

    Args:
        root: The folder of results.
        prefix: The first digits of the run's id.

    Yields:
        What is replayed, and what was found.

    Raises:
        SpecError: No run, or more than one, is meant; or it ended in no way that could be found again.
        StoreError: What came of it can't be read.
        Missing: The end did not come back.
    """
    result, folder = _find(root, prefix)
    changed = {"watch": Watching(), "compile": Compile(), "recompute": Recompute(), "processes": 1}
    run: Run = msgspec.structs.replace(result.run, **changed)
    yield f"run {result.id}: {run.data.name}, {run.model.name}, {run.optimizer.name}, seed {run.seed}"
    yield f"  ended as {result.status}: {result.detail}"
    yield from (f"  note: {line}" for line in _note(result, run))
    try:
        single = Single(run)
    except Unsupported as error:
        raise SpecError(str(error)) from None
    start = _restore(single, result, folder)
    curve = zip(result.curve.step, result.curve.val_loss, strict=True)
    good = max((step for step, loss in curve if loss is not None), default=0)
    yield (
        f"  taken again from step {start}, {'its last state' if start else 'its first'}; looked at from step "
        f"{max(start, good)} on"
    )
    yield from _hunt(single, result, start, good)


class Missing(SpecError):
    """A run whose end did not come back."""


def _find(root: Path, prefix: str | None) -> tuple[Result, Path]:
    """Return the end that is meant, and the folder of the run."""
    if prefix is None:
        raise SpecError("run: do=replay wants the id of a stored run, or its first digits: run=0f3a")
    found: dict[str, list[tuple[Path, Result]]] = {}
    folders = sorted((root / "runs" / prefix[:2]).glob(f"{prefix}*/*"))
    for folder in folders:
        attempts = sorted(folder.glob("attempts/*/attempt.json"), key=lambda path: int(path.parent.name))
        for path in [folder / "result.json", *reversed(attempts)]:
            if path.exists():
                result = read_record(path, Result)
                found.setdefault(result.id, []).append((folder, result))
    if len(found) != 1:
        some = f"{len(found)} begin so: {', '.join(sorted(found)[:4])}" if found else "none begins so"
        raise SpecError(f"run={prefix}: wants one run of {root / 'runs'}, {some}")
    ((identity, ends),) = found.items()
    for folder, result in ends:
        if result.status in _REPLAYED:
            return result, folder
    status = ends[0][1].status
    raise SpecError(
        f"run={identity[:8]}: wants one that {' or '.join(_REPLAYED)}, this one ended as {status}"
    )


def _note(result: Result, run: Run) -> Iterator[str]:
    if result.engine != "eager":
        yield f"it trained under engine {result.engine}; alone, last bits may differ"
    if (run.compile, run.recompute, run.processes) != (
        result.run.compile,
        result.run.recompute,
        result.run.processes,
    ):
        yield "it is taken by one process, neither compiled nor recomputed; last bits may differ"
    for target, digest in digest_sources(run.sources).items():
        if digest != run.sources[target]:
            yield f"{target} was changed since"
    here = describe(run.device, run.threads)
    if (here.device_name, here.torch) != (result.machine.device_name, result.machine.torch):
        there = f"{result.machine.device_name} with torch {result.machine.torch}"
        yield f"it ran on {there}; last bits may differ"


def _restore(single: Single, result: Result, folder: Path) -> int:
    """Take up the newest state that is kept; return the number of steps it has."""
    trainee = Trainee(result.run)
    owner = trainee.describe_owner(describe(result.run.device, result.run.threads), single.name)
    if run_id(single.run) != result.id or not (
        saved := Checkpoints(folder, 0.0).load(owner, single.run.device)
    ):
        single.set_mode(is_training=True)
        return 0
    single.restore(saved["parts"])
    trainee.tally.load_state_dict(saved["tally"])
    return trainee.tally.position


def _hunt(single: Single, result: Result, start: int, good: int) -> Iterator[str]:
    """Take the steps; say what is found."""
    budget, hunt, step = single.run.budget, Hunt(single), start
    ends = evaluation_steps(budget.steps, budget.evaluations)
    # Where another engine's last bits may end it later, one evaluation more.
    last = next((end for end in ends if end > (result.diverged_step or budget.steps) + 1), budget.steps)
    try:
        for step in range(start, last):
            if step == max(start, good):
                hunt.start()
            hunt.step(step)
            if step + 1 in ends:
                single.set_mode(is_training=False)
                single.validate("report")
                single.set_mode(is_training=True)
    except Culprit as culprit:
        before = "not seen before" if culprit.before is None else f"its norm was {culprit.before:.4g} before"
        yield f"culprit: step {culprit.step}, {culprit.place}: {culprit.kind} is not finite; {before}"
        if "gradient" in culprit.kind:
            with contextlib.suppress(Exception):
                if line := hunt.name_function(culprit.step):
                    yield f"  autograd: {line}"
    except Exception as error:
        place = hunt.inside[-1] if hunt.inside else "outside the model"
        yield f"culprit: step {step}, {place}: {explain(error)[1]}"
    else:
        raise Missing(f"run={result.id[:8]}: its end did not come back in {last} steps")
