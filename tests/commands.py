"""Run the real commands in a process of their own, as a user does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import msgspec

from bench.record import read_record
from bench.result import Manifest, Result, StudyRecord
from bench.store import Store

REPOSITORY = Path(__file__).resolve().parent.parent
# Runs the door and says on stderr's last line whether torch was ever imported.
_WATCHED = """
import sys
sys.argv = ["bench", *sys.argv[1:]]
from bench.cli import main
try:
    main()
finally:
    print("torch imported" if "torch" in sys.modules else "torch not imported", file=sys.stderr)
"""


def run_bench(
    *arguments: str, cwd: Path, is_watched: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end: in a process forked from one that has imported what all of them import.

    A watched command starts from nothing, as the others do in `nox -s smoke`: that costs seconds each.
    """
    paths = [str(REPOSITORY), str(cwd)]
    if is_watched:
        return subprocess.run(
            [sys.executable, "-c", _WATCHED, *arguments],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
    return start_bench(*arguments, cwd=cwd, **variables).wait()


class Started:
    """A command that runs, in a process forked from the warm one."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, variables: dict[str, str]) -> None:
        self._arguments = arguments
        self._temporary = tempfile.TemporaryDirectory()
        self._out, self._err = (Path(self._temporary.name, name) for name in ("out", "err"))
        self._out.touch()
        self._err.touch()
        paths = [str(REPOSITORY), str(cwd)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables
        self._process = multiprocessing.get_context("forkserver").Process(
            target=_run_door, args=(arguments, cwd, paths, environment, self._out, self._err)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def wait_for(self, text: str, *, num: int = 1, timeout: float = 120.0) -> None:
        """Return when stderr holds a text so many times, or the command has ended."""
        end = time.monotonic() + timeout
        while self._err.read_text().count(text) < num and self._process.exitcode is None:
            assert time.monotonic() < end, self._err.read_text()
            time.sleep(0.005)

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Wait for the end; return what was printed, and the exit code (minus a signal's number)."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(list(self._arguments), timeout, self._err.read_text())
        with self._temporary:
            return subprocess.CompletedProcess(
                list(self._arguments), self._process.exitcode, self._out.read_text(), self._err.read_text()
            )


def start_bench(*arguments: str, cwd: Path, **variables: str) -> Started:
    """Start one command, and go on while it runs."""
    return Started(arguments, cwd, variables)


def _run_door(
    arguments: tuple[str, ...], cwd: Path, paths: list[str], environment: dict[str, str], out: Path, err: Path
) -> None:
    # What it starts is found by the number of its session.
    os.setsid()
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = paths
    sys.argv = ["bench", *arguments]
    from bench import children
    from bench.cli import main

    children.start_here()
    main()


def write_optimizer(folder: Path, name: str, code: str, *lines: str) -> None:
    """Write a class of one's own, and a member of the group `optimizer` for it in `more/`.

    Args:
        folder: Where the commands run.
        name: Of the class; its module and the member are called the same in small letters.
        code: Of the module.
        lines: More of the member's YAML.
    """
    module = name.lower()
    (folder / f"{module}.py").write_text(code)
    written = folder / "more" / "optimizer" / f"{module}.yaml"
    written.parent.mkdir(parents=True, exist_ok=True)
    search = "search: {lr: {default: 0.1, low: 0.001, high: 10.0, source: here}}"
    known = (f"_target_: {module}.{name}", f"name: {module}", "lr: auto", search)
    written.write_text("\n".join((*known, *lines, "")))


class Sweep(msgspec.Struct):
    """What a sweep left on disk, read back."""

    folder: Path
    manifest: Manifest
    studies: list[StudyRecord]
    results: list[list[Result]]


def read_sweep(results: Path, name: str = "latest") -> Sweep:
    """Read a sweep's folder and the results of its runs."""
    folder = (results / name).resolve()
    manifest = read_record(folder / "manifest.json", Manifest)
    studies = [read_record(folder / "studies" / name, StudyRecord) for name in manifest.studies]
    store = Store(results)
    from bench.identity import run_id

    found = [
        [store.find(run_id(run), manifest.machine) or study.unsettled[run_id(run)] for run in study.runs]
        for study in studies
    ]
    return Sweep(folder, manifest, studies, found)


class Timed(msgspec.Struct):
    """How one of many commands ended."""

    returncode: int
    stdout: str
    stderr: str
    # Of the processor: how busy the machine is says nothing.
    seconds: float


def run_many(commands: list[tuple[str, ...]], *, cwd: Path) -> list[Timed]:
    """Run commands one after the other, each in a fork of one process that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    with tempfile.TemporaryDirectory() as temporary:
        paths = [str(REPOSITORY), str(cwd)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        process = context.Process(target=_run_each, args=(commands, cwd, paths, environment, Path(temporary)))
        process.start()
        process.join(300)
        assert process.exitcode == 0
        return [
            Timed(
                code,
                Path(temporary, f"{number}.out").read_text(errors="replace"),
                Path(temporary, f"{number}.err").read_text(errors="replace"),
                seconds,
            )
            for number, (code, seconds) in enumerate(
                msgspec.json.decode(Path(temporary, "ends").read_bytes(), type=list[tuple[int, float]])
            )
        ]


def _run_each(
    commands: list[tuple[str, ...]], cwd: Path, paths: list[str], environment: dict[str, str], folder: Path
) -> None:
    ends = []
    for number, arguments in enumerate(commands):
        pid = os.fork()
        if pid == 0:
            code = 1
            # One that does not end is ended, and the others have their turn.
            signal.alarm(30)
            try:
                _run_door(
                    arguments, cwd, paths, environment, folder / f"{number}.out", folder / f"{number}.err"
                )
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                sys.stdout.flush()
                os._exit(code)
        _, status, used = os.wait4(pid, 0)
        ends.append((os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime))
    (folder / "ends").write_bytes(msgspec.json.encode(ends))
