"""A sweep of many arenas has a small page: what each would fill with one row or one line is shared."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.report.alone import group_by_task, name_some, shorten_names, split_alone, spread
from bench.report.build import build, read_block
from bench.report.chapter import Figure
from bench.report.compact import compact_names
from bench.report.escape import measure
from bench.report.inline import Drawings
from bench.report.load import load
from bench.report.section import curves, memory, pictures, ran, speed, warnings
from bench.spec import Study
from bench.store import Store
from tests.arenas import REFERENCE, TIED, WORSE, move, write_arenas
from tests.report.test_build import is_narrow
from tests.sweeps import make_machine, make_result, make_run, make_study, write_sweep

SECTIONS = (warnings, ran, curves, speed, memory, pictures)
ACTIVATIONS = ("relu", "tanh", "gelu")


def vary(name: str = "adamw", **settings: Any) -> Study:
    study = make_study(name, is_workload_modified=True)
    model = msgspec.structs.replace(study.model, args={**study.model.args, **settings})
    return msgspec.structs.replace(study, model=model)


def write_grid(root: Path, axes: Mapping[str, Sequence[Any]], names: Sequence[str] = ("adamw",)) -> Path:
    """Write a sweep with an arena per combination; the loss grows from one to the next."""
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    cells = [
        (vary(name, **settings), [0.01 + 0.001 * number + 0.0001 * seed for seed in range(3)])
        for number, settings in enumerate(combinations)
        for name in names
    ]
    return write_sweep(root / "results", cells)


def show(folder: Path, *sections: ModuleType) -> str:
    build(folder, [section.__name__ for section in sections], None)
    return (folder / "report.md").read_text()


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


def list_stems(folder: Path, kind: str) -> set[str]:
    return {path.stem for path in (folder / kind).iterdir()}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of one optimizer over 27 arenas, its report built."""
    axes = {"depth": (1, 2, 4), "width": (32, 64, 128), "activation": ACTIVATIONS}
    folder = write_grid(tmp_path_factory.mktemp("grid"), axes)
    show(folder, *SECTIONS)
    return folder


@pytest.mark.thorough
def test_27_arenas_of_one_optimizer_fill_a_small_page(grid: Path) -> None:
    html = (grid / "report.html").read_text()
    assert "could not be written" not in html
    figures = {"curves_alone", "speed_alone", "memory_alone", "pictures_photo_mlp-modified"}
    assert list_stems(grid, "figures") == figures
    tables = {"settings_shared", "settings_differing", "runs", "timing", "breakdown", "memory"}
    assert list_stems(grid, "tables") == tables
    # One heading for all of them in each chapter, none of its own for any.
    assert html.count("<h3>Arenas in which one optimizer ran alone</h3>") == 2 and html.count("<h3>") == 3
    assert len(html) < 400_000


def test_the_data_hold_every_arena_whatever_is_shown(grid: Path) -> None:
    arenas = {arena.name for arena in load(grid, None).arenas}
    assert len(arenas) == 27
    points = read(grid, "figures/curves_alone.csv")
    assert {row["arena"] for row in points} == arenas and len(points) == 27 * 3 * 11
    for name in ("tables/timing.csv", "tables/memory.csv", "figures/memory_alone.csv"):
        rows = read(grid, name)
        assert {row["arena"] for row in rows} == arenas and len(rows) == 27
    assert {row["arena"] for row in read(grid, "figures/pictures_photo_mlp-modified.csv")} == arenas


def test_what_is_shown_goes_from_the_best_to_the_worst_and_says_so(grid: Path) -> None:
    text = (grid / "report.md").read_text()
    assert "Shown are 6 of 27 arenas" in text and "7 of 27 cells, evenly spaced" in text
    (alt,) = re.findall(r"!\[(Line chart.*?)\]\(", text)
    assert "depth=1 width=32 activation=relu 0.0101;" in alt and alt.count(";") == 5
    assert alt.endswith("depth=4 width=128 activation=gelu 0.0361")


