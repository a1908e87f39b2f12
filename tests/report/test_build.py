"""A report is complete, self-contained and the same every time, whatever the sweep went through."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest

from bench.errors import SpecError, StoreError
from bench.report.build import build, default_sections, read_block
from bench.report.chapter import find_sections
from bench.report.escape import measure
from bench.report.load import load
from bench.report.section import answer, failures, ran, results, warnings
from bench.spec import Data, Model
from tests.report.conftest import GOLDEN, make_golden
from tests.sweeps import make_machine, make_run, make_study, write_sweep
from tests.tiers import few

TEXT_SECTIONS = [module.__name__ for module in (answer, warnings, results, ran, failures)]


class Links(HTMLParser):
    """Collects what a page points to, and the tags it uses."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def parse(html: str) -> Links:
    links = Links()
    links.feed(html)
    return links


def is_narrow(block: str, num_lines: int = 16) -> bool:
    lines = block.splitlines()
    return len(lines) <= num_lines and all(measure(line) <= 100 for line in lines)


def test_every_section_of_the_default_report_was_written(golden: Path) -> None:
    html, markdown = (golden / "report.html").read_text(), (golden / "report.md").read_text()
    titles = [title for title, _ in find_sections(default_sections())]
    assert len(titles) == 18
    # Nothing was searched or varied, in one arena: these say so in one line.
    left_out = {"What each setting buys", "Across arenas", "Tuning", "Learning-rate robustness"}
    left_out |= {"Cost of tuning", "Speed-up"}
    for title in titles:
        is_shown = f"<h2>{title}</h2>" in html and f"## {title}" in markdown
        assert is_shown is (title not in left_out) and title in html and title in markdown
    assert "could not be written" not in html


def test_every_figure_has_its_data_beside_it(golden: Path) -> None:
    stems = {path.stem for path in (golden / "figures").iterdir()}
    assert stems == {
        f"{kind}_photo_mlp" for kind in ("verdicts", "curves", "time", "speed", "memory", "pictures")
    }
    for stem in stems:
        for ending in ("svg", "png", "csv"):
            assert (golden / "figures" / f"{stem}.{ending}").stat().st_size > 100


def test_the_page_needs_nothing_from_anywhere(golden: Path) -> None:
    html = (golden / "report.html").read_text()
    found = parse(html)
    assert not [link for link in found.links if "http" in link or link.startswith("//")]
    assert not found.tags & {"link", "iframe", "object", "embed", "base", "form"} and not found.handlers
    assert "@import" not in html and not re.search(r"url\((?!#)", html)
    for link in found.links:
        if not link.startswith(("#", "data:image/png")):
            assert (golden / link).is_file()
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(
        re.findall(r'id="([^"]+)"', html)
    )


