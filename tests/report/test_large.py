"""A large sweep with everything that can go wrong: small page, soon built, nothing of it hidden."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from bench.report.build import build, default_sections, read_block
from bench.spec import Model, Precision, Study
from tests.report.test_build import is_narrow
from tests.sweeps import make_study, write_sweep

BEST = {"adamw": 1e-3, "adam": 1e-3, "lion": 1e-4, "sgd": 1e-1}
# Planted: (optimizer, model, precision, index of lr) -> (seed, how it ended) and what the page has to say.
PLANTED: dict[tuple[str, str, str, int], tuple[int, str]] = {
    ("sgd", "mlp", "fp32", 7): (2, "diverged"),
    ("lion", "mlp", "bf16", 6): (0, "diverged"),
    ("adam", "cnn", "bf16", 3): (4, "oom"),
    ("adamw", "cnn", "fp32", 5): (1, "failed"),
    ("lion", "vit", "fp32", 2): (3, "timeout"),
    ("sgd", "vit", "bf16", 4): (0, "killed"),
    ("adam", "vit", "fp32", 1): (2, "absent"),
}
DETAILS = {"failed": "ValueError: planted in a cnn", "oom": "out of memory at step 17"}
# On 2 cores.
MAX_BYTES, MAX_S = 3_000_000, 20.0


def write_large(
    root: Path, *, models: Sequence[str], precisions: Sequence[str], num_lrs: int
) -> tuple[Path, int]:
    """Write a sweep of 4 optimizers over so many lrs, with 5 seeds; return how many cells it has."""
    cells: list[tuple[Study, list[float | str]]] = []
    for name, model, precision, index in product(BEST, models, precisions, range(num_lrs)):
        lr = float(f"{10 ** (-5 + index * 5 / 7):.1g}")
        study = make_study(name, lr=lr, is_workload_modified=model != "mlp")
        study = msgspec.structs.replace(
            study,
            model=Model(target=f"bench.model.{model}.{model.title()}", name=model, args={"width": 64}),
            precision=Precision(name=precision),
        )
        gap = math.log10(lr / BEST[name]) ** 2
        # Seeds of one optimizer differ as those of another do, but for a little.
        ends: list[float | str] = [
            0.01 * (1 + gap + 0.03 * seed + 0.001 * ((seed * 7 + index + len(name)) % 5)) for seed in range(5)
        ]
        seed, end = PLANTED.get((name, model, precision, index), (0, ""))
        if end:
            ends[seed] = end
        cells.append((study, ends))
    return write_sweep(root / "results", cells, details=DETAILS), len(cells)


def check(folder: Path, planted: Sequence[tuple[int, str]], num_runs: int) -> str:
    """Return the page, once all that was planted is found in it, in its table and in its data."""
    html = (folder / "report.html").read_text()
    assert "could not be written" not in html
    part = html[html.index('<section id="failures">') :]
    part = part[: part.index("</section>")]
    rows = pd.concat([pd.read_csv(path) for path in folder.glob("tables/failures*.csv")])
    for seed, end in planted:
        word = {"absent": "missing"}.get(end, end)
        assert word in part and len(rows[(rows["status"] == word) & (rows["seed"] == seed)]) == 1
    assert len(rows) == len(planted)
    # Which, how sure and at what cost, before anything else is said.
    answer = html[html.index('<section id="the-answer">') : html.index('<section id="warnings">')]
    card = answer[answer.index('<ul class="card">') : answer.index("</ul>")]
    which, sure, cost = re.findall(r"<li><strong>[^<]+</strong> ([^<]+)</li>", card)
    assert which.startswith("No other is better than adamw. ") and "best of 8 listed settings" in which
    # As planted: as good as the reference, further off, further off again.
    assert re.search(r"adam tied on .*lion worse on .*sgd worse on ", which)
    assert re.search(r"n = 5 paired seeds; 95 % intervals .*adam [-+\d.]+ to ", sure)
    assert f"{len(planted)} of {num_runs} runs did not finish" in sure and "below" in sure
    assert re.search(r"sgd [\d.-]+x time.*, 0\.91x peak memory", cost)
    assert is_narrow(read_block(folder), 24)
    return html


@pytest.mark.thorough
def test_what_was_planted_in_a_sweep_of_many_cells_is_all_in_it(tmp_path: Path) -> None:
    folder, _ = write_large(tmp_path, models=["mlp", "cnn"], precisions=["fp32"], num_lrs=8)
    build(folder, default_sections(), None)
    html = check(folder, [PLANTED["sgd", "mlp", "fp32", 7], PLANTED["adamw", "cnn", "fp32", 5]], 320)
    assert len(html.encode()) < MAX_BYTES / 2


@pytest.mark.slow
def test_a_sweep_of_192_cells_is_under_3_mb_and_soon_built(tmp_path: Path) -> None:
    folder, num_cells = write_large(
        tmp_path, models=["mlp", "cnn", "vit"], precisions=["fp32", "bf16"], num_lrs=8
    )
    assert num_cells == 192
    start = time.process_time()
    build(folder, default_sections(), None)
    spent = time.process_time() - start
    html = check(folder, list(PLANTED.values()), 960)
    assert len(html.encode()) < MAX_BYTES
    assert spent < MAX_S
