"""What the searches of a sweep say: what was tried, how flat the bowl is, how far it flattered."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.effort import Dimension
from bench.report.sweep import Arena, Cell
from bench.stats import summarise

LR, WEIGHT_DECAY, DROPOUT = "optimizer.lr", "optimizer.weight_decay", "model.dropout"
# What such a sampler proposes depends on what it saw: its trials are no sample, and their order matters.
ADAPTIVE = frozenset({"tpe", "gp"})


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting a search tried, and what became of it."""

    number: int
    params: dict[str, bool | int | float | str]
    # Search losses by search seed; None: that run diverged or failed.
    losses: tuple[float | None, ...]
    # Mean over its search seeds; None when one of them has no loss.
    loss: float | None
    # The same over the seeds that every setting had: the only ones that compare settings evenly.
    first_loss: float | None
    is_confirmed: bool
    is_chosen: bool
    round: int

    @property
    def lr(self) -> float | None:
        """Its learning rate; None where the search did not vary it."""
        return self.number_of(LR)

    def number_of(self, key: str) -> float | None:
        """Return what it gives a dotted key, where that is a number."""
        value = self.params.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def list_settings(cell: Cell) -> tuple[Setting, ...]:
    """Return what a cell's search tried, in its order; nothing where nothing was searched."""
    if cell.search is None:
        return ()
    num_first = cell.study.search.seeds
    return tuple(
        Setting(
            number=trial.number,
            params=trial.params,
            losses=trial.losses,
            loss=_average(trial.losses),
            first_loss=_average(trial.losses[:num_first]),
            is_confirmed=trial.is_confirmed,
            is_chosen=trial.number == cell.search.best,
            round=trial.round,
        )
        for trial in cell.search.trials
    )


def find_chosen(cell: Cell) -> Setting | None:
    """Return the setting that a cell's search chose."""
    return next((setting for setting in list_settings(cell) if setting.is_chosen), None)


def is_adaptive(cell: Cell) -> bool:
    """Return whether a cell's trials depended on one another."""
    return cell.search is not None and cell.search.sampler in ADAPTIVE


def first_pass(cell: Cell) -> list[float | None]:
    """Return the losses of a search's first pass in its order, each over the seeds that all settings had."""
    return [setting.first_loss for setting in list_settings(cell) if setting.round == 0]


def list_curve(cell: Cell) -> list[tuple[float, float | None]]:
    """Return learning rate and search loss of a cell, by learning rate; where several share one, the best.

    The loss is None where every setting with that learning rate diverged or failed.
    """
    best: dict[float, float | None] = {}
    for setting in list_settings(cell):
        if setting.lr is None:
            continue
        known = best.get(setting.lr)
        if known is None or (setting.loss is not None and setting.loss < known):
            best[setting.lr] = setting.loss
    return sorted(best.items())


def has_lr_curve(cell: Cell) -> bool:
    """Return whether a line over lr means something: not where other things changed from point to point."""
    settings = list_settings(cell)
    lrs = {setting.lr for setting in settings} - {None}
    if cell.search is None or not lrs:
        return False
    return set(cell.search.space) == {LR} or 2 * len(lrs) <= len(settings)


def find_initial_loss(arena: Arena) -> float | None:
    """Return the loss before training, the highest over the arena's runs: what lies above learned nothing."""
    firsts = [
        end.result.curve.val_loss[0]
        for cell in arena.cells
        for end in cell.ends
        if end.result is not None and end.result.curve.val_loss
    ]
    known = [loss for loss in firsts if loss is not None and math.isfinite(loss)]
    return max(known, default=None)


def measure_optimism(cell: Cell) -> tuple[float, float] | None:
    """Return what the search thought of its winner and what fresh seeds say, on the same search items.

    Returns:
        Mean search loss over the winner's search seeds, and over its evaluation seeds; None where either
        has no honest mean.
    """
    chosen = find_chosen(cell)
    fresh = [end.result.search_loss for end in cell.ends if end.result is not None]
    known = [loss for loss in fresh if loss is not None and math.isfinite(loss)]
    if chosen is None or chosen.loss is None or not cell.is_complete or len(known) < len(cell.ends):
        return None
    return chosen.loss, summarise(known)[0]


def find_default(cell: Cell) -> tuple[float, float] | None:
    """Return the first-pass loss at the declared default lr, and the best of the first pass.

    None where the default was not tried alone: on a grid it is the centre, other samplers miss it.
    """
    if cell.search is None or set(cell.search.space) != {LR}:
        return None
    settings = [setting for setting in list_settings(cell) if setting.round == 0]
    default = cell.study.optimizer.search.lr.default
    losses = [setting.first_loss for setting in settings if setting.first_loss is not None]
    for setting in settings:
        is_default = setting.lr is not None and math.isclose(setting.lr, default, rel_tol=1e-6)
        if is_default and setting.first_loss is not None:
            return setting.first_loss, min(losses)
    return None


def compare(arena: Arena, loss: float, other: float) -> float | None:
    """Return by how much a loss is above another, in % on a log-ratio workload, else as a difference."""
    if arena.study.workload.effect == "difference":
        return loss - other
    return 100 * (loss / other - 1) if loss > 0 and other > 0 else None


def describe_space(space: dict[str, Dimension]) -> str:
    """Return what a search varied, as `lr 1e-05 to 0.1 log; dropout 0 to 0.5`."""
    parts = []
    for key, dimension in space.items():
        name = key.split(".", 1)[-1]
        if dimension.choices is not None:
            parts.append(f"{name} in {', '.join(map(str, dimension.choices))}")
        elif dimension.low is not None and dimension.high is not None:
            name = f"1 - {name}" if dimension.is_complement else name
            scale = " log" if dimension.log else ""
            parts.append(f"{name} {dimension.low:.3g} to {dimension.high:.3g}{scale}")
        else:
            parts.append(name)
    return "; ".join(parts)


def describe_sampler(cell: Cell) -> str | None:
    """Return how a search chose what to try, and that order mattered where it did."""
    if cell.search is None:
        return None
    return cell.search.sampler + (" (adaptive, order-dependent)" if is_adaptive(cell) else "")


def format_lr(cell: Cell) -> str | None:
    """Return a cell's lr, marked where it lies on the edge of the range searched."""
    if cell.lr is None:
        return None
    is_edge = cell.search is not None and cell.search.edge is not None
    return f"{cell.lr:.3g}" + (" !" if is_edge else "")


def _average(losses: tuple[float | None, ...]) -> float | None:
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    return summarise(known)[0] if known and len(known) == len(losses) else None
