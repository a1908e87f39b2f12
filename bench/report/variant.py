"""How a cell is computed: settings that move what a step costs and hardly its loss, each as one word."""

from __future__ import annotations

from bench.report.sweep import Arena, Cell

# A loss may differ by these in its last bits; whoever looks for the lowest loss need not choose among them.
COST_KEYS = ("recompute", "compile", "optimizer.impl")
# What the other levels are compared with, whatever the order of the command.
BASELINES = {"precision": "fp32", "recompute": "none", "compile": "none", "optimizer.impl": "fused"}
_MAX_NAMED = 6


def show_precision(cell: Cell) -> str:
    """Return the precision that ran: what `auto` means is known once the device is."""
    return cell.ends[0].run.precision.name if cell.ends else cell.study.precision.name


def show_recompute(cell: Cell) -> str:
    """Return what is computed again in backward: none, block, segments, or segments-4."""
    recompute = cell.study.recompute
    is_counted = recompute.name == "segments" and recompute.segments != "auto"
    return f"segments-{recompute.segments}" if is_counted else recompute.name


def show_compile(cell: Cell) -> str:
    """Return what is compiled: none, model, step, or model+graphs."""
    compiled = cell.study.compile
    return compiled.name + "+graphs" * (compiled.graphs and compiled.name != "none")


def show_impl(cell: Cell) -> str | None:
    """Return the optimizer's implementation; None where its class decides."""
    return cell.optimizer.impl


def list_words(cell: Cell) -> tuple[str, ...]:
    """Return how a cell is computed, as overrides of a command."""
    impl = show_impl(cell) or "null"
    return f"impl={impl}", f"recompute={show_recompute(cell)}", f"compile={show_compile(cell)}"


def name_variant(cell: Cell, plain: Cell) -> tuple[str, ...]:
    """Return the words in which a cell is computed otherwise than the plainest of its kind."""
    return tuple(word for word in list_words(cell) if word not in list_words(plain))


def rank_variant(cell: Cell) -> tuple[bool, bool, int]:
    """Return what sorts the plain way first: nothing recomputed, nothing compiled, fused."""
    impls = ("fused", None, "foreach", "forloop")
    return show_recompute(cell) != "none", show_compile(cell) != "none", impls.index(show_impl(cell))


def strip_label(cell: Cell) -> str:
    """Return a cell's label without the words that a table shows in columns of their own."""
    prefixes = ("recompute=", "compile=", "impl=")
    return " ".join(word for word in cell.label.split(" ") if not word.startswith(prefixes))


def describe_variants(arena: Arena) -> str:
    """Return which cells of an arena have no row among its rivals, as the end of a note."""
    if not arena.variants:
        return ""
    names = ", ".join(cell.label for cell in arena.variants[:_MAX_NAMED])
    rest = len(arena.variants) - _MAX_NAMED
    return (
        f" No rivals, being the same optimizers computed in another way: {names}"
        + (f" and {rest} more" if rest > 0 else "")
        + "; their losses are under What each setting buys, their costs under Speed and Memory."
    )
