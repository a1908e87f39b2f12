"""do=check says what the data holds and trains nothing; data that is not there is one line."""

from __future__ import annotations

from pathlib import Path

from bench.check import describe_data
from tests.commands import run_bench
from tests.composing import compose_study


def test_each_distinct_data_set_is_described_once() -> None:
    digits = compose_study(workload="digits_mlp")
    lines = list(describe_data([digits, digits, compose_study(workload="gaussian_mlp")]))
    assert [line for line in lines if not line.startswith(" ")] == ["digits", "gaussian"]
    text = "\n".join(lines)
    assert digits.data.sha256 is not None and digits.data.sha256 in text
    assert "1,438 to train on, 359 held out" in text
    # 1,797 digits, ten classes of about 180 each.
    assert "(min 139, max 146)" in text


def test_it_trains_nothing(tmp_path: Path) -> None:
    done = run_bench("do=check", "data=digits", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("digits\n") and "rows a class, train" in done.stdout
    assert not list(tmp_path.rglob("result.json"))


def test_data_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = run_bench("do=check", "data=cifar10", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("bench: ")
    assert "data.root=" in done.stderr
