"""Data of any size without content, for what depends on sizes alone: how much memory a step needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor

from bench import build
from bench.arguments import locate
from bench.cost import Predict
from bench.data.arrays import Arrays
from bench.data.dataset import DataSet
from bench.data.tokens import Tokens
from bench.errors import Unsupported
from bench.kinds import Count
from bench.spec import Data, Run

Kind = Literal["features", "image", "tokens"]
# More than any batch; none of them takes memory.
NUM_ROWS = 2**16
SHA256 = "0" * 64


def describe(kind: Kind, shape: tuple[int, ...], num_outputs: int) -> Data:
    """Return the spec of data without content, which `bench.build` loads like any other.

    Args:
        kind: What a model must accept.
        shape: Of one row: `(features,)`, `(channels, height, width)` or `(context,)`.
        num_outputs: Classes, or the size of the vocabulary.
    """
    return Data(
        target="bench.meter.synthetic.make_up",
        name="made_up",
        version="1",
        licence="none",
        sha256=None,
        item="token" if kind == "tokens" else "sample",
        args={"kind": kind, "shape": list(shape), "num_outputs": num_outputs},
    )


def make_up(*, kind: Kind, shape: tuple[Count, ...], num_outputs: Count) -> DataSet:
    """Return data without content: all zeros, classes included; see `describe`."""
    if kind == "tokens":
        (length,) = shape
        source = _Blank(length * (NUM_ROWS + 1))
        return Tokens(
            item="token",
            train=source,
            val=source,
            num_outputs=num_outputs,
            length=length,
            num_val_tokens=2 * length,
            sha256=SHA256,
            train_name="made up",
            val_name="made up",
        )
    # One row, seen often.
    rows = torch.zeros(1, *shape).expand(NUM_ROWS, *shape), torch.zeros(1, dtype=torch.int64).expand(NUM_ROWS)
    return Arrays(
        task="classification",
        item="sample",
        input_kind=kind,
        num_outputs=num_outputs,
        sha256=SHA256,
        train=rows,
        val=rows,
    )


def choose_data(run: Run, wishes: Predict) -> tuple[Run, str]:
    """Return a run on data that its model takes, and what to call that data.

    Args:
        run: On its configured data, which may not be here, or be of another kind than the model takes.
        wishes: Sizes of data made up in its place.

    Raises:
        Unsupported: The model does not say what it takes, or takes what can't be made up.
    """
    kinds = getattr(locate(run.model.target, "model._target_"), "input_kinds", None)
    try:
        data = build.load_data(run.data, "cpu")
    except Unsupported as error:
        if kinds is None:
            raise
        absent: Unsupported | None = error
    else:
        absent = None
        if kinds is None or data.input_kind in kinds:
            return run, run.data.name
    spec = _make_up(kinds, wishes, run.data.args if absent else {}, run.model.name)
    run = msgspec.structs.replace(run, data=spec)
    shape = " x ".join(map(str, spec.args["shape"]))
    what = f"made up: {spec.args['kind']}, {shape}, of {spec.args['num_outputs']:,}"
    if absent:
        return run, what
    budget = msgspec.structs.replace(run.budget, batch_size=wishes.batch_size)
    return msgspec.structs.replace(run, budget=budget), what


def _make_up(kinds: Sequence[str], wishes: Predict, args: Mapping[str, Any], model: str) -> Data:
    """Return the spec of made-up data; `args` are those of data that is not here, whose sizes then hold."""
    if "tokens" in kinds:
        context, vocab_size = args.get("length", wishes.context), args.get("vocab_size", wishes.vocab_size)
        return describe("tokens", (context,), vocab_size)
    num_classes = args.get("num_classes") or wishes.num_classes
    if "image" in kinds and ("features" not in kinds or "image_size" in args):
        size = args.get("image_size")
        return describe("image", (3, size, size) if size else wishes.image, num_classes)
    if "features" in kinds:
        return describe("features", (wishes.features,), num_classes)
    raise Unsupported(f"does not fit: {model} takes {' or '.join(kinds)}, which is not made up")


class _Blank:
    """As many tokens as are asked for, all 0."""

    index_device = torch.device("cpu")

    def __init__(self, num_tokens: int) -> None:
        self._num_tokens = num_tokens

    def __len__(self) -> int:
        return self._num_tokens

    def to(self, device: torch.device | str) -> _Blank:
        """Return it on a device."""
        moved = _Blank(self._num_tokens)
        moved.index_device = torch.device(device)
        return moved

    def windows(self, starts: Tensor, width: int) -> Tensor:
        """Return `(len(starts), width)` zeros, int64; see `bench.data.tokens.Source`."""
        return torch.zeros(len(starts), width, dtype=torch.int64, device=starts.device)
