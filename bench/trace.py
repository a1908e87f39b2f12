"""What `do=trace` prints: the norms of each layer's gradient and weights, and the loss, around one step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from bench.engine.single import Single
from bench.engine.watch import Sample
from bench.errors import SpecError, Unsupported
from bench.health import Watching
from bench.machine import resolve_device
from bench.resolve import resolve
from bench.spec import Study

_WIDTH = 100
_NUMBERS = 11


def trace(studies: Sequence[Study]) -> Iterator[str]:
    """Yield a table for each study: its first seed's run before and after its first step, on one batch.

    Args:
        studies: As composed.

    Yields:
        A heading, one line per layer, the model as a whole, the loss, and the units that are dead.

    Raises:
        SpecError: Model and data do not fit, or this machine can't do what is asked for.
        BuildError: A part refuses its arguments.
    """
    for study in studies:
        try:
            yield from _trace(study)
        except Unsupported as error:
            raise SpecError(str(error)) from None


def _trace(study: Study) -> Iterator[str]:
    run = resolve(study, 0, resolve_device(study.device))
    single = Single(msgspec.structs.replace(run, watch=Watching(name="full", samples=2, share=1.0)))
    single.set_mode(is_training=True)
    # The second one is of the same batch and the same masks, with the weights that the first one left.
    losses = [float(single.step(0)) for _ in range(2)]
    ((before, after),) = single.take_samples()
    lr = single.optimizer.param_groups[0]["lr"]
    yield (
        f"{run.data.name}, {run.model.name}, {run.optimizer.name}, seed 0: one batch of "
        f"{run.budget.batch_size}, a step at lr {lr:.3g} of {run.optimizer.lr:.3g}"
    )
    width = _WIDTH - 5 * _NUMBERS
    pair = 2 * _NUMBERS
    yield f"{'':{width}}{'gradient norm':>{pair}}{'parameter norm':>{pair}}{'update /':>{_NUMBERS}}"
    yield "".join([f"{'layer':{width}}", *(f"{word:>{_NUMBERS}}" for word in _HEADINGS)])
    for name in before["layers"]:
        yield _line(name, width, before["layers"][name], after["layers"][name])
    yield _line("all layers", width, _total(before), _total(after), is_total=True)
    yield f"{'loss':{width}}{losses[0]:>{_NUMBERS}.4g}{losses[1]:>{_NUMBERS}.4g}"
    for name, share in before["dead"].items():
        shares = f"{share:>{_NUMBERS}.1%}{after['dead'][name]:>{_NUMBERS}.1%}"
        yield _cut(f"units of {name} that are 0", width) + shares


_HEADINGS = ("before", "after", "before", "after", "parameters")


def _line(
    name: str, width: int, before: Sequence[float], after: Sequence[float], *, is_total: bool = False
) -> str:
    numbers = [before[1], after[1], before[0], after[0], *([] if is_total else [before[2]])]
    return _cut(name, width) + "".join(f"{number:>{_NUMBERS}.4g}" for number in numbers)


def _total(sample: Sample) -> list[float]:
    return [math.hypot(*(found[column] for found in sample["layers"].values())) for column in range(2)]


def _cut(name: str, width: int) -> str:
    # The end of a long name says more.
    return f"{name if len(name) < width else '...' + name[4 - width :]:{width}}"
