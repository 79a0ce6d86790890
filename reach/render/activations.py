"""Draw a learner's network: spikes or activities of its cells, and the path of the last error to the synapses.

The path depends on the learning rule: layer by layer backwards, to all layers at once, to the first layer and forward
from there, or as a gate on recent pairs of spikes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reach.render import palette
from reach.render.canvas import Canvas, Frame, Pixel
from reach.render.labels import fitted, text
from reach.render.palette import Colour
from reach.sim.jit import kernel
from reach.snapshot import SPIKE_BIN_MS, Inside, Population, Travel

Box = tuple[int, int, int, int]  # left, top, width and height, pixels


def draw_spikes(frame: Frame, box: Box, spikes: NDArray[np.uint8], bins: int, colour: Colour) -> None:
    """A raster: time to the right, its end at the right edge; a row a cell, or a choice of cells where rows run out.

    Args:
        frame: (height, width, 3) uint8, drawn on in place.
        box: where, within the frame.
        spikes: (bins so far, cells), the last bin the present.
        bins: for how many there is room in the box.
        colour: of a spike.
    """
    left, top, width, height = box
    shown = np.ascontiguousarray(spikes[-bins:])
    chosen = rows_of(spikes.shape[1], height)
    if len(shown) and len(chosen):
        _lay_spikes(frame, shown, chosen, left, top, width / bins, width, height / len(chosen), colour)


def rows_of(cells: int, height: int, row_px: int = 2) -> NDArray[np.int64]:
    """The cells shown where each has a row of at least `row_px` pixels: all, or as many as fit, evenly chosen."""
    fit = max(1, min(cells, height // row_px))
    return np.linspace(0, cells - 1, fit).round().astype(np.int64)


def tiling(cells: int, width: int, height: int, largest_px: int) -> tuple[int, int, int]:
    """(tiles in a row, rows, side of a tile in pixels) that show most of the cells as large as they can be.

    Where tiles of 3 pixels do not fit, some cells are left out.
    """
    for side in range(largest_px, 3, -1):
        across = min(cells, max(1, width // side))
        rows = math.ceil(cells / across)
        if across * side <= width and rows * side <= height:
            # As square as the box, and no row almost empty.
            across = max(across // 2 if rows == 1 else 1, math.ceil(cells / max(1, height // side)))
            return across, math.ceil(cells / across), side
    across, rows = max(1, width // 3), max(1, height // 3)
    return across, rows, 3


def draw_tiles(
    frame: Frame,
    at: tuple[int, int],
    values: NDArray[np.float64],
    grid: tuple[int, int, int],
    colours: tuple[Colour, Colour, Colour],
    strength: float = 1.0,
) -> None:
    """Numbers as tiles, column by column from the top left; the largest is the strongest in colour.

    Args:
        frame: (height, width, 3) uint8, drawn on in place.
        at: left and top, pixels.
        values: (cells,); as many of them as there are tiles, evenly chosen.
        grid: of `tiling`.
        colours: of the most negative value, of 0 and of the most positive.
        strength: of all colours, 0..1.
    """
    across, rows, side = grid
    shown = min(len(values), across * rows)
    chosen = values[np.linspace(0, len(values) - 1, shown).round().astype(np.int64)]
    largest = float(np.max(np.abs(chosen)))
    # The root lets weak cells be told from silent ones.
    share = np.sign(chosen) * np.sqrt(np.abs(chosen) / largest) * strength if largest > 0.0 else np.zeros(shown)
    _lay_tiles(frame, share, at[0], at[1], rows, side, *colours)


@kernel
def _lay_spikes(frame, spikes, chosen, left, top, bin_px, width, row_px, colour):  # type: ignore[no-untyped-def]
    """Marks of at least two pixels' width in rows of `row_px`; spikes (bins, cells), chosen (rows,)."""
    bins = spikes.shape[0]
    mark = max(2, math.ceil(bin_px))
    for k in range(bins):
        right = left + width - math.floor((bins - 1 - k) * bin_px)
        first, last = max(left, right - mark), right
        for r in range(chosen.shape[0]):
            if spikes[k, chosen[r]] == 0:
                continue
            above, below = top + math.floor(r * row_px), top + math.floor((r + 1) * row_px)
            if below - above > 2:
                below -= 1
            for y in range(above, below):
                for x in range(first, last):
                    frame[y, x, 0], frame[y, x, 1], frame[y, x, 2] = colour[0], colour[1], colour[2]


@kernel
def _lay_tiles(frame, share, left, top, rows, side, low, middle, high):  # type: ignore[no-untyped-def]
    """Tiles with a gap of one pixel where they are four pixels wide or wider; share (cells,) in -1..1."""
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


