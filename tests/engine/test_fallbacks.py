"""What does not stack ends as it does by itself: optimizers on views of the stack, or each run on its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.result import Result
from bench.spec import Model, Run
from tests.populations import find_worst, make, replace, train_all, train_each, vary
from tests.records import make_optimizer

CLOSE = 1e-9


class Sign(torch.optim.Optimizer):
    """A rule nobody knows, that draws from torch's stream, and puts new weights in the place of the old."""

    def __init__(self, params: Any, lr: float, noise: float = 1.0) -> None:
        super().__init__(params, {"lr": lr, "noise": noise})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            for weight in group["params"]:
                drawn = group["noise"] * torch.rand_like(weight)
                weight.data = weight.data - group["lr"] * (weight.grad.sign() + drawn)
        return loss


class Averaged(torch.optim.SGD):
    """Evaluates at the mean of the weights it was at, as those without a schedule do."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.num_steps, self.is_training = 0, True

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        assert self.is_training
        loss = super().step(closure)
        self.num_steps += 1
        for weight in self.param_groups[0]["params"]:
            mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
            mean += (weight - mean) / self.num_steps
        return loss

    def train(self) -> None:
        self._swap(to=True)

    def eval(self) -> None:
        self._swap(to=False)

    @torch.no_grad()
    def _swap(self, *, to: bool) -> None:
        if to == self.is_training:
            return
        self.is_training = to
        for weight in self.param_groups[0]["params"]:
            if "mean" in self.state[weight]:
                # As some do: other tensors, not other numbers in the same ones.
                weight.data, self.state[weight]["mean"] = self.state[weight]["mean"], weight.data


class Asking(torch.optim.SGD):
    """Can't step without the loss."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        return super().step(closure)


TEST = "tests.engine.test_fallbacks."
ON_VIEWS = {
    "adamax": ("torch.optim.Adamax", 0.01),
    "its own kind": (f"{TEST}Sign", 0.003),
    "with modes": (f"{TEST}Averaged", 0.1),
}


def make_some(target: str, lr: float, num: int = 3) -> list[Run]:
    base = make("mlp")
    return [
        replace(base, seed=seed, optimizer=make_optimizer(target, lr=lr * 2**-seed)) for seed in range(num)
    ]


def list_ends(results: list[Result]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(result.status, result.engine, tuple(result.notes)) for result in results]


@pytest.mark.parametrize("name", ON_VIEWS)
def test_an_optimizer_without_a_rule_steps_on_views_of_the_stack(name: str) -> None:
    runs = make_some(*ON_VIEWS[name])
    together = train_all(runs)
    assert list_ends(together) == [("finished", "population", ())] * 3
    assert find_worst(together, train_each(runs)) < CLOSE
    # Beside others that have one, and after some of them have left.
    gone = vary(make("mlp"), "sgd", 2)
    gone = [replace(run, optimizer=replace(run.optimizer, lr=1e200)) for run in gone]
    mixed = train_all([runs[2], *gone, *vary(make("mlp"), "adamw", 2), *runs[:2]])
    assert [end.status for end in mixed] == ["finished", *["diverged"] * 2, *["finished"] * 4]
    assert find_worst([*mixed[-2:], mixed[0]], together) == 0


def test_an_optimizer_that_asks_for_the_loss_goes_by_itself() -> None:
    runs = make_some(f"{TEST}Asking", 0.1)
    beside = vary(make("mlp"), "adamw", 2)
    together = train_all([*runs, *beside])
    line = "trained by itself: Asking asks for the loss itself in its step"
    assert list_ends(together[:3]) == [("finished", "eager", (line,))] * 3
    assert list_ends(together[3:]) == [("finished", "population", ())] * 2
    assert find_worst(together, train_each([*runs, *beside])) < CLOSE


class Drawing(nn.Sequential):
    """Draws its dropout from torch's stream."""

    def __init__(self, *, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.Dropout(0.5), nn.Linear(8, num_outputs))


class Deciding(nn.Sequential):
    """Does something else where its numbers are large."""

    def __init__(self, *, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, num_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = super().forward(inputs)
        return outputs * 0.5 if outputs.abs().max() > 1.5 else outputs


class Counting(Deciding):
    """Does something else each time, by a count of its own."""

    num_calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.num_calls += 1
        outputs: Tensor = nn.Sequential.forward(self, inputs)
        return outputs * (1 + 0.1 * (self.num_calls % 7))


class Remembering(Counting):
    """Does so by what it remembers in a list."""

    def __init__(self, *, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__(input_shape=input_shape, num_outputs=num_outputs)
        self.seen: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(len(inputs))
        outputs: Tensor = nn.Sequential.forward(self, inputs)
        return outputs * (1 + 0.1 * (len(self.seen) % 7))


@pytest.mark.parametrize("name", ["Drawing", "Deciding", "Counting", "Remembering"])
def test_a_model_that_is_no_function_of_tensors_goes_by_itself(name: str) -> None:
    base = replace(make("mlp"), model=Model(target=TEST + name, name="own"))
    runs = vary(base, "momentum", 3)
    together = train_all(runs)
    assert find_worst(together, train_each(runs)) == 0
    for end in together:
        assert end.engine == "eager" and end.status == "finished"
        assert len(end.notes) == 1 and end.notes[0].startswith("trained by itself: ")
