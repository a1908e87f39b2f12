"""A function of tensors as the operations it comes down to: what Python and autograd add is paid once."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from bench.compiling import compile_graph
from bench.errors import Unsupported
from bench.spec import Compile

_aten = torch.ops.aten
# A graph's call, and the form of what comes of it.
_Graph = tuple[Callable[..., Any], Any]
# Of this process, by purpose and shapes; None: it can't be traced. Rounds of a search come in a few sizes.
_traces: dict[Any, dict[bool, _Graph] | None] = {}
_MOST_TRACES = 32


class Traced:
    """Calls a function the way it was seen to work the second time tensors of these shapes came in.

    What it does has to follow from its tensors and their shapes alone; in-place changes of them are made in
    each call. A function that can't be traced is called as it is.

    Args:
        function: Of nested dicts and lists of tensors, to such; it may differentiate inside.
        purpose: What stands for everything beside the tensors that the function depends on: those that were
            made for the same have one trace.
        has_aside: Whether it takes `is_whole`, and returns a tuple that ends with a dict, empty unless it is
            true: what leads to that alone is then left out of the trace.
        compiled: What torch.compile makes of the trace.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        purpose: Hashable,
        *,
        has_aside: bool = False,
        compiled: Compile | None = None,
    ) -> None:
        self._function = function
        self._purpose = purpose
        self._has_aside = has_aside
        self._compiled = compiled or Compile()
        self._seen: set[Any] = set()

    def __call__(self, *args: Any, is_whole: bool = True) -> Any:
        """Return what the function returns; no gradient flows through.

        Raises:
            Unsupported: It is to be compiled, and can't be traced.
        """
        leaves, spec = pytree.tree_flatten(args)
        key = (self._purpose, spec, tuple((leaf.shape, leaf.dtype, leaf.stride()) for leaf in leaves))
        if key not in self._seen:
            # What comes once is not worth a trace.
            self._seen.add(key)
            return self._call(args, is_whole)
        if key not in _traces:
            if len(_traces) >= _MOST_TRACES:
                del _traces[next(iter(_traces))]
            _traces[key] = self._trace(leaves, spec)
        found = _traces[key]
        if found is None:
            if self._compiled.name != "none":
                raise Unsupported(f"compile={self._compiled.name}: a step of many can't be traced")
            return self._call(args, is_whole)
        graph, shape = found[is_whole]
        with torch.no_grad():
            return pytree.tree_unflatten(graph(*leaves), shape)

    def _call(self, args: Any, is_whole: bool) -> Any:
        return self._function(*args, **({"is_whole": is_whole} if self._has_aside else {}))

    def _trace(self, leaves: list[Tensor], spec: Any) -> dict[bool, _Graph] | None:
        whole: Any = None
        lean: Any = None

        def flat(*leaves: Tensor) -> list[Tensor]:
            nonlocal whole, lean
            outputs = self._call(pytree.tree_unflatten(leaves, spec), is_whole=True)
            lean = pytree.tree_structure((*outputs[:-1], {})) if self._has_aside else None
            flattened, whole = pytree.tree_flatten(outputs)
            return flattened

        try:
            # Copies: what it changes in place must not be changed once more than it is called.
            with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
                graph = make_fx(flat, tracing_mode="real")(*(_copy(leaf) for leaf in leaves))
        except Exception:
            # What a function may not do here is for torch to say, in many ways; called as it is it may do it.
            return None
        _shorten(graph.graph)
        kept = {True: whole} if lean is None else {True: whole, False: lean}
        return {key: (self._finish(graph, shape.num_leaves), shape) for key, shape in kept.items()}

    def _finish(self, graph: fx.GraphModule, num: int) -> Callable[..., Any]:
        kept = _keep_outputs(graph, num)
        if self._compiled.name != "none":
            return compile_graph(self._compiled, kept)
        _reuse(kept.graph)
        kept.recompile()
        return kept.forward


def _copy(tensor: Tensor) -> Tensor:
    """Return a copy that lies in memory as the tensor does, gaps included."""
    copied = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
    return copied.copy_(tensor.detach())


def _shorten(graph: fx.Graph) -> None:
    """Leave out what changes nothing where no gradient is asked for."""
    for node in list(graph.nodes):
        if node.op == "call_function" and _is_idle(node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _keep_outputs(graph: fx.GraphModule, num: int) -> fx.GraphModule:
    """Return the graph with only the first of its outputs, and what leads to them."""
    kept = fx.Graph()
    outputs: Any = kept.graph_copy(graph.graph, {})
    kept.output(outputs[:num])
    kept.eliminate_dead_code()
    return fx.GraphModule(graph, kept)


def _reuse(graph: fx.Graph) -> None:
    """Let an operation on elements write where its first argument lies, if nobody else reads that.

    What is new has to come from memory; of what was written last, much is still in the cache.
    """
    for node in [node for node in graph.nodes if _may_overwrite(node)]:
        if node.target is _aten.threshold_backward.default:
            node.target = _aten.threshold_backward.grad_input
            node.kwargs = {"grad_input": node.args[0]}
        else:
            packet, overload = node.target._schema.name.partition("::")[2], node.target._overloadname
            own = getattr(_aten, f"{packet}_", None)
            node.target = getattr(own, overload, node.target)


def _may_overwrite(node: fx.Node) -> bool:
    """Return whether an operation on elements is the only one to read its first argument, of its own form."""
    is_pointwise = isinstance(node.target, OpOverload) and torch.Tag.pointwise in node.target.tags
    first = node.args[0] if node.args else None
    if not is_pointwise or not isinstance(first, fx.Node) or len(first.users) > 1:
        return False
    if not isinstance(first.target, OpOverload):
        return False
    made = first.target._schema.returns
    # Neither a view of something, nor something that was there before.
    is_new = len(made) == 1 and made[0].alias_info is None
    before, after = first.meta.get("val"), node.meta.get("val")
    if not is_new or not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    forms = [(one.shape, one.dtype, one.stride()) for one in (before, after)]
    return forms[0] == forms[1]


def _is_idle(node: fx.Node) -> bool:
    if node.target is _aten.detach.default:
        return True
    if node.target not in (_aten.permute.default, _aten.view.default, _aten.expand.default):
        return False
    before, after = _describe(node.args[0]), _describe(node)
    if before is None or after is None or before[0] != after[0]:
        return False
    order = node.args[1] if node.target is _aten.permute.default else range(len(after[0]))
    return all(itertools.starmap(operator.eq, enumerate(order)))  # type: ignore[arg-type]


def _describe(node: Any) -> tuple[torch.Size, Any] | None:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return (value.shape, value.dtype) if isinstance(value, Tensor) else None
