"""The nonlinearities that built-in models take by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

from bench.model.dropout import Dropout

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "silu"]

_CLASSES: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def activate(activation: Activation, dropout: float) -> list[nn.Module]:
    """Return the layers after a hidden linear map: the activation, then dropout if there is any.

    Args:
        activation: Name of the nonlinearity.
        dropout: Share of the activations set to zero while training; 0 adds no layer.
    """
    layers = [_CLASSES[activation]()]
    return [*layers, Dropout(dropout)] if dropout > 0 else layers
