"""The one way to check a change: `nox` runs lint, smoke and tests; `nox -l` lists the rest."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
# The tests come last, so that their closing line is the last word.
nox.options.sessions = ["lint", "smoke", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True
# Not uv: it does not read pip's own configuration, where a machine says which build of torch it wants.
nox.options.default_venv_backend = "venv"

TRIED = ("-c", "constraints.txt")
# One browser a file: reports to look at are built once.
BROWSER = ("tests/report", "-m", "browser", "-n", "auto", "--dist", "loadfile")
README = ("tests/house/test_readme.py", "-m", "slow or not slow")
# Beside the default ones those marked `thorough`.
ALL = ("-m", "not slow and not gpu and not postgres and not browser and not launchers")
LAUNCHERS = ("tests/test_launch.py", "-m", "launchers and not slow")
# What waits for processes of its own leaves a core to others.
AT_ONCE = str(1 + (os.cpu_count() or 1))
SWEEP = ("-m", "optimizer=adam,adamw", "budget=smoke", "seeds=2")


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint rules, floors: reads the code without importing it, so nothing heavy is installed."""
    session.install(*TRIED, "ruff", "import-linter")
    session.run("ruff", "format", "--check", "--quiet")
    session.run("ruff", "check", "--quiet")
    session.run("lint-imports", "--no-logo")


@nox.session(default=False)
def types(session: nox.Session) -> None:
    """Check bench/ with mypy, strictly; torch is installed because its types are what is checked against."""
    session.install(*TRIED, "-e", ".[dev]")
    session.run("mypy")


@nox.session
def smoke(session: nox.Session) -> None:
    """Run the first command of the README from this checkout, then from a wheel in an empty folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", temporary, ".")
        wheel = str(next(folder.glob("*.whl")))
        session.install(*TRIED, wheel)
        # The version does not change with every edit: in a reused environment pip would keep the old code.
        session.install("--force-reinstall", "--no-deps", wheel)

        # `python -m` puts the current folder first: this is the checkout's code, whatever is installed.
        there = folder / "there"
        _sweep(session, ["python", "-m", "bench"], there, f"place.results={there}")
        empty = folder / "empty"
        empty.mkdir()
        with session.chdir(empty):
            _sweep(session, ["bench"], empty / "results")
        if left := sorted(entry.name for entry in empty.iterdir() if entry.name != "results"):
            session.error(f"a sweep leaves results/ and nothing else, not {left}")


@nox.session
def tests(session: nox.Session) -> None:
    """Check types, run the README's commands and the tests; what stands after `--` goes to pytest alone.

    One environment for all of them: each holds torch, and takes a minute to make.
    """
    session.install(*TRIED, "-e", ".[dev,data,browser,joblib,slurm]")
    if not session.posargs:
        session.run("mypy")
        session.run("pytest", *README)
        session.run("pytest", *BROWSER)
        session.run("pytest", *LAUNCHERS)
    # Tests of one file stay together, as far as that lasts: what some of them share is made once.
    session.run("pytest", "-n", AT_ONCE, "--dist", "worksteal", *(session.posargs or ALL))


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """Open reports in Chromium (apt-get install chromium), offline, and let axe judge who can use them."""
    session.install(*TRIED, "-e", ".[dev,browser]")
    session.run("pytest", *BROWSER, *session.posargs)


@nox.session(default=False)
def slow(session: nox.Session) -> None:
    """Run the tests that take more than 20 s each."""
    session.install(*TRIED, "-e", ".[dev,data]")
    session.run("pytest", "-m", "slow and not launchers", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Time the harness itself: the benchmarks under tests/benchmarks."""
    session.install(*TRIED, "-e", ".[dev]")
    session.run("pytest", "tests/benchmarks", "-m", "not gpu", *session.posargs)


@nox.session(default=False)
def launchers(session: nox.Session) -> None:
    """Run one sweep by our runner and by every launcher, Ray's included; takes a minute or six."""
    session.install(*TRIED, "-e", ".[dev,joblib,slurm,ray]")
    session.run("pytest", "tests/test_launch.py", "-m", "launchers", "-s", *session.posargs)


@nox.session(default=False)
def torture(session: nox.Session) -> None:
    """Kill any process of a running sweep at any moment, 100 times with each engine, and go on."""
    session.install(*TRIED, "-e", ".[dev,data]")
    session.run("pytest", "tests/torture", "-m", "slow", "-s", *session.posargs, env={"BENCH_KILLS": "100"})


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Run what needs a CUDA device."""
    session.install(*TRIED, "-e", ".[dev,data]")
    session.run("pytest", "-m", "gpu", *session.posargs)


@nox.session(default=False)
def postgres(session: nox.Session) -> None:
    """Share a search through a real PostgreSQL; wants its server installed (apt-get install postgresql)."""
    session.install(*TRIED, "-e", ".[dev,postgres]")
    session.run("pytest", "tests/postgres", "-m", "postgres", *session.posargs)


@nox.session(default=False)
def readme(session: nox.Session) -> None:
    """Hold README.md against the disk and run its commands."""
    session.install(*TRIED, "-e", ".[dev]")
    session.run("pytest", *README, *session.posargs)


def _sweep(session: nox.Session, command: list[str], results: Path, *more: str) -> None:
    session.run(*command, *SWEEP, *more)
    pages = [page for page in results.glob("*/report.html") if not page.parent.is_symlink()]
    if len(pages) != 1:
        session.error(f"wanted one report under {results}, got {pages}")
    before = pages[0].stat().st_mtime_ns
    session.run("python", "-m", "bench.report", str(pages[0].parent))
    if pages[0].stat().st_mtime_ns == before:
        session.error(f"python -m bench.report did not write {pages[0]} again")