# --- panel ----------------------------------------------------------------------------------------------------

WINDOW_MS = 1000
SAID = {
    "backward": "layer by layer, backwards",
    "broadcast": "to all layers at once",
    "forward": "to the first layer, then forward",
    "gate": "a gate on recent pre-post pairs",
    "activity": "remembered as activity, no synapse changes",
}
NO_ERROR = "nothing has been learned from yet"
PAPER: Colour = (252, 251, 249)
EMPTY_TILE: Colour = (236, 234, 228)
# Activities of rate cells, below and above 0.
BELOW, ABOVE = palette.OKABE_ITO["blue"], palette.OKABE_ITO["vermillion"]
LEAST_SHOWN = 0.35
LARGEST_TILE_PX = 14


@dataclass(frozen=True)
class Lane:
    """Where an error travels: pixels.

    Attributes:
        stops: middle of each layer, the first layer first.
        source: where the error arises.
        y: of the lane; `bus_y` of the line that leads to all.
    """

    stops: tuple[float, ...]
    source: float
    y: float
    bus_y: float


def draw_inside(inside: Inside | None, width: int, height: int, progress: float | None = None) -> Frame:
    """The picture of a learner's inside, (height, width, 3) uint8, an array of its own.

    Args:
        inside: what the learner shows; None for one that shows nothing.
        width, height: pixels, 120 or more and 90 or more.
        progress: how far the last error has come on its way, 0..1; None while none travels.

    Raises:
        ValueError: a smaller picture, or a progress outside 0..1.
    """
    if width < 120 or height < 90:
        raise ValueError(f"width and height are {width} and {height}; 120 and 90 pixels or more are allowed")
    if progress is not None and not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress is {progress}; 0 to 1, or None, is allowed")
    canvas = Canvas(paper(width, height).copy())
    size = words_px(height)
    if inside is None or not (inside.populations or inside.layers):
        said = text(
            "nothing in it learns" if inside is not None else "it does not show its inside", size, palette.FAINT_INK
        )
        canvas.write(said, 0.5 * (width - said.get_width()), 0.5 * (height - said.get_height()))
        return canvas.frame
    if inside.populations:
        below = max(7 * size, round(0.34 * height))
        _draw_raster(canvas, inside.populations, size, height - below)
        _draw_gates(canvas, inside.travel, size, height - below, progress)
    else:
        _draw_layers(canvas, inside, size, progress)
    return canvas.frame


@lru_cache(maxsize=8)
def paper(width: int, height: int) -> Frame:
    """An empty panel, not to be written on."""
    frame = np.empty((height, width, 3), dtype=np.uint8)
    frame[:] = PAPER
    return frame


def words_px(height: int) -> int:
    """Size of the writing in a panel."""
    return max(11, min(24, round(0.036 * height)))


# --- spikes ------------------------------------------------------------------------------------------------


