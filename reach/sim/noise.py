"""A trial's noise, from its own key: each draw is a function of key, control step and channel, compiled.

A counter-based generator keeps no state, so a trial can be saved, replayed without its perturbation or run in a batch,
and its noise is the same bits each time. The bits are SplitMix64's (Steele, Lea and Flood 2014, OOPSLA) and pairs of
them become normal variates by Box and Muller 1958.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from reach.sim import state as s

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
TO_UNIT = 2.0**-53


@njit(cache=True, inline="always")
def uniform(key, counter):  # type: ignore[no-untyped-def]
    """A uniform variate in (0, 1) for a key and a counter, both uint64."""
    z = key + (counter + np.uint64(1)) * GOLDEN_GAMMA
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 0.5) * TO_UNIT


@njit(cache=True)
def draw(key, control_step, out):  # type: ignore[no-untyped-def]
    """Write the standard normal draws of one control step to `out` (NOISE_SIZE,)."""
    first = np.uint64(control_step) * np.uint64(s.NOISE_SIZE)
    for pair in range(s.NOISE_SIZE // 2):
        k = 2 * pair
        radius = math.sqrt(-2.0 * math.log(uniform(key, first + np.uint64(k))))
        angle = 2.0 * math.pi * uniform(key, first + np.uint64(k + 1))
        out[k] = radius * math.cos(angle)
        out[k + 1] = radius * math.sin(angle)
