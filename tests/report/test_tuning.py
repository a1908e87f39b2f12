"""A tuned sweep shows what was tried, how sure the choice is, and which searches were not fair."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.effort import Dimension
from bench.report.build import build, default_sections, read_block
from bench.report.concern import find_concerns
from bench.report.effort import describe_effort
from bench.report.heading import MAX_COLUMNS
from bench.report.load import load
from bench.report.plot.budget import trace_budget
from bench.report.plot.heat import is_grid, touches_border
from bench.report.section import answer, ran
from bench.report.sweep import Cell, Sweep
from bench.report.tuning import DROPOUT, LR, WEIGHT_DECAY, find_default, list_curve, measure_optimism
from bench.result import SearchRecord
from bench.spec import Study
from bench.stats import expected_best
from tests.report.test_build import is_narrow, parse
from tests.sweeps import make_search, make_tuned_study, write_sweep

LRS = tuple(float(f"{1e-3 * 10 ** (offset / 2):.12g}") for offset in range(-4, 5))
LOSSES = [0.0100, 0.0101, 0.0102]


def bowl(best: float = 1e-3, floor: float = 0.01, highest: float = 1.0) -> dict[float, list[float | None]]:
    """Return a first pass of one seed each, the three best confirmed; None above the highest lr."""
    tried: dict[float, list[float | None]] = {
        lr: [floor * (1 + 0.3 * math.log10(lr / best) ** 2) if lr <= highest else None] for lr in LRS
    }
    known = [lr for lr in LRS if tried[lr] != [None]]
    for lr in sorted(known, key=lambda lr: abs(math.log(lr / best)))[:3]:
        tried[lr] = tried[lr] * 3
    return tried


def write(
    root: Path, cells: Sequence[tuple[Study, SearchRecord | None]], ends: list[float | str] | None = None
) -> Sweep:
    pairs: list[tuple[Study, Sequence[float | str]]] = [(study, ends or LOSSES) for study, _ in cells]
    return load(write_sweep(root / "results", pairs, search=[search for _, search in cells]), None)


def find_cell(sweep: Sweep, label: str) -> Cell:
    return next(cell for arena in sweep.arenas for cell in arena.cells if cell.label == label)


def read_tuning(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "tables" / "tuning_photo_mlp.csv", newline="") as file:
        return {row["optimizer"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with a fair winner, an edge, a search that found nothing, and one with fewer settings."""
    cells: list[tuple[Study, list[float | str]]] = []
    searches = []
    for name, search in (
        ("adamw", {"tried": bowl()}),
        ("lion", {"tried": bowl(1e-4, 0.011, highest=1e-2)}),
        ("sgd", {"tried": bowl(0.1, 0.02), "edge": "high", "num_widened": 3}),
        ("wild", {"tried": {lr: [None] for lr in LRS}}),
        ("short", {"tried": dict(list(bowl().items())[2:])}),
    ):
        study = make_tuned_study(name)
        floor = 0.02 if name == "sgd" else 0.01
        cells.append((study, [] if name == "wild" else [floor, floor * 1.01, floor * 0.99]))
        searches.append(make_search(study, **search))
    root = tmp_path_factory.mktemp("tuned") / "results"
    folder = write_sweep(root, cells, search=searches)
    build(folder, default_sections(), None)
    return folder


def test_every_section_was_written_and_needs_nothing_from_anywhere(tuned: Path) -> None:
    html = (tuned / "report.html").read_text()
    assert "could not be written" not in html
    for title in ("Tuning", "Learning-rate robustness", "Cost of tuning"):
        assert f"<h2>{title}</h2>" in html
    assert "Speed-up needs whole trainings of several lengths: add horizons=[0.5,1,2]" in html
    assert not [link for link in parse(html).links if "http" in link or link.startswith("//")]
    for stem in ("robustness_photo_mlp", "budget_photo_mlp"):
        for ending in ("svg", "png", "csv"):
            assert (tuned / "figures" / f"{stem}.{ending}").stat().st_size > 100


