"""The LSTM is torch's, layer on layer, whichever way its steps are taken."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import vmap

from bench.model.dropout import Dropout, find_layers
from tests.models import make_inputs, make_model


def test_layers_are_torchs_stack() -> None:
    model = make_model("lstm", (8,), 11, depth=3, width=16, embedding_width=8)
    theirs = nn.LSTM(8, 16, num_layers=3, batch_first=True)
    for number, layer in enumerate(model.layers):
        for name, weight in layer.named_parameters():
            getattr(theirs, name.replace("_l0", f"_l{number}")).data.copy_(weight)
    (tokens,) = make_inputs("tokens", num_outputs=11)
    features = theirs(F.embedding(tokens, model.embedding.weight))[0]
    logits = model.head(features)
    torch.testing.assert_close(model(tokens), logits)
    # In a stack each step is written out.
    torch.testing.assert_close(vmap(model)(tokens.unsqueeze(0))[0], logits, rtol=1e-4, atol=1e-5)


def test_dropout_stands_before_each_layer_and_the_head() -> None:
    model = make_model("lstm", (8,), 11, depth=2, dropout=0.5)
    befores = [layer.before for layer in model.layers]
    assert [type(layer) for layer in (*befores, model.dropout)] == [Dropout] * 3
    assert find_layers(model) == [*befores, model.dropout]
    assert all(layer.dropout == 0 for layer in model.layers)
