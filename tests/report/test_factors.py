"""What each setting buys is paired, averaged within seeds, and never flattered by what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from bench.report.best import Contest, find_contests
from bench.report.build import build
from bench.report.contrast import Contrast, list_contrasts
from bench.report.factor import Task, find_tasks
from bench.report.finding import describe_verdict, say_contest, say_contrasts
from bench.report.load import load
from bench.report.section import factors, results
from bench.result import SearchRecord
from bench.spec import Study
from bench.store import Store
from tests.sweeps import (
    make_machine,
    make_result,
    make_run,
    make_search,
    make_study,
    make_tuned_study,
    write_sweep,
)

pytestmark = pytest.mark.usefixtures("undrawn_module")

SECTION = [factors.__name__]
Ends = Sequence[float | str]


def vary(name: str = "adamw", **settings: Any) -> Study:
    """Return a study with model arguments, `weight_decay`, or other parts of a study replaced."""
    optimizer = {key: settings.pop(key) for key in ("weight_decay", "lr") if key in settings}
    parts = {key: settings.pop(key) for key in ("budget", "clip_norm", "data", "schedule") if key in settings}
    study = make_study(name, **{"weight_decay": 0.0, **optimizer}, **parts, is_workload_modified=True)
    model = msgspec.structs.replace(study.model, args={**study.model.args, **settings})
    return msgspec.structs.replace(study, model=model)


def read(root: Path, cells: Sequence[tuple[Study, Ends]], **changes: Any) -> tuple[Task, ...]:
    return find_tasks(load(write_sweep(root / "results", cells, **changes), None))


def contrasts_of(task: Task) -> dict[tuple[str, str, str], Contrast]:
    return {(each.optimizer, each.factor.name, each.level): each for each in list_contrasts(task)}


def grid(
    loss: Callable[..., float], seeds: int = 3, name: str = "adamw", **axes: Sequence[Any]
) -> list[tuple[Study, list[float]]]:
    """Return one cell per combination, its losses as a function of the settings and the seed."""
    cells = []
    for values in product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        cells.append((vary(name, **settings), [float(loss(seed=seed, **settings)) for seed in range(seeds)]))
    return cells


def test_factors_are_found_with_their_levels_in_order(tmp_path: Path) -> None:
    cells = grid(lambda **_: 0.01, dropout=[0.3, 0, 0.1], activation=["tanh", "gelu", "relu"])
    command = "python -m bench -m model.activation=relu,tanh,gelu model.dropout=0.3,0,0.1"
    (task,) = read(tmp_path, cells, command=command)
    assert task.name == "photo_mlp*"
    assert task.factors == (("dropout", ("0", "0.1", "0.3")), ("activation", ("relu", "tanh", "gelu")))
    (found,) = task.grids
    assert [(factor.key, factor.is_numeric) for factor in found.factors] == [
        ("model.dropout", True),
        ("model.activation", False),
    ]
    assert len(found.cells) == 9


def test_nothing_stands_before_numbers_and_words(tmp_path: Path) -> None:
    cells = [(vary(clip_norm=norm, dropout=rate), [0.01]) for norm in (1.0, None, 0.5) for rate in (0, 1)]
    (task,) = read(tmp_path, cells)
    assert dict(task.factors)["clip_norm"] == ("null", "0.5", "1")


def test_kinds_of_weight_decay_are_two_factors(tmp_path: Path) -> None:
    cells = [
        cell
        for name in ("adam", "adamw")
        for cell in grid(lambda **_: 0.01, name=name, weight_decay=[0.1, 0])
    ]
    (task,) = read(tmp_path, cells)
    assert [name for name, _ in task.factors] == ["weight_decay (l2)", "weight_decay (decoupled)"]
    assert {key[:2] for key in contrasts_of(task)} == {
        ("adam", "weight_decay (l2)"),
        ("adamw", "weight_decay (decoupled)"),
    }
    html = build(write_sweep(tmp_path / "again", cells), SECTION, None).read_text()
    assert "equal numbers are not compared" in html


def test_what_follows_a_name_or_another_key_is_no_factor_of_its_own(tmp_path: Path) -> None:
    budget = make_study().budget
    cells = []
    for name, steps in (("short", 50), ("full", 200)):
        for size in (64, 128):
            other = msgspec.structs.replace(budget, name=name, steps=steps)
            cells.append((vary(budget=other, width=size, heads=size // 16), [0.01, 0.02, 0.03]))
    (task,) = read(tmp_path, cells, command="python -m bench -m budget=short,full")
    (found,) = task.grids
    assert [(factor.key, factor.levels, factor.also) for factor in found.factors] == [
        ("budget", ("short", "full"), ()),
        ("model.width", ("64", "128"), ("model.heads",)),
    ]


def test_other_data_and_other_workloads_are_other_tasks(tmp_path: Path) -> None:
    cells = []
    for sha in ("aa", "bb"):
        data = msgspec.structs.replace(make_study().data, sha256=sha * 32)
        cells += [(vary(data=data, dropout=rate), [0.01]) for rate in (0, 0.1)]
    tasks = read(tmp_path, cells)
    assert [task.name for task in tasks] == ["photo_mlp*", "photo_mlp* #2"]
    assert all(name == "dropout" for task in tasks for name, _ in task.factors)


def test_a_searched_lr_is_no_factor_and_a_listed_one_is(tmp_path: Path) -> None:
    study = make_tuned_study("adamw")
    studies = [
        msgspec.structs.replace(study, model=msgspec.structs.replace(study.model, args={"depth": depth}))
        for depth in (1, 2)
    ]
    searches: list[SearchRecord | None] = [
        make_search(each, {lr: [0.02], 10 * lr: [0.03]})
        for each, lr in zip(studies, (1e-3, 1e-2), strict=True)
    ]
    (task,) = read(tmp_path, [(each, [0.01] * 3) for each in studies], search=searches)
    assert [name for name, _ in task.factors] == ["depth"]
    listed = grid(lambda **_: 0.01, lr=[0.1, 0.01])
    (task,) = read(tmp_path / "listed", listed)
    assert task.factors == (("lr", ("0.01", "0.1")),)


def test_an_effect_by_hand(tmp_path: Path) -> None:
    """Two widths and two dropouts; the log-ratio of dropout is 0.1, 0.2, 0.3 by seed, +-0.05 by width."""

    def loss(seed: int, dropout: float, width: int) -> float:
        shift = (0.1 * (seed + 1) + (0.05 if width == 32 else -0.05)) if dropout else 0.0
        return 0.01 * (1 + seed) * math.exp(shift)

    (task,) = read(tmp_path, grid(loss, dropout=[0, 0.1], width=[32, 64]))
    found = contrasts_of(task)["adamw", "dropout", "0.1"]
    assert found.effect is not None and found.effect.interval is not None
    assert found.effect.n == 3 and found.effect.mean == pytest.approx(0.2)
    # sd 0.1 over three seeds, t(2) = 4.303: the spread over widths is none of it.
    assert found.effect.interval == pytest.approx(
        (0.2 - 4.303 * 0.1 / 3**0.5, 0.2 + 4.303 * 0.1 / 3**0.5), abs=1e-4
    )
    assert sorted(found.singles) == pytest.approx([0.15, 0.25])
    assert (found.num_lost, found.num_diverged, found.num_runs, found.is_whole) == (0, 0, 6, True)
    # Equal costs: the synthetic step takes the same time everywhere.
    assert found.time_ratio == pytest.approx(1.0) and found.memory_ratio == pytest.approx(1.0)


def test_differences_where_the_workload_asks_for_them(tmp_path: Path) -> None:
    cells = []
    for study, losses in grid(lambda seed, dropout: 0.01 * (seed + 1) + dropout, dropout=[0, 0.5]):
        workload = msgspec.structs.replace(study.workload, effect="difference")
        cells.append((msgspec.structs.replace(study, workload=workload), losses))
    (task,) = read(tmp_path, cells)
    effect = contrasts_of(task)["adamw", "dropout", "0.5"].effect
    assert effect is not None and effect.mean == pytest.approx(0.5)
    html = build(write_sweep(tmp_path / "again", cells), SECTION, None).read_text()
    assert "+0.5" in html and "+50 %" not in html


def test_a_level_that_diverges_is_counted_and_its_combination_left_out(tmp_path: Path) -> None:
    cells: list[tuple[Study, Ends]] = [
        (vary(dropout=0, width=32), [0.01, 0.02, 0.03]),
        (vary(dropout=0.5, width=32), [0.02, 0.04, 0.06]),
        (vary(dropout=0, width=64), [0.01, 0.02, 0.03]),
        (vary(dropout=0.5, width=64), [0.005, "diverged", 0.015]),
    ]
    (task,) = read(tmp_path, cells)
    found = contrasts_of(task)["adamw", "dropout", "0.5"]
    assert found.effect is not None and found.effect.mean == pytest.approx(math.log(2))
    assert (found.num_lost, found.num_diverged, found.num_runs, found.is_whole) == (1, 1, 6, False)
    said = " ".join(say_contrasts(task, list_contrasts(task)))
    assert "dropout: no level can be compared with 0, since runs diverged or failed" in said
    folder = write_sweep(tmp_path / "again", cells)
    page = build(folder, SECTION, None).read_text()
    assert "1/6" in page and "Hollow" in page
    data = pd.read_csv(next(folder.glob("tables/effects_*.csv")))
    row = data[data["factor"] == "model.dropout"].iloc[0]
    assert row["num_combinations"] == 1 and row["num_combinations_lost"] == 1 and row["num_diverged"] == 1


def test_a_baseline_that_diverges_leaves_nothing_to_compare(tmp_path: Path) -> None:
    cells: list[tuple[Study, Ends]] = [(vary(dropout=0), ["diverged"] * 3), (vary(dropout=0.5), [0.02] * 3)]
    (task,) = read(tmp_path, cells)
    found = contrasts_of(task)["adamw", "dropout", "0.5"]
    assert found.effect is None and found.num_baseline_diverged == 3 and found.num_lost == 1
    (sentence,) = say_contrasts(task, [found])
    assert "no level can be compared with 0" in sentence
    assert (
        "could not be written" not in build(write_sweep(tmp_path / "again", cells), SECTION, None).read_text()
    )


def test_missing_combinations_are_said(tmp_path: Path) -> None:
    cells = grid(lambda seed, dropout, width: 0.01 + 0.001 * seed, dropout=[0, 0.1], width=[32, 64, 128])[:-1]
    (task,) = read(tmp_path, cells)
    found = contrasts_of(task)["adamw", "dropout", "0.1"]
    assert len(found.singles) == 2 and found.num_lost == 1


def test_below_three_seeds_there_is_no_interval(tmp_path: Path) -> None:
    (task,) = read(tmp_path, grid(lambda seed, dropout: 0.01 + 0.01 * dropout, seeds=2, dropout=[0, 1]))
    (sentence,) = say_contrasts(task, list_contrasts(task))
    assert "no interval at n = 2" in sentence and "[" not in sentence


def test_a_search_widens_the_interval(tmp_path: Path) -> None:
    def measure(folder: str, spread: float) -> float:
        study = make_tuned_study("adamw", seeds=3)
        cells, searches = [], []
        for depth in (1, 2):
            model = msgspec.structs.replace(study.model, args={"depth": depth})
            each = msgspec.structs.replace(study, model=model)
            rival = [0.0101 + spread, 0.0101, 0.0101 - spread]
            searches.append(make_search(each, {1e-3: [0.010, 0.0101, 0.0102], 1e-2: rival}))
            cells.append((each, [0.01 / depth, 0.011 / depth, 0.0125 / depth]))
        (task,) = read(tmp_path / folder, cells, search=searches)
        (found,) = list_contrasts(task)
        assert found.effect is not None and found.effect.error is not None
        return found.effect.error

    assert measure("wide", 0.002) > measure("narrow", 0.0001)


def test_one_optimizer_and_27_cells_are_one_readable_figure(tmp_path: Path) -> None:
    def loss(seed: int, depth: int, width: int, activation: str) -> float:
        return 0.01 * (1 + 0.02 * seed) / (depth * width) * (2 if activation == "tanh" else 1)

    cells = grid(loss, depth=[1, 2, 4], width=[32, 64, 128], activation=["relu", "tanh", "gelu"])
    command = "python -m bench -m model.activation=relu,tanh,gelu"
    folder = write_sweep(tmp_path / "results", cells, command=command)
    html = build(folder, [*SECTION, results.__name__], None).read_text()
    data = pd.read_csv(next(folder.glob("figures/factors_*.csv")))
    assert len(data) == 6 and set(data["num_combinations"]) == {9}
    depth = data[(data["factor"] == "model.depth") & (data["level"].astype(str) == "4")].iloc[0]
    assert depth["effect_mean"] == pytest.approx(-math.log(4))
    # A row of one table each, instead of 27 tables with one row.
    assert len(list(folder.glob("tables/results*.csv"))) == 1
    assert len(pd.read_csv(next(folder.glob("tables/results*.csv")))) == 27
    assert "depth: 4, the best of 2 levels, instead of 1 lowers the final validation loss: -75 %" in html
    assert "activation: no level is resolved to lower" in html
    # Two activations tie to the last bit: the first in the alphabet is named.
    assert "adamw depth=4 width=128 activation=gelu" in html


def test_two_factors_are_a_map_per_optimizer(tmp_path: Path) -> None:
    def loss(seed: int, dropout: float, weight_decay: float) -> float:
        return 0.01 + 0.001 * seed + (dropout - 0.1) ** 2 + (weight_decay - 0.1) ** 2

    axes: dict[str, Sequence[float]] = {"dropout": [0, 0.1, 0.3], "weight_decay": [0, 0.1, 0.3]}
    cells: list[tuple[Study, Ends]] = [*grid(loss, name="adam", **axes), *grid(loss, name="adamw", **axes)]
    cells[0] = (cells[0][0], [0.01, "diverged", 0.02])
    folder = write_sweep(tmp_path / "results", cells)
    html = build(folder, SECTION, None).read_text()
    data = pd.read_csv(next(folder.glob("figures/pair_*.csv")))
    assert len(data) == 18 and data["val_loss_mean"].isna().sum() == 1
    chosen = data[data["is_chosen"]]
    assert list(chosen["model.dropout"]) == [0.1, 0.1] and list(chosen["optimizer.weight_decay"]) == [
        0.1,
        0.1,
    ]
    assert chosen["val_loss_mean"].tolist() == pytest.approx([0.011, 0.011])
    assert "adam best at dropout 0.1, weight_decay (l2) 0.1" in html
    assert data["status"].str.contains("diverged 1/3").sum() == 1


def test_of_three_factors_the_map_shows_two_at_the_best_of_the_third(tmp_path: Path) -> None:
    def loss(seed: int, lr: float, dropout: float, weight_decay: float) -> float:
        return 0.01 + 0.001 * seed + abs(lr - 0.01) + (dropout - 0.1) ** 2 + (weight_decay - 0.1) ** 2

    axes: dict[str, Sequence[float]] = {
        "lr": [0.001, 0.01],
        "dropout": [0, 0.1],
        "weight_decay": [0, 0.1, 0.3],
    }
    folder = write_sweep(tmp_path / "results", grid(loss, **axes))
    html = build(folder, SECTION, None).read_text()
    data = pd.read_csv(next(folder.glob("figures/pair_*.csv")))
    assert len(data) == 6 and set(data["held"]) == {"lr=0.01"}
    assert {"model.dropout", "optimizer.weight_decay"} < set(data)
    assert data["val_loss_mean"].min() == pytest.approx(0.011)
    assert data[data["is_chosen"]]["val_loss_mean"].tolist() == pytest.approx([0.011])
    assert "stand where the best combination has them: adamw lr 0.01." in html


def test_a_sweep_without_factors_says_so(golden: Path) -> None:
    assert factors.show(load(golden, None)) == (
        "No setting was varied: in each workload the cells differ in their optimizer only."
    )


# Best settings.


def write_losses(
    root: Path, cells: Sequence[tuple[Study, Sequence[tuple[float, float]]]], **changes: Any
) -> Path:
    """Write a sweep whose runs each have a search loss and a validation loss of their own."""
    folder = write_sweep(
        root / "results", [(study, ["absent"] * len(ends)) for study, ends in cells], **changes
    )
    store = Store(root / "results")
    for study, ends in cells:
        for seed, (search_loss, val_loss) in enumerate(ends):
            result = make_result(make_run(study, seed), val_loss, make_machine())
            store.publish(msgspec.structs.replace(result, search_loss=search_loss, artifacts=()))
    return folder


def contest_of(task: Task) -> Contest:
    return find_contests(task)[0]


def test_settings_are_chosen_on_the_search_items_and_reported_on_the_others(tmp_path: Path) -> None:
    def ends(search: float, val: float) -> list[tuple[float, float]]:
        return [(search + 0.001 * seed, val + 0.001 * seed) for seed in range(3)]

    cells = [
        (vary("adamw", weight_decay=0.0), ends(0.03, 0.010)),
        (vary("adamw", weight_decay=0.1), ends(0.02, 0.015)),
        (vary("adamw", weight_decay=0.3), ends(0.04, 0.012)),
    ]
    (task,) = find_tasks(load(write_losses(tmp_path, cells), None))
    (choice,) = contest_of(task).choices
    assert choice.label == "adamw weight_decay=0.1" and choice.num_agreed == 3 and choice.num_tried == 3
    assert choice.losses == pytest.approx({0: 0.015, 1: 0.016, 2: 0.017})


def test_a_seed_is_reported_at_the_setting_that_the_others_chose(tmp_path: Path) -> None:
    """Seed 0 alone makes weight decay 0.1 look best: it may not then be reported there itself."""
    cells = [
        (vary("adamw", weight_decay=0.0), [(0.020, 0.020), (0.020, 0.021), (0.020, 0.022)]),
        (vary("adamw", weight_decay=0.1), [(0.001, 0.001), (0.021, 0.031), (0.021, 0.032)]),
    ]
    (task,) = find_tasks(load(write_losses(tmp_path, cells), None))
    (choice,) = contest_of(task).choices
    assert choice.label == "adamw weight_decay=0.1" and choice.num_agreed == 2
    assert choice.losses == pytest.approx({0: 0.020, 1: 0.031, 2: 0.032})


def regularised(
    tmp_path: Path, adam: Mapping[float, float], adamw: Mapping[float, float], seeds: int = 5
) -> tuple[Task, ...]:
    cells = []
    noise = [0.0, 0.004, -0.003, 0.002, -0.001]
    for name, levels in (("adam", adam), ("adamw", adamw)):
        for decay, loss in levels.items():
            losses = [loss * math.exp(noise[seed] + 0.001 * (seed % 2)) for seed in range(seeds)]
            if name == "adam":
                losses = [loss * math.exp(-noise[seed]) for seed in range(seeds)]
            cells.append((vary(name, weight_decay=decay), [(each, each) for each in losses]))
    return find_tasks(load(write_losses(tmp_path, cells), None))


def test_decoupled_decay_against_the_best_l2(tmp_path: Path) -> None:
    (task,) = regularised(tmp_path, {0.0: 1.08, 0.001: 1.0, 0.1: 2.0}, {0.0: 1.08, 0.1: 0.95, 0.3: 0.87})
    contest = contest_of(task)
    (match,) = contest.matches
    assert (
        match.reference.label == "adamw weight_decay=0.3" and match.choice.label == "adam weight_decay=0.001"
    )
    assert match.effect is not None and match.effect.mean == pytest.approx(math.log(1 / 0.87), abs=0.01)
    assert describe_verdict(match) == "worse, untuned lr"
    (sentence,) = say_contest(task, contest)
    assert (
        "adam weight_decay=0.001 reached a 15 % higher final validation loss than adamw weight_decay=0.3"
        in sentence
    )
    assert "each at its best of 3 listed settings" in sentence and "exploratory" in sentence


def test_a_loser_at_the_edge_of_what_was_listed_may_not_have_lost_fairly(tmp_path: Path) -> None:
    (task,) = regularised(tmp_path, {0.0: 1.08, 0.001: 1.0, 0.1: 0.95}, {0.0: 1.08, 0.1: 0.95, 0.3: 0.87})
    (match,) = contest_of(task).matches
    assert describe_verdict(match) == "no claim (adam at the edge of weight_decay), untuned lr"
    # Nothing lies beyond 0, and the winner's edge takes nothing away.
    (task,) = regularised(tmp_path / "zero", {0.0: 1.0, 0.001: 1.1}, {0.0: 1.0, 0.3: 0.87})
    (match,) = contest_of(task).matches
    assert describe_verdict(match) == "worse, untuned lr"


def test_a_claim_holds_on_both_halves_of_the_items_or_not_at_all(tmp_path: Path) -> None:
    """The search half prefers an adam setting that does worse on the report half than the one passed over."""
    wiggle = [0.0, 0.001, -0.001, 0.002, 0.0]
    losses = {
        ("adam", 0.0): (0.100, 0.090),
        ("adam", 0.001): (0.095, 0.120),
        ("adam", 0.3): (0.300, 0.300),
        ("adamw", 0.0): (0.100, 0.090),
        ("adamw", 0.3): (0.099, 0.091),
        ("adamw", 1.0): (0.200, 0.200),
    }
    cells = []
    for (name, decay), (search, val) in losses.items():
        sign = 1 if name == "adam" else -1
        cells.append(
            (vary(name, weight_decay=decay), [(search + sign * each, val + sign * each) for each in wiggle])
        )
    folder = write_losses(tmp_path, cells)
    (task,) = find_tasks(load(folder, None))
    (match,) = contest_of(task).matches
    assert match.effect is not None and match.effect.mean > 0.2 and match.claim is not None
    assert match.claim.word == "worse" and match.mirrored is not None and abs(match.mirrored.mean) < 0.1
    assert describe_verdict(match) == "no claim (not when the halves of the items change places), untuned lr"


def test_an_optimizer_that_never_finished_is_named(tmp_path: Path) -> None:
    cells: list[tuple[Study, Ends]] = [
        (vary(name, weight_decay=decay), ["diverged"] * 3 if name == "adam" else [0.01, 0.011, 0.012])
        for name in ("adam", "adamw")
        for decay in (0.0, 0.1)
    ]
    (task,) = read(tmp_path, cells)
    contest = contest_of(task)
    assert contest.absent == ("adam",)
    assert say_contest(task, contest) == ("On photo_mlp*, no listed setting of adam finished on every seed.",)


def test_a_listed_lr_is_a_tuned_one(tmp_path: Path) -> None:
    cells = []
    for name, best in (("adam", 1.0), ("adamw", 0.8)):
        for lr in (0.001, 0.01, 0.1):
            loss = best * (1.2 if lr != 0.01 else 1.0)
            ends = [(loss * (1 + 0.001 * seed),) * 2 for seed in (0, -1, 1, 2, 0)]
            cells.append((vary(name, lr=lr), ends if name == "adam" else ends[::-1]))
    (task,) = find_tasks(load(write_losses(tmp_path, cells), None))
    (match,) = contest_of(task).matches
    assert match.choice.label == "adam lr=0.01" and describe_verdict(match) == "worse"


def test_fewer_settings_are_a_way_out_for_the_loser_only(tmp_path: Path) -> None:
    (task,) = regularised(tmp_path, {0.0: 1.0}, {0.0: 1.08, 0.1: 0.95, 0.3: 0.87})
    (match,) = contest_of(task).matches
    assert describe_verdict(match) == "no claim (adam had fewer settings), untuned lr"


def test_diverged_settings_are_tried_but_no_candidates(tmp_path: Path) -> None:
    cells: list[tuple[Study, Ends]] = [
        (vary("adamw", weight_decay=0.0), [0.02, 0.02, 0.02]),
        (vary("adamw", weight_decay=0.1), [0.01, "diverged", 0.01]),
    ]
    (task,) = read(tmp_path, cells)
    (choice,) = contest_of(task).choices
    assert choice.label == "adamw weight_decay=0" and (choice.num_tried, choice.num_failed) == (2, 1)


def test_arenas_that_cost_differently_are_never_chosen_across(tmp_path: Path) -> None:
    cells = []
    for name in ("adam", "adamw"):
        for size in (64, 128):
            budget = msgspec.structs.replace(make_study().budget, batch_size=size)
            cells += [
                (vary(name, budget=budget, weight_decay=decay), [0.01, 0.011, 0.012]) for decay in (0.0, 0.1)
            ]
    (task,) = read(tmp_path, cells)
    assert [contest.name for contest in find_contests(task)] == [
        "photo_mlp* budget.batch_size=64",
        "photo_mlp* budget.batch_size=128",
    ]


def test_choosing_flatters_nobody_and_rarely_claims_of_equals(tmp_path: Path) -> None:
    """Six settings of equal worth, two equal optimizers: what is reported is what a fresh seed would show."""
    rng = np.random.default_rng(0)
    studies = [
        vary(name, weight_decay=decay)
        for name in ("adam", "adamw")
        for decay in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    ]
    folder = write_losses(tmp_path, [(study, [(1.0, 1.0)] * 5) for study in studies])
    (task,) = find_tasks(load(folder, None))
    num_claims, errors = 0, []
    for _ in range(120):
        drawn = _redraw(task, rng)
        (contest,) = find_contests(drawn)
        errors += [float(np.mean(list(choice.losses.values()))) - 1 for choice in contest.choices]
        (match,) = contest.matches
        num_claims += match.claim is not None and match.claim.word in ("better", "worse")
    # Naively the lowest of six means of five lies 1.27 / sqrt(5) = 0.57 noise sds below the truth.
    assert abs(float(np.mean(errors))) < 0.1 * NOISE and num_claims <= 12


NOISE = 0.02


def _redraw(task: Task, rng: np.random.Generator) -> Task:
    """Return a task with new losses: search and report items of a run share all but a little noise."""
    grids = []
    for grid_ in task.grids:
        cells = {}
        for place, cell in grid_.cells.items():
            ends = []
            for end in cell.ends:
                assert end.result is not None
                loss = 1 + NOISE * float(rng.normal())
                near = loss + 0.2 * NOISE * float(rng.normal())
                ends.append(
                    replace(end, result=msgspec.structs.replace(end.result, val_loss=loss, search_loss=near))
                )
            cells[place] = replace(cell, ends=tuple(ends))
        grids.append(replace(grid_, cells=cells))
    return replace(task, grids=tuple(grids))
