"""The retina, a small picture of seen hand, fingers and cup drawn by a compiled rasteriser, and cue lamps.

The picture shows cup, hand and fingers from above at their *seen* positions: after the visual map, one visual delay
ago, with visual noise. The hand's direction and aperture are those at the same time. The arm is not drawn, as in
experiments with a cursor. Edges are anti-aliased by the covered share of a pixel. Lamps are drawn last, on top of
everything else.

The cue lamps, a row at the far edge of the table, are each on (1) or off (0) for a whole trial. They show the context
of a trial without noise or delay, with and without a retina. They are stored outside the table of columns, because the
simulation does not depend on them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import numbers_in
from reach.jit import kernel
from reach.sim import layout as s
from reach.sim.arm import Arm
from reach.sim.elementary import LAMP_COUNTER, key_from_double, random_bits
from reach.sim.grasp import CAPSULES, capsule
from reach.sim.setup import place_hand_shape

# Largest number of lamps; all lamps of a trial are drawn from 64 random bits.
MOST_LAMPS = 32

# The row of lamps in pictures: position, half its thickness and width, m, largest distance between two lamps, m, and
# radius of a lamp as a share of this distance. The row lies beyond all random cups.
ROW_Y_M, ROW_HALF_M = 0.67, 0.024
ROW_WIDTH_M = 0.84
LARGEST_SPACING_M = 0.06
RADIUS_SHARE = 0.34


@kernel
def sample_lamps(key, lamps):  # type: ignore[no-untyped-def]
    """Set each of `lamps` (n,) to 1 with probability 1/2, by the key of a trial, uint64."""
    bits = random_bits(key, LAMP_COUNTER)
    for k in range(lamps.size):
        lamps[k] = float((bits >> np.uint64(k)) & np.uint64(1))


@kernel
def sample_lamps_in(mask, tiles, lamps):  # type: ignore[no-untyped-def]
    """Draw the lamps (num_envs, n) of the present trials in the worlds of `mask` (num_envs,)."""
    for n in range(mask.size):
        if mask[n]:
            sample_lamps(key_from_double(tiles[n // s.LANES, s.KEY * s.LANES + n % s.LANES]), lamps[n])


def lamps_of(value: Any, count: int | None, name: str = "option context") -> tuple[int, ...]:
    """Convert a user's value to lamps, each 0 or 1.

    Args:
        value: sequence or array of 0 and 1.
        count: expected number of lamps; None for any.
        name: name of the value, for the message.

    Raises:
        ValueError: the number of lamps is wrong, or a value is neither 0 nor 1.
    """
    lamps = numbers_in(value)
    if lamps is None or lamps.ndim != 1 or count not in (None, len(lamps)) or not np.isin(lamps, (0, 1)).all():
        number = "" if count is None else f"{count} "
        raise ValueError(f"{name}: expected {number}lamps, each 0 or 1, got {value!r}")
    return tuple(lamps.astype(int).tolist())


@lru_cache(maxsize=MOST_LAMPS)
def lamp_places_m(count: int) -> tuple[NDArray[np.float64], float]:
    """Return the positions of the lamps along x, (count,) m, read-only, and their radius, m."""
    spacing = min(LARGEST_SPACING_M, ROW_WIDTH_M / max(1, count))
    first = s.SHOWN_CENTRE_M[0] - 0.5 * spacing * (count - 1)
    return np.array([first + spacing * k for k in range(count)]), RADIUS_SHARE * spacing


L = s.LANES
SMALLEST_RETINA_PX, LARGEST_RETINA_PX = 16, 256
# Red, green and blue, 0..255. The luminances, 0.92, 0.45 and 0.16 of white, make the colours distinguishable in grey.
TABLE_RGB = (236.0, 234.0, 229.0)
CUP_RGB = (213.0, 94.0, 0.0)
HAND_RGB = (32.0, 44.0, 60.0)
# Colours of the dark row and of a lamp that is off (dark grey) or on (bright).
ROW_RGB = (20.0, 22.0, 25.0)
LAMP_RGB = ((70.0, 74.0, 78.0), (255.0, 238.0, 150.0))
# Weights of red, green and blue in the luminance, ITU-R BT.601, section 2.5.1.
LUMINANCE = (0.299, 0.587, 0.114)
# Grid on which `hand_centre_m` averages.
CENTRE_GRID_M = 0.001


@kernel
def _paint(image, x0, y0, x1, y1, radius, colour):  # type: ignore[no-untyped-def]
    """Draw a capsule from (x0, y0) to (x1, y1) on top of `image`; all lengths are in pixels."""
    size = image.shape[0]
    channels = image.shape[2]
    reach = radius + 1.0
    left = max(0, math.floor(min(x0, x1) - reach))
    right = min(size - 1, math.ceil(max(x0, x1) + reach))
    top = max(0, math.floor(min(y0, y1) - reach))
    bottom = min(size - 1, math.ceil(max(y0, y1) + reach))
    dx = x1 - x0
    dy = y1 - y0
    squared = max(dx * dx + dy * dy, 1e-12)
    grey = LUMINANCE[0] * colour[0] + LUMINANCE[1] * colour[1] + LUMINANCE[2] * colour[2]
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            px = column - x0
            py = row - y0
            along = min(1.0, max(0.0, (px * dx + py * dy) / squared))
            nx = px - along * dx
            ny = py - along * dy
            cover = min(1.0, max(0.0, radius + 0.5 - math.sqrt(nx * nx + ny * ny)))
            if cover > 0.0:
                for c in range(channels):
                    ink = grey if channels == 1 else colour[c]
                    under = float(image[row, column, c])
                    image[row, column, c] = int(under + cover * (ink - under) + 0.5)


@kernel
def draw_retina(w, image):  # type: ignore[no-untyped-def]
    """Draw the retina of row `w`.

    Args:
        w: (COLUMNS,) row of a world.
        image: (size, size, channels) uint8, overwritten; 1 channel is grey, 3 are red, green and blue.
    """
    size = image.shape[0]
    channels = image.shape[2]
    grey = LUMINANCE[0] * TABLE_RGB[0] + LUMINANCE[1] * TABLE_RGB[1] + LUMINANCE[2] * TABLE_RGB[2]
    for c in range(channels):
        image[:, :, c] = int((grey if channels == 1 else TABLE_RGB[c]) + 0.5)
    scale = size / s.SHOWN_M
    centre_x, centre_y = s.SHOWN_CENTRE_M
    left = 0.5 * size - 0.5 - scale * centre_x
    top = 0.5 * size - 0.5 + scale * centre_y
    if w[s.LATE_CUP_X] != 0.0 or w[s.LATE_CUP_Y] != 0.0:
        x = left + scale * (w[s.LATE_CUP_X] + w[s.CUP_NOISE_M] * w[s.NOISE_CUP_X])
        y = top - scale * (w[s.LATE_CUP_Y] + w[s.CUP_NOISE_M] * w[s.NOISE_CUP_Y])
        _paint(image, x, y, x, y, scale * w[s.CUP_RADIUS], CUP_RGB)
    if w[s.LATE_VISIBLE] == 0.0:
        return
    x = left + scale * (w[s.LATE_HAND_X] + w[s.HAND_NOISE_M] * w[s.NOISE_HAND_X])
    y = top - scale * (w[s.LATE_HAND_Y] + w[s.HAND_NOISE_M] * w[s.NOISE_HAND_Y])
    ax = scale * w[s.LATE_AXIS_X]
    ay = scale * w[s.LATE_AXIS_Y]
    half = 0.5 * w[s.LATE_OPENING] + w[s.FINGER_RADIUS]
    for k in range(CAPSULES):
        u0, v0, u1, v1, radius = capsule(w, half, k)
        _paint(
            image,
            x + ax * u0 - ay * v0, y - ay * u0 - ax * v0, x + ax * u1 - ay * v1, y - ay * u1 - ax * v1,
            scale * radius, HAND_RGB,
        )  # fmt: skip


@kernel
def draw_retinas(tiles, images):  # type: ignore[no-untyped-def]
    """Draw the retinas of the worlds in `tiles` to `images` (num_envs, size, size, channels) uint8."""
    for n in range(images.shape[0]):
        draw_retina(tiles[n // L][n % L :: L], images[n])


@kernel
def draw_lamps(lamps, places, radius, images):  # type: ignore[no-untyped-def]
    """Draw lamps on top of pictures.

    Args:
        lamps: (num_envs, n), 0 or 1.
        places, radius: (n,) m and m, see `lamp_places_m`.
        images: (num_envs, size, size, channels) uint8.
    """
    size = images.shape[1]
    scale = size / s.SHOWN_M
    left = 0.5 * size - 0.5 - scale * s.SHOWN_CENTRE_M[0]
    y = 0.5 * size - 0.5 - scale * (ROW_Y_M - s.SHOWN_CENTRE_M[1])
    for n in range(images.shape[0]):
        _paint(images[n], left + scale * places[0], y, left + scale * places[-1], y, scale * ROW_HALF_M, ROW_RGB)
        for k in range(places.size):
            x = left + scale * places[k]
            _paint(images[n], x, y, x, y, scale * radius, LAMP_RGB[int(lamps[n, k])])


def pixel_places_m(size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the positions on the table of a retina's pixels, m: x of its columns and y of its rows, (size,) each."""
    step = s.SHOWN_M / size
    middle = (np.arange(size) - 0.5 * (size - 1)) * step
    return s.SHOWN_CENTRE_M[0] + middle, s.SHOWN_CENTRE_M[1] - middle


