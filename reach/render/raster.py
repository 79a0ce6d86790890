"""Spikes as marks and numbers as tiles, laid into a frame in one compiled call each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from reach.render.canvas import Frame
from reach.render.palette import Colour
from reach.sim.jit import kernel

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
