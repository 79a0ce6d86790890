"""Counter-based random numbers, compiled: each is a function of the trial's key and a counter.

Without a generator state, a trial can be saved, replayed without its perturbation or run in a batch, and its noise has
the same bits each time. The generator is SplitMix64 (Steele, Lea and Flood 2014, OOPSLA); Box and Muller (1958) turn
pairs of uniform variates into normal ones.
"""

from __future__ import annotations

import math

import numpy as np

from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim.elementary import bits_of, double_of, logarithm, sine_and_cosine

L = s.LANES
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
TO_UNIT = 2.0**-53
INNER_STEP_BITS = np.uint64(s.INNER_STEPS.bit_length() - 1)
# First counters of a trial's random cup, and of the random values of its body, cup and senses.
CUP_COUNTER = np.uint64(1 << 40)
BODY_COUNTER = np.uint64(1 << 41)


@inlined
def random_bits(key, counter):  # type: ignore[no-untyped-def]
    """Return 64 random bits for a key and a counter, all uint64."""
    z = key + (counter + np.uint64(1)) * GOLDEN_GAMMA
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


@inlined
def uniform(key, counter):  # type: ignore[no-untyped-def]
    """Return a uniform variate in (0, 1) for a key and a counter, both uint64."""
    return (float(np.int64(random_bits(key, counter) >> np.uint64(11))) + 0.5) * TO_UNIT


@inlined
def _normal_pair(key, counter):  # type: ignore[no-untyped-def]
    radius = math.sqrt(-2.0 * logarithm(uniform(key, counter)))
    sine, cosine = sine_and_cosine(2.0 * math.pi * uniform(key, counter + np.uint64(1)))
    return radius * cosine, radius * sine


@kernel
def draw_noise(t, lanes):  # type: ignore[no-untyped-def]
    """Write the standard normal variates of the control step that begins now to tile `t`."""
    for pair in range(s.NOISE_SIZE // 2):
        column = (s.NOISE + 2 * pair) * L
        for i in range(len(lanes)):
            # The first observation uses the first variates.
            control_step = (np.uint64(t[s.CLOCK * L + i]) >> INNER_STEP_BITS) + np.uint64(1)
            counter = control_step * np.uint64(s.NOISE_SIZE) + np.uint64(2 * pair)
            t[column + i], t[column + L + i] = _normal_pair(key_from_double(t[s.KEY * L + i]), counter)


@kernel
def draw_first_noise(w):  # type: ignore[no-untyped-def]
    """Write the standard normal variates of a trial's first observation to row `w`."""
    for pair in range(s.NOISE_SIZE // 2):
        w[s.NOISE + 2 * pair], w[s.NOISE + 2 * pair + 1] = _normal_pair(key_from_double(w[s.KEY]), np.uint64(2 * pair))


@inlined
def key_from_double(value):  # type: ignore[no-untyped-def]
    """Return the key (uint64) stored in the bits of a double."""
    return np.uint64(bits_of(value))


@inlined
def double_from_key(key):  # type: ignore[no-untyped-def]
    """Return the double with the bits of a key (uint64)."""
    return double_of(np.int64(key))


@kernel
def uniforms(key, first, count):  # type: ignore[no-untyped-def]
    """Return `count` uniform variates (count,) in (0, 1), from counter `first` on."""
    result = np.empty(count)
    for k in range(count):
        result[k] = uniform(key, first + np.uint64(k))
    return result


@kernel
def trial_key(stream, episode):  # type: ignore[no-untyped-def]
    """Return the key of trial `episode` of a stream, all uint64."""
    return random_bits(stream, episode)