@pytest.mark.thorough
def test_building_twice_gives_the_same_bytes(tuned: Path) -> None:
    before = {path: path.read_bytes() for path in tuned.rglob("*") if path.is_file()}
    build(tuned, default_sections(), None)
    assert before == {path: path.read_bytes() for path in tuned.rglob("*") if path.is_file()}


def test_the_tuning_table_says_what_was_tried(tuned: Path) -> None:
    rows = read_tuning(tuned)
    assert {name: (row["num_settings"], row["num_failed"]) for name, row in rows.items()} == {
        "adamw": ("9", "0"),
        "lion": ("9", "2"),
        "sgd": ("9", "0"),
        "wild": ("9", "9"),
        "short": ("7", "0"),
    }
    assert rows["adamw"]["space"] == "lr 1e-05 to 0.1 log" and rows["adamw"]["sampler"] == "grid"
    assert rows["sgd"]["edge"] == "high" and float(rows["sgd"]["lr"]) == 0.1
    # Nothing is told of a search that found nothing.
    wild = rows["wild"]
    assert {wild[key] for key in ("lr_sensitivity", "lr_width_decades", "loss_at_1", "loss_at_all")} == {""}
    losses = [loss[0] for loss in bowl().values() if loss[0] is not None]
    assert float(rows["adamw"]["loss_at_1"]) == pytest.approx(sum(losses) / 9)
    assert float(rows["adamw"]["loss_at_4"]) == pytest.approx(expected_best(losses, 4))
    assert float(rows["adamw"]["default_first_pass_loss"]) == pytest.approx(0.01)
    assert "0.1 !" in (tuned / "report.md").read_text().replace("\\!", "!")


def test_the_block_says_how_much_was_tried_and_marks_edges(tuned: Path) -> None:
    block = read_block(tuned)
    assert is_narrow(block)
    lines = block.splitlines()
    assert lines[1].endswith("margin +-2 % | seeds change init, order, dropout")
    assert lines[2] == (
        "7-9 lr settings (UNEQUAL), 1-3 search seeds, best 3 confirmed | 3 paired fresh seeds"
    )
    edge = '! photo_mlp/sgd: best lr 0.1 tops its range: "worse" is unsupported; search.widen_rounds=6'
    assert edge in lines and "PRELIMINARY" not in block


def test_the_lr_of_an_edge_is_marked_and_numbers_stay_aligned(tmp_path: Path) -> None:
    study, other = make_tuned_study("adamw"), make_tuned_study("sgd")
    searches = make_search(study, bowl()), make_search(other, bowl(0.1), edge="high")
    sweep = write(tmp_path, list(zip((study, other), searches, strict=True)))
    build(sweep.folder, [], None)
    rows = {line.split()[1]: line for line in read_block(sweep.folder).splitlines()[4:7]}
    assert rows["sgd"].endswith("    0.1 !") and rows["adamw"].endswith("  0.001")
    assert rows["sgd"].index("0.1 !") + 3 == len(rows["adamw"])


def test_warnings_name_cell_consequence_and_command(tuned: Path) -> None:
    concerns = {each.text.partition(":")[0]: each for each in find_concerns(load(tuned, None))}
    assert concerns["photo_mlp/sgd"].command is not None
    assert concerns["photo_mlp/sgd"].command.endswith(" search.widen_rounds=6")
    assert "all 9 settings" in concerns["photo_mlp/wild"].text
    assert (concerns["photo_mlp/wild"].command or "").endswith(" search.trials=17")
    assert "claimed against those with fewer (short)" in concerns["photo_mlp"].text
    assert (concerns["photo_mlp"].command or "").endswith(" search.trials=9")


@pytest.mark.parametrize(
    ("search", "command", "wanted"),
    [
        ({"widen": False}, "bench", "bench search.widen=true"),
        ({"widen_rounds": 0}, "bench", "bench search.widen_rounds=2"),
        ({}, "bench hydra/launcher=joblib", "bench"),
        ({}, "bench", "bench search.trials=17"),
        ({"sampler": "gp"}, "bench", "bench '+search.space.optimizer.lr={low:1e-05,high:1,log:true}'"),
    ],
)
def test_the_remedy_for_an_edge_fits_the_search(
    tmp_path: Path, search: dict[str, Any], command: str, wanted: str
) -> None:
    study = make_tuned_study("adamw", **search)
    record = make_search(study, bowl(0.1), edge="high")
    folder = write_sweep(tmp_path / "results", [(study, LOSSES)], search=[record], command=command)
    (edge,) = (each for each in find_concerns(load(folder, None)) if "range" in each.text)
    assert edge.command == wanted


