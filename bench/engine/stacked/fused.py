"""The direction of Adam's update by torch's fused kernel, whose last bits depend on where a number stands."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from bench.engine.stacked.layout import Scratch

# beta1, beta2, eps.
Setting = tuple[float, float, float]
# The kernel's last few numbers, fewer than one vector holds, are rounded in another way on a CPU. So many
# bytes are a multiple of every vector there is.
_VECTOR_BYTES = 64
_MAX_READINGS = 64


class Settings:
    """Betas and eps of members as floats, read from the device once for each set of tensors."""

    def __init__(self) -> None:
        # The tensors are kept too: while they live, none other has their id.
        self._read: dict[tuple[Any, ...], tuple[list[Any], list[tuple[int, int, Setting]]]] = {}

    def list_runs(self, numbers: Sequence[Any], num_members: int) -> list[tuple[int, int, Setting]]:
        """Return runs of neighbours that share a setting: first member, one past the last, the setting.

        Args:
            numbers: beta1, beta2 and eps: floats, or tensors of (num_members,).
            num_members: In the stack.
        """
        key = num_members, *((id(one), one._version) if isinstance(one, Tensor) else one for one in numbers)
        if key not in self._read:
            if len(self._read) >= _MAX_READINGS:
                self._read.clear()
            lists = [
                one.tolist() if isinstance(one, Tensor) else [float(one)] * num_members for one in numbers
            ]
            runs, low = [], 0
            for setting, members in groupby(zip(*lists, strict=True)):
                high = low + len(list(members))
                runs.append((low, high, setting))
                low = high
            self._read[key] = list(numbers), runs
        return self._read[key][1]


class Directions:
    """Adam's steps for lr 1 of a block of members, in scratch memory."""

    def __init__(self) -> None:
        self._scratch = Scratch()

    def compute(
        self,
        kinds: Sequence[Sequence[Tensor]],
        steps: Sequence[Tensor],
        runs: Sequence[tuple[int, int, Setting]],
    ) -> list[Tensor]:
        """Update both moments in place, and return what to add to the weights; valid until the next call.

        Args:
            kinds: Gradients, first and second moments of the same members; of each weight the dense rows
                (members, weights of a member).
            steps: Counters of shape (), this update counted.
            runs: That cover the members.
        """
        if runs[0][:2] != (0, len(kinds[0][0])):
            return self._take_runs(kinds, steps, runs)
        sizes = [one.numel() for one in kinds[0]]
        flat = self._scratch.take(kinds[0][0], sum(sizes)).zero_()
        parts = zip(torch.split(flat, sizes), kinds[0], strict=True)
        directions = [part.view(one.shape) for part, one in parts]
        _step_together([directions, *kinds], steps, runs[0][2])
        return directions

    def _take_runs(
        self,
        kinds: Sequence[Sequence[Tensor]],
        steps: Sequence[Tensor],
        runs: Sequence[tuple[int, int, Setting]],
    ) -> list[Tensor]:
        """Return the same by a call for each run, with whole vectors for each member: copies, if need be."""
        first = kinds[0][0]
        lane = _VECTOR_BYTES // first.element_size() if first.device.type == "cpu" else 1
        widths = [-(-one.shape[1] // lane) * lane for one in kinds[0]]
        is_whole = [one.shape[1] == width for one, width in zip(kinds[0], widths, strict=True)]
        heights = [len(first) * (1 if whole else 4) for whole in is_whole]
        sizes = [height * width for height, width in zip(heights, widths, strict=True)]
        parts = torch.split(self._scratch.take(first, sum(sizes)).zero_(), sizes)
        cuts = [high - low for low, high, _ in runs]
        directions, counters, pieces = [], [], []
        back: list[tuple[Tensor, Tensor]] = []
        for part, whole, width, step, *rows in zip(parts, is_whole, widths, steps, *kinds, strict=True):
            if whole:
                tensors = [part.view(rows[0].shape), *rows]
                directions.append(tensors[0])
            else:
                tensors = list(part.view(4, -1, width))
                seen = [one[:, : rows[0].shape[1]] for one in tensors]
                for target, source in zip(seen[1:], rows, strict=True):
                    target.copy_(source)
                back += zip(rows[1:], seen[2:], strict=True)
                directions.append(seen[0])
            counters.append(_bring_counter(step, first))
            pieces.append(zip(*(torch.split(one, cuts) for one in tensors), strict=True))
        for (_, _, setting), *weights in zip(runs, *pieces, strict=True):
            _call_kernel([*(list(kind) for kind in zip(*weights, strict=True)), counters], setting)
        for target, source in back:
            target.copy_(source)
        return directions


def _bring_counter(step: Tensor, rows: Tensor) -> Tensor:
    return step if rows.device.type == "cpu" else step.to(rows.device, torch.float32)


def _step_together(kinds: Sequence[Sequence[Tensor]], steps: Sequence[Tensor], setting: Setting) -> None:
    """Step directions, which are zeros, and moments of members with one setting, without copies of them."""
    lists: list[list[Tensor]] = [[], [], [], [], []]
    back: list[tuple[Tensor, Tensor]] = []
    for step, *rows in zip(steps, *kinds, strict=True):
        counter, rest = _bring_counter(step, rows[0]), 0
        if rows[0].device.type == "cpu":
            rest = rows[0].numel() % (_VECTOR_BYTES // rows[0].element_size())
        if rest:
            flat = [one.view(-1) for one in rows]
            padded = _pad(flat, rest)
            _append(lists, [*padded, counter])
            back += [(flat[at][-rest:], padded[at][:rest]) for at in (0, 2, 3)]
            rows = [one[:-rest] for one in flat]
        if rows[0].numel():
            _append(lists, [*rows, counter])
    _call_kernel(lists, setting)
    for target, source in back:
        target.copy_(source)


def _pad(flat: list[Tensor], rest: int) -> tuple[Tensor, ...]:
    """Return the last `rest` numbers of each, filled up with zeros to whole vectors."""
    padded = flat[0].new_zeros(len(flat), _VECTOR_BYTES // flat[0].element_size())
    torch.stack([one[-rest:] for one in flat], out=padded[:, :rest])
    return padded.unbind()


def _append(lists: list[list[Tensor]], tensors: list[Tensor]) -> None:
    for one, tensor in zip(lists, tensors, strict=True):
        one.append(tensor)


def _call_kernel(lists: list[list[Tensor]], setting: Setting) -> None:
    # In the kernel's own order.
    directions, gradients, firsts, seconds, steps = lists
    beta1, beta2, eps = setting
    torch._fused_adam_(
        directions, gradients, firsts, seconds, [], steps, lr=1.0, beta1=beta1, beta2=beta2, weight_decay=0.0,
        eps=eps, amsgrad=False, maximize=False,
    )  # fmt: skip
