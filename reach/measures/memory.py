"""Measure what remains of a correction, in protocols that repeat a perturbation or remove its errors.

Errors are shares of the miss: the launch error in the same trial, with the same noise, of the same learner with
learning off. 1 is the whole miss, on the side to which the perturbation deviates the hand. Adaptation is the share of
the miss that learning has removed. A reach in which the hand did not move is NaN; as an error it counts as 1, and from
adaptation it is left out.
"""

from __future__ import annotations

import math

import numpy as np

from reach.measures.series import LATE_REACHES, N63_THRESHOLD, Array, finite_mean

EARLY_REACHES = 10
# Less adaptation is no memory that could be kept or lost.
LEAST_ADAPTATION = 0.1
# In an error clamp the fast state is gone after about five reaches, and the slow one fades over many more.
REBOUND_FROM, REBOUND_UNTIL = 5, 25
REBOUND_START = 2


def _sizes(error: Array) -> Array:
    """Return |error|, (n,), with 1 for NaN."""
    return np.abs(np.where(np.isfinite(error), error, 1.0))


def early_error(error: Array) -> float:
    """Return L10: mean |error| of the first ten reaches."""
    return float(np.mean(_sizes(error)[:EARLY_REACHES]))


def savings(first: Array, again: Array) -> float:
    """Return 1 - L10'/L10: by how much errors are smaller when a perturbation returns after a washout.

    Adaptation that the washout has left counts as saved.

    Args:
        first, again: (n,) errors of the first and the repeated block.

    Returns:
        0 for nothing saved; NaN if there were no errors at first.
    """
    error = early_error(first)
    return 1.0 - early_error(again) / error if error > 0.0 else math.nan


def interference(first: Array, again: Array) -> float:
    """Return L10'/L10 - 1 of A in A-B-A: by how much errors in A are larger when B came between.

    B is not washed out, so its after-effect, which adds to the miss of A, is included.

    Args:
        first, again: (n,) errors of the first and the repeated block.

    Returns:
        0 for no interference, -1 for no errors left; NaN if there were no errors at first.
    """
    error = early_error(first)
    return early_error(again) / error - 1.0 if error > 0.0 else math.nan


def retention(trained: Array, unseen: Array) -> float:
    """Return adaptation in the last ten reaches without sight of the hand, as a share of that in the last ten with it.

    Args:
        trained, unseen: (n,) adaptation in each block.

    Returns:
        1 for nothing lost; NaN if less than a tenth was learned.
    """
    learned = finite_mean(trained[-LATE_REACHES:])
    return finite_mean(unseen[-LATE_REACHES:]) / learned if learned >= LEAST_ADAPTATION else math.nan


def rebound(clamp: Array) -> float:
    """Return spontaneous recovery: how far A returns in reaches 6 to 25 of the clamp, above its first two and above 0.

    What is left of A at the start of the clamp is no recovery, and neither is the fading of B.

    Args:
        clamp: (n,) adaptation to A, in the error clamp that follows a short B.

    Returns:
        A share of the miss, 0 for none.
    """
    return max(0.0, finite_mean(clamp[REBOUND_FROM:REBOUND_UNTIL]) - max(0.0, finite_mean(clamp[:REBOUND_START])))


def reaches_between_flips(scale: Array) -> int | None:
    """Return the number of reaches between two flips of an alternating perturbation; None if it does not alternate.

    Args:
        scale: (n,) size of the perturbation in each reach, 1 or -1.
    """
    changed = np.flatnonzero(scale != scale[0]) if len(scale) else np.zeros(0, dtype=np.int64)
    if not len(changed) or scale[0] == 0.0:
        return None
    every = int(changed[0])
    alternating = np.where(np.arange(len(scale)) // every % 2, -scale[0], scale[0])
    return every if np.array_equal(scale, alternating) else None


def switching_error(error: Array, every: int) -> tuple[float, float]:
    """Return what is left of the miss under an alternating perturbation: just before a flip, and on average.

    Reaches before the first flip are left out, since nothing had been learned in the other direction.

    Args:
        error: (n,) of each reach.
        every: reaches between two flips.

    Returns:
        Median |error| of the last reaches before a flip, and mean |error|.
    """
    sizes = _sizes(error)[every:]
    ends = sizes[every - 1 :: every]
    return float(np.median(ends)) if len(ends) else math.nan, float(np.mean(sizes)) if len(sizes) else math.nan


def fastest_switch(error_at_flip: dict[int, float]) -> float:
    """Return the fewest reaches between flips at which the learner still follows; infinite if it follows none.

    It follows if less than 0.368 of the miss is left at the last reach before a flip (63 % is gone, as in N63), for
    this and all slower rates.

    Args:
        error_at_flip: reaches between flips -> what is left before a flip, as `switching_error` returns it.
    """
    fastest = math.inf
    for every in sorted(error_at_flip, reverse=True):
        if not error_at_flip[every] < N63_THRESHOLD:
            break
        fastest = float(every)
    return fastest


def generalisation(adaptation: Array, angle: Array) -> dict[int, float]:
    """Return adaptation in each direction as a share of that in the trained direction.

    Args:
        adaptation: (n,) of the reaches of a block without errors.
        angle: (n,) degrees between the cup of the reach and the trained one, unsigned.

    Returns:
        Rounded angle, above 0 -> share; NaN if less than a tenth was learned in the trained direction.
    """
    rounded = np.rint(angle).astype(np.int64)
    trained = finite_mean(adaptation[rounded == 0])
    is_known = trained >= LEAST_ADAPTATION
    return {
        int(degrees): finite_mean(adaptation[rounded == degrees]) / trained if is_known else math.nan
        for degrees in np.unique(rounded)
        if degrees > 0
    }
