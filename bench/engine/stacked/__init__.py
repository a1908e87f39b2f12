"""Which optimizer classes have a rule that updates many models at once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.engine.stacked.adafactor import StackedAdafactor
from bench.engine.stacked.adagrad import StackedAdagrad
from bench.engine.stacked.adam import StackedAdam
from bench.engine.stacked.lion import StackedLion
from bench.engine.stacked.muon import StackedMuon
from bench.engine.stacked.nadam import StackedNAdam
from bench.engine.stacked.rmsprop import StackedRMSprop
from bench.engine.stacked.rule import Rule
from bench.engine.stacked.sgd import StackedSGD
from bench.optimizer.lion import Lion
from bench.optimizer.muon import Muon

_RULES: dict[type[torch.optim.Optimizer], Callable[[], Rule]] = {
    torch.optim.SGD: StackedSGD,
    torch.optim.Adam: StackedAdam,
    torch.optim.AdamW: StackedAdam,
    torch.optim.RMSprop: StackedRMSprop,
    torch.optim.Adagrad: StackedAdagrad,
    torch.optim.NAdam: StackedNAdam,
    torch.optim.Adafactor: StackedAdafactor,
    Lion: StackedLion,
    Muon: StackedMuon,
}


def find_rule(cls: type[torch.optim.Optimizer]) -> Rule | None:
    """Return a rule for a class, with scratch memory of its own; None if there is none.

    Args:
        cls: Exactly: a subclass may step in another way.
    """
    make = _RULES.get(cls)
    return None if make is None else make()
