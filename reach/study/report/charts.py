"""Draw the report's charts with Vega-Lite: lines with bands over one axis, and rows of values with intervals.

A chart is a static SVG image: it needs no JavaScript, can be printed, scales on a phone, and has the same bytes for the
same data. Transparent areas contain the values in words (`aria-label`), which the page shows on hover. Vega's runtime
would show the same values, but adds 0.9 MB and four seconds to every report.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from reach.study.report.metrics import short_number

Floats = NDArray[np.float64]
Layer = dict[str, Any]

WIDTH, HEIGHT = 400, 300  # px; the page scales a chart to its column
MARKERS_PER_LINE = 7
ROW_HEIGHT = 40  # px, for a row of a value chart
LETTER_WIDTH = 6.2  # px, mean at the font size of block titles
MARKER_AREA, VALUE_MARKER_AREA = 50, 90  # px^2
GREY, SOFT, GRID, SHADE, PEOPLE = "#8a8a8a", "#555", "#ececec", "#f5f1e6", "#e6e6e6"
# SVG paths within -1 .. 1.
MARKERS = {
    "circle": "M1 0A1 1 0 1 1 -1 0A1 1 0 1 1 1 0Z",
    "square": "M-.9 -.9H.9V.9H-.9Z",
    "triangle": "M0 -1.1L1.1 .9H-1.1Z",
    "diamond": "M0 -1.3L1 0L0 1.3L-1 0Z",
    "cross": "M-.35 -1.2H.35V-.35H1.2V.35H.35V1.2H-.35V.35H-1.2V-.35H-.35Z",
    "wedge": "M0 1.1L1.1 -.9H-1.1Z",
}
DASHES = ((1, 0), (7, 3), (2, 3))
CONFIG = {
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal", "titlePadding": 6}
    | {"labelColor": SOFT, "titleColor": "#222", "gridColor": GRID, "domainColor": GREY, "tickColor": GREY},
    "text": {"fontSize": 12, "color": SOFT},
}


@dataclass(frozen=True)
class Look:
    """Appearance of a learner, or of people, in every chart.

    Learners differ in marker and dash as well as in colour, for print and for colour-blind readers.

    Attributes:
        colour: CSS colour.
        marker: a key of `MARKERS`.
        dash: lengths of line and gap, px.
        hollow: whether the marker is filled with white.
    """

    colour: str
    marker: str = "circle"
    dash: tuple[int, int] = DASHES[0]
    hollow: bool = False

    @property
    def fill(self) -> str:
        return "#fff" if self.hollow else self.colour


Looks = Mapping[str, Look]


@dataclass(frozen=True)
class Series:
    """Values along an axis with their intervals.

    Attributes:
        name: shown on hover.
        look: appearance.
        x, y, low, high: (n,); NaN where a value is unknown.
        drawn: "line" for a line with a band, or "marks" for markers with bars.
    """

    name: str
    look: Look
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    drawn: str = "line"


@dataclass(frozen=True)
class Shade:
    """A titled range of the horizontal axis; tinted if `marked`."""

    first: float
    last: float
    title: str
    marked: bool


@dataclass(frozen=True)
class Row:
    """A value with its interval, the values of single seeds (n,), and the value as text."""

    name: str
    look: Look
    value: float
    low: float
    high: float
    seeds: Floats
    text: str


def looks(learners: Sequence[str], colour: Callable[[str], str]) -> dict[str, Look]:
    """Return a look for each learner; up to 36 looks differ even without colour."""
    styles = [(dash, hollow, marker) for dash in DASHES for hollow in (False, True) for marker in MARKERS]
    chosen = {}
    for place, learner in enumerate(learners):
        dash, hollow, marker = styles[place % len(styles)]
        chosen[learner] = Look(colour(learner), marker, dash, hollow)
    return chosen


def legend_sample(look: Look, drawn: str = "line") -> Markup:
    """Return a short line with a marker (SVG) for a legend; `drawn` is "line" or "marks"."""
    dash = " ".join(map(str, look.dash))
    line = f'<path d="M1 7H35" stroke-width="2" stroke-dasharray="{dash}"/>' if drawn == "line" else ""
    marker = f'<path d="{MARKERS[look.marker]}" transform="translate(18 7) scale(4.5)" fill="{look.fill}"/>'
    head = f'<svg class="sample" viewBox="0 0 36 14" width="36" height="14" aria-hidden="true" stroke="{look.colour}">'
    return Markup(f"{head}{line}{marker}</svg>")


def line_chart(
    series: Sequence[Series],
    *,
    alternative: str,
    x_label: str,
    y_label: str,
    shades: Sequence[Shade] = (),
    guides: Sequence[float] = (0.0,),
    x_names: Sequence[str] = (),
    log_x: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Markup:
    """Draw series over one axis.

    Args:
        series: series in drawing order; the last one is on top.
        alternative: text for screen readers.
        x_label, y_label: axis titles with units.
        shades: ranges of the axis, such as the blocks of a protocol.
        guides: heights of horizontal lines.
        x_names: labels of the positions 0, 1, ... on the axis.
        log_x: whether the horizontal axis is logarithmic; x must be above 0.
        y_range: range of the vertical axis; None to fit the series and guides.
    """
    x_low, x_high = _x_range(series, shades, bool(x_names), log_x)
    y_low, y_high = y_range or _y_range(series, guides)
    px_per_x = (WIDTH - 60) / (x_high - x_low)
    bands: list[Layer] = []
    bars: list[Layer] = []
    lines: list[Layer] = []
    markers: list[Layer] = []
    for place, curve in enumerate(series):
        look = _style(curve.name, curve.look)
        known = np.isfinite(curve.x) & np.isfinite(curve.y)
        if curve.low is not None and curve.high is not None:
            between = np.isfinite(curve.x) & np.isfinite(curve.low) & np.isfinite(curve.high)
            ends = [
                look | {"x": x, "y": low, "y2": high} for x, low, high in _rows(between, curve.x, curve.low, curve.high)
            ]
            (bars if curve.drawn == "marks" else bands).extend(ends)
        points = [look | {"x": x, "y": y} for x, y in _rows(known, curve.x, curve.y)]
        step = 1
        if curve.drawn == "line":
            lines += points
            step = max(1, len(points) // MARKERS_PER_LINE)
        # Markers are staggered, so that those of similar learners do not cover each other.
        markers += [point for point in points[place * 3 % step :: step] if y_low <= point["y"] <= y_high]
    tinted = [{"x": shade.first, "x2": shade.last} for shade in shades if shade.marked]
    edges = [{"x": shade.first} for shade in shades[1:] if not shade.marked]
    # A title that is wider than its range would overlap the next title.
    wide = [shade for shade in shades if LETTER_WIDTH * (len(shade.title) - 1) <= px_per_x * (shade.last - shade.first)]
    titles = [{"x": (shade.first + shade.last) / 2, "text": shade.title} for shade in wide if shade.title]
    scale = {"type": "log" if log_x else "linear", "domain": [x_low, x_high], "nice": False, "zero": False}
    x_axis: Layer = {"title": x_label, "grid": False, "tickCount": 6, "labelOverlap": not x_names}
    if log_x:
        powers = range(math.floor(math.log10(x_low)), math.ceil(math.log10(x_high)) + 1)
        x_axis["values"] = [k * 10.0**n for n in powers for k in (1, 2, 5) if x_low <= k * 10.0**n <= x_high]
    if x_names:
        names = f"{list(x_names)}[datum.value]"
        x_axis |= {"values": list(range(len(x_names))), "labelExpr": names, "labelFontSize": 11}
    x = {"field": "x", "type": "quantitative", "scale": scale, "axis": x_axis}
    y_axis = {"title": y_label, "tickCount": 6, "domain": False, "ticks": False, "offset": 8}
    y = {"field": "y", "type": "quantitative", "scale": {"domain": [y_low, y_high], "nice": False}, "axis": y_axis}
    layers = [
        _layer({"type": "rect", "color": SHADE}, tinted, x=x, x2={"field": "x2"}),
        _layer({"type": "rule", "color": "#d9d5cb"}, edges, x=x),
        _layer("text", titles, x=x, y={"value": -9}, text={"field": "text"}),
        _layer({"type": "rule", "color": GREY}, [{"y": at} for at in guides if y_low <= at <= y_high], y=y),
        _layer({"type": "area", "clip": True, "opacity": 0.18}, bands, "fill", x=x, y=y, y2={"field": "y2"}),
        _layer({"type": "line", "clip": True, "strokeWidth": 1.8}, lines, "stroke", "strokeDash", x=x, y=y),
        _layer({"type": "rule", "strokeWidth": 1.5}, bars, "stroke", x=x, y=y, y2={"field": "y2"}),
        _layer(_marker(MARKER_AREA), markers, "stroke", "fill", "shape", x=x, y=y),
        _hover(_values_by_place(series, x_label, x_names, log_x, (x_low, x_high)), x=x, x2={"field": "x2"}),
    ]
    return _svg(layers, alternative, HEIGHT, x=x, y=y)


def value_chart(
    rows: Sequence[Row],
    *,
    alternative: str,
    x_label: str,
    guide: tuple[float, str] | None = None,
    band: tuple[float, float, str] | None = None,
) -> Markup:
    """Draw one row per learner: name and number, and below them the value with its interval and single seeds.

    Args:
        rows: rows from top to bottom.
        alternative: text for screen readers.
        x_label: axis title with its unit.
        guide: value and title of a vertical line.
        band: low, high and title of a tinted range.
    """
    known = [v for row in rows for v in (row.value, row.low, row.high, *row.seeds.tolist()) if math.isfinite(v)]
    known += [guide[0]] if guide else []
    known += band[:2] if band else []
    low, high = min([0.0, *known]), max(known, default=1.0)
    room = 0.03 * ((high - low) or 1.0)
    domain = [low - room if low < 0.0 else low, high + room]
    x_axis = {"title": x_label, "tickCount": 6, "ticks": False}
    x = {"field": "x", "type": "quantitative", "scale": {"domain": domain, "nice": False}, "axis": x_axis}
    y = {"field": "y", "type": "quantitative", "scale": None, "axis": None}  # px
    names, numbers, intervals, seeds, values, areas = [], [], [], [], [], []
    for place, row in enumerate(rows):
        style, top = _style(row.name, row.look), ROW_HEIGHT * place
        names.append({"y": top + 10, "text": row.name})
        numbers.append({"y": top + 10, "text": row.text})
        seeds += [style | {"y": top + 34, "x": seed} for seed in row.seeds.tolist() if math.isfinite(seed)]
        if math.isfinite(row.low) and math.isfinite(row.high):
            intervals.append(style | {"y": top + 26, "x": row.low, "x2": row.high})
        if math.isfinite(row.value):
            values.append(style | {"y": top + 26, "x": row.value})
        by_seed = ", ".join(filter(None, map(short_number, row.seeds.tolist())))
        words = "\n".join([row.name, row.text, *([f"seeds: {by_seed}"] if by_seed else [])])
        areas.append({"y": top, "y2": top + ROW_HEIGHT, "words": words})
    label = {"type": "text", "color": "#222", "fontSize": 13}
    layers = []
    if band:
        ends = [{"x": band[0], "x2": band[1]}]
        layers.append(_layer({"type": "rect", "color": PEOPLE}, ends, x=x, x2={"field": "x2"}))
        title = [{"x": (band[0] + band[1]) / 2, "text": band[2]}]
        layers.append(_layer("text", title, x=x, y={"value": -9}, text={"field": "text"}))
    if guide:
        side = "right" if guide[0] > sum(domain) / 2 else "left"
        stretches = [
            {"x": guide[0], "y": place * ROW_HEIGHT + 17, "y2": (place + 1) * ROW_HEIGHT} for place in range(len(rows))
        ]
        line = {"type": "rule", "color": GREY, "strokeDash": [3, 3]}
        layers.append(_layer(line, stretches, x=x, y=y, y2={"field": "y2"}))  # with gaps for the numbers
        title = [{"x": guide[0], "text": guide[1]}]
        layers.append(_layer({"type": "text", "align": side}, title, x=x, y={"value": -9}, text={"field": "text"}))
    layers += [
        _layer(label | {"align": "left"}, names, x={"value": 4}, y=y, text={"field": "text"}),
        _layer(label | {"align": "right"}, numbers, x={"value": "width"}, y=y, text={"field": "text"}),
        _layer({"type": "circle", "size": 14, "opacity": 0.6}, seeds, "fill", x=x, y=y),
        _layer({"type": "rule", "strokeWidth": 4, "opacity": 0.55}, intervals, "stroke", x=x, x2={"field": "x2"}, y=y),
        _layer(_marker(VALUE_MARKER_AREA), values, "stroke", "fill", "shape", x=x, y=y),
        _hover(areas, x={"value": 0}, x2={"value": "width"}, y=y, y2={"field": "y2"}),
    ]
    around = 70 if band or guide else 54  # px, for the axis, and for titles above
    return _svg(layers, alternative, ROW_HEIGHT * len(rows) + around, x=x, y=y)


def _rows(known: NDArray[np.bool_], *columns: Floats) -> Iterable[tuple[float, ...]]:
    return zip(*(column[known].tolist() for column in columns), strict=True)


def _style(name: str, look: Look) -> Layer:
    """Return the columns that define the look of a learner's marks."""
    style = {"stroke": look.colour, "fill": look.fill, "strokeDash": list(look.dash), "shape": MARKERS[look.marker]}
    return style | {"series": name}


