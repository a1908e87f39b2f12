"""`status --why` names what is other than in the nearest stored run: a field, the code, a version."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bench import sources
from bench.identity import run_id
from bench.report.__main__ import main
from bench.result import Result
from bench.spec import Study
from bench.store import Store
from tests import sweeps
from tests.sweeps import make_machine, make_study, write_sweep

replace = msgspec.structs.replace
TORCH = importlib.metadata.version("torch")
HERE = replace(make_machine(), torch=TORCH)
LATER = "2026-11-22T15:00:00+00:00"


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ask(capsys: pytest.CaptureFixture[str], word: str) -> list[str]:
    assert main(["status", "--why", word]) == 0
    return [line.strip() for line in capsys.readouterr().out.splitlines()[1:]]


def store_run(study: Study, **changes: object) -> Result:
    """Publish what a study's first run came to, earlier than any sweep."""
    result = sweeps.make_result(sweeps.make_run(study, 0), 0.01, HERE)
    changed = replace(result, started_at="2026-01-01T00:00:00+00:00", **changes)
    return Store(Path("results")).publish(changed)


def set_lr(study: Study, lr: float) -> Study:
    return replace(study, optimizer=replace(study.optimizer, lr=lr))


def test_what_is_answered_and_what_has_no_relative(capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_sweep(
        Path("results"), [(make_study("adamw"), [0.01, 0.02]), (make_study("sgd"), ["absent"])],
        machine=HERE, started_at=LATER,
    )  # fmt: skip
    assert ask(capsys, str(folder)) == [
        "2 of adamw: answered by the store",
        "1 of sgd: no answer, and none that is nearly the same",
    ]


def test_a_changed_value_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    study = set_lr(make_study("adamw"), 0.1)
    store_run(study)
    folder = write_sweep(Path("results"), [(set_lr(study, 0.3), ["absent"])], machine=HERE)
    assert ask(capsys, str(folder)) == ["1 of adamw: no answer; stored: optimizer.lr: 0.1 -> 0.3"]
    # Of two that are stored, the one that differs in less.
    steps = replace(study.budget, steps=study.budget.steps + 2)
    store_run(replace(set_lr(study, 0.7), budget=steps))
    assert ask(capsys, str(folder)) == ["1 of adamw: no answer; stored: optimizer.lr: 0.1 -> 0.3"]


def test_a_new_run_beside_an_old_one_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    study = set_lr(make_study("adamw"), 0.1)
    store_run(study)
    folder = write_sweep(Path("results"), [(set_lr(study, 0.3), [0.01])], machine=HERE)
    line = "1 of adamw: answered by the store, trained by this sweep; stored before: optimizer.lr: 0.1 -> 0.3"
    assert ask(capsys, str(folder)) == [line]


def raise_numerics(result: Result, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("bench.identity.NUMERICS", 2)
    monkeypatch.setattr("bench.report.difference.NUMERICS", 2)
    return "NUMERICS: 1 -> 2"


def update_torch(result: Result, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "9.1.0")
    return f"torch: {TORCH} -> 9.1.0"


@pytest.mark.parametrize("change", [raise_numerics, update_torch])
def test_what_voids_every_result_is_named(
    change: Callable[[Result, pytest.MonkeyPatch], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study("adamw")
    folder = write_sweep(Path("results"), [(study, [0.01])], machine=HERE, started_at=LATER)
    assert ask(capsys, str(folder)) == ["1 of adamw: answered by the store"]
    wanted = change(sweeps.make_result(sweeps.make_run(study, 0), 0.01, HERE), monkeypatch)
    assert ask(capsys, str(folder)) == [f"1 of adamw: no answer; stored: {wanted}"]


def test_an_edited_optimizer_is_named_and_so_is_a_run_by_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_own_optimizer.py").write_text("SCALE = 1.0\n")
    target = "my_own_optimizer.Mine"
    plain = sweeps.make_run
    monkeypatch.setattr(
        sweeps, "make_run", lambda *of: replace(plain(*of), sources=sources.digest_sources([target]))
    )
    folder = write_sweep(Path("results"), [(make_study("adamw"), [0.01])], machine=HERE, started_at=LATER)
    key = run_id(sweeps.make_run(make_study("adamw"), 0))
    assert ask(capsys, key[:8]) == [f"{folder_name()}: answered by the store"]
    (tmp_path / "my_own_optimizer.py").write_text("SCALE = 0.5\n")
    sources._digest.cache_clear()
    assert ask(capsys, str(folder)) == [f"1 of adamw: no answer; stored: code of {target} changed"]
    for word in (key[:8], f"results/runs/{key[:2]}/{key}"):
        assert ask(capsys, word) == [f"{folder_name()}: no answer; stored: code of {target} changed"]


def folder_name() -> str:
    (path,) = Path("results/runs").glob("*/*/*")
    return path.name


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["list", "--why"], "--why: wants `status` before it, got 'list'"),
        (["status", "--why", "abcdef"], "abcdef: 0 stored runs have an id that begins so, in results"),
        (["status", "--why", "nowhere"], "nowhere: not a sweep's folder"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert line in capsys.readouterr().err