def _draw_raster(canvas: Canvas, populations: tuple[Population, ...], size: int, height: int) -> None:
    """Populations one above the other, each with its name and present rate; time to the right."""
    margin, gap = size, max(2, size // 4)
    names = round(min(13.5 * size, 0.36 * canvas.width))
    left = margin + names
    room = height - margin - round(1.7 * size) - gap * len(populations)
    # The root lets small populations have a name beside large ones.
    shares = np.sqrt([one.spikes.shape[1] for one in populations])
    least = round(1.25 * size)
    heights = np.maximum(least, np.floor(room * shares / shares.sum())).astype(int)
    while heights.sum() > room and heights.max() > least:
        heights[int(np.argmax(heights))] -= 1
    top = margin
    width = canvas.width - left - margin
    for one, tall in zip(populations, heights.tolist(), strict=True):
        canvas.frame[top : top + tall, left : left + width] = palette.WHITE
        colour = _population_colour(one.name)
        draw_spikes(canvas.frame, (left, top, width, tall), one.spikes, WINDOW_MS // SPIKE_BIN_MS, colour)
        rate = text(f"{one.rate_hz:.0f} Hz", size, palette.FAINT_INK)
        middle = top + 0.5 * (tall - rate.get_height())
        canvas.write(rate, left - rate.get_width() - 0.5 * size, middle)
        said = fitted(one.name, size, round(names - rate.get_width() - 0.8 * size))
        canvas.write(text(said, size, colour), 0.6 * margin, middle)
        top += tall + gap
    canvas.write(text("1 s ago", size, palette.FAINT_INK), left, top)
    now = text("now", size, palette.FAINT_INK)
    canvas.write(now, left + width - now.get_width(), top)


def _population_colour(name: str) -> Colour:
    if name == "senses":
        return palette.INK
    if name == "inhibitory":
        return palette.OKABE_ITO["blue"]
    if name.endswith("flexors"):
        return palette.blend(palette.FLEXION, palette.INK, 0.25)
    return palette.EXTENSION if name.endswith("extensors") else palette.FAILURE


def _draw_gates(canvas: Canvas, travel: Travel | None, size: int, top: int, progress: float | None) -> None:
    """For each projection the pairs of spikes gathered, the error that gates them, and what they change together."""
    margin = size
    canvas.frame[top, margin : canvas.width - margin] = palette.GRID
    y = top + round(0.5 * size)
    canvas.write(text(NO_ERROR if travel is None else _said(travel), size, palette.SEEN), margin, y)
    if travel is None:
        return
    share = 1.0 if progress is None else progress
    heads = y + round(1.5 * size)
    y = heads + round(1.4 * size)
    rows = max(4, (canvas.height - y - margin // 2) // len(travel.arrivals))
    names = round(min(7.0 * size, 0.2 * canvas.width))
    sign = 2 * size
    wide = (canvas.width - 2 * margin - names - 2 * sign) // 3
    signs = ("\u00d7", "=")
    for number, one in enumerate(travel.arrivals):
        high = y + number * rows
        canvas.write(text(fitted(one.name, size, names), size, palette.INK), margin, high)
        grid = tiling(len(one.told), wide, rows - 4, 8)
        pairs = one.eligible if one.eligible is not None else np.ones_like(one.told)
        arrived, changed = _ramp(share, 0.25, 0.6), _ramp(share, 0.65, 1.0)
        strips = ((pairs, palette.INK, 0.9, "recent pairs"), (one.told, palette.SEEN, arrived, travel.what),
                  (pairs * one.told, palette.SUCCESS, changed, "change"))  # fmt: skip
        for k, (values, colour, strength, said) in enumerate(strips):
            left = margin + names + k * (wide + sign)
            if number == 0:
                canvas.write(text(fitted(said, size, wide), size, colour), left, heads)
            below = palette.blend(colour, palette.OKABE_ITO["blue"], 0.75) if k else colour
            draw_tiles(canvas.frame, (left, high), values, grid, (below, EMPTY_TILE, colour), strength)
            if k < 2:
                written = text(signs[k], size + 4, palette.INK)
                middle = high + 0.5 * grid[1] * grid[2]
                canvas.write(
                    written, left + wide + 0.5 * (sign - written.get_width()), middle - 0.5 * written.get_height()
                )


# --- rates -------------------------------------------------------------------------------------------------


def _draw_layers(canvas: Canvas, inside: Inside, size: int, progress: float | None) -> None:
    """Layers from left to right: activities above, what the last error told them below, and its way between."""
    margin = size
    count = len(inside.layers)
    column = (canvas.width - 2 * margin) / (count + 0.55)
    wide = round(column - 0.8 * size)
    head, lane_px = round(1.6 * size), round(4.6 * size)
    block = (canvas.height - 2 * margin - 2 * head - lane_px) // 2
    top = margin + head
    second = top + block + head + lane_px
    named = {}
    for k, layer in enumerate(inside.layers):
        left = round(margin + k * column)
        grid = tiling(len(layer.activation), wide, block, LARGEST_TILE_PX)
        named[layer.name] = left, grid
        canvas.write(text(fitted(layer.name, size, wide + round(0.6 * size)), size, palette.INK), left, margin)
        draw_tiles(canvas.frame, (left, top), layer.activation, grid, (BELOW, EMPTY_TILE, ABOVE))
        if grid[0] * grid[1] < len(layer.activation):
            said = text(f"{grid[0] * grid[1]} of {len(layer.activation):,}", size, palette.FAINT_INK)
            canvas.write(said, left, top + grid[1] * grid[2] + 2)
    travel = inside.travel
    lane_top = top + block
    if travel is None:
        canvas.write(text(NO_ERROR, size, palette.FAINT_INK), margin, lane_top + 1.5 * size)
        return
    canvas.write(text(_said(travel), size, palette.SEEN), margin, lane_top + 1.5 * size)
    places = []
    for k, one in enumerate(travel.arrivals):
        left, grid = named.get(one.name, (round(margin + (k + 1) * column), (1, 1, LARGEST_TILE_PX)))
        if len(one.told) < grid[0] * grid[1] // 2:
            # A layer of maps hears one number a map.
            grid = tiling(len(one.told), wide, block, LARGEST_TILE_PX)
        places.append((left, grid))
    stops = tuple(left + 0.5 * grid[0] * grid[2] for left, grid in places)
    source = margin + (count + 0.1) * column
    y = lane_top + lane_px + 0.1 * size
    lane = Lane(stops, source, y, y - 1.3 * size)
    share = 1.0 if progress is None else progress
    reached = _draw_way(canvas, lane, travel, share)
    for one, (left, grid), arrived in zip(travel.arrivals, places, reached, strict=True):
        strength = arrived if progress is not None else max(LEAST_SHOWN, 0.6) * arrived
        low = palette.OKABE_ITO["blue"]
        draw_tiles(canvas.frame, (left, second), one.told, grid, (low, EMPTY_TILE, palette.SEEN), strength)
    left, grid = round(source - 0.5 * LARGEST_TILE_PX), (1, len(travel.error), LARGEST_TILE_PX)
    draw_tiles(canvas.frame, (left, second), travel.error, grid, (palette.OKABE_ITO["blue"], EMPTY_TILE, palette.SEEN))
    said = text(travel.what, size, palette.SEEN)
    right = canvas.width - said.get_width() - 2
    canvas.write(said, min(source - 0.5 * said.get_width(), right), lane.bus_y - 1.35 * size)


def _draw_way(canvas: Canvas, lane: Lane, travel: Travel, share: float) -> list[float]:
    """The tracks of an error and how far it has come; answers how much of it has arrived at each layer, 0..1."""
    legs = _legs(lane, travel)
    empty = [not np.any(one.told) for one in travel.arrivals]
    reached = [0.0] * len(lane.stops)
    thick = max(2.0, 0.006 * canvas.height)
    for begin, end, points, stop in legs:
        if stop is not None and empty[stop]:
            continue
        for start, finish in itertools.pairwise(points):
            canvas.line(start, finish, thick, palette.FIELD)
        part = _ramp(share, begin, end)
        if part > 0.0:
            _draw_along(canvas, points, part, thick, arrow=stop is not None)
        if stop is not None:
            reached[stop] = max(reached[stop], _ramp(share, end - 0.02, min(1.0, end + 0.12)) if share < 1.0 else 1.0)
    canvas.disc((lane.source, lane.y), 2.4 * thick, palette.SEEN)
    canvas.lay()
    return reached


def _legs(lane: Lane, travel: Travel) -> list[tuple[float, float, list[Pixel], int | None]]:
    """Begin and end (shares of the time), points, and the layer it ends at, of every part of the way."""
    stops, source, y, bus = lane.stops, lane.source, lane.y, lane.bus_y
    last = len(stops) - 1
    if travel.way == "backward":
        step = 0.9 / len(stops)
        places = [source, *reversed(stops)]
        return [(k * step, (k + 1) * step, [(places[k], y), (places[k + 1], y)], last - k) for k in range(len(stops))]
    if travel.way == "forward":
        step = 0.5 / max(1, last)
        first: list[tuple[float, float, list[Pixel], int | None]] = [
            (0.0, 0.4, [(source, y), (source, bus), (stops[0], bus), (stops[0], y)], 0)
        ]
        return first + [
            (0.4 + k * step, 0.4 + (k + 1) * step, [(stops[k], y), (stops[k + 1], y)], k + 1) for k in range(last)
        ]
    # One line for all, and a branch down to each; all branches end at the same time.
    return [(0.0, 0.7, [(source, y), (source, bus), (stop, bus), (stop, y)], k) for k, stop in enumerate(stops)]


def _draw_along(canvas: Canvas, points: list[Pixel], part: float, thick: float, *, arrow: bool) -> None:
    """The first `part` (0..1) of a broken line."""
    lengths = [abs(b[0] - a[0]) + abs(b[1] - a[1]) for a, b in itertools.pairwise(points)]
    left = part * sum(lengths)
    for (start, finish), length in zip(itertools.pairwise(points), lengths, strict=True):
        if left <= 0.0 or length <= 0.0:
            continue
        share = min(1.0, left / length)
        end = start[0] + share * (finish[0] - start[0]), start[1] + share * (finish[1] - start[1])
        canvas.line(start, end, 1.4 * thick, palette.SEEN)
        left -= length
        if left <= 0.0:
            canvas.disc(end, 2.2 * thick, palette.SEEN)
    if arrow and part >= 1.0:
        canvas.disc(points[-1], 1.8 * thick, palette.SEEN)


def _said(travel: Travel) -> str:
    """What goes which way."""
    return f"{travel.what}: {SAID[travel.way]}"


def _ramp(share: float, begin: float, end: float) -> float:
    """0 before `begin`, 1 after `end`, evenly rising between."""
    return float(min(1.0, max(0.0, (share - begin) / max(end - begin, 1e-9))))
