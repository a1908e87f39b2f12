"""One training spread over processes gives the numbers of a single one, and survives the loss of any."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import torch.distributed as dist
from torch import nn

from bench.checkpoint import Checkpoints
from bench.data.tokens import Resident, Tokens
from bench.engine.shares import check
from bench.errors import Unsupported
from bench.identity import run_id
from bench.model.dropout import Dropout, find_layers, set_rows, set_step
from bench.prepare import prepare
from bench.result import Result
from bench.spec import Budget, Run
from bench.store import Store
from bench.train import train
from tests.commands import REPOSITORY, read_sweep
from tests.composing import compose_run
from tests.records import MACHINE, make_optimizer, make_run

replace = msgspec.structs.replace
GPT = ("model.depth=2", "model.width=32", "model.heads=2")
FULL_BATCH = Budget(name="full batch", steps=8, batch_size=64, hold="steps", accumulate=1, evaluations=4)


def make_text() -> Tokens:
    """Return text of seven letters, each of which says much about the next."""
    stream = torch.Generator().manual_seed(0)
    steps = torch.randint(1, 3, (12_000,), generator=stream)
    letters = (steps.cumsum(0) % 7).to(torch.uint8)
    return Tokens(
        item="byte", train=Resident(letters[:9_000]), val=Resident(letters[9_000:]), num_outputs=7, length=32,
        num_val_tokens=2048, sha256="", train_name="train", val_name="val",
    )  # fmt: skip


class Job(msgspec.Struct):
    """A run for rank 0; with a folder it saves there, and with a number it is stopped after so many steps."""

    run: Run
    folder: str | None = None
    stop_after: int | None = None


def be_first(connection: Connection, environment: dict[str, str], content: bytes) -> None:
    from bench import along

    os.environ.update(environment)
    results = []
    for job in msgspec.json.decode(content, type=list[Job]):
        keep = None if job.folder is None else Checkpoints(Path(job.folder), 1e9)
        asked = iter(range(1, 10**6))
        limit = job.stop_after
        results.append(train(job.run, MACHINE, keep, lambda: next(asked) == limit)[0])  # noqa: B023
    connection.send_bytes(msgspec.json.encode(results))
    along.dismiss()
    # Its end could reach the others before the last numbers do.
    connection.recv_bytes()


def train_along(connection: Connection, environment: dict[str, str]) -> None:
    from bench import along

    os.environ.update(environment)
    # A refusal is its end, as it is rank 0's answer.
    with contextlib.suppress(Unsupported):
        along.train_share(connection)


@contextlib.contextmanager
def train_spread(jobs: list[Job], num: int = 2) -> Iterator[list[Result]]:
    """Train runs in some processes, as torchrun starts them but forked from a warm one."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    ends, processes = [], []
    for rank in range(num):
        environment = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num), "TORCHELASTIC_RUN_ID": "test",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        if rank == 0:
            process = context.Process(target=be_first, args=(theirs, environment, msgspec.json.encode(jobs)))
        else:
            told, connection = context.Pipe()
            told.send_bytes(b"1")
            ends.append(told)
            process = context.Process(target=train_along, args=(connection, environment))
        process.start()
        processes.append(process)
    try:
        assert ours.poll(120), "nothing came of it"
        yield msgspec.json.decode(ours.recv_bytes(), type=list[Result])
        for process in processes[1:]:
            process.join(30)
        ours.send_bytes(b"")
        processes[0].join(30)
        assert [process.exitcode for process in processes] == [0] * num
    finally:
        for process in processes:
            process.kill()
            process.join()


def spread(run: Run, num: int = 2) -> Run:
    return replace(run, processes=num)


def check_close(found: Result, expected: Result, tolerance: float = 1e-5) -> None:
    """Compare every number of two results within what the order of a sum may change."""
    assert found.status == expected.status == "finished", found.detail
    assert found.curve.step == expected.curve.step
    assert found.num_train_items == expected.num_train_items and found.num_params == expected.num_params
    for name in ("train_loss", "val_loss"):
        pairs = zip(getattr(found.curve, name), getattr(expected.curve, name), strict=True)
        for one, other in pairs:
            assert one == other or one == pytest.approx(other, rel=tolerance), name
    assert found.search_loss == pytest.approx(expected.search_loss, rel=tolerance)
    assert found.val_metrics.keys() == expected.val_metrics.keys()


def make_mlp(dropout: float = 0.0, accumulate: int = 1, **changes: Any) -> Run:
    """Return 50 steps on made-up data, which costs no import."""
    run = make_run(optimizer=make_optimizer("torch.optim.AdamW", lr=0.01), **changes)
    budget = replace(run.budget, steps=50, evaluations=10, accumulate=accumulate)
    model = replace(run.model, args=run.model.args | {"depth": 2, "width": 32, "dropout": dropout})
    return replace(run, budget=budget, model=model)


