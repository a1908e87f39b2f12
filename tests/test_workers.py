"""Every run ends as one row that says how, whatever it does to its process; the others are not touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench import children, machine
from bench.errors import SpecError, Unsupported
from bench.place import Place
from bench.result import Result
from bench.slot import list_slots
from bench.spec import Data, Model, Run
from bench.workers import End, Workers
from tests.composing import compose_run
from tests.processes import count_processes, is_running, wait_until
from tests.records import MACHINE, make_run


def make_villain(deed: str, **changes: Any) -> Run:
    return make_run(
        model=Model(target="tests.villains.Villain", name="villain", args={"deed": deed}), **changes
    )


def train(runs: list[Run], num: int = 2, **settings: Any) -> dict[int, Result]:
    with Workers([None] * num, **settings) as workers:
        return {end.number: end.result for end in workers.train([(run, MACHINE) for run in runs])}


def test_side_by_side_is_bit_for_bit_what_it_is_alone() -> None:
    runs = [compose_run("budget=smoke", workload="digits_mlp", seed=seed) for seed in range(4)]
    alone, apart = train(runs, 1), train(runs, 2)
    assert sorted(alone) == sorted(apart) == [0, 1, 2, 3]
    for number in alone:
        assert alone[number].status == "finished"
        assert alone[number].curve.val_loss == apart[number].curve.val_loss
        assert alone[number].search_loss == apart[number].search_loss


ENDS = {
    "raise": ("failed", "ValueError: nothing but trouble"),
    "exit": ("failed", "SystemExit: it asked for the end of its process, with code 0"),
    "exit_hard": ("failed", "its process ended itself with exit code 0"),
    "crash": ("failed", "its process crashed with signal 11 (SIGSEGV)"),
    "abort": ("failed", "its process crashed with signal 6 (SIGABRT)"),
    "be_killed": ("killed", "its process was ended from outside by signal 9 (SIGKILL)"),
    "hang": ("timeout", "it took longer than place.timeout_s=5; the last that was heard of is step 0"),
    "not_finite": ("diverged", "training loss was nan at step 0"),
    "run_out": ("oom", "CUDA out of memory. Tried to allocate 20.00 GiB."),
    "hog": ("oom", "can't allocate memory"),
    "lose_data_worker": ("failed", "a data worker died: DataLoader worker"),
    "leave_child": ("failed", "its process ended itself with exit code 3"),
}


def test_every_end_has_its_status_and_a_line() -> None:
    runs = [run for deed in ENDS for run in (make_villain(deed), make_run())]
    [healthy] = train([make_run()]).values()
    ends = train(runs, timeout_s=5.0)
    told = {deed: (ends[2 * place].status, ends[2 * place].detail or "") for place, deed in enumerate(ENDS)}
    for deed, (status, detail) in ENDS.items():
        assert told[deed][0] == status and detail in told[deed][1], (deed, told[deed])
        assert "\n" not in told[deed][1]
    others = [ends[number] for number in range(1, len(runs), 2)]
    assert [end.curve.val_loss for end in others] == [healthy.curve.val_loss] * len(ENDS)


def test_a_data_worker_that_hangs_ends_with_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_WORKER", str(tmp_path / "pid"))
    [end] = train([make_villain("wait_for_data_worker")], timeout_s=2.0).values()
    assert end.status == "timeout"
    process = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_running(process))


def test_what_a_process_wrote_is_kept_where_its_run_settled_nothing() -> None:
    with Workers() as workers:
        ends: list[End] = list(
            workers.train([(make_villain(deed), MACHINE) for deed in ("exit_hard", "crash")])
        )
    assert ends[0].files["log.txt"] == b"these are my last words\n"
    assert b"Segmentation fault" in ends[1].files["log.txt"] and b"villains.py" in ends[1].files["log.txt"]
    assert ends[0].result.artifacts == ("log.txt",)


def test_a_run_whose_data_ends_its_process_is_a_row_and_no_refusal() -> None:
    data = Data(
        target="tests.villains.end_process", name="villain", version="1", licence="none",
        sha256=None, item="sample",
    )  # fmt: skip
    run = make_run(data=data)
    with Workers() as workers:
        workers.inquiry.check([run])
        assert workers.inquiry.hash_data(data) is None
        [end] = workers.train([(run, MACHINE)])
    assert (end.result.status, end.result.detail) == ("failed", "its process ended itself with exit code 7")


def test_a_device_that_fails_twice_in_a_row_is_left_alone() -> None:
    """Devices are pretended: a process sees the name of its own, and the model blames one of them."""
    said: list[str] = []
    runs = [make_villain("blame_device", seed=seed) for seed in range(12)]
    with Workers(["0", "1"], say=said.append) as workers:
        ends = [end.result.status for end in workers.train([(run, MACHINE) for run in runs])]
    assert ends.count("failed") == 2 and ends.count("finished") == 10
    assert said == ["device 1: 2 runs in a row failed on it; the sweep goes on without it"]


def test_the_last_device_is_kept_whatever_runs_say_of_it() -> None:
    runs = [make_villain("blame_device", seed=seed) for seed in range(4)]
    with Workers(["1"]) as workers:
        ends = [end.result for end in workers.train([(run, MACHINE) for run in runs])]
    assert [end.status for end in ends] == ["failed"] * 4


def make_place(**settings: Any) -> Place:
    return Place(**({"results": "results", "workers": "auto"} | settings))


def test_slots_are_cores_or_places_on_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert list_slots(make_place(), "cpu", 1) == [None] * cores
    assert list_slots(make_place(), "cpu", 2 * cores) == [None]
    assert list_slots(make_place(workers=7), "cpu", 1) == [None] * 7
    assert list_slots(make_place(), "mps", 1) == [None]
    assert list_slots(make_place(), "cuda", 1, 3) == ["0", "1", "2"]
    assert list_slots(make_place(devices=(0, 2)), "cuda", 1, 3) == ["0", "2"]
    assert list_slots(make_place(devices=(0, 2), per_device=2), "cuda", 1, 3) == ["0", "0", "2", "2"]
    assert list_slots(make_place(devices=(0, 2), workers=3), "cuda", 1, 3) == ["0", "2", "0"]
    with pytest.raises(SpecError, match=r"^place\.devices: wants indices below 3, got 3$"):
        list_slots(make_place(devices=(3,)), "cuda", 1, 3)
    # An index is one of those that this process may see.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-abc,7")
    assert list_slots(make_place(), "cuda", 1, 3) == ["4", "GPU-abc", "7"]
    assert list_slots(make_place(devices=(1,)), "cuda", 1, 3) == ["GPU-abc"]


def test_which_device_there_is_is_asked_of_a_process() -> None:
    with Workers() as workers:
        found = workers.inquiry.find_device("cpu")
        assert found.kind == "cpu" and found.name == machine.name_device("cpu") and found.num == 0
        with pytest.raises(Unsupported, match="device=mps: this machine has"):
            workers.inquiry.find_device("mps")


def test_a_run_that_is_asked_to_stop_ends_after_its_step_and_tells_on_the_way() -> None:
    run = compose_run("budget.steps=200000", "budget.evaluations=2000", workload="digits_mlp")
    told: list[tuple[int, int]] = []
    asked = threading.Event()

    def tell(number: int, step: int, loss: float | None) -> None:
        told.append((number, step))
        if step >= 200:
            asked.set()

    start = time.monotonic()
    with Workers([None], should_stop=asked.is_set, tell=tell) as workers:
        [end] = workers.train([(run, MACHINE)])
    assert end.result.status == "interrupted" and time.monotonic() - start < 60
    assert told[:3] == [(0, 0), (0, 100), (0, 200)]


def test_no_process_outlives_a_sweep_that_is_killed(tmp_path: Path) -> None:
    """The parent gets no chance to say goodbye; its processes notice."""
    code = """
