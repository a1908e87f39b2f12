"""What only a whole arena can decide: wider ranges and more seeds, for all of its optimizers alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bench import stats
from bench.spec import Study
from bench.study import SeedsVote, WidenVote

# Compared with where no other is named and it takes part.
DEFAULT_REFERENCE = "adamw"


def decide_widening(votes: Sequence[tuple[Study, WidenVote]], say: Callable[[str], None]) -> list[bool]:
    """Return, vote by vote, whether its arena widens: where one best lr is at an edge, every range grows.

    Args:
        votes: The studies that have finished a pass.
        say: Shows one line of progress.
    """
    answers = []
    for spec, vote in votes:
        rivals = [(other, its) for other, its in votes if _arena(other) == _arena(spec)]
        answers.append(any(its.is_at_edge for _, its in rivals) and vote.round < spec.search.widen_rounds)
    edged = [
        spec.optimizer.name
        for (spec, vote), answer in zip(votes, answers, strict=True)
        if answer and vote.is_at_edge
    ]
    if edged:
        names = ", ".join(dict.fromkeys(edged))
        say(f"best lr at the edge of its range: {names}; every range of its arena widens")
    return answers


def count_seeds(votes: Sequence[tuple[Study, SeedsVote]], say: Callable[[str], None]) -> list[int]:
    """Return, vote by vote, how many evaluation seeds its arena runs in all.

    Args:
        votes: The studies that have evaluated their seeds so far.
        say: Shows one line of progress.
    """
    answers = []
    for spec, vote in votes:
        rivals = [(other, its) for other, its in votes if _arena(other) == _arena(spec)]
        answers.append(_count(rivals, spec, vote))
    if more := [f"{answer}" for (_, vote), answer in zip(votes, answers, strict=True) if answer > vote.num]:
        say(f"not every verdict is resolved: up to {max(map(int, more))} seeds")
    return answers


def _count(rivals: Sequence[tuple[Study, SeedsVote]], spec: Study, vote: SeedsVote) -> int:
    rivals = _without_variants(rivals)
    # Namesakes (one optimizer at two weight decays) are told apart by their position.
    labels = [f"{other.optimizer.name} {index}" for index, (other, _) in enumerate(rivals)]
    wanted = spec.report.reference or DEFAULT_REFERENCE
    named = [label for label in labels if label.rpartition(" ")[0] == wanted]
    reference = (named or sorted(labels))[0]
    return stats.next_num_seeds(
        {label: its.losses for label, (_, its) in zip(labels, rivals, strict=True)},
        reference,
        spec.workload.effect,
        spec.workload.margin,
        {label: its.selection_sd for label, (_, its) in zip(labels, rivals, strict=True)},
        vote.num,
        spec.seeds.limit,
    )


def _without_variants(rivals: Sequence[tuple[Study, SeedsVote]]) -> list[tuple[Study, SeedsVote]]:
    """Return one of each optimizer: how it is computed makes a cost, and no further comparison."""
    kept: dict[bytes, tuple[Study, SeedsVote]] = {}
    for spec, vote in sorted(rivals, key=lambda rival: _count_changes(rival[0])):
        plain = msgspec.structs.replace(spec.optimizer, impl=None)
        kept.setdefault(msgspec.json.encode(plain), (spec, vote))
    return list(kept.values())


def _count_changes(spec: Study) -> tuple[bool, bool, int]:
    impls = ("fused", None, "foreach", "forloop")
    return spec.recompute.name != "none", spec.compile.name != "none", impls.index(spec.optimizer.impl)


def _arena(spec: Study) -> bytes:
    """Return what studies must share to be compared; where their trials are kept is not part of it."""
    return msgspec.json.encode(
        (
            spec.workload,
            spec.data,
            spec.model,
            spec.schedule,
            spec.precision,
            spec.budget,
            msgspec.structs.replace(spec.search, storage=None),
            spec.seeds.vary,
            spec.horizon,
            spec.clip_norm,
            spec.ema,
            spec.device,
            spec.threads,
        )
    )
