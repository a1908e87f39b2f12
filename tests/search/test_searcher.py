"""A search is shared, killed and lost: whatever happens, the same settings are tried, each of them once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench import owner
from bench.effort import Dimension
from bench.search.searcher import Searcher
from bench.search.space import Params
from tests.search.searching import DECADES, LR, Death, finish, make_search, make_searcher, run_together, start
from tests.tiers import few

SAMPLERS = ["grid", "qmc", "random", "tpe", "gp"]


@pytest.mark.parametrize("sampler", few(SAMPLERS, 2))
def test_a_lost_search_is_redone_the_same(tmp_path: Path, sampler: str) -> None:
    first = make_searcher(tmp_path / "first.journal", sampler)
    finish(first)
    again = make_searcher(tmp_path / "again.journal", sampler)
    finish(again)
    assert first.trials() == again.trials()
    assert len(first.trials()) == 9
    assert first.trials()[0].params == {LR: 1e-3}, "the declared default comes first"
    assert all(1e-5 <= trial.params[LR] <= 1e-1 for trial in first.trials())
    assert len({trial.params[LR] for trial in first.trials()}) == 9


@pytest.mark.parametrize("sampler", ["grid", "qmc", "random", "tpe", "gp"])
def test_a_longer_search_only_adds(tmp_path: Path, sampler: str) -> None:
    journal = tmp_path / "x.journal"
    short = make_searcher(journal, sampler, trials=6)
    finish(short)
    told = short.trials()
    longer = make_searcher(journal, sampler, trials=8)
    assert longer.trials() == told
    assert finish(longer) == [6, 7]
    whole = make_searcher(tmp_path / "whole.journal", sampler, trials=8)
    finish(whole)
    assert longer.trials() == whole.trials(), "as if it had been as long from the start"
    # And a shorter one sees what it asked for.
    assert make_searcher(journal, sampler, trials=6).trials() == told


def test_divergence_is_no_number_and_is_told(tmp_path: Path) -> None:
    searcher = make_searcher(tmp_path / "x.journal", trials=3)
    values = [None, math.nan, 0.5]
    for proposal, value in zip(searcher.ask(3), values, strict=True):
        searcher.tell(proposal.number, value)
    assert [trial.value for trial in searcher.trials()] == [None, None, 0.5]
    assert searcher.is_complete()
    assert searcher.ask(3) == []


@pytest.mark.thorough
def test_adaptive_samplers_keep_away_from_divergence(tmp_path: Path) -> None:
    for sampler in ("tpe", "gp"):
        searcher = make_searcher(tmp_path / "x.journal", sampler, trials=16)
        finish(searcher)
        late = [trial for trial in searcher.trials() if trial.number >= 8]
        # A quarter of the log range and more diverges: random settings would lose 1 in 8 there.
        assert sum(trial.value is None for trial in late) <= 2


def test_an_adaptive_sampler_gives_one_at_a_time(tmp_path: Path) -> None:
    searcher = make_searcher(tmp_path / "x.journal", "tpe")
    (proposal,) = searcher.ask(4)
    assert searcher.ask(4) == []
    searcher.tell(proposal.number, 1.0)
    assert [other.number for other in searcher.ask(4)] == [1]


def test_what_is_varied_names_the_search(tmp_path: Path) -> None:
    journal = tmp_path / "x.journal"
    finish(make_searcher(journal, "random", trials=2))
    wider = make_searcher(journal, "random", {LR: Dimension(low=1e-6, high=1.0, log=True)}, trials=2)
    assert wider.trials() == []
    assert make_searcher(journal, "qmc", trials=2).trials() == []


@pytest.mark.thorough
def test_every_kind_of_value_comes_back_as_it_was(tmp_path: Path) -> None:
    space = {
        LR: DECADES,
        "optimizer.betas[1]": Dimension(low=1e-4, high=0.1, log=True, is_complement=True),
        "optimizer.nesterov": Dimension(choices=(False, True)),
        "model.width": Dimension(low=16, high=64, log=True),
        "model.activation": Dimension(choices=("relu", "tanh")),
        "optimizer.momentum": Dimension(low=0.0, high=0.9),
    }
    default: Params = {
        LR: 1e-3, "optimizer.betas[1]": 0.999, "optimizer.nesterov": False, "model.width": 32,
        "model.activation": "relu", "optimizer.momentum": 0.0,
    }  # fmt: skip
    for sampler in ("qmc", "random", "tpe", "gp"):
        journal = tmp_path / f"{sampler}.journal"
        searcher = Searcher(space, make_search(sampler, trials=12), default, journal, "kinds")
        asked: list[Params] = []
        while proposals := searcher.ask():
            asked.append(proposals[0].params)
            searcher.tell(proposals[0].number, float(len(asked) % 5))
        assert asked[0] == default
        assert [trial.params for trial in searcher.trials()] == asked
        for params in asked:
            assert 0.9 <= params["optimizer.betas[1]"] <= 0.9999
            assert type(params["model.width"]) is int
            assert 16 <= params["model.width"] <= 64
            assert 0 <= params["optimizer.momentum"] <= 0.9
        assert {params["model.activation"] for params in asked} == {"relu", "tanh"}
        assert {params["optimizer.nesterov"] for params in asked} == {False, True}
        assert len({params["optimizer.betas[1]"] for params in asked}) > 6


def test_nothing_to_vary_is_one_setting(tmp_path: Path) -> None:
    for sampler in SAMPLERS:
        searcher = Searcher({}, make_search(sampler), {}, tmp_path / "x.journal", "fixed")
        assert searcher.num_total == 1
        assert searcher.ask(5) == [(0, {})]
        searcher.tell(0, 1.0)
        assert searcher.is_complete()


def test_widening_adds_beyond_one_side_and_is_found_again(tmp_path: Path) -> None:
    journal = tmp_path / "x.journal"
    searcher = make_searcher(journal, trials=5)
    finish(searcher)
    assert searcher.space[LR] == Dimension(low=1e-4, high=1e-2, log=True)
    assert searcher.widen("high", 2) == 2
    assert finish(searcher) == [5, 6]
    assert [trial.params[LR] for trial in searcher.trials()[5:]] == [0.0316227766017, 0.1]
    assert searcher.space[LR] == Dimension(low=1e-4, high=0.1, log=True)
    resumed = make_searcher(journal, trials=5)
    assert len(resumed.trials()) == 5, "a widening to come is not there yet"
    resumed.widen("high", 2)
    assert resumed.trials() == searcher.trials()
    # Asking for more then: of the eight points around the default two were among the widened.
    longer = make_searcher(journal, trials=8)
    assert len(longer.trials()) == 7
    assert len(finish(longer)) == 1
    assert {trial.params[LR] for trial in longer.trials()} >= {3.16227766017e-05, 0.0316227766017, 0.1}


@pytest.mark.parametrize("sampler", ["qmc", "tpe", "gp"])
def test_widening_grows_the_interval_of_a_sampler(tmp_path: Path, sampler: str) -> None:
    searcher = make_searcher(tmp_path / "x.journal", sampler, trials=6)
    finish(searcher)
    assert searcher.widen("low", 4) == 4
    assert searcher.space[LR] == Dimension(low=1e-7, high=0.1, log=True)
    finish(searcher)
    assert len(searcher.trials()) == 10
    # Resumed, its interval has not grown yet: what lies beyond is not shown to the sampler.
    assert finish(make_searcher(tmp_path / "x.journal", sampler, trials=11)) == [10]


def test_a_list_of_lrs_is_not_widened(tmp_path: Path) -> None:
    space = {LR: Dimension(choices=(1e-3, 1e-2))}
    for sampler in ("grid", "tpe"):
        searcher = Searcher(space, make_search(sampler, trials=2), {LR: 1e-3}, tmp_path / "x.journal", "list")
        assert searcher.widen("high", 2) == 0
        assert searcher.num_total == 2


def test_a_live_owner_keeps_its_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "x.journal"
    first, second = make_searcher(journal, trials=2), make_searcher(journal, trials=2)
    first.ask()
    assert [proposal.number for proposal in second.ask(5)] == [1]
    assert second.ask(5) == []
    assert not second.is_complete()
    assert second.waiting_for()[0].startswith("setting 0 on ")
    # On another host a process can't be looked at, so it is taken for alive.
    monkeypatch.setattr(owner.socket, "gethostname", lambda: "elsewhere")
    monkeypatch.setattr(owner, "is_alive", lambda _: False)
    assert make_searcher(journal, trials=2).ask(5) == []


def test_a_dropped_search_of_this_process_is_taken_over(tmp_path: Path) -> None:
    journal = tmp_path / "x.journal"
    dropped = make_searcher(journal, "random")
    dropped.tell(dropped.ask()[0].number, 1.0)
    proposals = dropped.ask()
    assert [number for number, _ in make_searcher(journal, "random").ask()] == [2], (
        "it lives, and keeps its own"
    )
    del dropped
    assert make_searcher(journal, "random").ask() == proposals


def test_who_was_taken_for_dead_comes_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "x.journal"
    slow = make_searcher(journal, trials=1)
    (proposal,) = slow.ask()
    monkeypatch.setattr(owner, "is_alive", lambda _: False)
    heir = make_searcher(journal, trials=1)
    assert heir.ask() == [proposal]
    monkeypatch.undo()
    slow.tell(proposal.number, 7.0)
    assert not heir.is_complete()
    heir.tell(proposal.number, 1.0)
    assert [trial.value for trial in slow.trials()] == [1.0]


@pytest.mark.parametrize("attempt", range(3))
def test_two_processes_share_one_journal(tmp_path: Path, attempt: int) -> None:
    sampler = ("grid", "random", "tpe")[attempt]
    journal = tmp_path / "x.journal"
    search = make_search(sampler, trials=36, per_decade=8.0)
    tried = run_together(journal, search, num=3)
    assert sorted(tried[0] + tried[1]) == list(range(36)), "none lost, none twice"
    assert all(tried), "both took part"
    searcher = make_searcher(journal, sampler, trials=36, per_decade=8.0)
    assert [trial.number for trial in searcher.trials()] == list(range(36))
    assert searcher.waiting_for() == []


# The first writing creates the search; with three at a time 2-4 claim and 5-7 tell, and so on.
DEATHS = {
    "grid": [(w, m) for w in (1, 2, 4, 5, 7, 8) for m in ("before", "torn", "after")] + [(5, "locked")],
    "tpe": [(w, m) for w in (4, 5, 14, 15) for m in ("before", "torn", "after")],
    "gp": [(14, "torn"), (14, "after"), (15, "before"), (15, "torn"), (15, "after")],
}


@pytest.mark.parametrize("sampler", few(DEATHS))
def test_a_killed_search_goes_on_as_if_nothing_had_happened(tmp_path: Path, sampler: str) -> None:
    undisturbed = make_searcher(tmp_path / "undisturbed.journal", sampler)
    finish(undisturbed)
    search = make_search(sampler)
    for writing, moment in DEATHS[sampler]:
        journal = tmp_path / f"{writing}-{moment}.journal"
        killed = start(journal, search, num=3, death=Death(writing, moment))
        killed.join(30)
        assert killed.exitcode == -9
        resumed = start(journal, search, num=3)
        resumed.join(30)
        assert resumed.exitcode == 0
        assert make_searcher(journal, sampler).trials() == undisturbed.trials(), (writing, moment)


def test_a_search_killed_again_and_again_comes_to_its_end(tmp_path: Path) -> None:
    journal = tmp_path / "x.journal"
    # Opening, withdrawing what the last one left, one claim; the value is torn, or the next claim.
    ends = []
    for k in range(40):
        process = start(journal, make_search("tpe"), death=Death(5, ("torn", "after", "before")[k % 3]))
        process.join(30)
        ends.append(process.exitcode)
        if ends[-1] == 0:
            break
    assert ends[:-1] == [-9] * (len(ends) - 1)
    assert ends[-1] == 0
    assert len(ends) > 3
    undisturbed = make_searcher(tmp_path / "undisturbed.journal", "tpe")
    finish(undisturbed)
    assert make_searcher(journal, "tpe").trials() == undisturbed.trials()


def test_a_survivor_goes_on_beside_a_torn_end(tmp_path: Path) -> None:
    journal = tmp_path / "x.journal"
    survivor = make_searcher(journal, trials=4)
    first = survivor.ask()
    killed = start(journal, make_search(trials=4), death=Death(3, "torn"))
    killed.join(30)
    assert killed.exitcode == -9
    survivor.tell(first[0].number, 1.0)
    assert sorted(finish(survivor)) == [1, 2, 3]
    assert make_searcher(journal, trials=4).trials() == survivor.trials()


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for sampler in SAMPLERS:
        finish(make_searcher(tmp_path / "x.journal", sampler))
    assert capfd.readouterr() == ("", "")
