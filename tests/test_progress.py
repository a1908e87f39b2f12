"""What is seen while a sweep runs: lines in place on a terminal, one a minute elsewhere, and honest times."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import select
import time
from pathlib import Path

import pytest

from bench.ending import Standing, describe_end
from bench.estimate import Timings
from bench.progress import Progress, describe_s
from bench.result import Status
from bench.screen import Screen
from bench.spec import Run
from bench.store import Store
from tests.commands import REPOSITORY, _run_door, run_bench
from tests.records import MACHINE, make_optimizer, make_result, make_run
from tests.sweeps import make_machine


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_than_a_terminal_there_is_a_beat_and_no_control_character() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    assert not screen.is_live
    with Progress(screen.say, None, ["a", "b", "c"], [None, None, None], 1, heartbeat_s=0.05) as progress:
        time.sleep(0.3)
        progress.end(0, "finished", "a  val loss 1")
        progress.end(1, "failed", "b  failed: no")
        progress.end(2, "finished", "c  val loss 2")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("[  0/3] a  ....") and lines[0].endswith("time left unknown")
    assert [line[:7] for line in lines if "val loss" in line or "failed:" in line] == [
        "[  1/3]", "[  2/3]", "[  3/3]",
    ]  # fmt: skip
    assert " left" in next(line for line in lines if "val loss 1" in line)
    assert " left" not in lines[-1]
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_terminal_keeps_two_lines_at_its_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    screen = Screen(stream)
    with Progress(screen.say, screen.show, ["a lr=1", "b lr=2"], [60.0, 60.0], 2) as progress:
        shown = stream.getvalue().splitlines()
        assert shown[0] == "[  0/2] a lr=1  and 1 beside it"
        assert shown[1].startswith("....") and shown[1].endswith("1 min 0 s left")
        progress.end(0, "finished", "a lr=1  \x1b[2Jval loss 1")
        assert "\x1b[2A\x1b[J" + "[  1/2] a lr=1  ?[2Jval loss 1" in stream.getvalue()
        assert "1 ok" in stream.getvalue()
    # Nothing stays at the bottom, and no colour was used.
    assert stream.getvalue().endswith("\x1b[2A\x1b[J") and "\x1b[3" not in stream.getvalue()


def test_the_line_in_place_says_where_a_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    shown: list[str] = []
    progress = Progress(print, shown.extend, list("abcdefgh"), [60.0] * 8, 2, steps=[2000] * 8)
    others = list(range(2, 8))

    def look() -> str:
        # The lines are drawn again when a run ends.
        shown.clear()
        progress.end(others.pop(), "finished", "another", is_said=False)
        return shown[0]

    assert look() == "[  1/8] a  and 1 beside it"
    progress.tell(1, 400, 1.25)
    assert look() == "[  2/8] b  step 400/2000  loss 1.25  and 1 beside it"
    clock[0] += 55.44
    progress.tell(1, 640, 1.04321)
    progress.tell(0, 100, None)
    assert look() == "[  3/8] a  step 100/2000  and 1 beside it"
    # What has ended is not under way.
    progress.end(0, "finished", "a", is_said=False)
    assert shown[-2] == "[  4/8] b  step 640/2000  loss 1.043  231 ms/step  and 1 beside it"
    # A run that was killed begins anew, and is timed from there.
    progress.tell(1, 0, 2.5)
    clock[0] += 1
    progress.tell(1, 10, 2.25)
    assert look() == "[  5/8] b  step 10/2000  loss 2.25  100 ms/step  and 1 beside it"


def test_a_run_that_is_half_done_leaves_half_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    shown: list[str] = []
    progress = Progress(print, shown.extend, ["a", "b"], [None, None], 1, steps=[200, 200])
    clock[0] += 30
    progress.tell(0, 100, 1.0)
    with progress:
        assert shown[1].endswith("30 s so far  1 min 30 s left")


def test_a_trial_counts_without_a_line() -> None:
    stream = io.StringIO()
    with Progress(Screen(stream).say, None, ["a", "b"], [None, None], 1) as progress:
        progress.end(0, "finished", "a", is_said=False)
        progress.end(1, "finished", "b")
    assert stream.getvalue() == "[  2/2] b\n"


def test_a_finished_run_stands_beside_the_best_of_its_arena() -> None:
    standing = Standing()
    adam = make_run(optimizer=make_optimizer("torch.optim.Adam"))

    def end(run: Run, loss: float | None, status: Status = "finished", detail: str | None = None) -> str:
        result = make_result(run, val_loss=loss, status=status, detail=detail, train_s=12.34)
        return describe_end(result, standing.place(result, "log_ratio"))

    assert end(make_run(), 0.40) == "val loss 0.4  12.3 s"
    assert end(adam, 0.41) == "val loss 0.41  +2.5 % to best  12.3 s"
    assert end(adam, 0.39) == "val loss 0.39  best so far  12.3 s"
    # Another seed draws other batches, and another model is another task.
    assert end(make_run(seed=7), 0.5) == "val loss 0.5  12.3 s"
    assert end(adam, None, "failed", "ValueError: no") == "failed: ValueError: no"
    result = make_result(adam, val_loss=0.3)
    assert standing.place(make_result(make_run(), val_loss=0.35), "difference") == "best so far"
    assert standing.place(result, "difference") == "best so far"
    assert standing.place(make_result(make_run(), val_loss=-0.1), "log_ratio") == "best so far"
    assert standing.place(make_result(make_run(), val_loss=0.15), "log_ratio") == "+0.25 to best"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    Screen(stream).show(["here"])
    assert stream.getvalue() == "\x1b[36mhere\x1b[0m\n"
    monkeypatch.setenv("TERM", "dumb")
    assert not Screen(Terminal()).is_live


def test_times_come_from_like_runs_on_this_device(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = make_run()
    assert Timings(store, MACHINE).seconds(run) is None
    store.publish(make_result(run, train_s=3.0, eval_s=1.0))
    adam = make_run(optimizer=make_optimizer("torch.optim.Adam"))
    store.publish(make_result(adam, train_s=8.0, eval_s=2.0))
    timings = Timings(store, MACHINE)
    assert timings.seconds(make_run(seed=7)) == pytest.approx(4.0)
    assert timings.seconds(make_run(seed=7, optimizer=adam.optimizer)) == pytest.approx(10.0)
    # An optimizer that never ran here takes what others took.
    assert timings.seconds(make_run(optimizer=make_optimizer("torch.optim.Adagrad"))) == pytest.approx(7.0)
    wider = type(run.model)(target=run.model.target, name="mlp", args=run.model.args | {"width": 9})
    assert timings.seconds(make_run(model=wider)) is None
    assert Timings(store, make_machine(device_name="another")).seconds(run) is None


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (72, "1 min 12 s"), (6720, "1 h 52 min")])
def test_times_in_words(seconds: float, said: str) -> None:
    assert describe_s(seconds) == said


# A search of two settings, then one run.
SEARCHED = (
    "workload=digits_mlp", "budget=smoke", "search.trials=2", "search.confirm=1", "search.confirm_seeds=1",
    "search.widen=false", "seeds=1", "meter=none", "report.sections=[]",
)  # fmt: skip


def test_how_much_is_said_is_asked_with_a_flag(tmp_path: Path) -> None:
    said = {}
    for flag in ("-q", "", "-v"):
        place = f"place.results={tmp_path / (flag or 'plain')}"
        said[flag] = run_bench(*([flag] if flag else []), place, *SEARCHED, cwd=tmp_path)
        assert said[flag].returncode == 0, said[flag].stderr
        # Results, and nothing but them, whatever is said beside.
        lines = said[flag].stdout.splitlines()
        assert lines[0].startswith("bench ") and lines[-1].startswith("report  ")
    assert said["-q"].stderr == ""
    plain, verbose = (said[flag].stderr.splitlines() for flag in ("", "-v"))
    assert plain[0].startswith("plan: ") and verbose[0].startswith("plan: ")
    runs = [line for line in plain if line.startswith("[")]
    assert len(runs) == 1 and " seed=0  val loss " in runs[0]
    trials = [line for line in verbose if " seed=1000000  val loss " in line]
    assert len(trials) == 2 and {line[:7] for line in trials} == {"[  1/2]", "[  2/2]"}


def test_flags_that_are_none_are_refused(tmp_path: Path) -> None:
    done = run_bench("-q", "budget=smoke", "--verbose", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("bench: -q and -v: wants one of them") and done.stderr.count("\n") == 1
    for word in ("-vv", "-q=1", "--quite", "--verbosity"):
        done = run_bench(word, "budget=smoke", cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert f"{word}: no such flag; known: -q, --quiet, -v, --verbose" in done.stderr
    assert " -q " in run_bench("--help", cwd=tmp_path).stdout


def test_on_a_terminal_a_run_shows_where_it_is(tmp_path: Path) -> None:
    here, there = os.openpty()
    arguments = ("optimizer.lr=1e-3", "budget.steps=1200", "seeds=1", *SEARCHED[-2:], "search=none")
    environment = os.environ | {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100"}
    process = multiprocessing.get_context("forkserver").Process(
        target=_run_door,
        args=(arguments, tmp_path, [str(REPOSITORY)], environment, tmp_path / "out", Path(os.ttyname(there))),
    )
    process.start()
    shown = b""
    while process.is_alive():
        if select.select([here], [], [], 0.1)[0]:
            shown += os.read(here, 65536)
    os.close(there)
    os.close(here)
    assert process.exitcode == 0, shown.decode()
    places = re.findall(r"seed=0  step (\d+)/1200  loss [\d.]+  [\d.]+ ms/step", shown.decode())
    assert places and 0 < int(places[-1]) <= 1200
    # They are taken back, and results do not stand among them.
    assert "\x1b[2A\x1b[J" in shown.decode() and "report  " not in shown.decode()
    assert (tmp_path / "out").read_text().startswith("bench ")