def compose_mlp(*overrides: str) -> Run:
    return compose_run(
        "optimizer=adamw", "budget.steps=50", "budget.evaluations=10", "budget.batch_size=64", *overrides,
        workload="digits_mlp",
    )  # fmt: skip


def compose_gpt(*overrides: str) -> Run:
    run = compose_run(
        "optimizer=adamw", "budget.steps=50", "budget.evaluations=10", "budget.batch_size=8", *GPT,
        *overrides, workload="sympy_gpt",
    )  # fmt: skip
    text = replace(run.data, target="tests.test_ranks.make_text", sha256=None, args={})
    return replace(run, data=text)


RUNS = {
    # Its step goes by the gradient's size, which Adam's does not.
    "mlp": replace(make_mlp(), optimizer=make_optimizer(lr=0.05, args={"momentum": 0.9})),
    "everything": make_mlp(dropout=0.2, accumulate=3, ema=0.9, clip_norm=0.5),
    "closures": make_run(optimizer=make_optimizer("torch.optim.LBFGS", lr=0.1), budget=FULL_BATCH),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """All that two processes are asked for, one after the other: starting them is most of the time."""
    folder = str(tmp_path_factory.mktemp("run"))
    jobs = {name: Job(spread(run)) for name, run in RUNS.items()}
    jobs["gpt"] = Job(spread(compose_gpt()))
    jobs["stopped"] = Job(spread(RUNS["everything"]), folder, 20)
    jobs["resumed"] = Job(spread(RUNS["everything"]), folder)
    # The last one: a refusal ends the other process.
    args = {"in_features": 4, "out_features": 1}
    noisy = replace(make_run().model, name="noisy", target="tests.test_ranks.Noisy", args=args)
    jobs["noisy"] = Job(spread(make_run(model=noisy)))
    with train_spread(list(jobs.values())) as results:
        return dict(zip(jobs, results, strict=True))


@pytest.mark.parametrize("name", ["mlp", "everything", "gpt"])
def test_two_processes_give_the_curve_of_one(trained: dict[str, Result], name: str) -> None:
    run = RUNS[name] if name in RUNS else compose_gpt()
    found = trained[name]
    check_close(found, train(run, MACHINE)[0])
    assert run_id(found.run) != run_id(run) and run_id(replace(found.run, processes=1)) == run_id(run)


def test_a_share_is_a_part_of_the_sum(trained: dict[str, Result]) -> None:
    # L-BFGS takes several gradients a step, and makes much of the last bits of each.
    in_parts = replace(RUNS["closures"], budget=replace(FULL_BATCH, accumulate=2))
    check_close(trained["closures"], train(in_parts, MACHINE)[0])


def test_a_stop_reaches_all_and_they_go_on_bit_for_bit(trained: dict[str, Result]) -> None:
    whole, resumed = trained["everything"], trained["resumed"]
    assert trained["stopped"].status == "interrupted"
    assert resumed.notes == ("resumed after step 20 of 50",)
    assert resumed.val_loss == whole.val_loss and resumed.search_loss == whole.search_loss
    assert resumed.curve.train_loss == whole.curve.train_loss


@pytest.mark.slow
@pytest.mark.parametrize("num", [2, 3])
def test_the_rest_of_a_step_is_the_same_in_many_processes(num: int) -> None:
    runs = [
        compose_gpt("model.dropout=0.1", "budget.accumulate=2", "recompute=block"),
        compose_mlp("precision=fp16", "clip_norm=1"),
        *(compose_mlp(f"optimizer={name}") for name in ("sgd", "adafactor", "nadam", "rmsprop")),
        compose_run("budget.steps=20", "budget.evaluations=2", "budget.batch_size=32", workload="digits_cnn"),
    ]
    with train_spread([Job(spread(run, num)) for run in runs], num) as results:
        for run, found in zip(runs, results, strict=True):
            # Half precision rounds what the order of a sum has changed.
            check_close(found, train(run, MACHINE)[0], 1e-5 if run.precision.name == "fp32" else 1e-2)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"model": replace(make_run().model, target="tests.test_resume.Foreign", args={})},
            "batch norm wants",
        ),
        ({"budget": replace(make_run().budget, accumulate=16)}, "at least as many rows"),
        ({"compile": msgspec.convert({"name": "model"}, type(make_run().compile))}, "wants compile=none"),
    ],
)
def test_what_would_give_other_numbers_is_refused(change: dict[str, Any], line: str) -> None:
    run = spread(make_run(**change))
    model, _, data = prepare(replace(run, compile=make_run().compile))
    with pytest.raises(Unsupported, match=line):
        check(run, model, min(run.budget.batch_size, data.num_train_rows))


