"""The training loop that the peers share: the one of most tutorials and many papers' code."""

from __future__ import annotations

import functools
import json
import math
import os
import time
from pathlib import Path

import msgspec
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from bench.build import build_model, load_data
from bench.data.arrays import Arrays
from bench.schedule import lr_factor
from bench.spec import Run

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": functools.partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def train(optimizer: str, lr: float, seed: int) -> float:
    """Train one run of the task that PEERS_TASK names; return its last validation loss.

    Model, data, number of steps and evaluations, and schedule are those of the harness's run; optimizers are
    torch's defaults. Its CPU seconds go to the file that PEERS_LOG names.
    """
    start = time.process_time()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    run = read_task()
    data = load_data(run.data, "cpu")
    assert isinstance(data, Arrays)
    model = build_model(msgspec.structs.replace(run, seed=seed), data)
    steps, batch_size = run.budget.steps, run.budget.batch_size
    train_set = TensorDataset(data.train_inputs, data.train_targets)
    loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True)
    loss_of = torch.nn.CrossEntropyLoss()
    made = OPTIMIZERS[optimizer](model.parameters(), lr=lr)
    schedule = LambdaLR(made, lambda step: lr_factor(run.schedule, min(step, steps - 1), steps, len(loader)))
    every, taken, losses = max(1, steps // run.budget.evaluations), 0, []
    val_loss, _ = evaluate(model, data, slice(1, None, 2))
    bar = tqdm(total=steps, mininterval=1.0)
    while taken < steps:
        for inputs, targets in loader:
            made.zero_grad()
            loss = loss_of(model(inputs), targets)
            loss.backward()
            made.step()
            schedule.step()
            losses.append(loss.item())
            taken += 1
            bar.update()
            if taken % every == 0:
                val_loss, accuracy = evaluate(model, data, slice(1, None, 2))
                bar.set_postfix(val_loss=val_loss, accuracy=accuracy)
            if taken == steps or not math.isfinite(losses[-1]):
                break
        if not math.isfinite(losses[-1]):
            break
    bar.close()
    found, _ = evaluate(model, data, slice(0, None, 2))
    now = time.process_time()
    said = {"cpu_s": now - start, "pid": os.getpid(), "process_s": now, "losses": [val_loss, found]}
    with open(os.environ["PEERS_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps(said) + "\n")
    return val_loss if math.isfinite(val_loss) else 1e9


def evaluate(model: torch.nn.Module, data: Arrays, rows: slice) -> tuple[float, float]:
    """Return the mean loss and the accuracy on some of the validation rows."""
    model.eval()
    with torch.no_grad():
        inputs, targets = data.val_inputs[rows], data.val_targets[rows]
        outputs = model(inputs)
        loss = torch.nn.functional.cross_entropy(outputs, targets).item()
        accuracy = (outputs.argmax(dim=1) == targets).float().mean().item()
    model.train()
    return loss, accuracy


@functools.cache
def read_task() -> Run:
    """Return the run whose model, data, budget and schedule are to be trained."""
    return msgspec.json.decode(Path(os.environ["PEERS_TASK"]).read_bytes(), type=Run)
