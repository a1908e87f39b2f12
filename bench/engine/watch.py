"""A look at gradients, weights and updates at a few steps of a run; it is cheap, and changes no number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.cost import Phase
from bench.engine.dead import find_activations, listen
from bench.engine.eager import Eager
from bench.health import Watching
from bench.spec import Run

# Weights of one parameter that an update is read from: a copy of all of them would need their memory again.
_MAX_COPIED = 2**14

# What a sample holds, in plain values: see `bench.tally`.
Sample = dict[str, Any]


def list_steps(watching: Watching, num_steps: int) -> tuple[int, ...]:
    """Return the steps of a run that are sampled, the first and the last among them."""
    num = min(watching.samples, math.floor(watching.share * num_steps + 1e-9))
    if num < 2:
        # One alone: neither the start nor the end is like the rest.
        return (num_steps // 2,) * num
    return tuple(round(number * (num_steps - 1) / (num - 1)) for number in range(num))


class Samples:
    """What was sampled of members that step together, or of one run, on the device until it is taken.

    Args:
        run: What trains; of members, the first.
        model: Of which the parameters that are trained are sampled.

    Attributes:
        steps: That are sampled; at any other nothing is done.
        is_due: Whether the step that began last is one of them.
        names: Of the parameters, in the model's order.
    """

    def __init__(self, run: Run, model: nn.Module) -> None:
        self.steps = frozenset(list_steps(run.watch, run.budget.steps))
        self.names = [name for name, one in model.named_parameters() if one.requires_grad]
        self.is_due = False
        self._rows: list[tuple[int, Tensor, Tensor | None, dict[str, Tensor]]] = []
        self._step = 0
        self._columns: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._scale: Tensor | None = None

    def begin(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Note the weights before the update, `(num_members, *shape)` each, by name."""
        self.is_due = step in self.steps
        if not self.is_due:
            return
        with torch.no_grad():
            each = [weights[name] for name in self.names]
            self._step, self._columns, self._scale = step, [_norms(each)], None
            self._copies = [one.clone() for one in map(_thin, each)]

    def add_gradients(self, gradients: Mapping[str, Tensor | None], scale: Tensor | None = None) -> None:
        """Note the gradients, of the same shapes as the weights, and the factor that their loss had."""
        if not self.is_due:
            return
        with torch.no_grad():
            zeros = self._columns[0][0] * 0
            each = [gradients[name] for name in self.names]
            found = [one for one in each if one is not None]
            norms = iter(_norms(found) if found else ())
            column = torch.stack([zeros if one is None else next(norms) for one in each])
            self._columns.append(column if scale is None else column / scale)
            self._scale = scale

    def end(self, weights: Mapping[str, Tensor], dead: Mapping[str, Tensor]) -> None:
        """Note the update that the weights got, and shares of dead units, `(num_members,)` by activation."""
        if not self.is_due:
            return
        with torch.no_grad():
            each = [weights[name] for name in self.names]
            updates = _norms(torch._foreach_sub([_thin(one) for one in each], self._copies))
            self._columns += [updates, _norms(self._copies)]
            self._copies = []
            self._rows.append((self._step, torch.stack(self._columns), self._scale, dict(dead)))

    def take(self) -> list[list[Sample]]:
        """Return what was sampled since the last call, by member; waits for the device."""
        rows, self._rows = self._rows, []
        taken: list[list[Sample]] = []
        for step, columns, scale, dead in rows:
            # (4, num_names, num_members)
            by_member = columns.double().permute(2, 1, 0).tolist()
            taken = taken or [[] for _ in by_member]
            shares = {name: share.tolist() for name, share in dead.items()}
            for place, parameters in enumerate(by_member):
                own = {name: share[place] for name, share in shares.items()}
                sample: Sample = {"step": step, "layers": self._join(parameters), "dead": own}
                taken[place].append(sample | {"scale": None if scale is None else float(scale)})
        return taken

    def _join(self, parameters: Sequence[Sequence[float]]) -> dict[str, list[float]]:
        """Return weight norm, gradient norm and update ratio of each layer from those of its parameters."""
        layers: dict[str, list[Sequence[float]]] = {}
        for name, found in zip(self.names, parameters, strict=True):
            layers.setdefault(name.rpartition(".")[0] or name, []).append(found)
        joined = {}
        for name, each in layers.items():
            weight, gradient, update, copied = (math.hypot(*column) for column in zip(*each, strict=True))
            joined[name] = [weight, gradient, update / copied if copied else math.nan]
        return joined


class Watcher:
    """Samples the steps of one run, at the marks that its engine makes.

    Args:
        run: What trains.
        model: As it is trained.
        engine: Its step.
    """

    def __init__(self, run: Run, model: nn.Module, engine: Eager) -> None:
        self._engine, self._num_parts = engine, run.budget.accumulate
        self._weights = dict(model.named_parameters())
        self.samples = Samples(run, model)
        # A compiled model has no calls of modules that could be looked at.
        is_plain = run.compile.name == "none"
        self._activations = find_activations(model) if is_plain else {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._dead: dict[str, list[Tensor]] = {}
        self._is_due = False
        self._num_seen = 0

    def mark(self, phase: Phase) -> None:
        """Look at what there is at the end of a phase, if this step is one of the samples."""
        if phase == "data":
            self._is_due = self._engine.position in self.samples.steps
            if self._is_due:
                self._num_seen, self._dead = 0, {}
                self.samples.begin(self._engine.position, self._stack())
                self._hooks = listen(self._activations, self._note)
        elif self._is_due and phase == "backward":
            self._num_seen += 1
            # Of an optimizer that asks for the loss again, the first time.
            if self._num_seen == self._num_parts:
                gradients = {name: _dense(one.grad) for name, one in self._weights.items()}
                self.samples.add_gradients(gradients, self._engine.loss_scale)
                for hook in self._hooks:
                    hook.remove()
        elif self._is_due and phase == "optimizer":
            dead = {name: torch.stack(each).mean()[None] for name, each in self._dead.items()}
            self.samples.end(self._stack(), dead)

    def _stack(self) -> dict[str, Tensor]:
        return {name: one.detach()[None] for name, one in self._weights.items()}

    def _note(self, name: str, share: Tensor) -> None:
        self._dead.setdefault(name, []).append(share)


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of each member's part of each tensor, `(num_tensors, num_members)`."""
    if len(tensors[0]) == 1 and all(one.dtype == torch.float32 for one in tensors):
        # In one call, which is half the time where weights are few.
        return torch.stack(torch._foreach_norm(list(tensors)))[:, None]
    wide = [one if one.dtype in (torch.float32, torch.float64) else one.float() for one in tensors]
    return torch.stack(
        [torch.linalg.vector_norm(one.reshape(len(one), -1), dim=1).to(wide[0].dtype) for one in wide]
    )


def _thin(weight: Tensor) -> Tensor:
    """Return an even sample of each member's weights; a view, as far as they lie in one piece."""
    flat = weight.detach().reshape(len(weight), -1)
    return flat[:, :: max(1, math.ceil(flat.shape[1] / _MAX_COPIED))]


def _dense(gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return None
    # What a sparse one leaves out is 0.
    return (gradient.coalesce().values() if gradient.is_sparse else gradient)[None]
