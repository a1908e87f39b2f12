"""The residual networks have the stages, strides and shortcuts of the paper."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.models import make_model


def make(size: int = 32, num_channels: int = 3, **changes: Any) -> nn.Module:
    return make_model("resnet", (num_channels, size, size), 10, **({"width": 4} | changes))


def trace_shapes(model: nn.Module, images: torch.Tensor) -> list[tuple[int, ...]]:
    """Return `(channels, height, width)` after the stem and after each block, without repeats."""
    shapes: list[tuple[int, ...]] = []
    for layer in [model.stem, *model.blocks]:
        images = layer(images)
        if not shapes or shapes[-1] != images.shape[1:]:
            shapes.append(tuple(images.shape[1:]))
    return shapes


@pytest.mark.parametrize(
    ("depth", "stem", "size", "shapes"),
    [
        (18, "small", 32, [(4, 32), (8, 16), (16, 8), (32, 4)]),
        (34, "small", 28, [(4, 28), (8, 14), (16, 7), (32, 4)]),
        (50, "small", 32, [(4, 32), (16, 32), (32, 16), (64, 8), (128, 4)]),
        (18, "imagenet", 64, [(4, 16), (8, 8), (16, 4), (32, 2)]),
        (50, "imagenet", 64, [(4, 16), (16, 16), (32, 8), (64, 4), (128, 2)]),
    ],
)
def test_stages_halve_the_image_and_double_the_channels(
    depth: int, stem: str, size: int, shapes: list[tuple[int, int]]
) -> None:
    model = make(size, depth=depth, stem=stem).eval()
    found = trace_shapes(model, torch.randn(1, 3, size, size))
    assert found == [(channels, side, side) for channels, side in shapes]


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_depth_counts_the_layers_with_weights(depth: int) -> None:
    model = make(depth=depth)
    shortcuts = {id(layer) for block in model.blocks for layer in block.shortcut}
    weighty = [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and id(layer) not in shortcuts
    ]
    assert len(weighty) == depth


def test_a_shortcut_is_the_identity_unless_the_shape_changes() -> None:
    reshaped = [len(block.shortcut) > 0 for block in make(depth=18).blocks]
    assert reshaped == [False, False, True, False, True, False, True, False]
    # Four times as many channels come out of the first stage as go in.
    assert [len(block.shortcut) > 0 for block in make(depth=50).blocks][:4] == [True, False, False, True]


def test_a_block_without_its_residual_passes_on_what_came() -> None:
    model = make(num_channels=1, size=28).eval()
    block = model.blocks[0]
    # The last norm's scale.
    nn.init.zeros_(block.residual[-1].weight)
    inputs = torch.randn(2, 4, 28, 28)
    assert torch.equal(block(inputs), inputs.relu())


@pytest.mark.parametrize(("width", "num_groups"), [(64, 32), (128, 32), (8, 4), (40, 4), (9, 1), (1, 1)])
def test_groups_divide_the_channels_and_hold_more_than_one(width: int, num_groups: int) -> None:
    model = make(4, width=width, norm="group")
    first = next(layer for layer in model.modules() if isinstance(layer, nn.GroupNorm))
    assert first.num_groups == num_groups
    assert not list(model.buffers())
    assert model(torch.randn(1, 3, 4, 4)).isfinite().all()


def test_batch_norm_keeps_its_statistics_for_evaluation() -> None:
    model = make()
    images = torch.randn(8, 3, 32, 32)
    training = model(images)
    assert all(
        int(layer.num_batches_tracked) == 1 for layer in model.modules() if hasattr(layer, "running_mean")
    )
    before = model.eval()(images)
    assert not torch.allclose(before, training) and torch.equal(model(images), before)
