"""Figures inside a page, where all drawings share one name space and one set of letters."""

from __future__ import annotations

import base64
import re

from markupsafe import Markup

from bench.report.chapter import Figure
from bench.report.escape import clean

# How matplotlib defines a letter, once a drawing: by its outline, of which a space has none.
_GLYPH = re.compile(r'\s*<path id="([^"]+)"((?: d="[^"]*")? transform="scale\(0\.015625\)")/>')
_TARGET = re.compile(r'(href="#|url\(#)([^")]+)')


class Drawings:
    """The figures of one page, each inlined as it comes; a letter that several show is defined once."""

    def __init__(self) -> None:
        # Name -> what defines it.
        self._glyphs: dict[str, str] = {}
        self._num = 0

    def inline(self, figure: Figure) -> Markup:
        """Return a figure as markup: a drawing as inline SVG, a picture as PNG in a data URI."""
        label = Markup.escape(clean(figure.alt))
        if figure.is_picture:
            encoded = base64.b64encode(figure.png).decode()
            return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(encoded, label)
        self._num += 1
        svg = figure.svg.decode()
        # The XML prologue has no place inside HTML; width and height would fix the size on every screen.
        svg = re.sub(r'\s(width|height)="[\d.]+pt"', "", svg[svg.index("<svg") :], count=2)
        # Each text is repeated in a comment, for whoever edits the file.
        svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.S)
        # The page's policy lets no style through but its own, which holds the rule that every drawing brings.
        svg = re.sub(r"\s*<style[^>]*>.*?</style>", "", svg, flags=re.S)
        svg = re.sub(r'\sstyle="([^"]*)"', _unfold_style, svg)
        svg = _number(*self._share_glyphs(svg), f"f{self._num}-")
        opening = Markup('<svg role="img" aria-label="{}"').format(label)
        return opening + Markup(svg.removeprefix("<svg"))

    def write_glyphs(self) -> Markup:
        """Return the letters of all drawings so far, as a drawing that takes no room."""
        paths = "\n".join(f'<path id="{name}"{rest}/>' for name, rest in self._glyphs.items())
        opening = '<svg width="0" height="0" aria-hidden="true" class="glyphs">'
        return Markup(f"{opening}<defs>\n{paths}\n</defs></svg>")

    def _share_glyphs(self, svg: str) -> tuple[str, set[str]]:
        """Return a drawing without the letters that the page defines, and the names of those."""
        shared = set()

        def take(found: re.Match[str]) -> str:
            name, rest = found.groups()
            if self._glyphs.setdefault(name, rest) != rest:
                return found[0]
            shared.add(name)
            return ""

        return re.sub(r"\s*<defs>\s*</defs>", "", _GLYPH.sub(take, svg)), shared


def _unfold_style(found: re.Match[str]) -> str:
    """Return the style of a mark as attributes of its own: all that matplotlib sets has one."""
    pairs = dict(each.split(":", 1) for each in found[1].split(";") if ":" in each)
    return "".join(f' {key.strip()}="{value.strip()}"' for key, value in pairs.items())


def _number(svg: str, shared: set[str], prefix: str) -> str:
    """Return a drawing whose own names differ from every other's, without those that nothing refers to."""
    targets = {name for _, name in _TARGET.findall(svg)}
    svg = re.sub(
        r'\sid="([^"]+)"', lambda found: f' id="{prefix}{found[1]}"' if found[1] in targets else "", svg
    )
    return _TARGET.sub(lambda found: found[1] + (found[2] if found[2] in shared else prefix + found[2]), svg)
