"""The first weights of linear maps and convolutions by name, for what depends on where training starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

# Sources: xavier: Glorot and Bengio 2010 (AISTATS), eq. 16, uniform. kaiming: He et al. 2015
# (arXiv 1502.01852), eq. 10, normal, of the inputs. lecun: LeCun et al. 1998 ("Efficient BackProp"), eq. 16,
# normal. orthogonal: Saxe et al. 2014 (arXiv 1312.6120), gain 1. normal: standard deviation 0.02, as
# Radford et al. 2019 (GPT-2) and, cut off at two of them, Devlin et al. 2018 (arXiv 1810.04805).
Initialisation = Literal["torch", "xavier", "kaiming", "lecun", "orthogonal", "normal"]

_DRAWS: dict[Initialisation, Callable[[Tensor], Tensor]] = {
    "xavier": nn.init.xavier_uniform_,
    "kaiming": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "lecun": partial(nn.init.kaiming_normal_, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
    "normal": partial(nn.init.normal_, std=0.02),
}


def initialise(model: nn.Module, initialisation: Initialisation) -> None:
    """Draw the weights of a model's linear maps and convolutions anew, in module order; biases become zero.

    A map that holds several, such as queries, keys and values, counts as one. Gains are those of the papers
    whatever the activation. Everything else (norms, embeddings, recurrences) keeps what it has.

    Args:
        model: Drawn from torch's global generator.
        initialisation: `torch` leaves what the layers drew when they were made.
    """
    if initialisation == "torch":
        return
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _DRAWS[initialisation](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
