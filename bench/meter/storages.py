"""Counting the bytes of every storage that operations make and drop, real or fake, while they run."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

_ASK = torch.ops.aten._local_scalar_dense.default


class Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The bytes that are alive, and the most there were, counted over the outputs of every operation.

    A storage counts from the operation that makes it until nothing holds it any more; views add nothing. What
    was there before is not counted. Memory that an operation takes and gives back within itself is not seen.

    Under fake tensors a number that the program asks for (`.item()`) does not exist: any will do, since sizes
    are all that is wanted.

    Args:
        granule: Bytes that an allocator rounds each storage up to a multiple of; 1: none.
        fake: The mode under which tensors are fake; None: they are real.
    """

    def __init__(self, granule: int = 1, fake: FakeTensorMode | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.current_bytes = 0
        # Since the last `restart`.
        self.peak_bytes = 0
        # Made since the last `restart`, and still there.
        self.new_bytes = 0
        self._granule = granule
        self._fake = fake
        self._span = 0
        # Address of a storage -> its bytes, the span it was made in, and the reference that tells its end.
        self._alive: dict[int, tuple[int, int, weakref.ref[torch.UntypedStorage]]] = {}

    def restart(self) -> None:
        """Begin a new span: the peak is what is there now, and nothing is new."""
        self.peak_bytes = self.current_bytes
        self.new_bytes = 0
        self._span += 1

    def round(self, num_bytes: int) -> int:
        """Return what an allocator gives where so many bytes are asked for."""
        return -(-num_bytes // self._granule) * self._granule

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._fake is not None:
            if func is _ASK and isinstance(args[0], FakeTensor) and args[0].constant is None:
                return _stand_in(args[0])
            if func.name().startswith("aten::_fused_") and not func._schema.returns:
                # It writes in place only, and some of them have no rule for fake tensors.
                return None
            # A view of a data set is no new storage: the data set is made known first.
            args = tuple(self._admit(arg) if type(arg) is Tensor else arg for arg in args)
        outputs = func(*args, **(kwargs or {}))
        if self._fake is not None:
            # It would keep weak references to tensors, and `Module.to` refuses to swap a tensor that has any.
            self._fake.fake_tensor_converter.meta_converter.tensor_memo.clear()
        if isinstance(outputs, Tensor):
            self.see(outputs)
        elif isinstance(outputs, list | tuple):
            for output in outputs:
                if isinstance(output, Tensor):
                    self.see(output)
        return outputs

    def _admit(self, tensor: Tensor) -> Tensor:
        """Return a real tensor as a fake one whose storage is known and counts nothing."""
        assert self._fake is not None
        fake = self._fake.from_tensor(tensor)
        self._know(fake.untyped_storage(), 0)
        return fake

    def see(self, tensor: Tensor) -> None:
        """Count a tensor's storage, unless it is known."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._alive:
            self._know(storage, self.round(storage.nbytes()))

    def _know(self, storage: torch.UntypedStorage, num_bytes: int) -> None:
        place = storage._cdata
        if place in self._alive:
            return
        # The counter holds no storage, and a storage not the counter.
        self._alive[place] = num_bytes, self._span, weakref.ref(storage, lambda _: self._drop(place))
        self.current_bytes += num_bytes
        self.new_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.current_bytes)

    def _drop(self, place: int) -> None:
        num_bytes, span, _ = self._alive.pop(place)
        self.current_bytes -= num_bytes
        if span == self._span:
            self.new_bytes -= num_bytes


def _stand_in(tensor: Tensor) -> bool | int | float:
    """Return a number of a tensor's kind that may be divided by, and so may what it lacks to 1."""
    if tensor.dtype == torch.bool:
        return True
    return 0.5 if tensor.is_floating_point() else 1
