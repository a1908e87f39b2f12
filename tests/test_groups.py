"""Kinds of parameters, and rules that give some of them options of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from bench import build
from bench.command import expand
from bench.errors import BuildError
from bench.groups import name_kinds
from bench.identity import run_id
from bench.spec import Optimizer
from tests.commands import run_bench
from tests.composing import compose_run, compose_study
from tests.records import make_optimizer, make_run


class Words(nn.Module):
    """A toy language model: an embedding tied to the head, positions, a norm over two axes, attention."""

    def __init__(self, *, is_tied: bool = True) -> None:
        super().__init__()
        self.tokens = nn.Embedding(5, 4)
        self.position_embedding = nn.Parameter(torch.zeros(1, 3, 4))
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm((3, 4))
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Conv1d(4, 4, 1))
        self.head = nn.Linear(4, 5, bias=False)
        if is_tied:
            self.head.weight = self.tokens.weight


def take_one(spec: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """Take one step with all gradients 1."""
    optimizer = build.build_optimizer(spec, model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def make_layers() -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    for parameter in layers.parameters():
        nn.init.ones_(parameter)
    return layers


def with_rules(rules: dict[str, Any], **changes: Any) -> Optimizer:
    return make_optimizer("torch.optim.AdamW", lr=0.1, weight_decay=0.5, groups=rules, **changes)


def test_every_parameter_has_a_kind() -> None:
    assert name_kinds(Words()) == {
        "position_embedding": "embeddings",
        "tokens.weight": "embeddings",
        "attention.in_proj_weight": "matrices",
        "attention.in_proj_bias": "vectors",
        "attention.out_proj.weight": "matrices",
        "attention.out_proj.bias": "vectors",
        "norm.weight": "vectors",
        "norm.bias": "vectors",
        "layers.0.weight": "matrices",
        "layers.0.bias": "vectors",
        "layers.2.weight": "matrices",
        "layers.2.bias": "vectors",
    }
    assert name_kinds(Words(is_tied=False))["head.weight"] == "head"


def test_a_model_of_convolutions_alone_ends_in_its_head() -> None:
    kinds = name_kinds(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1, bias=False)))
    assert kinds == {
        "0.weight": "matrices", "0.bias": "vectors", "1.weight": "vectors", "1.bias": "vectors",
        "2.weight": "head",
    }  # fmt: skip


def test_without_a_rule_there_is_one_group_in_the_models_order() -> None:
    layers = make_layers()
    layers[1].bias.requires_grad_(False)
    (group,) = build.build_optimizer(with_rules({}), layers).param_groups
    trained = [parameter for parameter in layers.parameters() if parameter.requires_grad]
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in trained]


def test_no_decay_on_vectors_is_none_in_a_real_step() -> None:
    layers, plain = make_layers(), make_layers()
    optimizer = take_one(with_rules({"vectors": {"weight_decay": 0}}), layers)
    take_one(with_rules({}), plain)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    for (name, kept), decayed in zip(layers.named_parameters(), plain.parameters(), strict=True):
        # Adam's first step is lr; the decay takes lr * 0.5 of a weight of 1 off.
        expected = torch.full_like(kept, 0.9 if name.endswith("bias") else 0.85)
        torch.testing.assert_close(kept.detach(), expected)
        torch.testing.assert_close(decayed.detach(), torch.full_like(kept, 0.85))


def test_a_pattern_wins_over_a_kind_and_the_first_over_the_next() -> None:
    rules = {
        "vectors": {"weight_decay": 0.0},
        "2.*": {"lr_scale": 0.5},
        "*.bias": {"betas": [0.5, 0.9]},
        "head": {"lr": 0.7},
    }
    layers = make_layers()
    optimizer = build.build_optimizer(with_rules(rules), layers)
    names = {id(parameter): name for name, parameter in layers.named_parameters()}
    groups = {tuple(names[id(one)] for one in group["params"]): group for group in optimizer.param_groups}
    assert list(groups) == [("0.weight", "1.weight"), ("0.bias", "1.bias"), ("2.weight", "2.bias")]
    plain, biases, last = groups.values()
    assert (plain["lr"], plain["weight_decay"], plain["betas"]) == (0.1, 0.5, (0.9, 0.999))
    assert (biases["lr"], biases["weight_decay"], biases["betas"]) == (0.1, 0.5, (0.5, 0.9))
    assert (last["lr"], last["betas"]) == (0.05, (0.9, 0.999))


def test_a_scaled_lr_keeps_its_ratio_through_a_schedule() -> None:
    one = compose_run("optimizer.groups.head.lr_scale=0", "budget=smoke", workload="gaussian_mlp")
    from bench.engine.eager import Eager
    from bench.prepare import prepare

    model, optimizer, data = prepare(one)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    engine = Eager(one, model, optimizer, data)
    for step in range(3):
        engine.step(step)
    unmoved = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert unmoved == {name for name, kind in name_kinds(model).items() if kind == "head"}


def test_tied_weights_answer_to_both_names() -> None:
    optimizer = build.build_optimizer(with_rules({"head.weight": {"lr_scale": 0.1}}), Words())
    assert [(len(group["params"]), group["lr"]) for group in optimizer.param_groups] == [
        (11, 0.1),
        (1, pytest.approx(0.01)),
    ]


def test_muon_gets_its_kinds_and_a_pattern_reaches_both_halves() -> None:
    spec = compose_study("optimizer=muon", "optimizer.lr=0.1").optimizer
    rules = {"0.*": {"momentum": 0.5, "betas": [0.8, 0.9]}, "vectors": {"weight_decay": 0.0}}
    groups = build.build_optimizer(msgspec.structs.replace(spec, groups=rules), make_layers()).param_groups
    assert [group["kind"] for group in groups] == ["matrices", "vectors", "matrices", "vectors", "head"]
    assert [group.get("momentum") for group in groups] == [0.5, None, 0.95, None, None]
    assert [group.get("betas") for group in groups] == [None, (0.8, 0.9), None, (0.9, 0.999), (0.9, 0.999)]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.01, 0.01, 0.0, 0.01]


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        ({"vectors": {"weigth_decay": 0}}, ".vectors.weigth_decay: no such option; did you mean 'weight_de"),
        ({"vectors": {"lr_scal": 1}}, ".vectors.lr_scal: no such option; did you mean 'lr_scale'?"),
        ({"vectors": {"fused": False}}, ".vectors.fused: no such option"),
        ({"vectors": {"eps": "small"}}, ".vectors.eps: wants a number, got 'small'"),
        ({"vectors": {"betas": [0.9]}}, ".vectors.betas: wants 2 values"),
        ({"vectors": {"eps": -1.0}}, ".vectors: Invalid epsilon value: -1"),
        ({"vectors": {"lr_scale": -1}}, ".vectors.lr_scale: wants a number >= 0, got -1"),
        ({"vectors": {"lr_scale": 1, "lr": 1}}, ".vectors: wants lr or lr_scale, got both"),
        ({"vectors": {}}, ".vectors: wants one or more options by name, got {}"),
        ({"vectors": 3}, ".vectors: wants one or more options by name, got 3"),
        ({"vectros": {"eps": 1}}, ".vectros: matches no trained parameter; did you mean 'vectors'?"),
        ({"1.wieght": {"eps": 1}}, ".1.wieght: matches no trained parameter; did you mean '1.weight'?"),
        ({"*": {"eps": 1}, "0.*": {"eps": 2}}, ".0.*: patterns before it take all it matches"),
    ],
)
def test_a_wrong_rule_is_one_line(rules: dict[str, Any], line: str) -> None:
    with pytest.raises(BuildError) as caught:
        build.build_optimizer(with_rules(rules), make_layers())
    assert str(caught.value).startswith("optimizer.groups" + line) and "\n" not in str(caught.value)


def test_muon_refuses_an_option_of_its_other_half() -> None:
    spec = compose_study("optimizer=muon", "optimizer.lr=0.1").optimizer
    spec = msgspec.structs.replace(spec, groups={"vectors": {"momentum": 0.5}})
    with pytest.raises(BuildError, match=r"^optimizer\.groups\.vectors\.momentum: no such option"):
        build.build_optimizer(spec, make_layers())


def test_a_kind_that_a_model_lacks_changes_nothing() -> None:
    layers = make_layers()
    (group,) = build.build_optimizer(with_rules({"embeddings": {"lr_scale": 0.1}}), layers).param_groups
    assert len(group["params"]) == 6


def test_rules_are_part_of_a_runs_identity_only_where_there_are_any() -> None:
    def identify(groups: dict[str, Any]) -> str:
        return run_id(make_run(optimizer=make_optimizer(groups=groups)))

    one, two = {"0.*": {"lr_scale": 0.1}}, {"*.bias": {"lr_scale": 1}}
    assert identify({}) == run_id(make_run())
    # The first pattern that matches wins: the order matters.
    assert len({identify({}), identify(one), identify(one | two), identify(two | one)}) == 4
    assert identify({"vectors": {"weight_decay": 0}}) == identify({"vectors": {"weight_decay": 0.0}})


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("optimizer.groups.vectors.weight_decay=0", "++optimizer.groups.vectors.weight_decay=0"),
        ("+optimizer.groups.head.lr_scale=0.1,1", "++optimizer.groups.head.lr_scale=0.1,1"),
        ("optimizer.groups={vectors:{eps:1}}", "++optimizer.groups={vectors:{eps:1}}"),
        ("optimizer.groups.layers.0.*.eps=1", "++optimizer.groups={layers.0.*:{eps:1}}"),
        ("optimizer.groups.*bias.eps=1,2", "++optimizer.groups={*bias:{eps:1}},{*bias:{eps:2}}"),
    ],
)
def test_the_short_form_needs_no_plus(typed: str, written: str) -> None:
    assert expand([typed]) == [written]


def test_rules_of_both_forms_compose() -> None:
    spec = compose_study(
        "optimizer.groups.layers.0.*.betas=[0.5,0.9]",
        "optimizer.groups.vectors.weight_decay=0",
        "optimizer.groups.vectors.lr_scale=0.5",
    ).optimizer
    assert spec.groups == {
        "layers.0.*": {"betas": [0.5, 0.9]},
        "vectors": {"weight_decay": 0, "lr_scale": 0.5},
    }


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optimizer.groups.vectors.weigth_decay=0", "did you mean 'weight_decay'?"),
        ("optimizer.groups.vectros.weight_decay=0", "did you mean 'vectors'?"),
    ],
)
def test_the_command_refuses_a_wrong_rule_before_anything_runs(
    tmp_path: Path, override: str, line: str
) -> None:
    done = run_bench("workload=gaussian_mlp", "search=none", "meter=none", override, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("results/runs/*"))