from bench.workers import Workers
from tests.composing import compose_run
from tests.records import MACHINE

runs = [compose_run("budget.steps=200000", workload="digits_mlp", seed=seed) for seed in range(3)]
short = compose_run("budget=smoke", workload="digits_mlp")
with Workers([None, None]) as workers:
    for _ in workers.train([(run, MACHINE) for run in [short, *runs]]):
        print("one done", flush=True)
"""
    script = tmp_path / "sweep.py"
    script.write_text(code)
    root = str(Path(__file__).parents[1])
    sweep = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": root, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert sweep.stdout is not None and sweep.stdout.readline() == b"one done\n"
    # The sweep, the server, and two processes that train.
    wait_until(lambda: count_processes(sweep.pid) >= 4)
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate()
    wait_until(lambda: count_processes(sweep.pid) == 0)


BROKEN = """
import sys
sys.path.insert(0, {folder!r})
from bench.errors import BenchError
from bench.workers import Workers
from tests.records import MACHINE, make_run

try:
    with Workers() as workers:
        print([end.result.detail for end in workers.train([(make_run(), MACHINE)] * 3)])
except BenchError as error:
    print(error)
"""


def test_where_no_process_can_start_one_line_says_why(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libsomething.so: not found')\n")
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", BROKEN.format(folder=str(tmp_path))],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (
        done.stdout == "no process can be started that trains: ImportError: libsomething.so: not found\n"
    ), done


def test_a_run_outlives_the_server_of_its_process_by_nothing() -> None:
    """What a killed server leaves behind is ended, and the next run has a server of its own."""
    hang = make_villain("hang")
    with Workers([None]) as workers:
        workers.start([0], [hang], MACHINE, [None])
        started = time.monotonic()
        while workers.wait(0.1) == [] and time.monotonic() - started < 5:
            pass
        os.kill(children._server.pid, signal.SIGKILL)  # type: ignore[union-attr]
        ends: list[End] = []
        while not ends:
            ends = workers.wait(1.0)
        assert ends[0].result.status == "killed"
        assert ends[0].result.detail == "the server of its process was ended from outside"
        [end] = workers.train([(make_run(), MACHINE)])
    assert end.result.status == "finished"
