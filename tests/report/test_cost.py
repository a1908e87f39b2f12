"""What a step costs is shown with how sure it is, and where nothing can be said, the page says why."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.report.build import build, read_block
from bench.report.plot import bars
from bench.report.section import factors, memory, ran, results, speed, warnings
from bench.result import Cost
from bench.spec import Compile, Data, Precision, Recompute, Study
from tests.sweeps import make_bare_cost, make_cost, make_gpu_cost, make_ratio, make_study, write_sweep

pytestmark = pytest.mark.usefixtures("undrawn_module")

LOSSES = [0.0100, 0.0102, 0.0103]
Ends = Sequence[float | str]


def vary(
    name: str = "adamw",
    precision: Any = "fp32",
    recompute: Any = "none",
    compiled: Any = "none",
    impl: Any = "fused",
    **changes: Any,
) -> Study:
    """Return a study computed in a way of its own."""
    study = make_study(name, **changes)
    return msgspec.structs.replace(
        study,
        precision=Precision(name=precision),
        recompute=Recompute(name=recompute),
        compile=Compile(name=compiled),
        optimizer=msgspec.structs.replace(study.optimizer, impl=impl),
    )


def scale(cost: Cost, times: float, noise: float = 0.03, **changes: Any) -> Cost:
    """Return a cost whose step takes so many times 2.1 ms, and whose A/A lay as far apart as that."""
    study = make_study(cost.run.optimizer.name)
    words = (cost.state_bytes or 0) // (cost.params_bytes or 1)
    new = make_cost(study, cost.run, cost.machine, state_words=words, step_s=0.0021 * times, id=cost.id)
    assert new.reference is not None
    reference = msgspec.structs.replace(new.reference, noise=make_ratio(1.0, noise))
    return msgspec.structs.replace(new, **{"reference": reference, **changes})


def show(
    root: Path,
    cells: Sequence[tuple[Study, Ends]],
    price: Callable[[Cost], Cost | None] | None = None,
    sections: Sequence[Any] = (warnings, factors, speed, memory),
    **changes: Any,
) -> tuple[str, Path]:
    """Return the Markdown page of a sweep, and its folder."""
    folder = write_sweep(root / "results", cells, price=price, **changes)
    build(folder, [section.__name__ for section in sections], None)
    text = (folder / "report.md").read_text()
    assert "could not be written" not in text
    return text.replace("\\", ""), folder


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / "tables" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def row_of(text: str, table: str, *words: str) -> list[str]:
    """Return the cells of the first row of a table that has all the words."""
    part = text[text.index(f"**{table}**") :]
    for line in part.splitlines()[4:]:
        cells = [cell.strip(" *") for cell in line.split("|")[1:-1]]
        if all(word in cells for word in words):
            return cells
    raise AssertionError((table, words))


def plain(*names: str) -> list[tuple[Study, Ends]]:
    return [(vary(name), LOSSES) for name in names]


def test_step_times_stand_beside_how_sure_they_are(tmp_path: Path) -> None:
    times = {"adamw": 1.0, "adam": 1.01, "sgd": 0.8}
    text, folder = show(
        tmp_path, plain("adamw", "adam", "sgd"), lambda cost: scale(cost, times[cost.run.optimizer.name])
    )
    timing = "One step: time and throughput"
    assert row_of(text, timing, "sgd")[2:8] == [
        "1.68",
        "1.60 [1.56, 1.71]",
        "2.52",
        "0.80 [0.78, 0.81]",
        "3",
        "0.80 [0.78, 0.82]",
    ]
    # One per cent apart where a step lies 3 % from itself.
    assert "1.01 [0.98, 1.04], within noise" in row_of(text, timing, "adam")
    assert "CPU time of the computing thread" in text and "root of the sum of squares" in text
    rows = {row["optimizer"]: row for row in read(folder, "timing")}
    assert rows["adam"]["is_within_noise"] == "True" and rows["sgd"]["is_within_noise"] == "False"
    # By hand: both intervals reach 2 % to either side, on the log scale sqrt(2) x log 1.02.
    reach = math.sqrt(2) * math.log(1.02)
    assert float(rows["sgd"]["arena_ratio"]) == pytest.approx(0.8)
    assert float(rows["sgd"]["arena_ratio_ci95_high"]) == pytest.approx(0.8 * math.exp(reach))
    assert float(rows["sgd"]["arena_ratio_ci95_low"]) == pytest.approx(0.8 * math.exp(-reach))
    assert rows["adamw"]["arena_ratio"] == "" and rows["adamw"]["optimizer_share"].startswith("0.13")
    assert all(name.endswith(("_s", "_share", "_bytes")) for name in ("step_mean_s", "roof_share"))


def test_the_table_of_results_takes_the_mood_of_the_machine_out(tmp_path: Path) -> None:
    # Twice as slow throughout: the step it shares with the others says so.
    def price(cost: Cost) -> Cost:
        slow = scale(cost, 2.0 if cost.run.optimizer.name == "sgd" else 1.0)
        if cost.run.optimizer.name != "sgd" or slow.reference is None or cost.reference is None:
            return slow
        shared = msgspec.structs.replace(cost.reference, step_p50_s=2 * cost.reference.step_p50_s)
        return msgspec.structs.replace(slow, reference=shared)

    _, folder = show(tmp_path, plain("adamw", "adam", "sgd"), price, sections=(results, speed))
    rows = {row["optimizer"]: row for row in read(folder, "results_photo_mlp")}
    assert float(rows["sgd"]["adjusted_step_s"]) == pytest.approx(float(rows["adam"]["adjusted_step_s"]))
    assert float(rows["sgd"]["adjusted_items_per_s"]) == pytest.approx(
        float(rows["adam"]["adjusted_items_per_s"])
    )
    measured = {row["optimizer"]: float(row["step_mean_s"]) for row in read(folder, "timing")}
    assert measured["sgd"] == pytest.approx(2 * measured["adam"])


def test_the_noise_decides_what_a_difference_is(tmp_path: Path) -> None:
    def price(cost: Cost) -> Cost:
        return scale(cost, {"adamw": 1.0, "sgd": 0.8}[cost.run.optimizer.name], noise=0.3)

    text, folder = show(tmp_path, plain("adamw", "sgd"), price)
    assert "0.80 [0.78, 0.82], within noise" in row_of(text, "One step: time and throughput", "sgd")
    assert "A/A noise: the reference step lay up to 30 % from itself" in text and "meter=lab" in text
    block = read_block(folder)
    assert "! A/A noise up to 30 %" in block and "step times closer than 30 % are equal" in block


def test_a_breakdown_says_what_bounds_the_optimizer(tmp_path: Path) -> None:
    def price(cost: Cost) -> Cost:
        assert cost.update is not None and cost.arithmetic is not None
        bound = {"adamw": "bandwidth", "sgd": "launch", "muon": "compute"}[cost.run.optimizer.name]
        update = msgspec.structs.replace(cost.update, bound=bound, step_s=1e-4, roof_bytes_per_s=2.8e9)
        arithmetic = msgspec.structs.replace(
            cost.arithmetic, model_flops=2.1e9, peak_flops_per_s=4e12, is_lower_bound=bound == "compute"
        )
        return msgspec.structs.replace(cost, update=update, arithmetic=arithmetic)

    text, folder = show(tmp_path, plain("adamw", "sgd", "muon"), price)
    title = "Where a step's time goes"
    # 28 bytes for each of 8,000 parameters in 0.1 ms is 2.24 of 2.8 GB/s; 2.1 GFLOP in 2.1 ms is 1 TFLOP/s.
    assert row_of(text, title, "adamw")[-3:] == ["80 %", "1", "25 (measured roof)"]
    assert row_of(text, title, "sgd")[-3:] == ["launch-bound", "1", "25 (measured roof)"]
    assert row_of(text, title, "muon")[-3:] == ["compute-bound", "≥ 1", "≥ 25 (measured roof)"]
    shares = {row["optimizer"]: row["roof_share"] for row in read(folder, "breakdown")}
    assert float(shares["adamw"]) == pytest.approx(0.8)


def test_a_precision_without_hardware_makes_no_speed_claim(tmp_path: Path) -> None:
    cells = [(vary(name, precision), LOSSES) for name in ("adamw", "sgd") for precision in ("fp32", "bf16")]

    def price(cost: Cost) -> Cost:
        if cost.run.precision.name == "fp32":
            return scale(cost, 1.0)
        note = "speed: bf16 is emulated on this cpu, no claim follows"
        return scale(cost, 7.77, is_fast=False, notes=(note,))

    text, folder = show(tmp_path, cells, price, command="python -m bench -m precision=bf16,fp32")
    reason = "no speed claim: no hardware support for bf16 on this cpu"
    row = row_of(text, "One step: time and throughput", "adamw", "bf16")
    assert row[-1] == reason and set(row[3:-1]) == {"–"}  # noqa: RUF001
    # 7.77 x 2.1 ms, in no shape: neither as a time nor as a ratio.
    for page in (text, (folder / "summary.txt").read_text()):
        assert not re.search(r"16\.3|15\.5|7\.77|7\.38", page)
    with open(folder / "figures" / "speed_photo_mlp.csv", newline="") as file:
        assert {row["precision"] for row in csv.DictReader(file)} == {"fp32"}
    assert "no speed claim" in row_of(
        text, "photo_mlp: each level against its baseline", "precision", "adamw"
    )
    # What was measured is kept, marked.
    marked = {row["precision"]: row["is_fast"] for row in read(folder, "timing")}
    assert marked == {"fp32": "True", "bf16": "False"}
    # Its memory and its loss are as good as any.
    assert row_of(text, "One step: memory", "adamw", "bf16")[-1] == "8.00"


def test_precision_names_the_arena_and_how_a_step_is_computed_does_not(tmp_path: Path) -> None:
    cells = [
        (vary(name, precision, recompute, "none", impl), [loss * times for loss in LOSSES])
        for name, times in (("adamw", 1.0), ("sgd", 2.0))
        for precision in ("bf16", "fp32")
        for recompute in ("block", "none")
        for impl in ("foreach", "fused")
    ]
    sections = (results, ran, speed, memory)
    command = "python -m bench -m precision=bf16,fp32"
    text, folder = show(tmp_path, cells, sections=sections, command=command)
    stems = {path.stem for path in (folder / "tables").iterdir() if path.stem.startswith("results_")}
    assert stems == {"results_photo_mlp-fp32", "results_photo_mlp-bf16"}
    for stem in stems:
        # One comparison each, not seven: the others are the same optimizers once more.
        rows = read(folder, stem)
        assert [row["optimizer"] for row in rows] == ["adamw", "sgd"]
        assert rows[1]["verdict"] == "worse, untuned" and rows[1]["p"] == rows[1]["p_holm"]
    assert len(read(folder, "timing")) == len(read(folder, "memory")) == 16
    assert len({row["optimizer"] for row in read(folder, "timing")}) == 8
    assert "48 runs: 48 ok" in read_block(folder) and len(read(folder, "runs")) == 48
    assert "No rivals" in text and (folder / "report.html").stat().st_size < 500_000
    lines = read_block(folder).splitlines()
    assert len(lines) <= 16 and max(map(len, lines)) <= 100
    assert any(line.startswith("adamw: bf16 ") for line in lines) and any(
        "bf16/fp32" in line for line in lines
    )


def test_what_recomputes_stands_in_where_the_plain_way_ran_out_of_memory(tmp_path: Path) -> None:
    cells: list[tuple[Study, Ends]] = [
        (vary("sgd"), LOSSES),
        (vary("adamw"), ["oom"] * 3),
        (vary("adamw", recompute="block"), [2 * loss for loss in LOSSES]),
    ]
    text, folder = show(tmp_path, cells, details={"oom": "out of memory"}, sections=(warnings,))
    assert "3 runs ran out of memory: photo_mlp/adamw (out of memory)" in text
    block = read_block(folder)
    assert re.search(r"adamw recomp\.\.=block +0\.0203 +reference", block)
    assert "adamw:" not in block


def test_the_effect_of_precision_recomputing_and_implementation(tmp_path: Path) -> None:
    cells = [
        (
            vary("adamw", precision, recompute, "none", impl),
            [
                loss
                * (1.0 + 0.001 * ((seed * 2) % 3 - 1) * (precision == "bf16"))
                * (1 + 1e-9 * (impl == "foreach"))
                for seed, loss in enumerate([*LOSSES, 0.0099, 0.0101])
            ],
        )
        for precision in ("bf16", "fp32")
        for recompute in ("block", "none")
        for impl in ("foreach", "fused")
    ]
    times = {"bf16": 0.5, "fp32": 1.0, "block": 1.3, "none": 1.0, "foreach": 1.01, "fused": 1.0}

    def price(cost: Cost) -> Cost:
        run = cost.run
        factor = times[run.precision.name] * times[run.recompute.name] * times[run.optimizer.impl or ""]
        peak = int((cost.peak_bytes or 0) * (0.5 if run.recompute.name == "block" else 1.0))
        return scale(cost, factor, peak_bytes=peak, predicted=None)

    text, folder = show(tmp_path, cells, price, command="python -m bench -m precision=bf16,fp32")
    rows = {(row["factor_name"], row["level"]): row for row in read(folder, "effects_photo_mlp")}
    assert {(key, row["baseline"]) for key, row in rows.items()} == {
        (("precision", "bf16"), "fp32"),
        (("recompute", "block"), "none"),
        (("impl", "foreach"), "fused"),
    }
    assert rows["recompute", "block"]["verdict"] == "identical" and rows["recompute", "block"]["p_holm"] == ""
    assert rows["precision", "bf16"]["verdict"] == "tied" and rows["impl", "foreach"]["verdict"] == "tied"
    bf16 = rows["precision", "bf16"]
    assert float(bf16["step_time_ratio"]) == pytest.approx(0.5)
    # Four combinations, each with two intervals of 2 %: sqrt(4 x 2) / 4 of log 1.02.
    assert float(bf16["step_time_ratio_ci95_high"]) == pytest.approx(
        0.5 * math.exp(math.log(1.02) / math.sqrt(2))
    )
    assert float(rows["recompute", "block"]["peak_memory_ratio"]) == pytest.approx(0.5, rel=1e-4)
    assert (
        rows["impl", "foreach"]["is_time_within_noise"] == "True" and bf16["is_time_within_noise"] == "False"
    )
    assert "recompute block instead of none gives the same final validation losses to the last bit" in text
    assert "precision bf16 instead of fp32 leaves the final validation loss within the margin" in text
    assert {path.stem for path in (folder / "figures").iterdir()} >= {"prices_photo_mlp", "factors_photo_mlp"}
    assert "Not drawn, since the loss does not change by it: recompute, impl." in text
    # Who has the lowest loss is not asked of what only moves its last bits.
    assert not list((folder / "tables").glob("best_*"))


def test_other_models_have_no_reference_step_in_common(tmp_path: Path) -> None:
    study = vary(is_workload_modified=True)
    cells = [
        (
            msgspec.structs.replace(
                study, model=msgspec.structs.replace(study.model, args={"dropout": rate})
            ),
            LOSSES,
        )
        for rate in (0.0, 0.1)
    ]

    def price(cost: Cost) -> Cost:
        return scale(cost, 1.5 if cost.run.model.args["dropout"] else 1.0)

    text, folder = show(tmp_path, cells, price)
    (row,) = read(folder, "effects_photo_mlp-modified")
    assert float(row["step_time_ratio"]) == pytest.approx(1.5) and row["step_time_ratio_ci95_low"] == ""
    assert "no reference step in common" in text


def test_memory_is_shown_piece_by_piece(tmp_path: Path) -> None:
    text, folder = show(tmp_path, plain("adamw", "sgd"), make_gpu_cost)
    header = next(line for line in text.splitlines() if "peak, measured" in line)
    assert "workspace (MiB)" in header and "reserved (MiB)" in header and "CUDA's allocator" in text
    rows = {row["optimizer"]: row for row in read(folder, "memory")}
    assert rows["adamw"]["state_bytes_per_param"] == "8.0" and rows["sgd"]["state_bytes_per_param"] == "0.0"
    # Both peaks without the 32 MiB that are cuBLAS's.
    assert float(rows["adamw"]["predicted_over_measured"]) == 1.0
    assert rows["adamw"]["predicted_phase"] == "backward" and rows["adamw"]["workspace_bytes"] == "33554432"
    assert row_of(text, "One step: memory", "adamw")[-1] == "8.00"
    assert row_of(text, "What compiling costs", "adamw")[-4:] == ["41", "6.5", "1", "52 000"]
    assert "None" not in text.replace("None.", "")


def test_a_host_that_is_late_and_a_long_period_are_remarked(tmp_path: Path) -> None:
    def price(cost: Cost) -> Cost:
        assert cost.breakdown is not None
        breakdown = msgspec.structs.replace(cost.breakdown, host_s=0.00199)
        return msgspec.structs.replace(make_gpu_cost(cost), breakdown=breakdown, period=10)

    text, _ = show(tmp_path, plain("adamw"), price)
    assert row_of(text, "One step: time and throughput", "adamw")[-1] == "host-bound; a period is 10 steps"


@pytest.mark.parametrize("device_memory", [1.0, 4096.0])
def test_large_cells_are_shown_in_gib(tmp_path: Path, device_memory: float) -> None:
    text, _ = show(
        tmp_path,
        plain("adamw"),
        lambda cost: msgspec.structs.replace(cost, peak_bytes=int(device_memory * 2**21), predicted=None),
    )
    assert ("peak, measured (GiB)" in text) is (device_memory > 1)


def warn(
    root: Path, price: Callable[[Cost], Cost | None], command: str = "python -m bench -m optimizer=adamw"
) -> str:
    text, _ = show(root, plain("adamw"), price, sections=(warnings,), command=command)
    return text


@pytest.mark.parametrize(
    ("share", "is_lower_bound", "is_warned"), [(1.04, False, False), (0.9, False, True), (0.9, True, False)]
)
def test_a_prediction_far_off_is_warned_of(
    tmp_path: Path, share: float, is_lower_bound: bool, is_warned: bool
) -> None:
    def price(cost: Cost) -> Cost:
        assert cost.predicted is not None
        predicted = msgspec.structs.replace(
            cost.predicted, peak_bytes=int(share * (cost.peak_bytes or 0)), is_lower_bound=is_lower_bound
        )
        return msgspec.structs.replace(cost, predicted=predicted)

    text = warn(tmp_path, price)
    assert ("Predicted and measured peak memory differ by up to -10 %: photo_mlp/adamw" in text) is is_warned
    assert ("optimizer=adamw meter=lab" in text) is is_warned


def test_a_slowed_device_is_warned_of(tmp_path: Path) -> None:
    def price(cost: Cost) -> Cost:
        cost = make_gpu_cost(cost)
        assert cost.clocks is not None
        clocks = msgspec.structs.replace(cost.clocks, throttle_reasons=("sw_thermal_slowdown",))
        return msgspec.structs.replace(cost, clocks=clocks)

    text = warn(tmp_path, price)
    assert "The device slowed down (sw_thermal_slowdown) while photo_mlp/adamw was measured" in text


def test_skipped_steps_and_other_formats_are_warned_of(tmp_path: Path) -> None:
    from bench.store import Store
    from tests.sweeps import make_formats, make_machine, make_result, make_run

    studies = [vary("adamw", "fp16"), vary("sgd", "bf16"), vary("adam", "bf16_pure")]
    folder = write_sweep(tmp_path / "results", [(study, ["absent"] * 3) for study in studies])
    changes: list[dict[str, Any]] = [
        {"num_skipped_steps": 20},
        {"formats": make_formats("bf16", weights=("bfloat16",), autocast=None)},
        {"formats": make_formats("bf16_pure")},
    ]
    for study, change in zip(studies, changes, strict=True):
        for seed in range(3):
            result = make_result(make_run(study, seed), 0.01, make_machine())
            Store(tmp_path / "results").publish(msgspec.structs.replace(result, artifacts=(), **change))
    build(folder, [warnings.__name__], None)
    text = (folder / "report.md").read_text()
    assert "The loss scaler skipped up to 10 % of the steps" in text and "photo_mlp fp16/adamw" in text
    assert "Not the formats that precision=bf16 means: weights in bfloat16; autocast off" in text
    assert "precision=bf16_pure" in text and "photo_mlp bf16_pure/adam" not in text


def test_what_is_not_there_is_said_and_nothing_breaks(tmp_path: Path) -> None:
    text, folder = show(tmp_path, plain("adamw", "sgd"), make_bare_cost)
    assert row_of(text, "One step: time and throughput", "sgd")[2:4] == ["2.10", "1.99"]
    assert "Where a step's time goes" not in text and "What compiling costs" not in text
    assert "saved activations (MiB)" not in text and "Warnings\n\nNone." in text
    assert {path.stem for path in (folder / "figures").iterdir()} == {"speed_photo_mlp", "memory_photo_mlp"}


def test_absent_sections_say_why(tmp_path: Path) -> None:
    off = msgspec.structs.replace(make_study().meter, is_on=False)
    text, _ = show(tmp_path / "off", [(vary(meter=off), LOSSES)], lambda _: None)
    assert "Speed: No step was metered in this sweep (meter=none)." in text and "Memory: No step was" in text
    text, _ = show(
        tmp_path / "failed",
        plain("adamw"),
        lambda cost: msgspec.structs.replace(
            make_bare_cost(cost), status="oom", detail="CUDA out of memory", step_mean_s=None, peak_bytes=None
        ),
    )
    assert "Speed: No step could be metered: CUDA out of memory." in text
    text, _ = show(tmp_path / "none", plain("adamw"), lambda _: None)
    assert "Speed: No step was metered in this sweep: no cell came as far as that." in text


def test_one_cell_that_could_not_be_metered_is_a_row_with_its_reason(tmp_path: Path) -> None:
    def price(cost: Cost) -> Cost:
        if cost.run.optimizer.name == "adamw":
            return cost
        names = ("step_mean_s", "step_p50_s", "step_p99_s", "items_per_s", "peak_bytes")
        absent: dict[str, Any] = dict.fromkeys(names)
        return msgspec.structs.replace(
            make_bare_cost(cost), status="oom", detail="CUDA out of memory", **absent
        )

    text, folder = show(tmp_path, plain("adamw", "sgd"), price)
    assert row_of(text, "One step: time and throughput", "sgd")[-1] == "CUDA out of memory"
    assert [row["status"] for row in read(folder, "timing")] == ["finished", "oom"]


def test_items_are_tokens_where_the_data_are(tmp_path: Path) -> None:
    data = Data(
        target="bench.data.text.Text", name="text", version="1", licence="CC0", sha256=None, item="token"
    )
    text, _ = show(tmp_path, [(vary(data=data), LOSSES)])
    assert "thousand tokens/s" in text
    # Beside pixels they are items.
    text, _ = show(tmp_path / "both", [(vary(data=data), LOSSES), (vary(), LOSSES)])
    assert "thousand items/s" in text


def test_what_the_meter_noted_is_listed_once_for_all_it_is_of(tmp_path: Path) -> None:
    note = "predicted memory: unsupported, sizes depend on values"
    text, _ = show(tmp_path, plain("adamw", "sgd"), lambda cost: msgspec.structs.replace(cost, notes=(note,)))
    assert text.count(note) == 1 and "What the meter noted" in text


def test_more_arenas_than_a_page_holds_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_MAX_FIGURES", 1)
    study = vary(is_workload_modified=True)
    cells = []
    for depth in range(3):
        model = msgspec.structs.replace(study.model, args={"depth": depth})
        cells += [(msgspec.structs.replace(vary(name), model=model), LOSSES) for name in ("adamw", "sgd")]
    text, folder = show(tmp_path, cells, sections=(speed, memory))
    assert len(list((folder / "figures").glob("*.svg"))) == 2
    assert (
        text.count("Not drawn, to keep the page small: photo_mlp model.depth=1, photo_mlp model.depth=2") == 2
    )
