"""do=predict says in one table what will fit, measures where it is asked to, and never trains."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest

from bench.command import expand
from bench.cost import Predictions
from bench.errors import SpecError
from bench.meter.predict import predict
from bench.meter.synthetic import choose_data
from bench.predict import GIB, find_all
from bench.record import read_record
from bench.report.prediction import write_predictions
from bench.resolve import resolve
from tests.commands import run_bench
from tests.composing import compose_run, compose_study

SMALL = ("predict.context=32", "predict.vocab_size=65")


def find(*cells: tuple[str, ...]) -> Predictions:
    studies = [compose_study("do=predict", *SMALL, *cell) for cell in cells]
    return find_all(studies, "bench do=predict", lambda line: None)


def test_the_command_prints_one_table_and_writes_it(tmp_path: Path) -> None:
    words = ("do=predict", "model=gpt", "model.preset=gpt2-124m,gpt2-1.5b", "optimizer=sgd,adamw")
    done = run_bench("-m", *words, "precision=bf16", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("predicted memory of one training step on cpu: 4 cells")
    assert "batch 8, data made up: tokens, 1024, of 50,257" in lines[1]
    assert lines[3].split()[:3] == ["params", "optimizer", "weights"]
    assert [line.split()[0] for line in lines[4:8]] == ["124.4M", "1.558B"] * 2
    (folder,) = (tmp_path / "results").glob("predict-*")
    assert (folder / "summary.txt").read_text() == done.stdout
    with (folder / "tables" / "predict.csv").open() as file:
        rows = list(csv.DictReader(file))
    # 124,439,808 parameters of four bytes; 16 bytes each with their gradients and AdamW's state.
    assert {int(row["params_bytes"]) for row in rows} == {497_759_232, 6_230_444_800}
    held = sum(int(rows[-1][f"{part}_bytes"]) for part in ("params", "grads", "state"))
    assert held == 16 * int(rows[-1]["num_params"]) == 24_921_779_200
    assert not list(tmp_path.rglob("result.json"))


def test_the_check_measures_what_it_predicts(tmp_path: Path) -> None:
    words = ("model=mlp,gpt", "optimizer=momentum,adam", "optimizer.impl=fused", "recompute=block")
    done = run_bench("-m", "do=predict", "experiment=memory_check", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    (summary,) = (line for line in done.stdout.splitlines() if line.startswith("predicted over measured"))
    assert "1.0000 to 1.0000 in 8 cells" in summary
    (folder,) = (tmp_path / "results").glob("predict-*")
    found = read_record(folder / "predictions.json", Predictions)
    assert {row.batch_size for row in found.rows} == {4, 128}
    shares = {row.memory.state_bytes / row.num_params for row in found.rows if row.memory and row.num_params}
    assert shares == {4, 8}


def test_the_largest_batch_fits_and_one_row_more_does_not() -> None:
    found = find(
        ("model=gpt", "device_memory_gib=0.2", "recompute=block"), ("model=mlp", "device_memory_gib=0.2")
    )
    (row, all_rows) = found.rows
    assert (row.device, row.settings["precision"], row.limit_bytes) == ("cuda", "bf16", int(0.2 * GIB))
    assert row.largest_batch is not None and not row.is_all_rows
    study = compose_study("do=predict", *SMALL, "model=gpt", "device_memory_gib=0.2", "recompute=block")
    run, _ = choose_data(resolve(study, 0, "cuda"), study.predict)
    peaks = []
    for batch_size in (row.largest_batch, row.largest_batch + 1):
        budget = msgspec.structs.replace(run.budget, batch_size=batch_size)
        peaks.append(predict(msgspec.structs.replace(run, budget=budget)).peak_bytes)
    assert peaks[0] <= int(0.2 * GIB) < peaks[1]
    # The photo's 61,632 training pixels.
    assert all_rows.is_all_rows and all_rows.largest_batch == 61_632


def test_what_does_not_fit_is_marked(tmp_path: Path) -> None:
    found = find(("model=gpt", "device_memory_gib=0.0001"), ("model=gpt", "device_memory_gib=1"))
    text = write_predictions(tmp_path, found)
    small, large = (line for line in text.splitlines() if "backward " in line)
    assert "!" in small and small.endswith(" 0")
    assert "!" not in large
    assert "context and fragmentation come on top" in text


@pytest.mark.parametrize(
    ("overrides", "batch_size", "data"),
    [
        ((), 512, "photo"),
        (("model=gpt",), 8, "made up: tokens, 32, of 65"),
        (("model=gpt", "budget.batch_size=512"), 512, "made up: tokens, 32, of 65"),
        (("model=gpt", "budget.batch_size=64", "predict.batch_size=2"), 2, "made up: tokens, 32, of 65"),
        (("model=cnn",), 8, "made up: image, 3 x 32 x 32, of 10"),
        # Not here, so its own sizes hold.
        (("data=token_shards", "data.length=16", "model=gpt"), 512, "made up: tokens, 16, of 50,304"),
    ],
)
def test_data_is_taken_or_made_up(overrides: tuple[str, ...], batch_size: int, data: str) -> None:
    study = compose_study(*expand(["do=predict", *SMALL, *overrides]))
    run, name = choose_data(resolve(study, 0, "cpu"), study.predict)
    assert (run.budget.batch_size, name) == (batch_size, data)


def test_a_cell_that_can_not_be_is_a_row_with_its_reason(tmp_path: Path) -> None:
    found = find(("model=point",), ("precision=tf32", "device=cpu"), ("optimizer=sgd",))
    assert [row.status for row in found.rows] == ["unsupported", "unsupported", "finished"]
    text = write_predictions(tmp_path, found)
    assert "does not fit: point takes point, which is not made up" in text
    done = run_bench("do=predict", "model=point", cwd=tmp_path)
    assert done.returncode == 1 and "does not fit" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["optimizer.groups.nosuch.lr=1"], "optimizer.groups.nosuch: matches no trained parameter"),
        (["device_memory_gib=0"], "device_memory_gib: wants a number > 0 or null, got 0"),
        (["predict.context=0"], "predict.context: wants a whole number >= 1, got 0"),
        (["predict.contxt=2"], "did you mean 'predict.context'?"),
    ],
)
def test_a_wrong_request_is_one_line(arguments: list[str], line: str, tmp_path: Path) -> None:
    done = run_bench("do=predict", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and line in done.stderr


def test_depth_is_a_figure_with_its_exponents(tmp_path: Path) -> None:
    cells = [
        ("model=mlp", "model.width=64", f"model.depth={depth}", f"recompute={name}", "budget.batch_size=8192")
        for depth in (4, 9, 16, 25)
        for name in ("none", "segments")
    ]
    found = find(*cells)
    text = write_predictions(tmp_path, found)
    assert "figure" in text and (tmp_path / "figures" / "depth.svg").is_file()
    with (tmp_path / "figures" / "depth.csv").open() as file:
        rows = {row["recompute"]: row for row in csv.DictReader(file)}
    assert float(rows["none"]["exponent"]) == pytest.approx(0.9, abs=0.1)
    assert float(rows["sqrt(depth) segments"]["exponent"]) == pytest.approx(0.5, abs=0.1)
    # A step is three forwards' worth of products, and recomputing one more; the head is not recomputed.
    assert 1.25 < float(rows["sqrt(depth) segments"]["flops_ratio"]) < 1.36
    assert float(rows["none"]["flops_ratio"]) == 1


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        (["model=gpt", "model.preset=gpt2-124m"], ["model=gpt2_124m"]),
        (["model=gpt", "model.preset=gpt2_124m,gpt2-1.5b"], ["model=gpt2_124m,gpt2_1_5b"]),
        (["model.preset=resnet18", "model.width=8"], ["model.width=8", "model=resnet18"]),
    ],
)
def test_a_preset_is_a_member_of_the_group(typed: list[str], written: list[str]) -> None:
    assert expand(typed) == written


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["model=gpt", "model.preset=gpt2-124"], "no such preset of gpt; did you mean 'gpt2_124m'?"),
        (["model=mlp", "model.preset=gpt2-124m"], "no such preset of mlp; known: digits_mlp, "),
        (["model.preset="], "no such preset; known: "),
    ],
)
def test_a_preset_that_is_none_names_those_there_are(typed: list[str], line: str) -> None:
    with pytest.raises(SpecError, match=line.replace("?", r"\?")):
        expand(typed)


def test_a_run_is_the_same_run_whatever_is_predicted() -> None:
    from bench.identity import run_id

    assert run_id(compose_run("predict.context=7")) == run_id(compose_run())
