"""What stays of a correction: measures over the reaches of protocols that come back to it, or take its errors away.

Errors are shares of the miss of the same learner with learning off (1 = the whole miss), 1 being the side to which the
perturbation throws. Adaptation is the other way round: what the learner does otherwise than with learning off, in the
same trial with the same noise, as a share of that miss. A reach that never set out is NaN; as an error it counts as the
whole miss, of the adaptation it is left out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EARLY_REACHES = 10
LATE_REACHES = 10
# Less adaptation is no memory to be kept or lost.
LEAST_ADAPTATION = 0.1
# In an error clamp the fast state is gone after about five reaches, and the slow one fades over many more.
REBOUND_FROM, REBOUND_UNTIL = 5, 25
REBOUND_START = 2
# As in N63: 63 % of the miss is gone.
FOLLOWED = 0.368


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.mean(finite)) if len(finite) else math.nan


def early_error(error: Array) -> float:
    """L10: mean |error| of the first ten reaches."""
    sizes = np.abs(np.where(np.isfinite(error), error, 1.0))
    return float(np.mean(sizes[:EARLY_REACHES]))


def savings(first: Array, again: Array) -> float:
    """1 - L10'/L10: how much less is missed when what was learned and washed out is met again; 0 for nothing saved.

    What the washout has left counts as saved. NaN where nothing was missed at first.

    Args:
        first, again: (n,) errors of the reaches of either block.
    """
    missed = early_error(first)
    return 1.0 - early_error(again) / missed if missed > 0.0 else math.nan


def interference(first: Array, again: Array) -> float:
    """L10'/L10 - 1 of A in A-B-A: how much more is missed in A when B came between; 0 for nothing, -1 for no miss left.

    B is not washed out, so that its after-effect, which adds to the miss of A, is part of it.
    """
    missed = early_error(first)
    return early_error(again) / missed - 1.0 if missed > 0.0 else math.nan


def retention(trained: Array, unseen: Array) -> float:
    """Adaptation of the last ten reaches without sight of the hand, as a share of that of the last ten seen ones.

    Args:
        trained, unseen: (n,) adaptation of either block.

    Returns:
        1 for nothing lost; NaN where less than a tenth was learned.
    """
    learned = _mean(trained[-LATE_REACHES:])
    return _mean(unseen[-LATE_REACHES:]) / learned if learned >= LEAST_ADAPTATION else math.nan


def rebound(clamp: Array) -> float:
    """Spontaneous recovery: how far A comes back in reaches 6 to 25 of the clamp, beyond its first two and beyond 0.

    What is left of A when the clamp begins is no recovery, and neither is B that fades.

    Args:
        clamp: (n,) adaptation to A, in the error clamp that follows a short B.

    Returns:
        A share of the miss, 0 for none.
    """
    return max(0.0, _mean(clamp[REBOUND_FROM:REBOUND_UNTIL]) - max(0.0, _mean(clamp[:REBOUND_START])))


def reaches_between_flips(scale: Array) -> int | None:
    """Reaches between two flips of a perturbation that goes to either side in turn; None if it does not.

    Args:
        scale: (n,) size of the perturbation of each reach, 1 or -1.
    """
    changed = np.flatnonzero(scale != scale[0]) if len(scale) else np.zeros(0, dtype=np.int64)
    if not len(changed) or scale[0] == 0.0:
        return None
    every = int(changed[0])
    flipped = np.where(np.arange(len(scale)) // every % 2, -scale[0], scale[0])
    return every if np.array_equal(scale, flipped) else None


def switching_error(error: Array, every: int) -> tuple[float, float]:
    """What is left of the miss while the perturbation flips: at the last reach before a flip, and on average.

    Stretches up to the first flip are left out, for nothing had been learned the other way before.

    Args:
        error: (n,) of each reach.
        every: reaches between two flips.

    Returns:
        Median |error| at the ends of stretches, and mean |error|.
    """
    sizes = np.abs(np.where(np.isfinite(error), error, 1.0))[every:]
    ends = sizes[every - 1 :: every]
    return float(np.median(ends)) if len(ends) else math.nan, float(np.mean(sizes)) if len(sizes) else math.nan


def fastest_switch(left_at_flip: dict[int, float]) -> float:
    """Fewest reaches between flips at which the learner can still follow; infinite if it follows none.

    It follows when less than 0.368 of the miss is left at the last reach before a flip (63 % is gone, as in N63), and
    it must follow all slower flips too.

    Args:
        left_at_flip: reaches between flips -> what is left, of `switching_error`.
    """
    fastest = math.inf
    for every in sorted(left_at_flip, reverse=True):
        if not left_at_flip[every] < FOLLOWED:
            break
        fastest = float(every)
    return fastest


def generalisation(adaptation: Array, angle: Array) -> dict[int, float]:
    """Adaptation in each direction as a share of that in the direction trained.

    Args:
        adaptation: (n,) of the reaches of a block without errors.
        angle: (n,) degrees between the cup of the reach and the one trained, unsigned.

    Returns:
        Rounded angle, above 0 -> share; NaN where less than a tenth was learned in the direction trained.
    """
    rounded = np.rint(angle).astype(np.int64)
    trained = _mean(adaptation[rounded == 0])
    known = trained >= LEAST_ADAPTATION
    return {
        int(one): _mean(adaptation[rounded == one]) / trained if known else math.nan
        for one in np.unique(rounded)
        if one > 0
    }