def test_a_first_report_is_headed_preliminary(tmp_path: Path) -> None:
    study = make_tuned_study()
    sweep = write(tmp_path, [(study, make_search(study, bowl(0.1), edge="high", is_final=False))])
    build(sweep.folder, [answer.__name__], None)
    assert " | PRELIMINARY | " in read_block(sweep.folder).splitlines()[0]
    assert "PRELIMINARY: a search is still" in (sweep.folder / "report.html").read_text()
    texts = [each.text for each in find_concerns(sweep)]
    # What is still to be widened is no edge yet.
    assert any("1 search unfinished" in text for text in texts) and not any("range" in text for text in texts)


def test_the_answer_says_what_seeds_change_and_what_ran_names_the_halves(tmp_path: Path) -> None:
    cells = [(study, make_search(study, bowl())) for study in map(make_tuned_study, ("adam", "adamw"))]
    sweep = write(tmp_path, cells)
    build(sweep.folder, [answer.__name__, ran.__name__], None)
    text = (sweep.folder / "report.md").read_text()
    assert "n = 3 paired seeds that vary init, order, dropout" in text
    assert "9 lr settings each (equal), 1-3 search seeds, best 3 confirmed" in text
    assert "search half" in text and "report half" in text and "by grid, at 2 a decade" in text


def test_optimism_compares_the_winner_with_itself_on_fresh_seeds(tmp_path: Path) -> None:
    study = make_tuned_study()
    sweep = write(tmp_path, [(study, make_search(study, {1e-3: [0.009, 0.0095, 0.010], 1e-2: [0.02]}))])
    assert measure_optimism(find_cell(sweep, "adamw")) == pytest.approx((0.0095, 0.0101))
    unlucky = write(tmp_path / "b", [(study, make_search(study, bowl()))], [0.01, "diverged", 0.01])
    assert measure_optimism(find_cell(unlucky, "adamw")) is None


def test_settings_are_compared_on_the_seeds_that_all_had(tmp_path: Path) -> None:
    study = make_tuned_study()
    tried: dict[float, list[float | None]] = {
        1e-4: [0.02],
        1e-3: [0.011, 0.03, 0.03],
        1e-2: [0.012, 0.01, 0.01],
    }
    (arena,) = write(tmp_path, [(study, make_search(study, tried, num_first=2))]).arenas
    (cell,) = arena.cells
    assert dict(list_curve(cell)) == pytest.approx({1e-4: 0.02, 1e-3: 0.071 / 3, 1e-2: 0.032 / 3})
    assert find_default(cell) == (0.011, 0.011)
    # The widened setting is none of the first pass, and confirmation seeds don't count there.
    assert dict(trace_budget(arena, cell)) == pytest.approx({1: 0.0155, 2: 0.01325})


def test_a_diverged_setting_counts_as_untrained(tmp_path: Path) -> None:
    study = make_tuned_study()
    (arena,) = write(tmp_path, [(study, make_search(study, {1e-3: [0.01], 1e-1: [None]}))]).arenas
    # make_result's curves begin at 0.3.
    assert dict(trace_budget(arena, arena.cells[0]))[1] == pytest.approx((0.01 + 0.3) / 2)


def test_adaptive_trials_are_shown_in_their_order(tmp_path: Path) -> None:
    study = make_tuned_study(sampler="tpe")
    (arena,) = write(
        tmp_path, [(study, make_search(study, {1e-3: [0.02], 1e-2: [0.03], 1e-4: [0.01]}))]
    ).arenas
    assert trace_budget(arena, arena.cells[0]) == [(1, 0.02), (2, 0.02), (3, 0.01)]


LR_DIMENSION = Dimension(low=1e-5, high=1e-1, log=True)


