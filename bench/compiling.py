"""torch.compile as an axis of a run: what it is applied to, where it works, how often it starts over."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from bench.errors import Unsupported
from bench.spec import Compile, Run

# What torch.compile hands its graphs to.
_BACKEND = "inductor"


def check(run: Run) -> None:
    """Refuse what can't be compiled on this machine, or not in this combination.

    Raises:
        Unsupported: No compiler, no graphs, or parts that don't go together.
    """
    compiled = run.compile
    if compiled.graphs:
        _check_graphs(run)
    if compiled.name == "none":
        return
    if compiled.name == "step" and run.precision.name == "fp16":
        raise Unsupported("compile=step: can't leave out the steps that overflow, as precision=fp16 has to")
    if run.device == "mps":
        raise Unsupported(f"compile={compiled.name}: wants a CPU or a CUDA device, got mps")
    if run.device == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise Unsupported(f"compile={compiled.name}: wants the package triton, which is not installed")
    elif _BACKEND == "inductor":
        _check_compiler(compiled)


def begin(run: Run) -> None:
    """Forget what other runs compiled: their graphs count towards the limit where torch stops compiling."""
    if run.compile.name == "none":
        return
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    # Beyond its limit of graphs torch would go on uncompiled, and say so only in a log.
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    if "TORCH_LOGS" not in os.environ:
        # What it could not take in is counted; nobody asked for each line of it.
        torch._logging.set_logs(all=logging.ERROR)  # type: ignore[attr-defined]


def compile_parts(
    run: Run, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, Callable[[], object] | None]:
    """Return what takes the model's place in a training step, and the optimizer's step without a closure.

    Nothing is compiled yet: the first step does that, and the second may once more, when the optimizer's
    state is there. The model itself stays as it is, and is what is evaluated. For a compiled step the lr of
    each group becomes a tensor: a number would be part of the graph, which a schedule changes every step.

    Args:
        run: Says which parts.
        model: Trained.
        optimizer: Over its parameters.

    Returns:
        The model or its compiled twin; the compiled step, or None where the optimizer's own is to be called.

    Raises:
        Unsupported: The optimizer's step is one that torch does not compile.
    """
    if run.compile.name == "none":
        return model, None
    twin: Any = torch.compile(model, **_make_options(run.compile))
    if run.compile.name == "model":
        return twin, None
    if any(group.get("fused") for group in optimizer.param_groups):
        raise Unsupported("compile=step: torch leaves a fused update as it is; wants optimizer.impl=foreach")
    for group in optimizer.param_groups:
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32)
        if "capturable" in group:
            # Or some take no tensor for an lr.
            group["capturable"] = True
    return twin, torch.compile(lambda: optimizer.step(), backend=_BACKEND)


def compile_graph(compiled: Compile, graph: fx.GraphModule) -> Callable[..., Any]:
    """Return a compiled twin of what many runs compute in one step; its first call compiles it.

    Args:
        compiled: What of it, and whether CUDA graphs replay it.
        graph: Of tensors, to a list of tensors; differentiated already.
    """
    twin: Callable[..., list[torch.Tensor]] = torch.compile(graph, fullgraph=True, **_make_options(compiled))
    if not compiled.graphs:
        return twin

    def replay(*tensors: torch.Tensor) -> list[torch.Tensor]:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # The next replay writes where this one's outputs lie, and losses are kept for longer.
        return [one.clone() for one in twin(*tensors)]

    return replay


def check_taken(run: Run) -> None:
    """Refuse a run of which nothing was compiled by the end of its first backward.

    Raises:
        Unsupported: torch took nothing of the model, and went on with the model as it is.
    """
    # A piece of Python may be compiled to what calls the rest, without a graph.
    if run.compile.name != "none" and torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0:
        raise Unsupported(f"compile={run.compile.name}: torch can compile nothing of {run.model.name}")


def count_compiled() -> int:
    """Return how many pieces of Python torch has compiled since `begin`, each as often as it was compiled.

    What is added after the first two steps was compiled again.
    """
    return int(torch._dynamo.utils.counters["frames"]["ok"])


def count_breaks() -> int:
    """Return at how many places since `begin` torch had to leave a graph for plain Python."""
    return sum(torch._dynamo.utils.counters["graph_break"].values())


def _make_options(compiled: Compile) -> dict[str, Any]:
    # A shape that differs once, such as that of a last part, is to be a graph of its own.
    options: dict[str, Any] = {"backend": _BACKEND, "dynamic": False}
    return options | ({"mode": "reduce-overhead"} if compiled.graphs else {})


def _check_graphs(run: Run) -> None:
    if run.compile.name == "none":
        raise Unsupported("compile.graphs: wants compile=model or compile=step")
    if run.device != "cuda":
        raise Unsupported(f"compile.graphs: CUDA graphs want a CUDA device, got {run.device}")
    if run.budget.accumulate > 1:
        # Gradients of one part lie in memory that the next part's replay writes to.
        raise Unsupported(f"compile.graphs: wants budget.accumulate=1, got {run.budget.accumulate}")


def _check_compiler(compiled: Compile) -> None:
    command = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(command) is None:
        raise Unsupported(f"compile={compiled.name}: wants a C++ compiler, {command} is not here")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise Unsupported(f"compile={compiled.name}: wants Python's header files, Python.h is not here")
