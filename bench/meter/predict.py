"""How much memory a step of a cell will need: it is taken with tensors that have sizes and no content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench import build, precision, recompute
from bench.cost import Memory, Phase
from bench.data.dataset import DataSet
from bench.engine.eager import Eager
from bench.errors import Unsupported
from bench.forward import list_tensors
from bench.meter.arithmetic import count_flops
from bench.meter.fake import explained, seen_random_states, without_onednn
from bench.meter.memory import CUDA_GRANULE, count_bytes, resident
from bench.meter.storages import Storages
from bench.meter.time import collector_off
from bench.model import dropout
from bench.spec import Precision, Run

# torch gives each cuBLAS handle 2 x 4096 + 8 x 16 KiB, and from Hopper on 32 MiB, as NVIDIA advises; the
# host's thread has a handle, and the thread of backward another.
HOPPER_WORKSPACE, OLDER_WORKSPACE = 32 * 2**20, 2 * 4096 * 2**10 + 8 * 16 * 2**10
NUM_HANDLES = 2
# More than one, which batch norm can't take.
_FEW_ROWS = 2
# Steps until one leaves behind as much as it found.
_MAX_STEPS = 4
# The step that is counted, the same that `bench.meter.measured` measures: far from an epoch's first.
COUNTED_STEP = 2


def predict(run: Run, data: DataSet | None = None) -> Memory:
    """Predict the bytes of one steady training step, without any of the memory it needs.

    Args:
        run: The cell; its device need not be there.
        data: Its data set, on the CPU; None: loaded.

    Returns:
        Bytes by kind and by phase. On CUDA each storage is rounded up as the allocator does.

    Raises:
        Unsupported: The step's sizes depend on values, or model and data do not fit.
        BuildError: A part refuses its arguments.
    """
    return Rehearsal(run, build.load_data(run.data, "cpu") if data is None else data).predict()


class Rehearsal:
    """One cell under fake tensors, whose step can be taken at any batch size.

    Everything is as in a real step (engine, model, optimizer, number formats), but for the device: fake
    tensors are the CPU's, so autocast has the CPU's list of operations that stay in float32. Under fp16 the
    step is taken in bf16, which has the same sizes and needs no loss scaler. RNNs run without oneDNN, whose
    kernel hides its memory.

    Args:
        run: The cell.
        data: Its data set, on the CPU.

    Raises:
        Unsupported: As `predict`.
        BuildError: A part refuses its arguments.
    """

    def __init__(self, run: Run, data: DataSet) -> None:
        self._is_cuda = run.device == "cuda"
        if run.precision.name == "tf32" and not self._is_cuda:
            raise Unsupported(f"precision=tf32: wants a CUDA device, got {run.device}")
        if run.compile.name != "none":
            raise Unsupported("predict: a compiled step plans its memory itself; compile=none is predicted")
        self._run = _rewrite(run)
        # A data set of its own: what one remembers of its order becomes fake as well.
        self._data = data.to("cpu")
        # Without a fallback, which runs an operation that has no rule for fake tensors on real memory.
        self._mode = FakeTensorMode(allow_fallback_kernels=False, allow_non_fake_inputs=True)
        self._storages = Storages(CUDA_GRANULE if self._is_cuda else 1, self._mode)
        with self._acting():
            self._model = precision.cast(build.build_model(self._run, self._data), self._run.precision)
            recompute.apply(self._model, self._run.recompute, self._run.model.name)
            self._model.train()
            self._optimizer = build.build_optimizer(self._run.optimizer, self._model)
            if isinstance(self._optimizer, torch.optim.LBFGS):
                raise Unsupported("predict: LBFGS calls its closure as often as its values ask for")
            self._prime()
        self._has_rnn = any(isinstance(module, nn.RNNBase) for module in self._model.modules())
        self.num_params = sum(parameter.numel() for parameter in self._model.parameters())

    def count_flops(self) -> int:
        """Return the floating-point operations of a step's forward and backward over a few rows."""
        return count_flops(self._model, self._data, _FEW_ROWS)[0]

    def predict(self, batch_size: int | None = None) -> Memory:
        """Return the bytes of a steady step.

        Args:
            batch_size: Rows; None: the run's.
        """
        run = self._run
        if batch_size is not None:
            budget = msgspec.structs.replace(run.budget, batch_size=batch_size)
            run = msgspec.structs.replace(run, budget=budget)
        with collector_off(), self._acting(), without_onednn(self._has_rnn):
            engine = Eager(run, self._model, self._optimizer, self._data)
            step = COUNTED_STEP % run.budget.steps
            # What the step before would have left.
            inputs, targets = self._data.train_batch(0, step, run.budget.batch_size)
            before: list[Tensor] = [*list_tensors(inputs), targets]
            del inputs, targets
            batch_bytes = self._count(before)
            for _ in range(_MAX_STEPS):
                memory, is_steady = self._take(engine, step, before, batch_bytes)
                if is_steady:
                    break
                # From here on the engine holds the batch of the step before itself.
                self._forget_unused()
        return memory

    def _take(self, engine: Eager, step: int, before: list[Tensor], batch_bytes: int) -> tuple[Memory, bool]:
        """Take a step; `before` is a batch that is there until this step's own is, and is emptied."""
        storages = self._storages
        held_bytes = self._count([*resident(self._model, self._optimizer), *before, *engine.list_held()])
        offset = held_bytes - storages.current_bytes
        phases: dict[Phase, int] = {}
        saved_bytes = 0

        def close(phase: Phase) -> None:
            nonlocal saved_bytes
            if phase == "data":
                before.clear()
            phases[phase] = max(phases.get(phase, 0), offset + storages.peak_bytes)
            if phase == "forward":
                saved_bytes = max(saved_bytes, storages.new_bytes)
            storages.restart()

        started_bytes = storages.current_bytes
        engine.mark = close
        storages.restart()
        engine.step(step)
        # What happens after the last mark belongs to it.
        close("optimizer")
        engine.mark = None
        is_steady = storages.current_bytes == started_bytes
        counted = count_bytes(self._model, self._optimizer)
        workspace_bytes = _count_workspace() if self._is_cuda else 0
        phases = {phase: num_bytes + workspace_bytes for phase, num_bytes in phases.items()}
        worst = max(phases, key=lambda phase: phases[phase])
        memory = Memory(
            params_bytes=counted.params_bytes,
            buffers_bytes=self._count(list(self._model.buffers())),
            grads_bytes=counted.grads_bytes,
            state_bytes=counted.state_bytes,
            saved_bytes=saved_bytes,
            batch_bytes=batch_bytes,
            workspace_bytes=workspace_bytes,
            peak_bytes=phases[worst],
            phase=worst,
            phases=phases,
            is_lower_bound=self._is_cuda and self._has_rnn,
        )
        return memory, is_steady

    def _prime(self) -> None:
        """Let the optimizer make its state, as if a step had been taken."""
        for parameter in self._model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
        self._optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type, return-value]

    def _forget_unused(self) -> None:
        """Drop the state of parameters that get no gradient: `_prime` could not know."""
        for parameter in self._model.parameters():
            if parameter.grad is None:
                self._optimizer.state.pop(parameter, None)

    def _count(self, tensors: list[Tensor]) -> int:
        """Return the bytes of the tensors' storages, each once, as the allocator gives them."""
        sizes = {}
        for tensor in tensors:
            storage = tensor.untyped_storage()
            sizes[storage._cdata] = self._storages.round(storage.nbytes())
        return sum(sizes.values())

    @contextlib.contextmanager
    def _acting(self) -> Iterator[None]:
        # On CUDA random states lie in the host's memory.
        see = None if self._is_cuda else self._storages.see
        with explained(), seen_random_states(see), dropout.indices_apart(), self._mode, self._storages:
            yield


def _rewrite(run: Run) -> Run:
    """Return the run as it can be taken with fake tensors, its sizes unchanged."""
    name = {"fp16": "bf16", "tf32": "fp32"}.get(run.precision.name, run.precision.name)
    return msgspec.structs.replace(run, device="cpu", precision=Precision(name=name))  # type: ignore[arg-type]


def _count_workspace() -> int:
    """Return what cuBLAS keeps for itself: of the GPU that is there, else of a Hopper one."""
    is_older = torch.cuda.is_available() and torch.cuda.get_device_capability() < (9, 0)
    return NUM_HANDLES * (OLDER_WORKSPACE if is_older else HOPPER_WORKSPACE)