def make_pairs(
    points: list[tuple[float, float]], keys: tuple[str, str], best: tuple[float, float]
) -> SearchRecord:
    study = make_tuned_study(name="lr_wd", sampler="random")
    tried = [({keys[0]: x, keys[1]: y}, [0.01 if (x, y) == best else 0.02]) for x, y in points]
    space = {keys[0]: LR_DIMENSION, keys[1]: Dimension(low=1e-3, high=1.0, log=True)}
    return make_search(study, tried, space=space)


GRID = [(lr, decay) for lr in (1e-4, 1e-3, 1e-2) for decay in (0.0, 0.1, 1.0)]


@pytest.mark.parametrize(
    ("best", "is_border"),
    [((1e-3, 0.1), False), ((1e-2, 0.1), True), ((1e-3, 1.0), True), ((1e-3, 0.0), False)],
)
def test_a_star_at_the_border_is_flagged(tmp_path: Path, best: tuple[float, float], is_border: bool) -> None:
    study = make_tuned_study(name="lr_wd")
    sweep = write(tmp_path, [(study, make_pairs(GRID, (LR, WEIGHT_DECAY), best))])
    assert touches_border(find_cell(sweep, "adamw"), (LR, WEIGHT_DECAY)) is is_border


def test_scattered_points_are_no_grid() -> None:
    assert is_grid(GRID) and is_grid(GRID[:-1]) and not is_grid(GRID[:3])
    assert not is_grid([(index, index**2) for index in range(9)])


@pytest.mark.parametrize("keys", [(LR, WEIGHT_DECAY), (DROPOUT, WEIGHT_DECAY)])
def test_pairs_of_settings_have_a_map(tmp_path: Path, keys: tuple[str, str]) -> None:
    study = make_tuned_study(name="lr_wd", sampler="random")
    points = [(1e-4 * 3**index, 1e-3 * 2**index) for index in range(6)]
    cells = [
        (study, make_pairs(GRID, keys, GRID[4])),
        (
            msgspec.structs.replace(study, optimizer=make_tuned_study("sgd").optimizer),
            make_pairs(points, keys, points[-1]),
        ),
    ]
    sweep = write(tmp_path, cells)
    build(sweep.folder, ["bench.report.section.robustness"], None)
    with open(sweep.folder / "figures" / "heat_photo_mlp.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (
        len(rows) == 15 and set(keys) <= set(rows[0]) and sum(row["is_chosen"] == "True" for row in rows) == 2
    )
    assert "sgd best at 0.0243 and 0.032, at the border" in (sweep.folder / "report.md").read_text()


def test_effort_names_what_was_varied(tmp_path: Path) -> None:
    study = make_tuned_study(name="lr_wd", sampler="gp")
    sweep = write(tmp_path, [(study, make_pairs(GRID, (LR, WEIGHT_DECAY), GRID[4]))])
    assert (
        describe_effort(sweep.arenas) == "9 lr x weight_decay settings each (equal), 1 search seed by random"
    )
    assert describe_effort([]) is None


@pytest.mark.parametrize("name", ["adamw", "a" * 64, "日本語" * 20])
def test_the_block_fits_whatever_a_search_holds(tmp_path: Path, name: str) -> None:
    study = make_tuned_study(name)
    cells = [
        (msgspec.structs.replace(study, is_workload_modified=starred), make_search(study, bowl(), edge="low"))
        for starred in (False, True)
    ]
    sweep = write(tmp_path, cells)
    build(sweep.folder, [], None)
    assert is_narrow(read_block(sweep.folder)) and MAX_COLUMNS == 100


def test_a_search_that_left_no_record_still_has_a_report(tmp_path: Path) -> None:
    sweep = write(tmp_path, [(make_tuned_study(), None)])
    html = build(sweep.folder, [ran.__name__, "bench.report.section.tuning"], None).read_text()
    assert "which left no record" in html and "could not be written" not in html


def test_the_address_of_a_shared_search_is_not_shown(tmp_path: Path) -> None:
    study = make_tuned_study(storage="postgresql://user:secret@host/db")
    sweep = write(tmp_path, [(study, make_search(study, bowl()))])
    assert "secret" not in build(sweep.folder, default_sections(), None).read_text()
