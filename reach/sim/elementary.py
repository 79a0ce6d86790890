"""Sine, cosine, exponential and logarithm by polynomials, so that a loop over lanes becomes vector instructions.

A call into the C library would be made lane by lane, and its last bit differs between libraries. Arguments are reduced
as by Cody and Waite (Software Manual for the Elementary Functions, 1980); the polynomials are the minimax ones of
Sun's fdlibm (k_sin.c, k_cos.c, e_exp.c, e_log.c), with errors below one unit in the last place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from reach.sim.compiled import inlined

# Adding and taking away 1.5 x 2^52 rounds a double to the nearest integer.
ROUNDING = 6755399441055744.0
TWO_OVER_PI = 0.6366197723675814
# pi / 2 and ln 2 in parts, the first with zeros at its end so that its small multiples are exact.
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


def _bits(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


def _double(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


# The 64 bits of a double as an integer, and the double with such bits, in compiled code.
bits_of: Any = intrinsic(_bits)
double_of: Any = intrinsic(_double)


@inlined
def sine_and_cosine(x):  # type: ignore[no-untyped-def]
    """Sine and cosine of x rad, |x| up to 1e5."""
    k = (x * TWO_OVER_PI + ROUNDING) - ROUNDING
    r = ((x - k * HALF_PI_1) - k * HALF_PI_2) - k * HALF_PI_3
    z = r * r
    s = r + r * z * (
        -1.66666666666666324348e-01
        + z
        * (
            8.33333333332248946124e-03
            + z
            * (
                -1.98412698298579493134e-04
                + z * (2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10))
            )
        )
    )
    c = (1.0 - 0.5 * z) + z * z * (
        4.16666666666666019037e-02
        + z
        * (
            -1.38888888888741095749e-03
            + z
            * (
                2.48015872894767294178e-05
                + z * (-2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11))
            )
        )
    )
    # The quarter turn k mod 4, as 0, 1/4, +-1/2 or -1/4.
    turns = 0.25 * k
    quarter = turns - ((turns + ROUNDING) - ROUNDING)
    odd = abs(quarter) == 0.25
    sine = c if odd else s
    cosine = s if odd else c
    return (
        -sine if quarter < -0.1 or quarter > 0.3 else sine,
        -cosine if quarter > 0.1 or quarter < -0.3 else cosine,
    )


@inlined
def exponential(x):  # type: ignore[no-untyped-def]
    """e to the power x, for x held to -700..700."""
    x = min(LARGEST_EXPONENT, max(-LARGEST_EXPONENT, x))
    k = (x * ONE_OVER_LN_2 + ROUNDING) - ROUNDING
    r = (x - k * LN_2_HIGH) - k * LN_2_LOW
    z = r * r
    c = r - z * (
        1.66666666666666019037e-01
        + z
        * (
            -2.77777777770155933842e-03
            + z * (6.61375632143793436117e-05 + z * (-1.65339022054652515390e-06 + z * 4.13813679705723846039e-08))
        )
    )
    power = double_of((np.int64(k) + BIAS) << MANTISSA_BITS)
    return (1.0 + (r * c / (2.0 - c) + r)) * power


@inlined
def logarithm(x):  # type: ignore[no-untyped-def]
    """Natural logarithm of a normal double x > 0."""
    bits = bits_of(x) + (BITS_OF_1 - BITS_OF_ROOT_HALF)
    exponent = float((bits >> MANTISSA_BITS) - BIAS)
    f = double_of((bits & MANTISSA) + BITS_OF_ROOT_HALF) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    return exponent * LN_2_HIGH - ((half - (s * (half + (even + odd)) + exponent * LN_2_LOW)) - f)


@inlined
def hyperbolic_tangent(x):  # type: ignore[no-untyped-def]
    """tanh x for x >= 0."""
    decay = exponential(-2.0 * x)
    return (1.0 - decay) / (1.0 + decay)
