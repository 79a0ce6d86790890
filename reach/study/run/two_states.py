"""Two processes of motor memory, one fast and forgetful, one slow and lasting, and their fit to a learner's reaches.

Smith, Ghazizadeh and Shadmehr 2006 (PLoS Biol 4:e179), eq. 1: with the error e(n) = p(n) - x(n) of reach n,

    fast(n+1) = A_f fast(n) + B_f e(n),  slow(n+1) = A_s slow(n) + B_s e(n),  x = fast + slow,

where A is the retention and B the rate of learning, A_f < A_s and B_f > B_s. After much of A and a little of B the two
cancel; without errors the fast one is soon forgotten and what the slow one has kept shows: spontaneous recovery.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]

# Retentions and rates (fast, fast, slow, slow) from which the fit sets out; the first are those of the paper.
STARTS = ((0.59, 0.21, 0.992, 0.02), (0.8, 0.1, 0.999, 0.05), (0.3, 0.4, 0.95, 0.1), (0.9, 0.3, 0.98, 0.01))
ONE_STATE_STARTS = ((0.98, 0.1), (0.8, 0.4))
# A second state is believed where it betters the fit by an F test at this level, or leaves next to nothing.
FIT_LEVEL = 0.01
NOTHING_LEFT = 1e-12


@dataclass(frozen=True)
class TwoStates:
    """Retention (share kept from reach to reach, 0..1) and rate (share of the error learned, 0..1) of both states.

    The fast ones are NaN where one state tells as much as two.
    """

    fast_retention: float
    fast_rate: float
    slow_retention: float
    slow_rate: float


def simulate(states: TwoStates, perturbation: Array, seen: NDArray[np.bool_]) -> Array:
    """Adaptation (n,) of each reach, as a share of the perturbation.

    Args:
        states: what is kept and learned.
        perturbation: (n,) p of each reach: 1 for A, -1 for its opposite, 0 for none.
        seen: (n,) whether the error of the reach is seen; in an error clamp or without sight it is not.
    """
    pairs = ((states.fast_retention, states.fast_rate), (states.slow_retention, states.slow_rate))
    return _course(pairs, perturbation.tolist(), seen.tolist())


def _course(pairs: tuple[tuple[float, float], ...], perturbation: list[float], seen: list[bool]) -> Array:
    """The sum of any number of states, each (retention, rate)."""
    levels = [0.0] * len(pairs)
    found = []
    for size, sight in zip(perturbation, seen, strict=True):
        adaptation = sum(levels)
        found.append(adaptation)
        error = size - adaptation if sight else 0.0
        levels = [kept * level + rate * error for level, (kept, rate) in zip(levels, pairs, strict=True)]
    return np.array(found)


def fit_two_states(adaptation: Array, perturbation: Array, seen: NDArray[np.bool_]) -> TwoStates:
    """The two states that come nearest, by least squares, to the adaptation of a series of reaches.

    Args:
        adaptation: (n,) share of the perturbation; NaN for a reach to be left out of the sum.
        perturbation, seen: as for `simulate`.

    Raises:
        ValueError: arrays of different lengths, or fewer than 8 reaches with a value.
    """
    if not adaptation.shape == perturbation.shape == seen.shape or adaptation.ndim != 1:
        raise ValueError(
            f"adaptation, perturbation and seen have shapes {adaptation.shape}, {perturbation.shape} and {seen.shape}; "
            "the same (n,) is allowed"
        )
    known = np.isfinite(adaptation)
    if np.sum(known) < 8:
        raise ValueError(f"adaptation has {int(np.sum(known))} values; 8 or more are allowed")
    sizes, sight = perturbation.tolist(), seen.tolist()

    def left(numbers: Array) -> Array:
        pairs = tuple((float(a), float(b)) for a, b in numbers.reshape(-1, 2))
        return (_course(pairs, sizes, sight) - adaptation)[known]

    def best(starts: tuple[tuple[float, ...], ...]) -> tuple[float, Array]:
        tries = [least_squares(left, start, bounds=(0.0, 1.0), x_scale=0.1, xtol=1e-12, ftol=1e-12) for start in starts]
        found = min(tries, key=lambda one: float(one.cost))
        return 2.0 * float(found.cost), np.asarray(found.x)

    one_left, (kept, rate) = best(ONE_STATE_STARTS)
    n = int(np.sum(known))
    if one_left > NOTHING_LEFT * n:
        two_left, numbers = best(STARTS)
        # The tail of an F statistic with 2 and n - 4 degrees of freedom.
        if (two_left / one_left) ** (0.5 * (n - 4)) < FIT_LEVEL:
            fast, slow = sorted(numbers.reshape(2, 2).tolist())
            return TwoStates(fast[0], fast[1], slow[0], slow[1])
    return TwoStates(math.nan, math.nan, float(kept), float(rate))