def test_what_all_share_is_listed_once_and_what_differs_by_arena(grid: Path) -> None:
    shared = {row["key"]: row["value"] for row in read(grid, "tables/settings_shared.csv")}
    varied = {"model.depth", "model.width", "model.activation"}
    assert shared["budget.batch_size"] == "1024" and shared["optimizer.lr"] == "0.001"
    assert not varied & set(shared)
    rows = read(grid, "tables/settings_differing.csv")
    assert len(rows) == 27 and set(rows[0]) == {"arena", "optimizer", *varied}
    assert {(row["model.depth"], row["model.width"]) for row in rows} == set(
        product(("1", "2", "4"), ("32", "64", "128"))
    )
    text = (grid / "report.md").read_text()
    assert text.count("All of them: photo_mlp on") == 1


def test_a_warning_names_three_of_many(grid: Path) -> None:
    (point,) = [line for line in (grid / "report.md").read_text().splitlines() if "Modified workload" in line]
    assert point.count("model.depth=1") == 3 and "and 24 more" in point


def test_names_on_a_page_are_unique_and_lead_somewhere(grid: Path) -> None:
    html = (grid / "report.html").read_text()
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(names)
    # The letters of both drawings are defined once, for both.
    assert sum(name.startswith("DejaVuSans-") for name in names) > 20


def test_one_arena_with_one_optimizer_is_shown_by_itself(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "results", [(make_study(), [0.01] * 3)])
    show(folder, *SECTIONS)
    kinds = ("curves", "time", "speed", "memory", "pictures")
    assert list_stems(folder, "figures") == {f"{kind}_photo_mlp" for kind in kinds}
    assert {"settings_photo_mlp", "optimizers_photo_mlp", "timing", "memory"} < list_stems(folder, "tables")


def test_arenas_of_several_optimizers_stay_apart_from_those_of_one(tmp_path: Path) -> None:
    both = {"adamw": REFERENCE, "sgd": WORSE}
    folder = write_arenas(tmp_path, [both, {"adamw": REFERENCE}, {"adam": TIED}])
    show(folder, ran, curves, speed, memory)
    stems = list_stems(folder, "figures")
    assert {"curves_task0", "time_task0", "memory_task0", "curves_alone", "memory_alone"} <= stems
    assert {"speed_task0", "speed_alone"} <= stems
    assert not {"curves_task1", "time_task1", "memory_task2", "speed_task1"} & stems
    assert {"settings_task0", "timing", "memory"} <= list_stems(folder, "tables")
    sweep = load(folder, None)
    assert [[arena.name for arena in part] for part in split_alone(sweep)] == [
        ["task0"],
        ["task1", "task2"],
    ]


def test_one_optimizer_on_many_workloads_has_a_panel_for_each(tmp_path: Path) -> None:
    folder = write_arenas(tmp_path, [{"adamw": [0.01 * (number + 1)] * 3} for number in range(7)])
    text = show(folder, curves, ran)
    (alt,) = re.findall(r"!\[(Line chart.*?)\]\(", text)
    assert [part.split()[-2] for part in alt.split(";")] == [f"task{number}" for number in range(7)]
    assert "Shown are" not in text and "task6: photo_mlp on" in text
    # Losses of different workloads share no axes.
    assert (folder / "figures" / "curves_alone.svg").read_text().count('id="axes_') == 7


def test_settings_that_outnumber_the_arenas_are_rows(tmp_path: Path) -> None:
    folder = write_arenas(tmp_path, [{"adamw": REFERENCE}, {"adamw": WORSE}])
    text = show(folder, ran)
    # The name and the data of the workload.
    assert {"arena", "optimizer", "workload", "data.sha256"} == set(
        read(folder, "tables/settings_differing.csv")[0]
    )
    assert "| arena | optimizer | workload | data.sha256 |" in text
    study = make_study(threads=4, clip_norm=0.5)
    cells = [(make_study(), [0.01] * 3), (study, [0.01] * 3)]
    other = msgspec.structs.replace(study.model, args={"depth": 3, "width": 9})
    cells.append((msgspec.structs.replace(study, threads=2, model=other), [0.01] * 3))
    text = show(write_sweep(tmp_path / "b", cells), ran)
    assert (
        re.search(r"\| key \|.*threads=1.*\|.*threads=4.*\|", text) and "| clip_norm | null | 0.5 |" in text
    )


