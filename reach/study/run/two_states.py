"""Fit two processes of motor memory, a fast one that forgets and a slow one that retains, to a series of reaches.

Smith, Ghazizadeh and Shadmehr 2006 (PLoS Biol 4:e179), eq. 1: with the error e(n) = p(n) - x(n) of reach n,

    fast(n+1) = A_f fast(n) + B_f e(n),  slow(n+1) = A_s slow(n) + B_s e(n),  x = fast + slow,

where A is the retention and B the learning rate, A_f < A_s and B_f > B_s. After a long A and a short B the two states
cancel. Without errors the fast one decays and the slow one appears: spontaneous recovery.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]

# Start values of the fit (fast retention and rate, slow retention and rate); the first are those of the paper.
STARTS = ((0.59, 0.21, 0.992, 0.02), (0.8, 0.1, 0.999, 0.05), (0.3, 0.4, 0.95, 0.1), (0.9, 0.3, 0.98, 0.01))
ONE_STATE_STARTS = ((0.98, 0.1), (0.8, 0.4))
# A second state is accepted if it improves the fit by an F test at this level, and not if one state fits exactly: a
# squared error below EXACT for each reach.
FIT_LEVEL = 0.01
EXACT = 1e-12
FEWEST_REACHES = 8


@dataclass(frozen=True)
class TwoStates:
    """Retention (share kept from reach to reach, 0..1) and rate (share of the error learned, 0..1) of both states.

    Those of the fast state are NaN if one state explains as much as two.
    """

    fast_retention: float
    fast_rate: float
    slow_retention: float
    slow_rate: float


def simulate(states: TwoStates, perturbation: Array, seen: NDArray[np.bool_]) -> Array:
    """Return the adaptation (n,) in each reach, as a share of the perturbation.

    Args:
        states: retention and rate of both states.
        perturbation: (n,) p of each reach: 1 for A, -1 for its opposite, 0 for none.
        seen: (n,) whether the error of the reach is seen; in an error clamp or without sight it is not.
    """
    pairs = ((states.fast_retention, states.fast_rate), (states.slow_retention, states.slow_rate))
    return _adaptation(pairs, perturbation.tolist(), seen.tolist())


def _adaptation(pairs: tuple[tuple[float, float], ...], perturbation: list[float], seen: list[bool]) -> Array:
    """Return the sum of any number of states, each (retention, rate)."""
    states = [0.0] * len(pairs)
    adaptation = []
    for size, is_seen in zip(perturbation, seen, strict=True):
        adaptation.append(sum(states))
        error = size - adaptation[-1] if is_seen else 0.0
        states = [retention * state + rate * error for state, (retention, rate) in zip(states, pairs, strict=True)]
    return np.array(adaptation)


def fit_two_states(adaptation: Array, perturbation: Array, seen: NDArray[np.bool_]) -> TwoStates:
    """Return the two states that fit the adaptation of a series of reaches best, by least squares.

    Args:
        adaptation: (n,) share of the perturbation; NaN for a reach that does not count.
        perturbation, seen: as for `simulate`.

    Raises:
        ValueError: arrays of different lengths, or fewer than 8 reaches with a value.
    """
    shapes = (adaptation.shape, perturbation.shape, seen.shape)
    if len(set(shapes)) > 1 or adaptation.ndim != 1:
        raise ValueError(f"adaptation, perturbation and seen: expected one shape (n,), got {shapes}")
    known = np.isfinite(adaptation)
    n = int(np.sum(known))
    if n < FEWEST_REACHES:
        raise ValueError(f"adaptation: expected {FEWEST_REACHES} or more finite values, got {n}")
    sizes, is_seen = perturbation.tolist(), seen.tolist()

    def residual(parameters: Array) -> Array:
        pairs = tuple((float(a), float(b)) for a, b in parameters.reshape(-1, 2))
        return (_adaptation(pairs, sizes, is_seen) - adaptation)[known]

    def best(starts: tuple[tuple[float, ...], ...]) -> tuple[float, Array]:
        """Return the smallest squared error and its parameters."""
        fits = [
            least_squares(residual, start, bounds=(0.0, 1.0), x_scale=0.1, xtol=1e-12, ftol=1e-12) for start in starts
        ]
        fit = min(fits, key=lambda fit: float(fit.cost))
        return 2.0 * float(fit.cost), np.asarray(fit.x)

    error_of_one, (retention, rate) = best(ONE_STATE_STARTS)
    if error_of_one > EXACT * n:
        error_of_two, parameters = best(STARTS)
        # The tail of an F statistic with 2 and n - 4 degrees of freedom.
        if (error_of_two / error_of_one) ** (0.5 * (n - 4)) < FIT_LEVEL:
            fast, slow = sorted(parameters.reshape(2, 2).tolist())
            return TwoStates(fast[0], fast[1], slow[0], slow[1])
    return TwoStates(math.nan, math.nan, float(retention), float(rate))