def test_the_policy_lets_through_our_own_style_and_script_only(golden: Path) -> None:
    html = (golden / "report.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None and policy[1].replace("&#39;", "'").startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1] and not re.search(r"<[^>]*\sstyle=", html)
    for tag in ("style", "script"):
        bodies = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", html, flags=re.S)
        assert len(bodies) == 1
        digest = base64.b64encode(hashlib.sha256(bodies[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in unescape(policy[1])
    lines = [line.strip() for line in bodies[0].splitlines()]
    assert len([line for line in lines if line and not line.startswith("//")]) <= 45


def test_a_small_sweep_shows_six_sections_and_the_contents_reach_all(golden: Path) -> None:
    html = (golden / "report.html").read_text()
    main, rest = html[html.index("<main>") :].split('<details id="rest">')
    assert main.count("<section ") == 6
    contents = html[html.index("<nav") : html.index("</nav>")]
    assert re.findall(r'href="#([^"]+)"', contents) == re.findall(r'<section id="([^"]+)"', html)
    names = rest[rest.index("<summary>") : rest.index("</summary>")]
    assert names.count(",") + 1 == rest[: rest.index("</details>\n<section")].count("<section ")


def test_links_of_the_markdown_lead_to_files(golden: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (golden / "report.md").read_text())
    assert len(links) > 10 and all((golden / link).is_file() for link in links)


def test_what_went_wrong_is_told(golden: Path) -> None:
    html = (golden / "report.html").read_text()
    for reason in (
        "betas wants 2 values, got 3",
        "no bf16 on this CPU",
        "out of memory at step 3",
        "diverged 1/3",
    ):
        assert reason in html
    section = html[html.index('id="warnings"') : html.index('id="results"')]
    assert "retry=failed,oom" in section and "no claim is made below n = 3" in section
    assert html.index('id="warnings"') < html.index("<svg")


def test_no_number_is_invented(golden: Path) -> None:
    for name in ("report.html", "report.md", "summary.txt"):
        text = re.sub(
            r'<svg.*?</svg>|data:image/png;base64,[^"]*', "", (golden / name).read_text(), flags=re.S
        )
        assert not re.search(r"\b(nan|inf|None|NaN)\b", text)
    for path in golden.glob("*/*.csv"):
        assert not re.search(r"(^|,)(nan|inf|NaN|None)(,|$)", path.read_text(), flags=re.M)


def test_building_twice_gives_the_same_bytes_and_leaves_nothing_stale(golden: Path) -> None:
    def snapshot() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in golden.rglob("*") if path.is_file()}

    before = snapshot()
    (golden / "figures" / "old.png").write_bytes(b"x")
    build(golden, default_sections(), None)
    assert snapshot() == before


def test_the_terminal_block_fits_and_ends_in_the_report(golden: Path) -> None:
    block = read_block(golden)
    assert is_narrow(block)
    lines = block.splitlines()
    counts = "29 runs: 21 ok 1 diverged 3 failed 4 other, 1 cell not run"
    assert lines[0] == f"bench adam-adamw-1f0c9a | {counts} | 1 min 12 s"
    assert lines[-1].startswith("report") and lines[-1].endswith("report.html")
    assert any(re.match(r"\.\.\. \d+ more rows in the report", line) for line in lines)
    assert "photo_mlp/exotic not run: no bf16 on this CPU" in lines


def test_warnings_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    machine = make_machine(is_dirty=True)
    folder = write_sweep(tmp_path / "results", make_golden(GOLDEN), machine=machine, is_interrupted=True)
    build(folder, [], None)
    block = read_block(folder)
    assert is_narrow(block) and re.search(r"^! \+\d+ more in the report$", block, flags=re.M)


@pytest.mark.parametrize(
    ("num_arenas", "name"), few(product([3, 1, 30], ["日本語" * 20, "a" * 64, "adamw"]), 2)
)
def test_the_block_fits_whatever_the_size(tmp_path: Path, num_arenas: int, name: str) -> None:
    studies = []
    for depth in range(num_arenas):
        model = Model(target="bench.model.mlp.Mlp", name="photo_mlp", args={"depth": depth})
        for optimizer in (name, "wild", "b" * 64):
            ends: list[float | str] = [0.01, "diverged", 1e9] if optimizer == "wild" else [1e-7, 0.0103, 1e6]
            studies.append((make_study(optimizer, model=model, is_workload_modified=True), ends))
    folder = write_sweep(tmp_path / "results", studies, name="x" * 150, command="python " + "y" * 500)
    build(folder, [], None)
    # Many arenas have a line each, up to some.
    assert is_narrow(read_block(folder), 24 if num_arenas > 3 else 16)


def test_a_sweep_in_which_everything_failed_still_has_a_report(tmp_path: Path) -> None:
    studies = [(make_study(name), ["failed", "failed"]) for name in ("adam", "adamw")]
    folder = write_sweep(tmp_path / "results", studies, details={"failed": "boom"})
    html = build(folder, default_sections(), None).read_text()
    assert "missing (failed), untuned" in html and "boom" in html and "could not be written" not in html


def test_a_sweep_without_studies_still_has_a_report(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "results", [], is_interrupted=True, ended_at=None, wall_s=None)
    html = build(folder, default_sections(), None).read_text()
    assert "interrupted" in html and "could not be written" not in html
    assert "INTERRUPTED | 0 runs" in read_block(folder)


def test_an_unreadable_result_costs_its_row_and_one_warning(tmp_path: Path) -> None:
    studies = [(make_study(name), [0.01, 0.0101, 0.0102]) for name in ("adam", "adamw")]
    folder = write_sweep(tmp_path / "results", studies)
    victim = next((tmp_path / "results" / "runs").rglob("result.json"))
    victim.write_text("{half")
    html = build(folder, TEXT_SECTIONS, None).read_text()
    # Two studies, six results, two costs.
    assert "1 of 10 result files unreadable" in html and str(victim.name) in html
    assert "unreadable 1/3" in html


def test_an_unreadable_study_costs_its_rows_only(tmp_path: Path) -> None:
    studies = [(make_study(name), [0.01, 0.0101, 0.0102]) for name in ("adam", "adamw")]
    folder = write_sweep(tmp_path / "results", studies, studies=("000.json", "001.json", "../../secret.json"))
    (folder / "studies" / "000.json").write_text("[]")
    sweep = load(folder, None)
    assert [cell.label for cell in sweep.arenas[0].cells] == ["adamw"] and len(sweep.unreadable) == 2
    assert "not a plain file name" in sweep.unreadable[1]


@pytest.mark.parametrize("content", [None, "{half", '{"schema": 99}', "[]"])
def test_a_manifest_that_says_nothing_is_one_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(StoreError, match=r"manifest\.json"):
        build(tmp_path, [], None)


@pytest.mark.parametrize("path", ["bench.report.section.nowhere", "json", "bench.stats"])
def test_a_section_that_is_none_is_named(golden: Path, path: str) -> None:
    with pytest.raises(SpecError, match=re.escape(path)):
        build(golden, [path], None)


def test_a_section_that_breaks_does_not_take_the_report_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: object) -> str:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(answer, "show", explode)
    folder = write_sweep(tmp_path / "results", [(make_study(), [0.01])])
    html = build(folder, TEXT_SECTIONS, None).read_text()
    assert "could not be written: RuntimeError: no such luck" in html and "<h2>Results</h2>" in html


def test_sections_named_by_a_stored_study_are_never_imported(tmp_path: Path) -> None:
    from bench.spec import Report

    report = Report(reference=None, sections=("antigravity.show",))
    folder = write_sweep(tmp_path / "results", [(make_study(report=report), [0.01])])
    build(folder, TEXT_SECTIONS, None)
    assert "antigravity" not in sys.modules


def test_dirty_trees_and_modified_workloads_are_warned_of(tmp_path: Path) -> None:
    study = make_study(is_workload_modified=True)
    folder = write_sweep(tmp_path / "results", [(study, [0.01] * 3)], machine=make_machine(is_dirty=True))
    html = build(folder, TEXT_SECTIONS, None).read_text()
    assert "uncommitted changes at commit 0123456789ab" in html and "Modified workload: photo_mlp*" in html


def test_other_devices_are_another_arena_and_their_results_are_found(tmp_path: Path) -> None:
    from bench.store import Store
    from tests.sweeps import make_result

    folder = write_sweep(tmp_path / "results", [(make_study(device="cuda"), ["absent"] * 3)])
    cuda = make_machine(device="cuda", device_name="H200")
    import msgspec

    from bench.record import encode, read_record
    from bench.result import StudyRecord

    path = folder / "studies" / "000.json"
    record = read_record(path, StudyRecord)
    runs = tuple(msgspec.structs.replace(run, device="cuda") for run in record.runs)
    path.write_bytes(encode(msgspec.structs.replace(record, runs=runs, machine=cuda)))
    for run in runs:
        Store(tmp_path / "results").publish(make_result(run, 0.01, cuda))
    (arena,) = load(folder, None).arenas
    assert arena.device == "cuda" and arena.cells[0].is_complete


def test_torch_hydra_and_optuna_are_never_imported(golden: Path) -> None:
    code = (
        "import sys; from bench.report.__main__ import main; assert main([sys.argv[1]]) == 0; "
        "heavy = {'torch', 'hydra', 'omegaconf', 'optuna'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(golden)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == read_block(golden)


def test_accuracy_is_shown_in_per_cent(tmp_path: Path) -> None:
    import msgspec

    from bench.store import Store
    from tests.sweeps import make_result

    data = Data(
        target="bench.data.digits.Digits",
        name="digits",
        version="1",
        licence="CC0",
        sha256=None,
        item="sample",
    )
    study = make_study(data=data)
    folder = write_sweep(tmp_path / "results", [(study, ["absent"] * 3)])
    for seed in range(3):
        result = make_result(make_run(study, seed), 0.1, make_machine())
        accurate = msgspec.structs.replace(result, val_metrics={"accuracy": 0.9}, artifacts=())
        Store(tmp_path / "results").publish(accurate)
    html = build(folder, TEXT_SECTIONS, None).read_text()
    assert "accuracy (%)\u00a0↑" in html and ">90.0<" in html


def test_a_study_without_runs_is_a_row_too(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "results", [(make_study("adamw"), [0.01] * 3), (make_study("adam"), [])])
    html = build(folder, default_sections(), None).read_text()
    assert "missing (not run yet), untuned" in html and "could not be written" not in html
