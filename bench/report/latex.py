"""A table of the report as LaTeX, for a paper: booktabs, numbers right-aligned, every name inert."""

from __future__ import annotations

import re

from bench.report.escape import clean
from bench.report.tables import Table, format_column

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
    "–": "--",  # noqa: RUF001
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
} | {character: "\\" + character for character in "&%$#_{}"}


def write_latex(table: Table) -> str:
    """Return a table as a LaTeX table; the document needs \\usepackage{booktabs}.

    Args:
        table: Any; its marked rows come out in bold.
    """
    columns = [format_column(column) for column in table.columns]
    align = "".join("l" if column.style == "text" else "r" for column in table.columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape_latex(' '.join(part for part in (f'{table.title}.', table.note) if part))}}}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        " & ".join(escape_latex(column.header) for column in table.columns) + " \\\\",
        "\\midrule",
    ]
    for index in range(len(columns[0]) if columns else 0):
        cells = [escape_latex(column[index]) for column in columns]
        if index in table.marked:
            cells[0] = f"\\textbf{{{cells[0]}}}"
        # A row that begins with a bracket would be the length after the row break before it.
        cells[0] = re.sub(r"^(?=[\[*])", "{}", cells[0])
        lines.append(" & ".join(cells) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}"]) + "\n"


def escape_latex(text: str) -> str:
    """Return text of which LaTeX takes nothing for a command."""
    return "".join(_SPECIAL.get(character, character) for character in clean(text))
