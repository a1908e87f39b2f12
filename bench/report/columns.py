"""What every column of every CSV holds: the source of docs/columns.md, and of nothing else."""

from __future__ import annotations

from bench.report.columns_cost import COST_COLUMNS
from bench.report.columns_quality import QUALITY_COLUMNS

# What a file holds, by the part of its name before the arena's, the task's or the reference's.
FILES: dict[str, str] = {
    "tables/across": "each optimizer over all arenas of one effect scale",
    "tables/best": "each optimizer at the best of its listed settings, beside the reference at its",
    "tables/breakdown": "where a step's time goes, beside all that was metered of a cell",
    "tables/compiling": "what compiling costs and gains, beside all that was metered of a cell",
    "tables/effects": "each level of each factor against its baseline",
    "tables/failures": "runs that did not finish",
    "tables/health": "cells of which a training curve says that something is amiss",
    "tables/machine": "machine and versions",
    "tables/memory": "what each cell keeps in memory",
    "tables/noise": "how far the seeds of one setting lie apart, and what gap they can tell",
    "tables/not_run": "cells that can't exist here, and why",
    "tables/optimizers": "the settings of each optimizer of an arena",
    "tables/predict": "do=predict: the memory of each cell, by arithmetic",
    "tables/results": "the results of an arena: a row for each optimizer; what the verdicts rest on",
    "tables/runs": "every evaluation run, with its id",
    "tables/settings": "settings that the optimizers of an arena, or all arenas, share or differ in",
    "tables/speedup": "steps to the same final loss, against the reference at its own horizons",
    "tables/suite": "arena by optimizer, a row for each pair",
    "tables/timing": "step times and rates, with the noise of the measurement",
    "tables/tuning": "what each search tried and found",
    "figures/budget": "expected best search loss over the number of settings tried",
    "figures/curves": "every point of every training curve",
    "figures/depth": "peak memory over a model's depth, and the fitted exponents",
    "figures/factors": "as tables/effects",
    "figures/heat": "search loss over two settings",
    "figures/memory": "as tables/memory",
    "figures/pair": "final loss over two factors",
    "figures/pictures": "whose picture is shown, and its numbers",
    "figures/prices": "as tables/effects",
    "figures/profile": "share of arenas within so many times the reference's loss",
    "figures/ranges": "training loss while the lr rises, seed by seed, and what the range test made of it",
    "figures/robustness": "search loss of every setting tried, seed by seed",
    "figures/speed": "as tables/timing",
    "figures/speedup": "final loss at each horizon, seed by seed",
    "figures/time": "as figures/curves",
    "figures/verdicts": "paired differences seed by seed, with mean and interval",
}

_COLUMNS = QUALITY_COLUMNS | COST_COLUMNS
_DYNAMIC = "\n".join(
    (
        "A dotted key, such as `optimizer.weight_decay`, is a setting of that name. A metric of your own",
        "data is a column of its own name in `tables/results_*.csv`: its mean over the seeds, in its unit.",
    )
)


def describe_column(name: str) -> str | None:
    """Return what a column holds, or None where nothing is known of it."""
    for suffix, word in (("_ci95_low", "lower"), ("_ci95_high", "upper")):
        stem = name.removesuffix(suffix)
        if stem != name and f"{stem}_ci95" in _COLUMNS:
            return f"{word} {_COLUMNS[f'{stem}_ci95']}"
    if name.endswith("_ci95"):
        return None
    return f"the setting `{name}`" if "." in name else _COLUMNS.get(name)


def list_columns() -> list[str]:
    """Return all documented columns but the dotted ones, an interval as its two bounds."""
    bounds = [f"{name}_{side}" for name in _COLUMNS if name.endswith("_ci95") for side in ("high", "low")]
    return sorted([*bounds, *(name for name in _COLUMNS if not name.endswith("_ci95"))])


def write_columns_page() -> str:
    """Return docs/columns.md."""
    files = [f"| `{name}*.csv` | {text} |" for name, text in sorted(FILES.items())]
    columns = [f"| `{name}` | {describe_column(name)} |" for name in list_columns()]
    return "\n".join(
        [
            "# Columns",
            "",
            "What a report's CSV files hold. `python -m bench.report columns > docs/columns.md` wrote this.",
            "Units are in the names: `_s` seconds, `_bytes`, `_per_s`, `_share` of 1; `num_` is a count,",
            "`is_` True or False. A number that was not measured, or would not be honest, is empty.",
            "",
            "## Files",
            "",
            "| file | what it holds |",
            "| :--- | :--- |",
            *files,
            "",
            "## Columns",
            "",
            _DYNAMIC,
            "",
            "| column | what it holds |",
            "| :--- | :--- |",
            *columns,
            "",
        ]
    )
