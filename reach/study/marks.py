"""What charts are made of: SVG elements as text, how a learner looks, round numbers on an axis.

Learners differ in marker and dash as well as in colour, for print and for the colour-blind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import escape

MARKERS = ("circle", "square", "triangle", "diamond", "cross", "wedge")
DASHES = ("", "7 3", "2 3")
LETTER_PX = 6.2  # mean width of a letter at the charts' font size
# Corners of the markers that are no circle, in units of their radius.
CORNERS = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    "diamond": ((0.0, -1.3), (1.0, 0.0), (0.0, 1.3), (-1.0, 0.0)),
    "wedge": ((0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)),
    "cross": (
        *((-0.35, -1.2), (0.35, -1.2), (0.35, -0.35), (1.2, -0.35), (1.2, 0.35), (0.35, 0.35)),
        *((0.35, 1.2), (-0.35, 1.2), (-0.35, 0.35), (-1.2, 0.35), (-1.2, -0.35), (-0.35, -0.35)),
    ),
}


@dataclass(frozen=True)
class Look:
    """How a learner, or people, look in every chart. marker: one of MARKERS; dash: SVG's stroke-dasharray."""

    colour: str
    marker: str = "circle"
    dash: str = ""
    hollow: bool = False


def looks(learners: Sequence[str], colour: Callable[[str], str]) -> dict[str, Look]:
    """A look for each learner: its colour, and by its place a marker, filled or hollow, and a dash: 36 in all."""
    found = {}
    for place, learner in enumerate(learners):
        round_, marker_ = divmod(place, len(MARKERS))
        found[learner] = Look(colour(learner), MARKERS[marker_], DASHES[round_ // 2 % len(DASHES)], round_ % 2 == 1)
    return found


def element(tag: str, content: str = "", /, **attributes: str | float) -> str:
    """An SVG element as text. `class_` reads class, `stroke_width` stroke-width; content is put in as it is."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value != ""
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def _attribute(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def words(text: str, x: float, y: float, anchor: str = "middle", /, **attributes: str | float) -> str:
    """A piece of text at a place. anchor: "start", "middle" or "end"."""
    return element("text", str(escape(text)), x=x, y=y, text_anchor=anchor, **attributes)


def stroke(x1: float, y1: float, x2: float, y2: float, /, **attributes: str | float) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def marker(look: Look, x: float, y: float, radius: float) -> str:
    """The marker of a look, at a place."""
    style: dict[str, str | float] = {
        "fill": "#fff" if look.hollow else look.colour,
        "stroke": look.colour,
        "stroke_width": 1.4,
    }
    if look.marker == "circle":
        return element("circle", cx=x, cy=y, r=radius, **style)
    points = " ".join(f"{x + radius * dx:.1f},{y + radius * dy:.1f}" for dx, dy in CORNERS[look.marker])
    return element("polygon", points=points, **style)


def sample(look: Look, drawn: str = "line") -> str:
    """A short stretch of a line for a legend; decoration beside a name. drawn: "line" or "marks"."""
    line = stroke(1, 7, 35, 7, stroke=look.colour, stroke_width=2, stroke_dasharray=look.dash)
    body = (line if drawn == "line" else "") + marker(look, 18.0, 7.0, 4.5)
    return element("svg", body, class_="sample", viewBox="0 0 36 14", width=36, height=14, aria_hidden="true")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within [low, high], `most` at most."""
    span = high - low
    if not (math.isfinite(span) and span > 0.0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(k * power for k in (1, 2, 5, 10, 20) if span / (k * power) <= most - 1 or k == 20)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step + 0.0 for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within [low, high]; powers alone where there are many. Both above 0."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    fine = [k * 10.0**power for power in powers for k in (1, 2, 5)]
    coarse = [10.0**power for power in powers]
    inside = [one for one in fine if low <= one * (1 + 1e-9) and one <= high * (1 + 1e-9)]
    return inside if len(inside) <= 6 else [one for one in inside if one in coarse]


def shown(value: float) -> str:
    """A number with three significant digits; "" where there is none."""
    if not math.isfinite(value):
        return "never" if value > 0 else ""
    if value == 0.0:
        return "0"
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")