class Noisy(nn.Linear):
    """Draws its own noise, from torch's stream."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) + 0.1 * torch.rand(())


def test_a_model_that_draws_is_refused(trained: dict[str, Result]) -> None:
    assert trained["noisy"].status == "unsupported"
    assert trained["noisy"].detail == "processes=2: noisy draws random numbers that are not the same in each"


def test_several_processes_want_torchrun() -> None:
    result, _ = train(spread(make_run(), 4), MACHINE)
    assert result.status == "unsupported"
    assert result.detail == "processes=4: wants to be started by torchrun --nproc-per-node=4 -m bench"


@pytest.mark.parametrize("shape", [(10, 6), (10, 3, 4), (20, 6)])
def test_the_masks_of_shares_are_those_of_the_whole_batch(shape: tuple[int, ...]) -> None:
    layer = Dropout(0.4)
    set_step(find_layers(layer), 1, 5)
    whole = layer(torch.ones(shape))
    parts = []
    # Rows may have been flattened with something else, as with the tokens of a sequence.
    factor = shape[0] // 10
    for first, end in ((0, 3), (3, 4), (4, 10)):
        set_rows([layer], first, end - first)
        parts.append(layer(torch.ones((end - first) * factor, *shape[1:])))
    assert torch.equal(torch.cat(parts), whole)


def start_torchrun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command in two processes; it ends with its group."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "bench", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0,
    )  # fmt: skip


def find_processes(launcher: int) -> dict[int, int]:
    """Return the pid of each rank that torchrun has started, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = re.search(r"^PPid:\s*(\d+)", (entry / "status").read_text(), re.MULTILINE)
                if parent and int(parent[1]) == launcher:
                    variables = (entry / "environ").read_bytes().split(b"\0")
                    ranks = [one for one in variables if one.startswith(b"RANK=")]
                    found |= {int(ranks[0][5:]): int(entry.name)} if ranks else {}
            except OSError:
                continue
    return found


VILLAINS = """
import os, torch, bench.errors

class AllFail(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError("none of them can")

class Refused(torch.optim.SGD):
    def step(self, closure=None):
        closure()
        raise bench.errors.Unsupported("not here")

class OneFails(torch.optim.SGD):
    def step(self, closure=None):
        if os.environ["RANK"] == "1":
            raise MemoryError("no room")
        return super().step(closure)
"""


@pytest.mark.slow
def test_a_run_that_fails_anywhere_takes_no_other_along(tmp_path: Path) -> None:
    (tmp_path / "villains.py").write_text(VILLAINS)
    targets = "optimizer._target_=villains.AllFail,villains.Refused,villains.OneFails,torch.optim.SGD"
    process = start_torchrun(
        tmp_path, "-m", "workload=digits_mlp", "optimizer=custom", "optimizer.name=x", "optimizer.lr=0.1",
        targets, "search=none", "seeds=1", "budget.steps=5",
    )  # fmt: skip
    out, _ = process.communicate(timeout=240)
    ends = [(result.status, result.detail) for (result,) in read_sweep(tmp_path / "results").results]
    assert ends == [
        ("failed", "RuntimeError: none of them can"),
        ("unsupported", "not here"),
        ("oom", "rank 1: no room"),
        ("finished", None),
    ]
    assert "exitcode  : 3 " in out


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_command_and_the_same_command_goes_on(tmp_path: Path, rank: int) -> None:
    command = (
        "workload=digits_mlp", "optimizer=adamw", "search=none", "seeds=1", "budget.steps=6000",
        "budget.evaluations=60", "budget.batch_size=64", "place.checkpoint_s=0.1",
    )  # fmt: skip
    process = start_torchrun(tmp_path, *command)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("results/runs/*/*/*/checkpoint-b")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(find_processes(process.pid)[rank], signal.SIGKILL)
        out, _ = process.communicate(timeout=90)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    gone = "rank 0 is gone" if rank == 0 else "one of its 2 processes is gone"
    assert out.count(f"killed: {gone}; the same command goes on") == 1, out
    again = start_torchrun(tmp_path, *command)
    out, _ = again.communicate(timeout=240)
    assert again.returncode == 0, out
    ((result,),) = read_sweep(tmp_path / "results").results
    assert result.status == "finished" and result.run.processes == 2
    assert any(note.startswith("resumed after step ") for note in result.notes)
    folder = Store(tmp_path / "results").run_folder(result.id, result.machine)
    assert not list(folder.glob("checkpoint-*"))
    # Last bits have had six thousand steps to grow in.
    check_close(result, train(replace(result.run, processes=1), MACHINE)[0], 1e-2)