def test_what_can_not_run_is_named_with_its_reason_and_has_no_settings(tmp_path: Path) -> None:
    ends: list[list[float | str]] = [["unsupported"] * 3, ["unsupported"] * 3, [0.01] * 3, [0.011] * 3]
    studies = [vary(depth=depth) for depth in range(1, 5)]
    folder = write_sweep(
        tmp_path / "results",
        list(zip(studies, ends, strict=True)),
        details={"unsupported": "not run: wants a GPU"},
    )
    text = show(folder, ran)
    names = "photo_mlp\\* model.depth=1, photo_mlp\\* model.depth=2"
    assert f"{names} not run: wants a GPU." in text
    rows = read(folder, "tables/settings_differing.csv")
    assert [row["model.depth"] for row in rows] == ["3", "4"]


def test_many_arenas_of_several_optimizers_share_their_settings(tmp_path: Path) -> None:
    folder = write_grid(tmp_path, {"depth": range(1, 14)}, ("adamw", "sgd"))
    text = show(folder, ran, pictures)
    rows = read(folder, "tables/settings_differing.csv")
    assert len(rows) == 26 and {"model.depth", "optimizer.target"} < set(rows[0])
    assert "### 13 arenas" in text and list_stems(folder, "figures") == {"pictures_photo_mlp-modified"}
    assert "depth=1 adamw" in text and "7 of 26 cells" in text


def test_of_many_original_pictures_a_few_are_shown_and_the_rest_named(tmp_path: Path) -> None:
    folder = write_arenas(tmp_path, [{"adamw": REFERENCE}] * 9)
    text = show(folder, pictures)
    assert list_stems(folder, "figures") == {f"pictures_task{number}" for number in range(6)}
    assert "Not shown, to keep the page small: task6, task7, task8." in text


def test_pictures_stop_where_they_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_MAX_BYTES", 1)
    text = show(write_arenas(tmp_path, [{"adamw": REFERENCE}] * 3), pictures)
    assert list_stems(tmp_path / "results" / "adam-adamw-1f0c9a", "figures") == {"pictures_task0"}
    assert "to keep the page small: task1, task2." in text


def publish_picture(root: Path, study: Study, image: np.ndarray[Any, Any], loss: float) -> None:
    path = root / "image.png"
    root.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    files = {"original.png": path.read_bytes(), "learned.png": path.read_bytes()}
    Store(root).publish(make_result(make_run(study, 0), loss, make_machine()), files)


@pytest.mark.parametrize("size", [(214, 320), (40, 100), (7, 9)])
def test_a_picture_is_shown_pixel_by_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    study = make_study()
    publish_picture(tmp_path / "results", study, image, 0.01)
    folder = write_sweep(tmp_path / "results", [(study, ["absent"])])
    show(folder, pictures)
    with Image.open(folder / "figures" / "pictures_photo_mlp.png") as opened:
        assert opened.mode == "RGB"
        page = np.asarray(opened).astype(int)
    zoom = 480 // size[1]
    rows, columns = zoom * size[0], zoom * size[1]
    # From the lower right corner, which no title touches; twice, the original at the left.
    for right in (page.shape[1] - 12, page.shape[1] - 24 - columns):
        shown = page[page.shape[0] - 12 - rows : page.shape[0] - 12, right - columns : right]
        wanted = np.kron(image.astype(int), np.ones((zoom, zoom, 1), dtype=int))
        # 64 levels are 255 / 63 apart, and half of that is the most that rounding moves.
        assert np.abs(shown - wanted).max() <= 3


def test_a_wide_picture_is_shown_smaller(tmp_path: Path) -> None:
    study = make_study()
    publish_picture(tmp_path / "results", study, np.full((300, 1500, 3), 128, dtype=np.uint8), 0.01)
    folder = write_sweep(tmp_path / "results", [(study, ["absent"])])
    show(folder, pictures)
    with Image.open(folder / "figures" / "pictures_photo_mlp.png") as opened:
        assert opened.width < 1100


