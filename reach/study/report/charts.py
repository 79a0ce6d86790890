"""Two kinds of chart as SVG text: lines with bands over a numbered axis, and values with intervals, a row each.

Small, printable, the same bytes on every run, and without a library: text stays text, so that it can be read aloud and
searched, and takes the page's own font and size. Each chart carries its data for the page's script, which shows values
under the pointer or by the arrow keys, and a sentence for a screen reader.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray

from reach.study.report.metrics import (
    shown,
)

Floats = NDArray[np.float64]

WIDTH = 400  # of the drawing, px at its own scale: readable on a phone, and not huge on a desk
HEIGHT = 300
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 24, 44
MARKS_A_LINE = 7
ROW = 40  # height of a row of a value chart
ROW_LEFT, ROW_RIGHT = 12, WIDTH - 22


@dataclass(frozen=True)
class Series:
    """A line with its band; x, y, low and high are (n,), with NaN where there is nothing. drawn: "line" or "marks"."""

    name: str
    look: Look
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    drawn: str = "line"


@dataclass(frozen=True)
class Shade:
    """A stretch of the horizontal axis with a title; `marked` is tinted."""

    first: float
    last: float
    title: str
    marked: bool


@dataclass(frozen=True)
class Row:
    """A value with its interval and single seeds (n,); text: how it is written."""

    name: str
    look: Look
    value: float
    low: float
    high: float
    seeds: Floats
    text: str


@dataclass(frozen=True)
class _Scale:
    """From values to places on the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log: bool
    bottom: float
    left: float = LEFT
    right: float = WIDTH - RIGHT

    def across(self, x: float) -> float:
        if self.log:
            share = math.log(x / self.x_low) / math.log(self.x_high / self.x_low)
        else:
            share = (x - self.x_low) / (self.x_high - self.x_low)
        return self.left + (self.right - self.left) * share

    def up(self, y: float) -> float:
        return self.bottom - (self.bottom - TOP) * (y - self.y_low) / (self.y_high - self.y_low)

    def points(self, x: Floats, y: Floats) -> list[tuple[float, float]]:
        return [(self.across(float(a)), self.up(float(b))) for a, b in zip(x, y, strict=True)]


