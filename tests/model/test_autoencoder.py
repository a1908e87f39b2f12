"""The autoencoder narrows to a code and widens the same way, and a linear code is all that passes."""

from __future__ import annotations

import torch
from torch import nn

from bench.model.dropout import Dropout
from tests.models import make_model


def test_it_is_a_mirror_around_a_linear_code() -> None:
    model = make_model("fmnist_autoencoder", (1, 28, 28), 784, dropout=0.1)
    sizes = [layer.out_features for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [128, 64, 12, 64, 128, 784]
    hidden = [nn.Linear, nn.Tanh, Dropout] * 2
    assert [type(layer) for layer in model.encoder] == [*hidden, nn.Linear]
    assert [type(layer) for layer in model.decoder] == [*hidden, nn.Linear]


def test_images_of_one_code_look_alike() -> None:
    model = make_model("autoencoder", (1, 4, 4), 16, depth=1, width=8, bottleneck=2)
    # Logits of everything lie on a surface of two dimensions: locally, two directions.
    jacobian = torch.autograd.functional.jacobian(model, torch.randn(1, 1, 4, 4))
    assert int(torch.linalg.matrix_rank(jacobian.reshape(16, 16), rtol=1e-4)) == 2
