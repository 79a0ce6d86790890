"""Cue lamps: a row of lamps at the far edge of the table, each on (1) or off (0) for a whole trial.

They tell the context of a trial without noise or delay. They are held beside the table of columns, because nothing in
the simulation depends on them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import numbers_in
from reach.jit import kernel
from reach.sim import layout as s
from reach.sim.noise import LAMP_COUNTER, key_from_double, random_bits

Lamps = NDArray[np.float32]
# A trial draws all its lamps from 64 random bits.
MOST_LAMPS = 32

# The row in pictures: its place and half its thickness, m, the largest distance between two lamps, and the radius of a
# lamp as a share of that distance. The row lies beyond all cups that are drawn at random.
ROW_Y_M, ROW_HALF_M = 0.67, 0.024
ROW_WIDTH_M = 0.84
LARGEST_SPACING_M = 0.06
RADIUS_SHARE = 0.34


@kernel
def sample_lamps(key, lamps):  # type: ignore[no-untyped-def]
    """Draw each of `lamps` (n,) with probability 1/2 from the key of a trial, uint64."""
    bits = random_bits(key, LAMP_COUNTER)
    for k in range(lamps.size):
        lamps[k] = float((bits >> np.uint64(k)) & np.uint64(1))


@kernel
def sample_lamps_in(mask, tiles, lamps):  # type: ignore[no-untyped-def]
    """Draw the lamps (num_envs, n) of the worlds in `mask` (num_envs,), whose present trial has begun."""
    for n in range(mask.size):
        if mask[n]:
            sample_lamps(key_from_double(tiles[n // s.LANES, s.KEY * s.LANES + n % s.LANES]), lamps[n])


def lamps_of(value: Any, count: int | None, name: str = "option context") -> tuple[int, ...]:
    """Return lamps from a user's value as 0 or 1; `count` is their number, None for any; `name` is for the message.

    Raises:
        ValueError: another number of them, or a value that is neither 0 nor 1.
    """
    lamps = numbers_in(value)
    if lamps is None or lamps.ndim != 1 or count not in (None, len(lamps)) or not np.isin(lamps, (0, 1)).all():
        number = "" if count is None else f"{count} "
        raise ValueError(f"{name}: expected {number}lamps, each 0 or 1, got {value!r}")
    return tuple(lamps.astype(int).tolist())


@lru_cache(maxsize=MOST_LAMPS)
def lamp_places_m(count: int) -> tuple[NDArray[np.float64], float]:
    """Return the places of the lamps along x, m, (count,), not to be changed, and their radius, m."""
    spacing = min(LARGEST_SPACING_M, ROW_WIDTH_M / max(1, count))
    first = s.SHOWN_CENTRE_M[0] - 0.5 * spacing * (count - 1)
    return np.array([first + spacing * k for k in range(count)]), RADIUS_SHARE * spacing