def line_chart(
    series: Sequence[Series],
    *,
    name: str,
    alternative: str,
    x_label: str,
    y_label: str,
    shades: Sequence[Shade] = (),
    guides: Sequence[float] = (0.0,),
    x_names: Sequence[str] = (),
    log_x: bool = False,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Series over one axis, as an <svg> element.

    Args:
        series: drawn in order, so that the last lies on top.
        name: makes its ids unique on the page.
        alternative: what a screen reader says.
        x_label, y_label: of the axes, with units.
        shades: stretches of the axis, such as the blocks of a protocol.
        guides: heights at which a line is drawn across.
        x_names: of the places 0, 1, ... on the axis, in place of numbers.
        log_x: logarithmic axis; x must be above 0.
        y_range: of the vertical axis; None: what the series and guides need.
    """
    bottom = HEIGHT - BOTTOM
    scale = _Scale(
        *_x_range(series, shades, bool(x_names), log_x), *(y_range or _y_range(series, guides)), log_x, bottom
    )
    clip = f"{name}-clip"
    box = element("rect", x=LEFT, y=TOP, width=scale.right - LEFT, height=bottom - TOP)
    parts = [element("clipPath", box, id=clip)]
    parts += _shades(shades, scale)
    for tick in ticks(scale.y_low, scale.y_high):
        parts.append(stroke(LEFT, scale.up(tick), scale.right, scale.up(tick), class_="rule"))
        parts.append(words(shown(tick), LEFT - 6, scale.up(tick) + 4, "end", class_="tick"))
    for at in guides:
        if scale.y_low <= at <= scale.y_high:
            parts.append(stroke(LEFT, scale.up(at), scale.right, scale.up(at), class_="guide"))
    numbers = log_ticks(scale.x_low, scale.x_high) if log_x else ticks(scale.x_low, scale.x_high)
    for tick, text in [(float(k), one) for k, one in enumerate(x_names)] or [(one, shown(one)) for one in numbers]:
        parts.append(stroke(scale.across(tick), bottom, scale.across(tick), bottom + 4, class_="axis"))
        parts.append(words(text, scale.across(tick), bottom + 17, class_="tick name" if x_names else "tick"))
    parts.append(stroke(LEFT, bottom, scale.right, bottom, class_="axis"))
    parts.append(words(x_label, (LEFT + scale.right) / 2, HEIGHT - 8))
    middle = (TOP + bottom) / 2
    parts.append(words(y_label, 12, middle, transform=f"rotate(-90 12 {middle:g})"))
    parts += [element("g", body, clip_path=f"url(#{clip})") for one in series if (body := _band(one, scale))]
    parts += [_line(one, place, scale, clip) for place, one in enumerate(series)]
    frame = {
        "x": [scale.x_low, scale.x_high],
        "y": [scale.y_low, scale.y_high],
        "log": log_x,
        "names": list(x_names),
        "label": x_label,
        "box": [LEFT, scale.right, TOP, bottom],
    }
    return _svg(name, alternative, HEIGHT, parts, json.dumps(frame, separators=(",", ":")))


def value_chart(
    rows: Sequence[Row],
    *,
    name: str,
    alternative: str,
    x_label: str,
    guide: tuple[float, str] | None = None,
    band: tuple[float, float, str] | None = None,
) -> str:
    """A row a learner: its name and number, below it the value with its interval, and its seeds as small dots.

    guide: a value marked by a line, with its title. band: low, high and title of a stretch that is tinted.
    """
    bottom = float(TOP + ROW * len(rows))
    known = [v for row in rows for v in (row.value, row.low, row.high, *row.seeds.tolist()) if math.isfinite(v)]
    known += [guide[0]] if guide else []
    known += band[:2] if band else []
    low, high = min([0.0, *known]), max(known, default=1.0)
    room = 0.03 * ((high - low) or 1.0)
    scale = _Scale(low - room if low < 0.0 else low, high + room, 0.0, 1.0, False, bottom, ROW_LEFT, ROW_RIGHT)
    parts = []
    if band:
        first, last = scale.across(band[0]), scale.across(band[1])
        parts.append(element("rect", class_="people", x=first, y=TOP - 4, width=last - first, height=bottom - TOP + 4))
        parts.append(words(band[2], (first + last) / 2, TOP - 9, class_="soft"))
    for tick in ticks(scale.x_low, scale.x_high):
        parts.append(stroke(scale.across(tick), TOP, scale.across(tick), bottom, class_="rule"))
        parts.append(words(shown(tick), scale.across(tick), bottom + 17, class_="tick"))
    if guide:
        at = scale.across(guide[0])
        parts.append(stroke(at, TOP - 4, at, bottom, class_="guide dashed"))
        parts.append(words(guide[1], at, TOP - 9, "end" if at > WIDTH / 2 else "start", class_="soft"))
    parts += [_row(row, TOP + ROW * place, scale) for place, row in enumerate(rows)]
    parts.append(stroke(ROW_LEFT, bottom, ROW_RIGHT, bottom, class_="axis"))
    parts.append(words(x_label, (ROW_LEFT + ROW_RIGHT) / 2, bottom + BOTTOM - 8))
    return _svg(name, alternative, bottom + BOTTOM, parts)


def _row(row: Row, top: float, scale: _Scale) -> str:
    line = top + 26
    parts = [element("rect", class_="hit", x=0, y=top, width=WIDTH, height=ROW)]
    parts.append(words(row.name, ROW_LEFT, top + 13, "start"))
    parts.append(words(row.text, ROW_RIGHT, top + 13, "end", class_="number"))
    for seed in row.seeds[np.isfinite(row.seeds)].tolist():
        parts.append(element("circle", cx=scale.across(seed), cy=line + 9, r=2, fill=row.look.colour, opacity="0.6"))
    if math.isfinite(row.low) and math.isfinite(row.high):
        ends = scale.across(row.low), line, scale.across(row.high), line
        parts.append(stroke(*ends, stroke=row.look.colour, stroke_width=4, opacity="0.55"))
    if math.isfinite(row.value):
        parts.append(marker(row.look, scale.across(row.value), line, 5.0))
    seeds = ", ".join(filter(None, map(shown, row.seeds.tolist())))
    data = {"data_name": row.name, "data_text": row.text, "data_seeds": seeds}
    return element("g", "".join(parts), class_="row", **data)


def _svg(name: str, alternative: str, height: float, parts: Sequence[str], frame: str = "") -> str:
    title = element("title", str(escape(alternative)), id=f"{name}-title")
    return element(
        "svg",
        title + "".join(parts),
        class_="chart",
        viewBox=f"0 0 {WIDTH} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title",
        data_frame=frame,
    )


def _x_range(series: Sequence[Series], shades: Sequence[Shade], named: bool, log_x: bool) -> tuple[float, float]:
    ends = [float(x) for one in series for x in one.x if math.isfinite(x)]
    ends += [end for shade in shades for end in (shade.first, shade.last)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    if log_x:
        return low / 1.15, high * 1.15
    return (low - 0.4, high + 0.4) if named or low == high else (low, high)


def _y_range(series: Sequence[Series], guides: Sequence[float]) -> tuple[float, float]:
    parts = [part for one in series for part in (one.y, one.low, one.high) if part is not None]
    known = [*guides, *(float(value) for part in parts for value in part if math.isfinite(value))]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.05 * ((high - low) or 1.0)
    return low - room, high + room


def _shades(shades: Sequence[Shade], scale: _Scale) -> list[str]:
    parts: list[str] = []
    for place, shade in enumerate(shades):
        first, last = scale.across(shade.first), scale.across(shade.last)
        if shade.marked:
            box = {"x": first, "y": TOP, "width": last - first, "height": scale.bottom - TOP}
            parts.append(element("rect", class_="shade", **box))
        elif place:
            parts.append(stroke(first, TOP, first, scale.bottom, class_="edge"))
        # A title wider than its stretch would run into the next.
        if LETTER_PX * len(shade.title) <= last - first + LETTER_PX:
            parts.append(words(shade.title, (first + last) / 2, TOP - 8, class_="soft"))
    return parts


def _band(one: Series, scale: _Scale) -> str:
    if one.low is None or one.high is None:
        return ""
    known = np.isfinite(one.low) & np.isfinite(one.high) & np.isfinite(one.x)
    below, above = scale.points(one.x[known], one.low[known]), scale.points(one.x[known], one.high[known])
    if one.drawn == "marks":
        pairs = zip(below, above, strict=True)
        return "".join(stroke(*low, *high, stroke=one.look.colour, stroke_width=1.5) for low, high in pairs)
    if len(below) < 2:
        return ""
    return element("path", d=_path([*above, *below[::-1]]) + "Z", fill=one.look.colour, opacity="0.18")


def _line(one: Series, place: int, scale: _Scale, clip: str) -> str:
    known = np.isfinite(one.x) & np.isfinite(one.y)
    x, y = one.x[known], one.y[known]
    points = scale.points(x, y)
    body, step = "", 1
    if one.drawn == "line" and points:
        style: dict[str, str | float] = {"stroke": one.look.colour, "stroke_width": 1.8}
        style["stroke_dasharray"] = one.look.dash
        body = element("path", d=_path(points), fill="none", clip_path=f"url(#{clip})", **style)
        step = max(1, len(points) // MARKS_A_LINE)
    inside = (y >= scale.y_low) & (y <= scale.y_high)
    # Staggered, so that the markers of learners alike do not cover each other.
    start = (place * 3) % step
    body += "".join(marker(one.look, *points[k], 3.6) for k in range(start, len(points), step) if inside[k])
    columns = [x, y]
    if one.low is not None and one.high is not None:
        columns += [one.low[known], one.high[known]]
    values = [[_plain(row[0], 6), *map(_plain, row[1:])] for row in zip(*columns, strict=True)]
    data = json.dumps(values, separators=(",", ":"))
    colours = {"data_name": one.name, "data_colour": one.look.colour, "data_points": data}
    return element("g", body or "<desc/>", class_="series", **colours)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _plain(value: float, digits: int = 3) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


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


Looks = Mapping[str, Look]
