"""Cue lamps: a row of lamps at the far edge of the table, each on (1) or off (0) for a whole trial.

The lamps show the context of a trial without noise or delay. They are stored outside the table of columns, because the
simulation does not depend on them.
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
