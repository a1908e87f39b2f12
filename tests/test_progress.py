"""What is seen while a sweep runs: lines in place on a terminal, one a minute elsewhere, and honest times."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from bench.estimate import Timings
from bench.progress import Progress, Screen, describe_s
from bench.store import Store
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
    assert (
        lines[0].startswith("[  0/3] ....")
        and "time left unknown" in lines[0]
        and lines[0].endswith("now  a")
    )
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
        assert shown[0] == "now  a lr=1 and 1 beside it"
        assert shown[1].startswith("[  0/2] ....") and shown[1].endswith("1 min 0 s left")
        progress.end(0, "finished", "a lr=1  \x1b[2Jval loss 1")
        assert "\x1b[2A\x1b[J" + "[  1/2] a lr=1  ?[2Jval loss 1" in stream.getvalue()
        assert "1 ok" in stream.getvalue()
    # Nothing stays at the bottom, and no colour was used.
    assert stream.getvalue().endswith("\x1b[2A\x1b[J") and "\x1b[3" not in stream.getvalue()


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