def test_drawings_are_small(grid: Path) -> None:
    for name in ("curves_alone", "speed_alone", "memory_alone"):
        svg = (grid / "figures" / f"{name}.svg").read_text()
        assert len(svg) < 200_000
        coordinates = " ".join(re.findall(r'\s(?:d|x|y)="([^"]*)"', svg))
        assert not re.search(r"\.\d{3}", coordinates) and "e+" not in coordinates
        # What scales a letter is no coordinate.
        assert "scale(0.015625)" in svg


def make_figure(svg: str) -> Figure:
    return Figure(name="a", caption="", alt="an <alt>", svg=svg.encode(), png=b"", data=pd.DataFrame())


def test_a_letter_of_another_shape_stays_its_drawings_own() -> None:
    body = (
        '<?xml version="1.0"?><svg width="4pt" height="4pt"><!-- text --><g id="axes_1">'
        '<defs><path id="A-1" d="{}" transform="scale(0.015625)"/></defs>'
        '<use xlink:href="#A-1"/><path id="m" d="M 0 0"/><use xlink:href="#m"/>'
        '<path id="unused" clip-path="url(#m)"/></g></svg>'
    )
    drawings = Drawings()
    first, second, third = (drawings.inline(make_figure(body.format(outline))) for outline in "MMN")
    assert "A-1" in first and "<defs>" not in first and 'href="#A-1"' in second
    assert '<path id="f3-A-1" d="N"' in third and 'href="#f3-A-1"' in third
    assert 'id="f2-m"' in second and 'href="#f2-m"' in second and "url(#f2-m)" in second
    assert "unused" not in first and "<!--" not in first and "width=" not in first
    assert 'aria-label="an &lt;alt&gt;"' in first
    assert str(drawings.write_glyphs()).count("<path") == 1


def test_short_names_tell_arenas_apart_or_are_whole(tmp_path: Path) -> None:
    cells = [(vary(depth=depth, width=width), [0.01] * 3) for depth, width in ((1, 8), (2, 8), (2, 16))]
    arenas = load(write_sweep(tmp_path / "results", cells), None).arenas
    assert list(shorten_names(arenas).values()) == ["depth=1 width=8", "depth=2 width=8", "depth=2 width=16"]
    cells = [(make_study(), [0.01] * 3), (move(vary(depth=1), "photo_mlp"), [0.01] * 3)]
    arenas = load(write_sweep(tmp_path / "b", cells), None).arenas
    assert len(set(shorten_names(arenas).values())) == 2 and all(shorten_names(arenas).values())
    # On other data a loss is another task's.
    assert len(group_by_task(arenas)) == 2 and len(group_by_task(arenas[:1])) == 1


def test_a_spread_keeps_both_ends() -> None:
    assert spread(range(27), 6) == [0, 5, 10, 16, 21, 26] and spread("abc", 6) == ["a", "b", "c"]
    assert name_some(["a", "b", "c"]) == "a, b, c" and name_some(list("abcde")) == "a, b, c and 2 more"


def test_the_block_of_one_optimizer_tells_what_each_setting_does(grid: Path) -> None:
    block = read_block(grid)
    assert is_narrow(block)
    lines = [line for line in block.splitlines() if line.startswith(("depth ", "width ", "activation "))]
    assert len(lines) == 6 and len({line.split("  ")[0] for line in lines}) == 3
    assert re.search(
        r"^best of 27 \(adamw, photo_mlp\*\): depth=\S+ width=\S+ activation=\S+, val loss", block, re.M
    )
    assert "modified workload (2" in block


def test_short_names_stay_apart() -> None:
    names = [f"photo_mlp* model.depth={depth} model.width={width}" for depth in (1, 2) for width in (32, 64)]
    short, settings = compact_names(["photo_mlp", *names], 22)
    assert short["photo_mlp"] == "photo_mlp" and short[names[1]] == "photo_mlp* 1/64"
    assert settings == "depth/width"
    assert compact_names(["a", "b"], 22) == ({"a": "a", "b": "b"}, "")


@given(st.lists(st.text(), unique=True, max_size=30))
def test_no_two_short_names_are_alike(names: list[str]) -> None:
    short, _ = compact_names(names, 12)
    assert all(measure(name) <= 12 for name in short.values())
    assert len(set(short.values())) == len(names)
