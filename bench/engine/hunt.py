"""Where the first number that is none comes from: a module's output, a gradient, an update, or the loss."""

from __future__ import annotations

import linecache
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bench.cost import Phase
from bench.engine.single import Single
from bench.forward import list_tensors


class Culprit(Exception):
    """The first thing that was not finite.

    Attributes:
        step: Counted from 0.
        place: Module, with its class.
        kind: What of it: a forward output, its gradient, its update.
        before: Norm of the same thing when it was last looked at; None: it never was.
    """

    def __init__(self, step: int, place: str, kind: str, before: float | None) -> None:
        self.step, self.place, self.kind, self.before = step, place, kind, before
        super().__init__(f"step {step}: {kind} of {place}")


class Hunt:
    """Looks at everything that a run's steps make, and raises a `Culprit` at the first that is not finite.

    No number of the run is changed, but each look waits for the device.

    Args:
        single: The run, between two steps.
    """

    def __init__(self, single: Single) -> None:
        self._single = single
        self._names = {id(module): _describe(name, module) for name, module in single.model.named_modules()}
        self._norms: dict[tuple[str, str], float] = {}
        # Modules that are being called.
        self.inside: list[str] = []
        # Scaled gradients overflow now and then, and their step is then left out.
        self._is_scaled = single.run.precision.name == "fp16"
        self._weights = list(self._list_weights())
        self._handles: list[Any] = []

    def start(self) -> None:
        """Look from now on."""
        for module in self._single.model.modules():
            self._handles += [
                module.register_forward_pre_hook(self._enter),
                module.register_forward_hook(self._leave),
            ]
        if not self._is_scaled:
            self._handles += [
                weight.register_post_accumulate_grad_hook(self._see_gradient(place))  # type: ignore[no-untyped-call]
                for place, weight in self._weights
                if weight.requires_grad
            ]
        self._single.engine.mark = self._mark
        self._look_at_weights()

    def stop(self) -> None:
        """Look no more."""
        for handle in self._handles:
            handle.remove()
        self._single.engine.mark = None

    def step(self, step: int) -> None:
        """Take a step.

        Raises:
            Culprit: Something in it was not finite.
        """
        self.inside.clear()
        loss = self._single.step(step)
        self._look("loss", "value", loss)

    def name_function(self, step: int) -> str | None:
        """Take a step with a gradient that is not finite again; return what autograd's anomaly mode says."""
        self.stop()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                with torch.autograd.detect_anomaly(check_nan=True):
                    self._single.step(step)
            except RuntimeError as error:
                lines = re.findall(
                    r'File "([^"]+)", line (\d+), in (\S+)', "".join(str(one.message) for one in said)
                )
                where = ""
                if lines:
                    path, number, function = lines[-1]
                    code = linecache.getline(path, int(number)).strip()
                    where = f", made in {function} by: {code or f'{path}:{number}'}"
                return str(error).splitlines()[0].rstrip(".") + where
        return None

    def _list_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        for prefix, module in self._single.model.named_modules():
            for name, weight in module.named_parameters(prefix, recurse=False):
                yield f"{self._names[id(module)]}, {name.rpartition('.')[2]}", weight

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        place = self._names[id(module)]
        if not self.inside:
            for tensor in (one for each in inputs for one in _list(each)):
                self._look("the batch", "input", tensor)
        self.inside.append(place)
        if self._is_scaled or not torch.is_grad_enabled():
            return None
        # A view of its own: what reads the same tensor as well has another gradient.
        return tuple(
            self._guard(one, place) if isinstance(one, Tensor) and one.requires_grad else one
            for one in inputs
        )

    def _guard(self, tensor: Tensor, place: str) -> Tensor:
        seen = tensor.view_as(tensor)

        def see(gradient: Tensor) -> None:
            self._look(place, "gradient of the input", gradient)

        seen.register_hook(see)  # type: ignore[no-untyped-call]
        return seen

    def _leave(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        place = self._names[id(module)]
        for tensor in _list(outputs):
            self._look(place, "forward output", tensor)
        self.inside.pop()
        if self.inside or self._is_scaled:
            return

        def see(gradient: Tensor) -> None:
            self._look("the loss", "gradient", gradient)

        for tensor in _list(outputs):
            if tensor.requires_grad:
                tensor.register_hook(see)  # type: ignore[no-untyped-call]

    def _see_gradient(self, place: str) -> Callable[[Tensor], None]:
        def see(weight: Tensor) -> None:
            if weight.grad is not None:
                self._look(place, "gradient", weight.grad)

        return see

    def _mark(self, phase: Phase) -> None:
        if phase == "optimizer":
            self._look_at_weights()

    def _look_at_weights(self) -> None:
        for place, weight in self._weights:
            self._look(place, "update", weight)

    def _look(self, place: str, kind: str, tensor: Tensor) -> None:
        tensor = tensor.detach()
        if not tensor.is_floating_point():
            return
        if tensor.is_sparse:
            tensor = tensor.coalesce().values()
        if not bool(torch.isfinite(tensor).all()):
            raise Culprit(self._single.engine.position, place, kind, self._norms.get((place, kind)))
        self._norms[place, kind] = float(torch.linalg.vector_norm(tensor.double()))


def _describe(name: str, module: nn.Module) -> str:
    return f"{name or 'the model'} ({type(module).__name__})"


def _list(outputs: Any) -> Iterator[Tensor]:
    """Yield the tensors of what a module takes or gives."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict | tuple | list):
        for one in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _list(one)
    elif hasattr(outputs, "logits"):
        yield from list_tensors(outputs.logits)
