"""How the numbers were made: one paragraph and its source per statistic."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block, Note, Notes
from bench.report.heading import show_margin
from bench.report.power import find_floor
from bench.report.sweep import Sweep
from bench.report.verdict import ALPHA
from bench.stats import FIRST_LOOK, MIN_PAIRS, POWER, TELLING_GAP

TITLE = "How the numbers were made"

_MAX_NAMES = 6
# What a first-time reader asks for first; its margins are put in.
_VERDICTS = (
    f"Verdicts. better or worse: adjusted p < {ALPHA}. tied: the two are so close that it does not matter: "
    "the 90 % interval of their difference lies inside the workload's margin (%s), which is two one-sided "
    "tests (Schuirmann 1987), and wins over better and worse. leaning: the 95 % interval excludes 0, the "
    "adjusted p does not. inconclusive: everything else, so that neither a difference nor a tie was shown. "
    "no claim: fewer than 3 pairs, a reference without a mean, or a loser whose best lr lies on the edge of "
    "its range, that had fewer settings or lost one to a failed run (what the winner's search lacked never "
    "takes its win away). preliminary: a search is still to be confirmed. unstable: a seed diverged. "
    "missing: no seed finished."
)
_PARAGRAPHS = (
    "Arena. Optimizers are compared only inside an arena: same workload, data, model, budget, schedule, "
    "precision and device, always against one named reference. A result speaks of its arena, not of other "
    "sizes or run lengths.",
    "Validation loss. The mean over the report half of the validation split at the end of the schedule; "
    "the metric was fixed before the sweep, and no search saw that half. Numbers in tables are means over "
    "evaluation seeds; sd is the sample standard deviation over them.",
    "Pairing. Initial weights and batch order depend on the seed, not on the optimizer, so differences are "
    "taken seed by seed: the log-ratio of the two losses, shown as %, or their plain difference, as the "
    "workload declares.",
    f"Interval and p. 95 % t interval of the mean paired difference, n >= {MIN_PAIRS} (Student 1908). "
    "Bootstrap intervals cover far too little at 3 to 10 seeds (Owen 2025, arXiv:2508.10083). p-values are "
    "adjusted over the comparisons of an arena (Holm 1979). After a search the interval also holds what "
    "another search, on other seeds, might have chosen (after Bouthillier et al. 2021, arXiv:2103.03098). "
    "It speaks of what the seeds change, and of nothing else.",
    f"Looks. seeds=auto looks at the verdicts at {FIRST_LOOK}, {2 * FIRST_LOOK}, {4 * FIRST_LOOK}, "
    f"{8 * FIRST_LOOK}... seeds, up to its limit, and each look spends a part of alpha, next to nothing "
    "early (O'Brien-Fleming-type spending: Lan and DeMets 1983, Biometrika 70), so that all looks together "
    "err no more often than one.",
    "Across arenas. Holm's adjustment holds inside an arena; over all comparisons on the page, p-values are "
    "adjusted so that of the claims below q at most a share of q is false on average (false-discovery "
    "control: Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57). Pooled mean: equal weights, t interval "
    "(Welch 1947; Satterthwaite 1946). Probability of improvement: after Agarwal et al. 2021, "
    "arXiv:2108.13264, paired by seed. Performance profile: after Dolan and More 2002, arXiv:cs/0102001, as "
    "a ratio to the reference.",
    "Unbeaten. Every optimizer of an arena is compared with every other, p-values adjusted over all those "
    "pairs (Holm 1979); one that none is better than is unbeaten, so that means within their noise share the "
    "place (after Hsu 1984, Ann. Stat. 12). A diverged seed loses it. What could not run at all (no data, "
    "shapes that do not fit) counts for and against nobody.",
    f"What seeds can tell. The smallest true gap that a two-sided t test at 5 % sees with {100 * POWER:g} % "
    "power (noncentral t: Johnson and Welch 1940, Biometrika 31; Cohen 1988). Beside the verdicts it "
    "comes from the seed sds frozen with the workload, and is what seeds tell even unpaired: pairing makes "
    "it smaller, what a search adds makes it larger. d is the gap between adam and sgd in pooled sds; below "
    f"{TELLING_GAP:g} the workload is a negative control. Where runs of an unmodified workload lie outside "
    "the prediction interval (Hahn 1970, J. Qual. Technol. 2) of its frozen values, a warning says so.",
    "Untuned. Without a search every optimizer runs at its declared settings; tuning alone can turn a "
    "ranking round (Choi et al. 2019, arXiv:1910.05446; Wen et al. 2025, arXiv:2509.02046), so every "
    "verdict says so.",
    "Tuning. Every optimizer gets the same number of settings and the same points per decade of learning "
    "rate; settings are compared on the search half of the validation split and on search seeds, the best "
    "few on more of them, and the winner runs again on fresh seeds. Expected best of k settings: the "
    "plug-in estimate from the first pass, never beyond the k that ran (Dodge et al. 2019, "
    "arXiv:1909.03004; Dodge et al. 2021, arXiv:2110.00613). lr sensitivity: mean excess loss over a "
    "window of learning rates around the best (after Wortsman et al. 2023, arXiv:2309.14322).",
    "Speed-up. Equal final loss by whole trainings of several lengths, each with its own schedule and its "
    "own search: a point on a curve whose schedule has not ended yet is no speed-up (Dahl et al. 2023, "
    "arXiv:2306.07179). Interpolated between lengths in log steps and log loss, never extrapolated.",
    "Failures. A diverged or failed seed is a result: the cell shows k/n and no mean over the survivors. "
    "Curves end where the first seed of a cell ends.",
    "Step time. From a short measurement apart from the training runs, with nothing beside it, in turns "
    "with a fixed reference step (SGD in fp32) of the same model, data and batch, and with that step again "
    "(A/A), so that what the machine does meanwhile falls on all alike. Two cells compare by the ratio of "
    "their ratios to it, intervals combined on the log scale as those of independent measurements. Where a "
    "table of results shows times, each is divided by how slow the reference step was beside it. Nothing "
    "is said of the speed of a precision that the device only emulates. MFU counts the model's operations, "
    "without what recomputing adds (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).",
    "Memory. Parameters, gradients and state are summed from their tensors; the peak is measured in one "
    "steady step, and predicted by taking that step with tensors that have sizes and no content.",
    "Ways of computing. What recomputing, compiling or another implementation does to a loss is in its "
    "last bits, so such cells are no rivals: the plainest that finished is compared for all of them, and "
    "the others are held against it by seed under What each setting buys.",
    "Weight decay. Cumulative decay is the sum over steps of lr x weight decay, with the lr of the "
    "schedule (Loshchilov and Hutter 2019, arXiv:1711.05101): about the share of a weight that decoupled "
    "decay takes off.",
)


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the paragraphs, which hold for every sweep, and what is not known of this one's workloads."""
    margins = dict.fromkeys(show_margin(arena) for arena in sweep.arenas)
    verdicts = _VERDICTS.replace("%s", ", ".join(margins) or "declared by it")
    notes = [_label(paragraph) for paragraph in (verdicts, *_PARAGRAPHS)]
    arenas = [arena for arena in sweep.arenas if arena.obstacle is None and find_floor(arena) is None]
    studies = [arena.study for arena in arenas]
    unmeasured = [study.workload.name for study in studies if not study.workload.reference]
    changed = [arena.name for arena in arenas if arena.study.workload.reference]
    if unmeasured:
        names = ",".join(dict.fromkeys(unmeasured))
        text = "Not measured: what the seeds of these workloads can tell. This measures it:"
        command = f"python -m bench{' -m' * (',' in names)} do=noise workload={names}"
        notes.append(Note(text=text, command=command))
    if changed:
        names = ", ".join(changed[:_MAX_NAMES]) + " and others" * (len(changed) > _MAX_NAMES)
        notes.append(
            Note(
                text=f"Not known: what the seeds of {names} can tell, since frozen values hold for "
                "the unmodified workload at its full length only."
            )
        )
    return [Notes(items=tuple(notes))]


def _label(paragraph: str) -> Note:
    """Return a paragraph under its first words."""
    label, _, text = paragraph.partition(". ")
    return Note(label=f"{label}.", text=text)
