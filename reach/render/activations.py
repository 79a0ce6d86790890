"""Draw a learner's network: spikes or activities of its cells, and the path of the last error to the synapses.

The path depends on the learning rule: backwards layer by layer, directly to all layers, to the first layer and forward
from there, or as a gate on recent spike pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reach.jit import kernel
from reach.render import palette
from reach.render.canvas import Canvas, Frame, Pixel, between
from reach.render.labels import fit_text, render_text
from reach.render.palette import Colour
from reach.snapshot import SPIKE_BIN_MS, ErrorPath, Population, Snapshot

Box = tuple[int, int, int, int]  # left, top, width and height, pixels

RASTER_WINDOW_MS = 1000
ROUTE_TEXTS = {
    "backward": "layer by layer, backwards",
    "broadcast": "to all layers at once",
    "forward": "to the first layer, then forward",
    "gate": "a gate on recent pre-post pairs",
    "activity": "remembered as activity, no synapse changes",
}
NO_ERROR = "nothing has been learned from yet"
PANEL_BACKGROUND: Colour = (252, 251, 249)
EMPTY_TILE: Colour = (236, 234, 228)
# Colours of activities of rate cells below and above 0.
NEGATIVE, POSITIVE = palette.OKABE_ITO["blue"], palette.OKABE_ITO["vermillion"]
# Strength of the colours of signals while no error is moving along its path.
RESTING_STRENGTH = 0.6
LARGEST_TILE_PX, SMALLEST_TILE_PX = 14, 3


def draw_network(snapshot: Snapshot | None, width: int, height: int, progress: float | None = None) -> Frame:
    """Return the picture of a learner's network, (height, width, 3) uint8, a new array.

    Args:
        snapshot: snapshot of the learner; None if the learner provides none.
        width, height: size in pixels, at least 120 by 90.
        progress: share of its path that the last error has covered, 0..1; None while no error is moving.
    """
    canvas = Canvas(blank_panel(width, height).copy())
    size = panel_text_px(height)
    if snapshot is None or not (snapshot.populations or snapshot.layers):
        line = "nothing in it learns" if snapshot is not None else "it does not show its network"
        text = render_text(line, size, palette.FAINT_INK)
        canvas.write(text, 0.5 * (width - text.get_width()), 0.5 * (height - text.get_height()))
        return canvas.frame
    if snapshot.populations:
        gates_height = max(7 * size, round(0.34 * height))
        _draw_raster(canvas, snapshot.populations, size, height - gates_height)
        _draw_gates(canvas, snapshot.error_path, size, height - gates_height, progress)
    else:
        _draw_layers(canvas, snapshot, size, progress)
    return canvas.frame


@lru_cache(maxsize=8)
def blank_panel(width: int, height: int, colour: Colour = PANEL_BACKGROUND) -> Frame:
    """Return a panel of one colour; do not modify it, because it is cached."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def panel_text_px(height: int) -> int:
    """Return the font size for a panel of this height, pixels."""
    return max(11, min(24, round(0.036 * height)))


# --- marks and tiles ---------------------------------------------------------------------------------------


