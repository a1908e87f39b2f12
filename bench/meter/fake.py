"""What has to hold around a step that is taken with fake tensors, and what of it can't be done with them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from bench.errors import Unsupported

_VALUE_DEPENDENT = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what can't be done with fake tensors into one line.

    Raises:
        Unsupported: In place of torch's own exceptions.
    """
    with warnings.catch_warnings():
        # Copying a fake model, as an average of weights does, copies no data.
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        try:
            yield
        except _VALUE_DEPENDENT as error:
            raise Unsupported(f"predict: the sizes that {_name(error)} gives depend on values") from error
        except UnsupportedOperatorException as error:
            raise Unsupported(f"predict: {_name(error)} has no rule for tensors without content") from error


@contextlib.contextmanager
def without_onednn(is_wanted: bool) -> Iterator[None]:
    """Take torch's own CPU kernels instead of oneDNN's, where that is wanted."""
    # Any: a property of the module, which the stubs take for an object of its own.
    backend: Any = torch.backends.mkldnn
    was_enabled = backend.enabled
    backend.enabled = was_enabled and not is_wanted
    try:
        yield
    finally:
        backend.enabled = was_enabled


@contextlib.contextmanager
def seen_random_states(see: Callable[[Tensor], None] | None) -> Iterator[None]:
    """Show the copies of the random state that recomputing keeps, which no operation makes.

    Args:
        see: Takes one; None: nobody wants them.
    """
    read = torch.random.get_rng_state

    def read_and_show() -> Tensor:
        state = read()
        if see is not None:
            see(state)
        return state

    places: tuple[Any, Any] = (torch, torch.random)
    for place in places:
        place.get_rng_state = read_and_show
    try:
        yield
    finally:
        for place in places:
            place.get_rng_state = read


def _name(error: Exception) -> str:
    return str(getattr(error, "func", None) or error).splitlines()[0][:120]
