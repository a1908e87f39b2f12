"""How the numbers were made: one paragraph and its source per statistic."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block, Note, Notes
from bench.report.stats import MIN_PAIRS
from bench.report.sweep import Sweep
from bench.report.verdict import ALPHA

TITLE = "How the numbers were made"

_PARAGRAPHS = (
    "Arena. Optimizers are compared only inside an arena: same workload, data, model, budget, schedule, "
    "precision and device, always against one named reference. A result speaks of its arena, not of other "
    "sizes or run lengths.",
    "Validation loss. The mean over all validation items at the end of the schedule; the metric was fixed "
    "before the sweep. Numbers in tables are means over evaluation seeds; sd is the sample standard "
    "deviation over them.",
    "Pairing. Initial weights and batch order depend on the seed, not on the optimizer, so differences "
    "are taken seed by seed: the log-ratio of the two losses, shown as %, or their plain difference, as "
    "the workload declares.",
    f"Interval and p. 95 % t interval of the mean paired difference, n >= {MIN_PAIRS} (Student 1908). "
    "Bootstrap intervals cover far too little at 3 to 10 seeds (Owen 2025, arXiv:2508.10083). p-values "
    "are adjusted over the comparisons of an arena (Holm 1979).",
    f"Verdicts. better or worse: adjusted p < {ALPHA}. tied: the 90 % interval lies inside the workload's "
    "margin, which is two one-sided tests (Schuirmann 1987), and wins over better and worse. leaning: the "
    "95 % interval excludes 0, the adjusted p does not. inconclusive: everything else. no claim: fewer "
    "than 3 pairs, or a reference without a mean. unstable: a seed diverged. missing: no seed finished.",
    "Untuned. Without a search every optimizer runs at its declared settings; tuning alone can turn a "
    "ranking round (Choi et al. 2019, arXiv:1910.05446; Wen et al. 2025, arXiv:2509.02046), so every "
    "verdict says so.",
    "Failures. A diverged or failed seed is a result: the cell shows k/n and no mean over the survivors. "
    "Curves end where the first seed of a cell ends.",
    "Cost. Step time, throughput and memory come from a short measurement of plain steps in a process of "
    "its own, never from the training runs. Parameters, gradients and state are summed from their "
    "tensors; activations and other are the peak less that sum.",
    "Weight decay. Cumulative decay is the sum over steps of lr x weight decay, with the lr of the "
    "schedule (Loshchilov and Hutter 2019, arXiv:1711.05101): about the share of a weight that decoupled "
    "decay takes off.",
)


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the paragraphs; they hold for every sweep."""
    return [Notes(items=tuple(Note(text=paragraph) for paragraph in _PARAGRAPHS))]
