"""Compiled mathematics: elementary functions by polynomials, and counter-based random numbers.

Sine, cosine, exponential and logarithm are computed by polynomials, so that loops over lanes vectorise.

The C library would be called lane by lane, and the last bit of its results differs between libraries. `fma` multiplies
and adds with one rounding (IEEE 754 fusedMultiplyAdd) exactly where it is written; with plain operators, the compiler
would decide by the surrounding code. Arguments are reduced after Cody and Waite (Software Manual for the Elementary
Functions, 1980). The polynomials are the minimax polynomials of Sun's fdlibm (k_sin.c, k_cos.c, e_exp.c, e_log.c), with
errors below one unit in the last place.

Each random number is a function of the trial's key and a counter. There is no generator state, so a trial has
bit-identical noise when it is saved and restored, replayed without its perturbation, or run in a batch. The generator
is SplitMix64 (Steele, Lea and Flood 2014, OOPSLA).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from reach.jit import allocating_kernel, inlined, kernel

# Adding 1.5 x 2^52 rounds a double to the nearest integer, which is in the last bits of the sum; subtracting it again
# returns the integer as a double.
ROUNDING = 6755399441055744.0
BITS_OF_ROUNDING = np.int64(0x4338000000000000)
TWO_OVER_PI = 0.6366197723675814
# pi / 2 and ln 2 in parts. The first part ends in zero bits, so that its small multiples are exact.
HALF_PI_1, HALF_PI_2, HALF_PI_3 = 1.5707963267341256, 6.0771005063039e-11, 2.02226624879595e-21
LN_2_HIGH, LN_2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
ONE_OVER_LN_2 = 1.4426950408889634
LARGEST_EXPONENT = 700.0
# Bits of 1.0 and of sqrt(1/2), the mask of a mantissa and the bias of an exponent (IEEE 754 double precision).
BITS_OF_1 = np.int64(0x3FF0000000000000)
BITS_OF_ROOT_HALF = np.int64(0x3FE6A09E667F3BCD)
MANTISSA = np.int64(0x000FFFFFFFFFFFFF)
MANTISSA_BITS = np.int64(52)
BIAS = np.int64(1023)
ONE, TWO = np.int64(1), np.int64(2)
# Shift from the bit of weight 2 to the sign bit of a double.
TO_SIGN = np.int64(62)


def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


def _root(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [ir.DoubleType()]), arguments)

    return types.float64(types.float64), generate


def _interpreted_fma(a: Any, b: Any, c: Any) -> Any:
    if not np.isfinite([a, b, c]).all():
        return a * b + c
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    # The sign of a zero is that of the rounded sum.
    return np.float64(exact) if exact else a * b + c


IS_COMPILED = not config.DISABLE_JIT  # type: ignore[attr-defined]
# fma(a, b, c) is a b + c, rounded once.
fma: Any = intrinsic(_fma) if IS_COMPILED else _interpreted_fma
# The square root, as an instruction.
square_root: Any = intrinsic(_root) if IS_COMPILED else math.sqrt


@inlined
def bits_of(x):  # type: ignore[no-untyped-def]
    """Return the integer with the 64 bits of a double."""
    return np.float64(x).view(np.int64)


@inlined
def double_of(bits):  # type: ignore[no-untyped-def]
    """Return the double with the 64 bits of an integer."""
    return np.int64(bits).view(np.float64)


@inlined
def smaller(a, b):  # type: ignore[no-untyped-def]
    """Return the smaller of two doubles; several calls of Python's `min` in a loop would prevent vectorisation."""
    return b if b < a else a


@inlined
def larger(a, b):  # type: ignore[no-untyped-def]
    """Return the larger of two doubles."""
    return b if b > a else a


@inlined
def clip(value, low, high):  # type: ignore[no-untyped-def]
    """Return a double clipped to low..high."""
    return smaller(larger(value, low), high)


