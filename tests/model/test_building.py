"""A model that can't be is one line that names the key, wherever it is found out."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from bench import build
from bench.errors import BenchError, BuildError, Unsupported
from bench.spec import Model
from tests.models import SHAPES, kinds_of, read_option
from tests.records import make_run

IMPOSSIBLE: list[tuple[str, dict[str, Any], type[BenchError], str]] = [
    ("cnn", {"depth": 5}, Unsupported, "model.depth: wants at most 4 for [8, 8] pixels, got 5"),
    ("vit", {"patch_size": 3}, Unsupported, "model.patch_size: wants a divisor of [8, 8] pixels, got 3"),
    ("cnn", {"kernel_size": 2}, BuildError, "kernel_size: wants an odd number, got 2"),
    ("vit", {"heads": 7}, BuildError, "heads: wants a divisor of width 48, got 7"),
    ("gpt", {"width": 66}, BuildError, "heads: wants a divisor of width 66, got 4"),
    ("denoiser", {"time_width": 3}, BuildError, "time_width: wants an even number, got 3"),
    ("resnet", {"depth": 20}, BuildError, "model.depth: "),
    ("resnet", {"norm": "layer"}, BuildError, "model.norm: "),
    ("vit", {"pooling": "max"}, BuildError, "model.pooling: "),
    ("mlp", {"shrink": 0}, BuildError, "model.shrink: wants a number > 0"),
    ("mlp", {"initialisation": "kaimng"}, BuildError, "did you mean 'kaiming'?"),
    ("mlp", {"activation": "swish"}, BuildError, "model.activation: "),
    ("gpt", {"is_tied": "perhaps"}, BuildError, "model.is_tied: wants "),
    ("lstm", {"depth": 0}, BuildError, "model.depth: wants a whole number >= 1, got 0"),
    ("autoencoder", {"bottleneck": 0}, BuildError, "model.bottleneck: wants a whole number >= 1"),
    ("cnn", {"dense_width": 0}, BuildError, "model.dense_width: wants "),
    ("point", {"start_sd": -1.0}, BuildError, "model.start_sd: wants a number >= 0"),
    ("point", {"width": 3}, BuildError, "model.width: no such argument"),
]


@pytest.mark.parametrize(("option", "changes", "error", "line"), IMPOSSIBLE)
def test_what_cannot_be_is_one_line(
    option: str, changes: dict[str, Any], error: type[BenchError], line: str
) -> None:
    with pytest.raises(error, match=re.escape(line)) as caught:
        construct(option, changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["mlp", "cnn", "vit", "gpt", "lstm", "autoencoder", "denoiser", "point"])
@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_other_kinds_of_input_do_not_fit(option: str, kind: str) -> None:
    if kind in kinds_of(option):
        construct(option, {}, kind)
    else:
        with pytest.raises(Unsupported, match=f"^does not fit: {option} takes .*, gaussian gives {kind}$"):
            construct(option, {}, kind)


def construct(option: str, changes: dict[str, Any], kind: str | None = None) -> None:
    config = read_option(option) | changes
    target, name = config.pop("_target_"), config.pop("name")
    kind = kind or kinds_of(option)[-1]
    data: Any = SimpleNamespace(input_kind=kind, input_shape=SHAPES[kind], num_outputs=3)
    build.build_model(make_run(model=Model(target=target, name=name, args=config)), data)
