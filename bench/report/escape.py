"""Text from files, made inert for where it is shown: a name may hold anything, a page must not act on it."""

from __future__ import annotations

import re
import unicodedata

# What a spreadsheet may take for a formula when it opens a CSV.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# Also entities, GitHub's mathematics, strokes and bare addresses, and an underscore that no word encloses.
_MARKDOWN_SPECIAL = re.compile(r"([\\`|\[\]<>!*&$~]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.)")


def strip_controls(text: str) -> str:
    """Return text on one line, without control, bidirectional, zero-width or surrogate characters."""
    kept = []
    for character in text:
        if character.isspace():
            kept.append(" ")
        elif unicodedata.category(character)[0] != "C":
            kept.append(character)
    return "".join(kept)


def clean(text: str) -> str:
    """Return `strip_controls(text)` with every run of spaces as one."""
    return " ".join(strip_controls(text).split())


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, also inside a pipe table."""
    return _MARKDOWN_SPECIAL.sub(r"\\\1", clean(text))


def fence_markdown(text: str) -> str:
    """Return text as a Markdown code block that its content can't close."""
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(strip_controls(line) for line in text.splitlines())
    return f"{fence}text\n{lines}\n{fence}"


def escape_csv(text: str) -> str:
    """Return a text cell that no spreadsheet takes for a formula."""
    # Tested before cleaning, which would strip a leading tab and bare what it hides.
    is_formula = text.startswith(_FORMULA_STARTS) or clean(text).startswith(_FORMULA_STARTS)
    return "'" + clean(text) if is_formula else clean(text)


def measure(text: str) -> int:
    """Return how many terminal columns a cleaned text takes: two per wide character, none per accent."""
    columns = 0
    for character in text:
        if unicodedata.combining(character):
            continue
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return columns


def shorten(text: str, columns: int) -> str:
    """Return a cleaned text cut to a number of columns, keeping both ends, where labels differ."""
    text = clean(text)
    if measure(text) <= columns:
        return text
    head, tail = text, ""
    while head and measure(head) + measure(tail) + 2 > columns:
        # Twice as much is kept of the beginning as of the end.
        tail = text[len(text) - max(0, (columns - 2) // 3) :]
        head = head[:-1]
    return (head + ".." + tail) if measure(tail) + 2 <= columns else text[:columns]


def slug(text: str) -> str:
    """Return a file name's part: lower case letters, digits, dashes and underscores only."""
    return (
        re.sub(r"[^a-z0-9_]+", "-", clean(text).lower().replace("*", "-modified")).strip("-")[:60]
        or "unnamed"
    )