def draw_spikes(frame: Frame, box: Box, spikes: NDArray[np.uint8], bins: int, colour: Colour) -> None:
    """Draw a spike raster. Time runs to the right and ends at the right edge; a cell's row has at least 2 pixels.

    If not all cells fit, show evenly spaced ones.

    Args:
        frame: (height, width, 3) uint8, drawn on in place.
        box: position in the frame.
        spikes: (recorded bins, cells); the last bin is the current one.
        bins: number of bins that fit into the box.
        colour: colour of a spike.
    """
    left, top, width, height = box
    recent = np.ascontiguousarray(spikes[-bins:])
    cells = evenly_chosen(spikes.shape[1], height // 2)
    if len(recent) and len(cells):
        _fill_spikes(frame, recent, cells, left, top, width / bins, width, height / len(cells), colour)


def evenly_chosen(cells: int, most: int) -> NDArray[np.int64]:
    """Return the indices of the cells to show: all, or `most` (at least 1) evenly spaced ones."""
    return np.linspace(0, cells - 1, max(1, min(cells, most))).round().astype(np.int64)


def tiling(cells: int, width: int, height: int, largest_px: int) -> tuple[int, int, int]:
    """Return (columns, rows, side of a tile in pixels) for the largest tiles that fit.

    If tiles of 3 pixels do not fit, some cells are left out.
    """
    for side in range(largest_px, SMALLEST_TILE_PX, -1):
        columns = min(cells, max(1, width // side))
        rows = math.ceil(cells / columns)
        if columns * side <= width and rows * side <= height:
            # Keep the proportions of the box, and avoid an almost empty row.
            columns = max(columns // 2 if rows == 1 else 1, math.ceil(cells / max(1, height // side)))
            return columns, math.ceil(cells / columns), side
    return max(1, width // SMALLEST_TILE_PX), max(1, height // SMALLEST_TILE_PX), SMALLEST_TILE_PX


def draw_tiles(
    frame: Frame,
    at: tuple[int, int],
    values: NDArray[np.float64],
    grid: tuple[int, int, int],
    colours: tuple[Colour, Colour, Colour],
    strength: float = 1.0,
) -> None:
    """Draw numbers as tiles, column by column from the top left; the largest number has the strongest colour.

    Args:
        frame: (height, width, 3) uint8, drawn on in place.
        at: left and top, pixels.
        values: (cells,); evenly spaced cells are shown if there are more cells than tiles.
        grid: result of `tiling`.
        colours: colours of the most negative value, of 0 and of the most positive value.
        strength: strength of all colours, 0..1.
    """
    columns, rows, side = grid
    chosen = values[evenly_chosen(len(values), columns * rows)]
    largest = float(np.max(np.abs(chosen)))
    # The square root makes weak cells distinguishable from silent ones.
    share = np.sign(chosen) * np.sqrt(np.abs(chosen) / largest) * strength if largest > 0.0 else np.zeros(len(chosen))
    _fill_tiles(frame, share, at[0], at[1], rows, side, *colours)


@kernel
def _fill_spikes(frame, spikes, cells, left, top, bin_px, width, row_px, colour):  # type: ignore[no-untyped-def]
    """Fill marks at least two pixels wide in rows of height `row_px`: spikes (bins, all cells) of cells (rows,)."""
    bins = spikes.shape[0]
    mark = max(2, math.ceil(bin_px))
    for k in range(bins):
        right = left + width - math.floor((bins - 1 - k) * bin_px)
        first, last = max(left, right - mark), right
        for r in range(cells.shape[0]):
            if spikes[k, cells[r]] == 0:
                continue
            above, below = top + math.floor(r * row_px), top + math.floor((r + 1) * row_px)
            if below - above > 2:
                below -= 1
            for y in range(above, below):
                for x in range(first, last):
                    frame[y, x, 0], frame[y, x, 1], frame[y, x, 2] = colour[0], colour[1], colour[2]


@kernel
def _fill_tiles(frame, share, left, top, rows, side, low, middle, high):  # type: ignore[no-untyped-def]
    """Fill tiles for shares (cells,) in -1..1; tiles of 4 pixels or more have gaps of one pixel."""
    gap = 1 if side >= 4 else 0
    for k in range(share.shape[0]):
        x0, y0 = left + (k // rows) * side, top + (k % rows) * side
        end = high if share[k] > 0.0 else low
        part = abs(share[k])
        for c in range(3):
            shade = np.uint8(middle[c] + part * (end[c] - middle[c]) + 0.5)
            for y in range(y0, y0 + side - gap):
                for x in range(x0, x0 + side - gap):
                    frame[y, x, c] = shade


# --- spiking cells -----------------------------------------------------------------------------------------


def _draw_raster(canvas: Canvas, populations: tuple[Population, ...], size: int, height: int) -> None:
    """Draw a spike raster for each population, one above the other, with name and current rate."""
    margin, gap = size, max(2, size // 4)
    names_width = round(min(13.5 * size, 0.36 * canvas.width))
    left = margin + names_width
    free = height - margin - round(1.7 * size) - gap * len(populations)
    # With the square root, small populations have room for a name beside large ones.
    shares = np.sqrt([population.spikes.shape[1] for population in populations])
    smallest = round(1.25 * size)
    heights = np.maximum(smallest, np.floor(free * shares / shares.sum())).astype(int)
    while heights.sum() > free and heights.max() > smallest:
        heights[int(np.argmax(heights))] -= 1
    top = margin
    width = canvas.width - left - margin
    for population, row_height in zip(populations, heights.tolist(), strict=True):
        canvas.frame[top : top + row_height, left : left + width] = palette.WHITE
        colour = _population_colour(population.name)
        box = (left, top, width, row_height)
        draw_spikes(canvas.frame, box, population.spikes, RASTER_WINDOW_MS // SPIKE_BIN_MS, colour)
        rate = render_text(f"{population.rate_hz:.0f} Hz", size, palette.FAINT_INK)
        middle = top + 0.5 * (row_height - rate.get_height())
        canvas.write(rate, left - rate.get_width() - 0.5 * size, middle)
        name = fit_text(population.name, size, round(names_width - rate.get_width() - 0.8 * size))
        canvas.write(render_text(name, size, colour), 0.6 * margin, middle)
        top += row_height + gap
    canvas.write(render_text("1 s ago", size, palette.FAINT_INK), left, top)
    now = render_text("now", size, palette.FAINT_INK)
    canvas.write(now, left + width - now.get_width(), top)


def _population_colour(name: str) -> Colour:
    if name == "senses":
        return palette.INK
    if name == "inhibitory":
        return palette.OKABE_ITO["blue"]
    if name.endswith("flexors"):
        return palette.blend(palette.FLEXION, palette.INK, 0.25)
    return palette.EXTENSION if name.endswith("extensors") else palette.FAILURE


def _draw_gates(canvas: Canvas, path: ErrorPath | None, size: int, top: int, progress: float | None) -> None:
    """Draw eligibility x modulator = change for each projection."""
    margin = size
    canvas.frame[top, margin : canvas.width - margin] = palette.GRID
    y = top + round(0.5 * size)
    canvas.write(render_text(NO_ERROR if path is None else _path_text(path), size, palette.SEEN), margin, y)
    if path is None:
        return
    share = 1.0 if progress is None else progress
    header_y = y + round(1.5 * size)
    y = header_y + round(1.4 * size)
    row_height = max(4, (canvas.height - y - margin // 2) // len(path.signals))
    names_width = round(min(7.0 * size, 0.2 * canvas.width))
    sign_width = 2 * size
    strip_width = (canvas.width - 2 * margin - names_width - 2 * sign_width) // 3
    signs = ("\u00d7", "=")
    for number, signal in enumerate(path.signals):
        row = y + number * row_height
        canvas.write(render_text(fit_text(signal.name, size, names_width), size, palette.INK), margin, row)
        grid = tiling(len(signal.modulator), strip_width, row_height - 4, 8)
        pairs = signal.eligibility if signal.eligibility is not None else np.ones_like(signal.modulator)
        arrived, changed = _ramp(share, 0.25, 0.6), _ramp(share, 0.65, 1.0)
        strips = ((pairs, palette.INK, 0.9, "recent pairs"), (signal.modulator, palette.SEEN, arrived, path.label),
                  (pairs * signal.modulator, palette.SUCCESS, changed, "change"))  # fmt: skip
        for k, (values, colour, strength, title) in enumerate(strips):
            left = margin + names_width + k * (strip_width + sign_width)
            if number == 0:
                canvas.write(render_text(fit_text(title, size, strip_width), size, colour), left, header_y)
            negative = palette.blend(colour, palette.OKABE_ITO["blue"], 0.75) if k else colour
            draw_tiles(canvas.frame, (left, row), values, grid, (negative, EMPTY_TILE, colour), strength)
            if k < 2:
                sign = render_text(signs[k], size + 4, palette.INK)
                x = left + strip_width + 0.5 * (sign_width - sign.get_width())
                canvas.write(sign, x, row + 0.5 * grid[1] * grid[2] - 0.5 * sign.get_height())


# --- rate cells --------------------------------------------------------------------------------------------


# Part of the route of an error: its beginning and end as shares of the time, its corners, and the layer at its end.
Leg = tuple[float, float, list[Pixel], int]


def _draw_layers(canvas: Canvas, snapshot: Snapshot, size: int, progress: float | None) -> None:
    """Draw layers from left to right: activities above, the last error's signals below, the error's path in between."""
    margin = size
    count = len(snapshot.layers)
    column = (canvas.width - 2 * margin) / (count + 0.55)
    tiles_width = round(column - 0.8 * size)
    header, lane_px = round(1.6 * size), round(4.6 * size)
    block = (canvas.height - 2 * margin - 2 * header - lane_px) // 2
    top = margin + header
    signals_top = top + block + header + lane_px
    places = {}
    for k, layer in enumerate(snapshot.layers):
        left = round(margin + k * column)
        grid = tiling(len(layer.activation), tiles_width, block, LARGEST_TILE_PX)
        places[layer.name] = left, grid
        name = fit_text(layer.name, size, tiles_width + round(0.6 * size))
        canvas.write(render_text(name, size, palette.INK), left, margin)
        draw_tiles(canvas.frame, (left, top), layer.activation, grid, (NEGATIVE, EMPTY_TILE, POSITIVE))
        if grid[0] * grid[1] < len(layer.activation):
            note = render_text(f"{grid[0] * grid[1]} of {len(layer.activation):,}", size, palette.FAINT_INK)
            canvas.write(note, left, top + grid[1] * grid[2] + 2)
    path = snapshot.error_path
    lane_top = top + block
    if path is None:
        canvas.write(render_text(NO_ERROR, size, palette.FAINT_INK), margin, lane_top + 1.5 * size)
        return
    canvas.write(render_text(_path_text(path), size, palette.SEEN), margin, lane_top + 1.5 * size)
    signal_places = []
    for k, signal in enumerate(path.signals):
        left, grid = places.get(signal.name, (round(margin + (k + 1) * column), (1, 1, LARGEST_TILE_PX)))
        if len(signal.modulator) < grid[0] * grid[1] // 2:
            # A convolutional layer receives one number per feature map.
            grid = tiling(len(signal.modulator), tiles_width, block, LARGEST_TILE_PX)
        signal_places.append((left, grid))
    stops = tuple(left + 0.5 * grid[0] * grid[2] for left, grid in signal_places)
    source = margin + (count + 0.1) * column
    y = lane_top + lane_px + 0.1 * size
    bus_y = y - 1.3 * size
    arrived = _draw_route(canvas, _legs(path.route, stops, source, y, bus_y), path, progress)
    colours = (palette.OKABE_ITO["blue"], EMPTY_TILE, palette.SEEN)
    for signal, (left, grid), share in zip(path.signals, signal_places, arrived, strict=True):
        strength = share if progress is not None else RESTING_STRENGTH * share
        draw_tiles(canvas.frame, (left, signals_top), signal.modulator, grid, colours, strength)
    left, grid = round(source - 0.5 * LARGEST_TILE_PX), (1, len(path.error), LARGEST_TILE_PX)
    draw_tiles(canvas.frame, (left, signals_top), path.error, grid, colours)
    label = render_text(path.label, size, palette.SEEN)
    right = canvas.width - label.get_width() - 2
    canvas.write(label, min(source - 0.5 * label.get_width(), right), bus_y - 1.35 * size)


def _draw_route(canvas: Canvas, legs: list[Leg], path: ErrorPath, progress: float | None) -> list[float]:
    """Draw the route of an error up to its progress; return the share that has arrived at each layer, 0..1."""
    progress = 1.0 if progress is None else progress
    arrived = [0.0] * len(path.signals)
    thickness = max(2.0, 0.006 * canvas.height)
    for begin, end, points, layer in legs:
        if not np.any(path.signals[layer].modulator):
            continue
        for start, finish in itertools.pairwise(points):
            canvas.line(start, finish, thickness, palette.FIELD)
        part = _ramp(progress, begin, end)
        if part > 0.0:
            _draw_along(canvas, points, part, thickness)
        arrived[layer] = _ramp(progress, end - 0.02, min(1.0, end + 0.12)) if progress < 1.0 else 1.0
    canvas.disc(legs[0][2][0], 2.4 * thickness, palette.SEEN)
    canvas.flush()
    return arrived


def _legs(route: str, stops: Sequence[float], source: float, y: float, bus_y: float) -> list[Leg]:
    """Return the legs of a route.

    Args:
        route: a route of `ErrorPath`.
        stops: centres of the layers, the first layer first, pixels.
        source: beginning of the route, pixels.
        y: height of the route, pixels.
        bus_y: height of the line that leads to all layers, pixels.
    """
    last = len(stops) - 1
    if route == "backward":
        step = 0.9 / len(stops)
        places = [source, *reversed(stops)]
        return [(k * step, (k + 1) * step, [(places[k], y), (places[k + 1], y)], last - k) for k in range(len(stops))]
    branches = [[(source, y), (source, bus_y), (stop, bus_y), (stop, y)] for stop in stops]
    if route == "forward":
        step = 0.5 / max(1, last)
        starts = [0.4 + k * step for k in range(last + 1)]
        onward = [(starts[k], starts[k + 1], [(stops[k], y), (stops[k + 1], y)], k + 1) for k in range(last)]
        return [(0.0, 0.4, branches[0], 0), *onward]
    # One common line with a branch to each layer; all branches end at the same time.
    return [(0.0, 0.7, branch, layer) for layer, branch in enumerate(branches)]


def _draw_along(canvas: Canvas, points: list[Pixel], part: float, thickness: float) -> None:
    """Draw the first `part` (0..1) of a polyline, with a dot at its end."""
    lengths = [abs(b[0] - a[0]) + abs(b[1] - a[1]) for a, b in itertools.pairwise(points)]
    remaining = part * sum(lengths)
    for (start, finish), length in zip(itertools.pairwise(points), lengths, strict=True):
        if remaining <= 0.0 or length <= 0.0:
            continue
        end = between(start, finish, min(remaining, length), length)
        canvas.line(start, end, 1.4 * thickness, palette.SEEN)
        remaining -= length
        if remaining <= 0.0:
            canvas.disc(end, 2.2 * thickness, palette.SEEN)
    if part >= 1.0:
        canvas.disc(points[-1], 1.8 * thickness, palette.SEEN)


def _path_text(path: ErrorPath) -> str:
    return f"{path.label}: {ROUTE_TEXTS[path.route]}"


def _ramp(share: float, begin: float, end: float) -> float:
    """Return 0 before `begin`, 1 after `end`, linear in between."""
    return float(min(1.0, max(0.0, (share - begin) / max(end - begin, 1e-9))))
