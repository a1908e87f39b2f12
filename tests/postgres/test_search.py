"""What holds for a journal holds for a database that many hosts share."""

from __future__ import annotations

import itertools
import os
import re
import signal
from pathlib import Path

import pytest

from bench.errors import SpecError
from bench.search.trials import open_trials
from tests.postgres.conftest import Server
from tests.search.searching import finish, make_search, make_searcher, run_together, start

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("attempt", range(3))
def test_processes_share_one_database(tmp_path: Path, database: str, attempt: int) -> None:
    """The database is empty, so they also race to make its tables."""
    processes, sampler = ((2, "grid"), (4, "grid"), (3, "tpe"))[attempt]
    changes = {"trials": 40, "per_decade": 8.0, "storage": database}
    tried = run_together(tmp_path / "x", make_search(sampler, **changes), processes=processes, num=3)
    assert sorted(itertools.chain(*tried)) == list(range(40)), "none lost, none twice"
    assert sum(map(bool, tried)) >= 2, "several took part"
    searcher = make_searcher(tmp_path / "x", sampler, **changes)
    assert [trial.number for trial in searcher.trials()] == list(range(40))
    assert searcher.waiting_for() == []


@pytest.mark.parametrize("sampler", ["grid", "qmc", "tpe", "gp"])
def test_a_database_gives_what_a_journal_gives(tmp_path: Path, database: str, sampler: str) -> None:
    there = make_searcher(tmp_path / "unused", sampler, storage=database)
    finish(there)
    here = make_searcher(tmp_path / "x.journal", sampler)
    finish(here)
    assert there.trials() == here.trials()
    assert any(trial.value is None for trial in there.trials()), "an infinite loss comes back as one"


def test_a_killed_search_goes_on(tmp_path: Path, database: str) -> None:
    undisturbed = make_searcher(tmp_path / "x.journal", "tpe", trials=30)
    finish(undisturbed)
    search = make_search("tpe", trials=30, storage=database)
    for num_killed in range(20):
        process = start(tmp_path / "unused", search)
        assert process.pid is not None
        # At no particular moment: some die while opening, some while telling.
        process.join(0.6 + 0.15 * num_killed)
        if process.exitcode is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
    assert process.exitcode == 0
    told = make_searcher(tmp_path / "unused", "tpe", trials=30, storage=database).trials()
    assert told == undisturbed.trials()


def test_what_cant_be_opened_is_one_line(server: Server, tmp_path: Path) -> None:
    cases = [
        (server.url(password="wr0ng @/:word"), r"password authentication failed"),
        (server.url("nowhere"), r'database "nowhere" does not exist'),
        (server.url().replace(str(server.port), "1"), r"[Cc]onnection refused"),
    ]
    for url, reason in cases:
        with pytest.raises(SpecError) as caught:
            open_trials(url, tmp_path / "x", "x")
        text = str(caught.value)
        assert re.match(
            r"search\.storage: can't open postgresql\+psycopg://bench:\*\*\*@127\.0\.0\.1:\d+/\w+: ", text
        )
        assert re.search(reason, text)
        assert "word" not in text.replace("password", "")
        assert "\n" not in text