def rows_without_lamps(size: int) -> NDArray[np.bool_]:
    """Return for each row of a retina's pixels, (size,), whether lamps never cover it."""
    _, y = pixel_places_m(size)
    rows: NDArray[np.bool_] = np.abs(y - ROW_Y_M) >= ROW_HALF_M + 0.5 * s.SHOWN_M / size
    return rows


def hand_centre_m(arm: Arm, aperture_m: float) -> float:
    """Return the centre of a drawn hand along its axis, m, relative to the grasp point; forward is positive.

    Args:
        arm: the arm with the hand.
        aperture_m: distance between the pads of the fingers, m.
    """
    row = np.zeros(s.COLUMNS)
    place_hand_shape(row, arm)
    half = 0.5 * aperture_m + float(row[s.FINGER_RADIUS])
    grid = np.arange(-0.2, 0.2, CENTRE_GRID_M)
    u, v = grid[:, None], grid[None, :]
    covered = np.zeros((len(grid), len(grid)), dtype=bool)
    for k in range(CAPSULES):
        u0, v0, u1, v1, radius = capsule(row, half, k)
        du, dv = u1 - u0, v1 - v0
        along = np.clip(((u - u0) * du + (v - v0) * dv) / max(du * du + dv * dv, 1e-12), 0.0, 1.0)
        covered |= (u - u0 - along * du) ** 2 + (v - v0 - along * dv) ** 2 < radius**2
    return float(np.sum(u * covered) / np.sum(covered))
