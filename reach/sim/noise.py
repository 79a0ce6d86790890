"""Counter-based random numbers, compiled: each number is a function of the trial's key and a counter.

There is no generator state, so a trial has bit-identical noise when it is saved and restored, replayed without its
perturbation, or run in a batch. The generator is SplitMix64 (Steele, Lea and Flood 2014, OOPSLA).
"""

from __future__ import annotations

import numpy as np

from reach.jit import allocating_kernel, inlined, kernel
from reach.sim.elementary import bits_of, double_from_integer, double_of, fma

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
TO_UNIT = 2.0**-53
LOW_HALF = np.uint64(0xFFFFFFFF)
# First counters for a trial's random cup position, for sampled values of body, cup and senses, and for lamps.
CUP_COUNTER = np.uint64(1 << 40)
BODY_COUNTER = np.uint64(1 << 41)
LAMP_COUNTER = np.uint64(1 << 42)


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
    bits = random_bits(key, counter) >> np.uint64(11)
    high, low = np.int64(bits >> np.uint64(32)), np.int64(bits & LOW_HALF)
    return (fma(double_from_integer(high), 2.0**32, double_from_integer(low)) + 0.5) * TO_UNIT


@inlined
def key_after(key, counter):  # type: ignore[no-untyped-def]
    """Return the key whose counter 0 is `counter` of `key`, all uint64."""
    return key + counter * GOLDEN_GAMMA


@inlined
def key_from_double(value):  # type: ignore[no-untyped-def]
    """Return the key (uint64) stored in the bits of a double."""
    return np.uint64(bits_of(value))


@inlined
def double_from_key(key):  # type: ignore[no-untyped-def]
    """Return the double with the bits of a key (uint64)."""
    return double_of(np.int64(key))


@allocating_kernel
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
