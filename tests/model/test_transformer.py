"""GPT and ViT are what torch's own transformer layers compute, with the weights drawn as their papers say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from bench.errors import Unsupported
from bench.model.transformer import Block, attend
from tests.models import count_params, make_inputs, make_model


def copy_block(block: Block, activation: str = "gelu") -> nn.TransformerEncoderLayer:
    """Return torch's layer with a block's weights."""
    width = block.projection.in_features
    theirs = nn.TransformerEncoderLayer(
        width, block.heads, block.mlp[0].out_features, 0.0, activation, batch_first=True, norm_first=True
    )
    names = {
        "attention_norm": "norm1",
        "projection": "self_attn.out_proj",
        "mlp_norm": "norm2",
        "mlp.0": "linear1",
        "mlp.2": "linear2",
    }
    state = {}
    for name, weight in block.state_dict().items():
        layer, _, kind = name.rpartition(".")
        state[f"self_attn.in_proj_{kind}" if layer == "qkv" else f"{names[layer]}.{kind}"] = weight
    theirs.load_state_dict(state)
    return theirs


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize(("heads", "mlp_ratio"), [(1, 4.0), (4, 1.5)])
def test_a_block_is_torchs_encoder_layer(is_causal: bool, heads: int, mlp_ratio: float) -> None:
    torch.manual_seed(0)
    block = Block(16, heads, mlp_ratio, is_causal=is_causal, has_bias=True, activation="gelu", dropout=0.0)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    inputs = torch.randn(3, 7, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(7) if is_causal else None
    theirs = copy_block(block)(inputs, src_mask=mask, is_causal=is_causal)
    torch.testing.assert_close(block(inputs), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_causal", [True, False])
def test_both_paths_of_attention_agree(is_causal: bool) -> None:
    parts = torch.randn(3, 2, 4, 6, 8, dtype=torch.float64)
    call = lambda q, k, v: attend(q, k, v, is_causal=is_causal)  # noqa: E731
    stacked = vmap(call)(*(part.expand(5, -1, -1, -1, -1) for part in parts))
    torch.testing.assert_close(stacked[3], call(*parts))


def make_gpt(context: int = 8, num_outputs: int = 11, **changes: Any) -> nn.Module:
    return make_model("gpt", (context,), num_outputs, **changes)


def test_a_gpt_is_its_blocks_between_embedding_and_head() -> None:
    model = make_gpt(depth=2, width=16, heads=4, is_tied=False)
    (tokens,) = make_inputs("tokens", num_outputs=11)
    features = F.embedding(tokens, model.embedding.weight) + model.positions.weight
    mask = nn.Transformer.generate_square_subsequent_mask(8)
    for block in model.blocks:
        features = copy_block(block)(features, src_mask=mask, is_causal=True)
    logits = F.layer_norm(features, (16,), model.norm.weight, model.norm.bias) @ model.head.weight.T
    torch.testing.assert_close(model(tokens), logits, rtol=1e-4, atol=1e-5)


def test_gpt2s_first_weights() -> None:
    depth = 8
    model = make_gpt(depth=depth, width=64)
    residual = {id(weight) for block in model.blocks for weight in block.residual_weights()}
    assert len(residual) == 2 * depth
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all()
        elif name.endswith("bias"):
            assert not parameter.any()
        else:
            sd = 0.02 / math.sqrt(2 * depth) if id(parameter) in residual else 0.02
            assert parameter.std().item() == pytest.approx(sd, rel=0.1)
    # An embedding by torch is drawn with a standard deviation of one.
    assert make_gpt(width=64, initialisation="torch").embedding.weight.std() > 0.9


def test_a_tied_head_is_the_embedding() -> None:
    tied, own = (make_gpt(width=16, is_tied=is_tied) for is_tied in (True, False))
    assert count_params(own) - count_params(tied) == 11 * 16
    (tokens,) = make_inputs("tokens", num_outputs=11)
    own.head.weight.data.copy_(own.embedding.weight)
    own.load_state_dict(tied.state_dict() | {"head.weight": tied.embedding.weight})
    assert torch.equal(tied(tokens), own(tokens))


def test_without_biases_there_are_none() -> None:
    names = [name for name, _ in make_gpt(has_bias=False, is_tied=False).named_parameters()]
    assert names and not any("bias" in name for name in names)


def test_the_presets_vocabulary_and_context_are_the_datas() -> None:
    # A run of the notes counted 112,256 and 111,487 with a vocabulary of 63.
    assert count_params(make_model("gpt_2x64", (64,), 63)) == 112_256
    assert count_params(make_model("kjv_lstm", (64,), 63)) == 111_487


@pytest.mark.parametrize("option", ["gpt", "vit"])
def test_heads_share_the_width_evenly(option: str) -> None:
    shape = (8,) if option == "gpt" else (1, 8, 8)
    with pytest.raises(ValueError, match=r"^heads: wants a divisor of width 16, got 5$"):
        make_model(option, shape, 3, width=16, heads=5)


@pytest.mark.parametrize("size", [(8, 8), (8, 12), (4, 4)])
def test_patches_tile_the_image_row_by_row(size: tuple[int, int]) -> None:
    model = make_model("vit", (3, *size), 10, patch_size=4, width=16)
    images = torch.randn(2, 3, *size)
    patches = images.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    tokens = patches @ model.patches.weight.flatten(1).T + model.patches.bias + model.positions
    for block in model.blocks:
        tokens = copy_block(block)(tokens)
    pooled = model.norm(tokens).mean(dim=1)
    torch.testing.assert_close(model(images), model.head(pooled), rtol=1e-4, atol=1e-5)


def test_a_class_token_reads_the_image() -> None:
    mean, token = (make_model("vit", (1, 8, 8), 10, pooling=pooling) for pooling in ("mean", "class"))
    # The token, and its position.
    assert count_params(token) - count_params(mean) == 2 * 48
    images = torch.randn(2, 1, 8, 8)
    seen: list[Tensor] = []
    token.norm.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs))
    assert torch.equal(token(images), token.head(seen[0][:, 0]))
    assert seen[0].shape == (2, 5, 48)


@pytest.mark.parametrize("size", [(8, 8), (10, 12)])
def test_patches_that_do_not_tile_are_a_row_that_says_so(size: tuple[int, int]) -> None:
    line = rf"^model\.patch_size: wants a divisor of \[{size[0]}, {size[1]}\] pixels, got 5$"
    with pytest.raises(Unsupported, match=line):
        make_model("vit", (1, *size), 10, patch_size=5)
