"""The page over all sweeps of a results folder: one line each, and the way to its report."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from bench.publish import write_atomic
from bench.report.escape import clean
from bench.report.listing import find_sweeps
from bench.report.page import make_environment

_HERE = Path(__file__).parent


def write_overview(root: Path) -> Path:
    """Write `index.html` into a results folder: self-contained, and without a script.

    Args:
        root: `results/`.

    Returns:
        Its path.

    Raises:
        StoreError: There is no such folder, or it can't be written.
    """
    sweeps, troubles = find_sweeps(root)
    environment = make_environment()
    environment.filters.update(clean=clean, link=_link)
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template("overview.html.j2").render(
        sweeps=[(sweep, (sweep.folder / "report.html").is_file()) for sweep in sweeps],
        troubles=troubles,
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
    )
    write_atomic(root / "index.html", page.encode())
    return root / "index.html"


def _link(folder: Path) -> str:
    # With a dot before it no name can be read as a scheme.
    return f"./{quote(folder.name)}/report.html"