def _marker(area: int) -> Layer:
    return {"type": "point", "opacity": 1, "strokeWidth": 1.4, "size": area}


def _layer(mark: Layer | str, rows: Sequence[Layer], *styles: str, **encoding: Any) -> Layer:
    """Return a layer; `styles` are the channels set by each row's look."""
    encoding |= {style: {"field": style, "type": "nominal", "scale": None, "legend": None} for style in styles}
    if styles:
        encoding["detail"] = {"field": "series"}
    return {
        "data": {"values": list(rows)},
        "mark": {"aria": False} | (mark if isinstance(mark, dict) else {"type": mark}),
        "encoding": encoding,
    }


def _hover(rows: Sequence[Layer], **encoding: Any) -> Layer:
    """Return a layer of transparent areas that contain the values in words."""
    layer = _layer({"type": "rect", "fillOpacity": 0, "aria": True}, rows, **encoding)
    layer["encoding"]["description"] = {"field": "words"}
    return layer | {"name": "hover"}


def _values_by_place(
    series: Sequence[Series], x_label: str, x_names: Sequence[str], log_x: bool, ends: tuple[float, float]
) -> list[Layer]:
    """Return the texts shown on hover over each position on the axis, with the range nearest to that position."""
    words: dict[float, list[str]] = {}
    for curve in series:
        nothing = np.full_like(curve.y, np.nan)
        low, high = (nothing if end is None else end for end in (curve.low, curve.high))
        for x, y, below, above in _rows(np.isfinite(curve.x) & np.isfinite(curve.y), curve.x, curve.y, low, high):
            between = f" [{short_number(below)}, {short_number(above)}]" if math.isfinite(below + above) else ""
            words.setdefault(x, []).append(f"{curve.name} {short_number(y)}{between}")
    places = sorted(words)
    if not places:
        return []
    at = np.log(places) if log_x else np.array(places)
    middles = (at[1:] + at[:-1]) / 2
    edges = [ends[0], *(np.exp(middles) if log_x else middles).tolist(), ends[1]]
    counted = re.sub(r"(,| \().*", "", x_label)
    heads = [f"{counted}: {x_names[int(x)] if x_names else f'{x:.6g}'}" for x in places]
    return [
        {"x": left, "x2": right, "words": "\n".join([head, *words[x]])}
        for x, head, left, right in zip(places, heads, edges[:-1], edges[1:], strict=True)
    ]


