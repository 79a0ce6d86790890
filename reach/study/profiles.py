"""Whole distributions of scores, and how likely one learner is better than another (Agarwal et al. 2021, NeurIPS).

A performance profile is the share of runs whose score is better than a threshold, for each threshold, with a stratified
bootstrap band: it shows at once what a mean hides, such as a learner that is fast in most runs and never corrects in
the rest. The probability of improvement is the chance that a run of one learner is better than a run of another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reach.study.statistics import (
    FEWEST_SEEDS,
    Estimate,
    percentiles,
    places_by_stratum,
    probability_of_improvement,
    resamples,
)

Array = NDArray[np.float64]
Better = Literal["low", "high"]

PROFILE_RESAMPLES = 2_000
DEFAULT_THRESHOLDS = 101


@dataclass(frozen=True)
class Profile:
    """Share of runs that are better than each threshold.

    thresholds, share, low, high: (n,); the interval is 95 %, pointwise, NaN below five seeds in a stratum.
    """

    thresholds: Array
    share: Array
    low: Array
    high: Array
    seeds: int


def _checked_better(better: str) -> None:
    if better not in ("low", "high"):
        raise ValueError(f"better is {better!r}; 'low' and 'high' are allowed")


def thresholds_for(*scores: Array, count: int = DEFAULT_THRESHOLDS) -> Array:
    """Evenly spaced thresholds (count,) over all finite scores, so that learners are drawn over the same ones."""
    known = np.concatenate([np.asarray(one, dtype=np.float64).ravel() for one in scores])
    known = known[np.isfinite(known)]
    if not len(known):
        raise ValueError("scores hold no finite number; at least one is needed")
    return np.linspace(float(known.min()), float(known.max()), count)


def performance_profile(
    scores: Array,
    thresholds: Array,
    *,
    better: Better = "low",
    strata: Sequence[object] | None = None,
) -> Profile:
    """Share of runs with a score below (`better` low) or above (high) each threshold, with its bootstrap band.

    Args:
        scores: (n,), one a run; infinite for "never"; NaN runs are left out.
        thresholds: (m,).
        better: which scores are better.
        strata: (n,) label of each run, such as its protocol; seeds are redrawn within their own stratum.
    """
    _checked_better(better)
    score = np.asarray(scores, dtype=np.float64)
    limits = np.asarray(thresholds, dtype=np.float64)
    if limits.ndim != 1 or np.any(np.isnan(limits)):
        raise ValueError(f"thresholds has shape {limits.shape}; (m,) numbers are allowed")
    places = places_by_stratum(score, strata)
    kept = np.array([place for own in places.values() for place in own], dtype=np.int64)
    if not len(kept):
        nothing = np.full_like(limits, np.nan)
        return Profile(limits, nothing, nothing, nothing, 0)
    passed = score[:, None] < limits if better == "low" else score[:, None] > limits
    share: Array = np.mean(passed[kept], axis=0)
    seeds = min(len(own) for own in places.values())
    if seeds < FEWEST_SEEDS:
        nothing = np.full_like(limits, np.nan)
        return Profile(limits, share, nothing, nothing, seeds)
    drawn = [np.array(own)[resamples(len(own), k)[:PROFILE_RESAMPLES]] for k, own in enumerate(places.values())]
    rows = np.concatenate(drawn, axis=1)
    # How often each run is drawn, times whether it passes: the same as the mean over the drawn runs, with less memory.
    counts = np.zeros((len(rows), len(score)))
    np.add.at(counts, (np.arange(len(rows))[:, None], rows), 1.0)
    low, high = percentiles(counts @ passed.astype(np.float64) / rows.shape[1])
    return Profile(limits, share, low, high, seeds)


def improvement(
    first: Array,
    second: Array,
    *,
    better: Better = "low",
    strata: tuple[Sequence[object], Sequence[object]] | None = None,
) -> Estimate:
    """Probability that a run of `first` is better than a run of `second`, ties half, with its bootstrap interval.

    With strata the probability is the mean over them, as over tasks in the paper; seeds of either learner are redrawn
    by themselves within each stratum.

    Args:
        first, second: (n,) and (m,) scores; NaN runs are left out.
        better: which scores are better.
        strata: the labels of the runs of either, ((n,), (m,)).

    Raises:
        ValueError: the two have runs in different strata.
    """
    _checked_better(better)
    sign = 1.0 if better == "low" else -1.0
    one, other = sign * np.asarray(first, dtype=np.float64), sign * np.asarray(second, dtype=np.float64)
    places = [
        places_by_stratum(scores, None if strata is None else strata[side]) for side, scores in enumerate((one, other))
    ]
    if set(places[0]) != set(places[1]):
        raise ValueError(f"first has runs in {list(places[0])} and second in {list(places[1])}; the same are allowed")
    pairs = [(one[own], other[places[1][label]]) for label, own in places[0].items()]
    seeds = min((min(len(a), len(b)) for a, b in pairs), default=0)
    if seeds == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(np.mean([probability_of_improvement(a, b) for a, b in pairs]))
    if seeds < FEWEST_SEEDS:
        return Estimate(value, math.nan, math.nan, seeds)
    drawn = np.zeros(len(resamples(seeds)))
    for k, (a, b) in enumerate(pairs):
        won = (a[:, None] < b[None, :]) + 0.5 * (a[:, None] == b[None, :])
        rows, columns = resamples(len(a), 2 * k), resamples(len(b), 2 * k + 1)
        drawn += np.mean(won[rows[:, :, None], columns[:, None, :]], axis=(1, 2)) / len(pairs)
    low, high = percentiles(drawn)
    return Estimate(value, float(low), float(high), seeds)
