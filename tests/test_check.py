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


PLANTED = """
from bench.data.digits import Digits


def make(*, val_share: float, split_seed: int) -> Digits:
    data = Digits(val_share=val_share, split_seed=split_seed)
    data.{fault}
    return data
"""


def test_a_fault_in_the_rows_stops_the_command_before_its_first_step(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(PLANTED.format(fault="train_inputs[7, 0, 3, 3] = float('nan')"))
    planted = ("workload=digits_mlp", "data._target_=planted.make", "budget=smoke", "search=none", "seeds=1")
    done = run_bench(*planted, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("bench: "))
    assert "1 rows of the training inputs hold NaN or infinity, first row 7" in line
    assert not list(tmp_path.rglob("result.json"))
    # do=check tells all that it finds, and then ends in the same way.
    done = run_bench(*planted, "do=check", cwd=tmp_path)
    assert done.returncode == 2 and "rows: error: 1 rows of the training inputs" in done.stdout


def test_what_is_doubtful_is_said_once_and_trained_on(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(PLANTED.format(fault="val_inputs[:36] = data.train_inputs[:36]"))
    planted = (
        "workload=digits_mlp",
        "data._target_=planted.make",
        "budget=smoke",
        "search=none",
        "meter=none",
    )
    done = run_bench("-m", "optimizer=sgd,adamw", *planted, "seeds=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("36 of 359 validation inputs (10.0%) are training inputs as well") == 1
