"""What becomes of runs that are to be trained, alone or together: an end for each, whatever happens."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from bench.cause import explain
from bench.checkpoint import Checkpoints
from bench.engine import parallel
from bench.engine.eager import needs_closure
from bench.engine.member import Member
from bench.engine.population import Population
from bench.engine.single import Single
from bench.loop import Loop
from bench.result import Machine, Result
from bench.spec import Run
from bench.together import find_kind, limit_members
from bench.trainee import End, Trainee

Part = TypeVar("Part", Single, Member)
# How the note begins of a run that goes on where it was.
RESUMED = "resumed after step"


def train(
    run: Run,
    machine: Machine,
    keep: Checkpoints | None = None,
    should_stop: Callable[[], bool] | None = None,
    tell: Callable[[int, float], None] | None = None,
    notes: Sequence[str] = (),
) -> tuple[Result, dict[str, bytes]]:
    """Train one run to its end, whatever that is.

    Args:
        run: What to train.
        machine: Recorded beside the numbers.
        keep: As `Trainee` has it, and so is tell.
        should_stop: Asked after each step; once it says yes the state is saved, and the run ends as
            `interrupted`.
        tell: At each evaluation.
        notes: For whoever reads the result.

    Returns:
        The result, and files to keep beside it by name. A failure is a status, never an exception:
        `diverged`, `oom`, `unsupported`, `interrupted`, `failed` (with the traceback as a file).
    """
    trainee = Trainee(run, keep, tell, notes)
    team = None
    try:
        team = parallel.find_team(run)
        (end,) = _begin_alone(trainee, machine, should_stop, team).follow()
    except Exception as error:
        lost = None if team is None else team.explain(error)
        status, detail = lost or explain(error)
        files = {} if status == "unsupported" else {"traceback.txt": traceback.format_exc().encode()}
        end = End(0, status, detail, files)
        if status == "unsupported":
            # This process goes on with the next run, and the others do so anew.
            parallel.abandon()
    return trainee.conclude(end.status, end.detail, end.files, machine, Single.name), end.files


def train_along(run: Run, machine: Machine, team: parallel.Team) -> None:
    """Train a process's share of a run; what comes of the run is rank 0's to say."""
    try:
        list(_begin_alone(Trainee(run), machine, None, team).follow())
    except Exception as error:
        team.report(*explain(error))
        raise


def train_together(
    trainees: Sequence[Trainee], machine: Machine, should_stop: Callable[[], bool] | None = None
) -> Iterator[tuple[int, Result, dict[str, bytes]]]:
    """Train runs that `bench.together` lets train together, to the end of each; see `train`.

    Yields:
        The number of a run among the trainees, its result, and its files, as soon as it has ended. Where the
        population can't go on, those that are left train one after the other.
    """
    left = list(range(len(trainees)))
    try:
        members = [resume(one, Population.name, machine, partial(Member, one.run)) for one in trainees]
        for number, member in enumerate(members):
            if needs_closure(member.optimizer):
                left.remove(number)
                reason = f"{type(member.optimizer).__name__} asks for the loss itself in its step"
                yield number, *_train_apart(trainees[number], reason, machine, should_stop)
        # What was ended and comes back does so where it was; a member does not feel who goes beside it.
        for position in sorted({trainee.tally.position for trainee in trainees}):
            some = [number for number in left if trainees[number].tally.position == position]
            # Whom one update serves are neighbours.
            some.sort(key=lambda number: find_kind(trainees[number].run))
            # Not more at once than there is room for; one group after the other, to its end.
            limit = limit_members(trainees[some[0]].run) if some else 1
            for group in (some[first : first + limit] for first in range(0, len(some), limit)):
                yield from _train_group(group, trainees, members, left, machine, should_stop)
    except Exception as error:
        for number in left:
            yield number, *_train_apart(trainees[number], explain(error)[1], machine, should_stop)


def _train_group(
    group: Sequence[int],
    trainees: Sequence[Trainee],
    members: Sequence[Member],
    left: list[int],
    machine: Machine,
    should_stop: Callable[[], bool] | None,
) -> Iterator[tuple[int, Result, dict[str, bytes]]]:
    population = Population([members[number] for number in group], members[group[0]].data)
    for end in Loop([trainees[number] for number in group], machine, population, should_stop).follow():
        number = group[end.place]
        left.remove(number)
        result = trainees[number].conclude(end.status, end.detail, end.files, machine, Population.name)
        yield number, result, end.files


def _train_apart(
    one: Trainee, reason: str, machine: Machine, should_stop: Callable[[], bool] | None
) -> tuple[Result, dict[str, bytes]]:
    if one.keep is not None:
        # It starts over.
        one.keep.notes = [line for line in one.keep.notes if not line.startswith(RESUMED)]
    return train(
        one.run, machine, one.keep, should_stop, one.tell, [*one.notes, f"trained by itself: {reason}"]
    )


def _begin_alone(
    trainee: Trainee,
    machine: Machine,
    should_stop: Callable[[], bool] | None,
    team: parallel.Team | None,
) -> Loop:
    single = resume(trainee, Single.name, machine, lambda: Single(trainee.run, team), team)
    return Loop([trainee], machine, single, should_stop, team)


def resume(
    trainee: Trainee,
    engine: str,
    machine: Machine,
    make: Callable[[], Part],
    team: parallel.Team | None = None,
) -> Part:
    """Return a run's live parts: as they were saved, if they were, else as they are before the first step.

    Args:
        trainee: The run; it takes up what it knew when it was saved.
        engine: Name of the engine: no other's state is taken.
        machine: Where it goes on.
        make: Makes the parts.
        team: Processes that train along, which get the same state.
    """
    part, keep, device = make(), trainee.keep, trainee.run.device
    trainee.tally.num_params = sum(parameter.numel() for parameter in part.model.parameters())
    saved = None if keep is None else keep.load(trainee.describe_owner(machine, engine), device)
    if team is not None:
        saved = team.send_state(saved, device)
    if saved is None:
        return part
    try:
        part.restore(saved["parts"])
    except Exception as error:
        note = f"started over: its state can't be loaded: {explain(error)[1]}"
        part = make()
    else:
        trainee.tally.load_state_dict(saved["tally"])
        note = f"{RESUMED} {trainee.tally.position} of {trainee.run.budget.steps}"
    if keep is not None:
        keep.note(note)
    return part
