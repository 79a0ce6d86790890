"""Spike trains of sources: regular, or Poisson, at rates given by a population code.

A train is a table (steps, sources) of 0 and 1. The Poisson variate of a source in a step is a hash of seed, step and
source (SplitMix64; Steele, Lea and Flood 2014, OOPSLA), so that a train does not depend on the lengths of the calls in
which it is asked for and needs no state but the number of the step.
"""

from __future__ import annotations

import numpy as np

from agents.networks.compiled import inlined, kernel

# SplitMix64's increment and multipliers, and the step from 53 random bits to a number in [0, 1).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
SECOND_MULTIPLIER = np.uint64(0x94D049BB133111EB)
SHIFT_30, SHIFT_27, SHIFT_31, SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
UNIT_53 = 2.0**-53


@inlined
def _mixed(x):  # type: ignore[no-untyped-def]
    """SplitMix64's finalising hash of 64 bits."""
    x = (x ^ (x >> SHIFT_30)) * FIRST_MULTIPLIER
    x = (x ^ (x >> SHIFT_27)) * SECOND_MULTIPLIER
    return x ^ (x >> SHIFT_31)


@kernel
def write_poisson(rate_hz, seed, first_step, step_ms, train):  # type: ignore[no-untyped-def]
    """Fill `train` (steps, sources): a spike with probability rate x step, at most one a step.

    Args:
        rate_hz: (sources,) Hz.
        seed: whole number of 64 bits.
        first_step: running number of the first step.
        step_ms: ms.
        train: (steps, sources) 0 or 1, written.
    """
    steps, sources = train.shape
    key = _mixed(np.uint64(seed) + GOLDEN)
    for t in range(steps):
        place = np.uint64(first_step + t) * np.uint64(sources)
        for i in range(sources):
            bits = _mixed(key + (place + np.uint64(i)) * GOLDEN)
            train[t, i] = float(bits >> SHIFT_11) * UNIT_53 < rate_hz[i] * step_ms * 0.001


@kernel
def write_regular(rate_hz, phase, step_ms, train):  # type: ignore[no-untyped-def]
    """Fill `train` (steps, sources): a spike whenever a source's phase, which grows by rate x step, passes 1.

    Args:
        rate_hz: (sources,) Hz.
        phase: (sources,) in [0, 1), goes on from call to call.
        step_ms: ms.
        train: (steps, sources) 0 or 1, written.
    """
    steps, sources = train.shape
    for t in range(steps):
        for i in range(sources):
            phase[i] += rate_hz[i] * step_ms * 0.001
            fires = phase[i] >= 1.0
            phase[i] -= 1.0 if fires else 0.0
            train[t, i] = fires


@kernel
def within(values, low, high):  # type: ignore[no-untyped-def]
    """Whether all values (n,) lie in [low, high]; no NaN does."""
    found = True
    for i in range(values.shape[0]):
        found &= low <= values[i] <= high
    return found