@inlined
def double_from_integer(k):  # type: ignore[no-untyped-def]
    """Return an int64 of magnitude up to 2^51 as a double; AVX2 has no instruction for vectors of int64."""
    return double_of(k + BITS_OF_ROUNDING) - ROUNDING


@inlined
def sine_and_cosine(x):  # type: ignore[no-untyped-def]
    """Return sine and cosine of x rad, |x| up to 1e5."""
    shifted = fma(x, TWO_OVER_PI, ROUNDING)
    k = shifted - ROUNDING
    r = fma(-k, HALF_PI_3, fma(-k, HALF_PI_2, fma(-k, HALF_PI_1, x)))
    z = r * r
    s = fma(z, 1.58969099521155010221e-10, -2.50507602534068634195e-08)
    s = fma(z, s, 2.75573137070700676789e-06)
    s = fma(z, s, -1.98412698298579493134e-04)
    s = fma(z, s, 8.33333333332248946124e-03)
    s = fma(z, s, -1.66666666666666324348e-01)
    s = fma(r * z, s, r)
    c = fma(z, -1.13596475577881948265e-11, 2.08757232129817482790e-09)
    c = fma(z, c, -2.75573143513906633035e-07)
    c = fma(z, c, 2.48015872894767294178e-05)
    c = fma(z, c, -1.38888888888741095749e-03)
    c = fma(z, c, 4.16666666666666019037e-02)
    c = fma(z * z, c, fma(-0.5, z, 1.0))
    # The last bits of the shifted sum are those of the number of quarter turns.
    quarter = bits_of(shifted)
    odd = (quarter & ONE) == ONE
    sine = c if odd else s
    cosine = s if odd else c
    return (
        double_of(bits_of(sine) ^ ((quarter & TWO) << TO_SIGN)),
        double_of(bits_of(cosine) ^ (((quarter + ONE) & TWO) << TO_SIGN)),
    )


@inlined
def exponential(x):  # type: ignore[no-untyped-def]
    """Return e to the power x, with x clipped to -700..700."""
    x = clip(x, -LARGEST_EXPONENT, LARGEST_EXPONENT)
    shifted = fma(x, ONE_OVER_LN_2, ROUNDING)
    k = shifted - ROUNDING
    high = fma(-k, LN_2_HIGH, x)
    r = fma(-k, LN_2_LOW, high)
    z = r * r
    c = fma(z, 4.13813679705723846039e-08, -1.65339022054652515390e-06)
    c = fma(z, c, 6.61375632143793436117e-05)
    c = fma(z, c, -2.77777777770155933842e-03)
    c = fma(z, c, 1.66666666666666019037e-01)
    c = fma(-z, c, r)
    power = double_of((bits_of(shifted) + BIAS) << MANTISSA_BITS)
    return (1.0 + (r * c / (2.0 - c) + r)) * power


@inlined
def logarithm(x):  # type: ignore[no-untyped-def]
    """Return the natural logarithm of a normal double x > 0."""
    bits = bits_of(x) + (BITS_OF_1 - BITS_OF_ROOT_HALF)
    exponent = double_from_integer((bits >> MANTISSA_BITS) - BIAS)
    f = double_of((bits & MANTISSA) + BITS_OF_ROOT_HALF) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = fma(w, 1.531383769920937332e-01, 2.222219843214978396e-01)
    even = w * fma(w, even, 3.999999999940941908e-01)
    odd = fma(w, 1.479819860511658591e-01, 1.818357216161805012e-01)
    odd = fma(w, odd, 2.857142874366239149e-01)
    odd = z * fma(w, odd, 6.666666666666735130e-01)
    half = 0.5 * f * f
    return fma(exponent, LN_2_HIGH, f - (half - fma(s, half + (even + odd), exponent * LN_2_LOW)))


@inlined
def hyperbolic_tangent(x):  # type: ignore[no-untyped-def]
    """Return tanh x for x >= 0."""
    decay = exponential(-2.0 * x)
    return (1.0 - decay) / (1.0 + decay)


# Constants of SplitMix64.
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