def _svg(layers: Sequence[Layer], alternative: str, height: int, **axes: Layer) -> Markup:
    import vl_convert  # loads a JavaScript engine

    # A layer without rows defines the axes if there is no other layer.
    empty = {"data": {"values": []}, "mark": "point", "encoding": axes}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": WIDTH,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": CONFIG,
        "layer": [empty, *(layer for layer in layers if layer["data"]["values"])],
    }
    text = vl_convert.vegalite_to_svg(spec)
    text = text[text.index(">") + 1 :]
    text = re.sub(r"(\.\d\d)\d{8,}", r"\1", text)  # coordinates, px
    # Vega numbers ids over all charts of a process. Rename them so that they depend only on their chart, and differ
    # between the charts of a page.
    digest = hashlib.sha256(alternative.encode()).hexdigest()[:8]
    names = dict.fromkeys(re.findall(r'id="([^"]+)"', text))
    ids = {name: f"{digest}-{number}" for number, name in enumerate(names)}
    text = re.sub(r'(id="|url\(#)([^")]+)', lambda match: match[1] + ids[match[2]], text)
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(alternative)}">'
    return Markup(head + text)


def _x_range(series: Sequence[Series], shades: Sequence[Shade], named: bool, log_x: bool) -> tuple[float, float]:
    ends = [float(x) for curve in series for x in curve.x if math.isfinite(x)]
    ends += [end for shade in shades for end in (shade.first, shade.last)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    if log_x:
        return low / 1.15, high * 1.15
    return (low - 0.4, high + 0.4) if named or low == high else (low, high)


def _y_range(series: Sequence[Series], guides: Sequence[float]) -> tuple[float, float]:
    parts = [part for curve in series for part in (curve.y, curve.low, curve.high) if part is not None]
    known = [*guides, *(float(value) for part in parts for value in part if math.isfinite(value))]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.05 * ((high - low) or 1.0)
    return low - room, high + room
