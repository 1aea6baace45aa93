"""Matplotlib drawings as inline SVG with the colours and fonts of the page, so dark mode works."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

# Stand-ins that matplotlib can parse, replaced by the page's own variables afterwards.
COLOURS = {
    "ink": "#010101",
    "muted": "#020202",
    "line": "#030303",
    "paper": "#040404",
    "teacher": "#050505",
    "student": "#060606",
    "control": "#070707",
    "baseline": "#080808",
    "other": "#090909",
}
_FONT_SIZE = 11.0  # one unit is one CSS pixel when the drawing is shown at its own width
_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": _FONT_SIZE,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": _FONT_SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.7,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}


# A hundredth of a pixel is as fine as anyone sees.
_DECIMALS = re.compile(r"(\d+\.\d\d)\d+")


def colour_of(role: str) -> str:
    """The stand-in for a model's colour."""
    return COLOURS.get(role, COLOURS["other"])


def draw(label: str, paint: Callable[[Any], None], *, width: float, height: float) -> Markup:
    """Call `paint` with fresh axes and return the SVG, `width` x `height` CSS pixels, described by `label`.

    The same drawing gives the same bytes every time.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    salt = hashlib.sha256(label.encode()).hexdigest()[:12]
    settings: Any = {**_RC, "svg.hashsalt": salt}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Text is laid out by the browser, whose fonts have the glyphs that matplotlib's lack.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return _inline(written.getvalue(), label, width)


def _inline(svg: str, label: str, width: float) -> Markup:
    body = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="([^"]+)"', body)
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style .*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<g) id="[a-zA-Z0-9_.]+"', r"\1", body)
    body = re.sub(r'(style="[^"]*?)font-family: [^;"]*;? ?', r"\1", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r' (d|x|y)="[^"]*"', lambda found: _DECIMALS.sub(r"\1", found.group()), body)
    body = re.sub(r"\n\s*", " ", body)
    body = body.replace("xlink:href", "href")
    for name, stand_in in COLOURS.items():
        body = body.replace(stand_in, f"var(--{name})")
    # Enlarged a little where there is room, never so much that its letters outgrow the page's.
    limit = f"max-width: {1.25 * width:.0f}px"
    box = view.group(1) if view else ""
    told = escape(label)
    start = f'<svg class="plot" role="img" aria-label="{told}" viewBox="{box}" width="{width:.0f}" style="{limit}">'
    # Not escaped again: matplotlib escapes the texts that it is given.
    return Markup(start + body)
