"""Statistics of a study: measures by seed, interquartile means, bootstrap intervals and paired differences.

The interquartile mean with a percentile bootstrap over seeds follows Agarwal et al. 2021 (NeurIPS, "Deep reinforcement
learning at the edge of the statistical precipice"). Below five seeds such an interval covers its value far too rarely
(about 75 % at three), so none is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach.trials import TrialSeries, correction_measures, reference_error_deg

Array = NDArray[np.float64]

UNLEARNING = "none"
FEWEST_SEEDS = 5
RESAMPLES = 10_000
CONFIDENCE = 0.95
BOOTSTRAP_SEED = 20260101
KEYS = ["learner", "protocol", "seed"]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval (NaN below five seeds) and the number of seeds it rests on."""

    value: float
    low: float
    high: float
    seeds: int


def interquartile_mean(values: Array) -> Array:
    """Mean of the middle half along the last axis; infinite values count as the largest, and make it infinite only
    where they reach into that half.

    A quarter of the values is cut from either end, with fractional weights where the number is not divisible by four.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    edges = np.arange(n + 1, dtype=np.float64)
    weight = np.clip(np.minimum(edges[1:], 0.75 * n) - np.maximum(edges[:-1], 0.25 * n), 0.0, 1.0)
    kept = np.where(weight > 0.0, ordered, 0.0)
    found: Array = np.sum(kept * weight, axis=-1) / np.sum(weight)
    return found


def estimate(values: Array) -> Estimate:
    """Interquartile mean over seeds with its percentile-bootstrap interval; NaN seeds are left out."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if len(known) == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(interquartile_mean(known))
    if len(known) < FEWEST_SEEDS:
        return Estimate(value, math.nan, math.nan, len(known))
    drawn = interquartile_mean(known[_resamples(len(known))])
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100.0 - tail], method="nearest")
    return Estimate(value, float(low), float(high), len(known))


def _resamples(n: int) -> NDArray[np.int64]:
    """The same resamples for every estimate from n seeds, so that learners are compared on the same draws."""
    return np.random.default_rng([BOOTSTRAP_SEED, n]).integers(n, size=(RESAMPLES, n))


def paired_difference(first: Array, second: Array) -> tuple[float, float, float]:
    """Interquartile mean of first - second, paired by seed, with its interval."""
    found = estimate(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64))
    return found.value, found.low, found.high


def probability_of_improvement(first: Array, second: Array) -> float:
    """Share of pairs of seeds in which `first` is below `second` (ties count half): Mann and Whitney's U / (n m)."""
    below = np.asarray(first)[:, None] < np.asarray(second)[None, :]
    equal = np.asarray(first)[:, None] == np.asarray(second)[None, :]
    return float(np.mean(below + 0.5 * equal))


def mean_band(values: Array) -> tuple[Array, Array, Array]:
    """Mean over seeds of (seeds, trials), with the bootstrap interval of each trial; NaN below five seeds."""
    mean = _column_means(values)
    if len(values) < FEWEST_SEEDS:
        nothing = np.full_like(mean, np.nan)
        return mean, nothing, nothing
    drawn = np.array([_column_means(values[rows]) for rows in _resamples(len(values))[:1000]])
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    return mean, low, high


def _column_means(values: Array) -> Array:
    known = ~np.isnan(values)
    count = np.sum(known, axis=0)
    total = np.sum(np.where(known, values, 0.0), axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _series(rows: pd.DataFrame) -> TrialSeries:
    """One learner, protocol and seed as a series, probes left out."""
    reaches = rows[~rows["probe"]].sort_values("trial")

    def column(name: str) -> Array:
        return reaches[name].to_numpy(dtype=np.float64)

    return TrialSeries(
        launch_error_deg=column("launch_error_deg"),
        block=reaches["block"].to_numpy(dtype=np.str_),
        cup=reaches[["cup_x", "cup_y"]].to_numpy(dtype=np.float64),
        endpoint_error_cm=column("endpoint_error_cm"),
        time_to_success_s=column("time_to_success_s"),
        success=reaches["success"].to_numpy(dtype=np.bool_),
    )


def baseline_corrected(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with `launch_error_deg` less its baseline, each learner, protocol and seed by itself.

    Probes are corrected by the same baseline as reaches to the same cup.
    """
    corrected = trials.copy()
    for _, rows in trials.groupby(KEYS, sort=False):
        series = _series(rows)
        shift = series.launch_error_deg - series.corrected_error_deg()
        by_cup = {tuple(cup): float(s) for cup, s in zip(series.cup, shift, strict=True) if math.isfinite(s)}
        taken = np.array([by_cup.get((x, y), 0.0) for x, y in zip(rows["cup_x"], rows["cup_y"], strict=True)])
        # A whole turn may lie between two ways of writing one angle.
        error = rows["launch_error_deg"].to_numpy(dtype=np.float64) - taken
        corrected.loc[rows.index, "launch_error_deg"] = -((-error + 180.0) % 360.0 - 180.0)
    return corrected


def per_seed(trials: pd.DataFrame) -> pd.DataFrame:
    """Measures of correction: a row (learner, protocol, seed, metric, value) each, in the order of the trials.

    Seeds for which the learner that does not learn was not run are left out: they have no measure of the miss.
    """
    series = {key: _series(rows) for key, rows in trials.groupby(KEYS, sort=False)}
    found = []
    for key, own in series.items():
        learner, protocol, seed = key
        reference = series.get((UNLEARNING, protocol, seed))
        if reference is None:
            continue
        for metric, value in correction_measures(own, reference_error_deg(reference)).items():
            found.append({"learner": learner, "protocol": protocol, "seed": seed, "metric": metric, "value": value})
    return pd.DataFrame(found, columns=["learner", "protocol", "seed", "metric", "value"])


def summarise(trials: pd.DataFrame) -> pd.DataFrame:
    """Estimates over seeds: a row (learner, protocol, metric, value, low, high, seeds) each."""
    found = []
    for (learner, protocol, metric), rows in per_seed(trials).groupby(["learner", "protocol", "metric"], sort=False):
        one = estimate(rows["value"].to_numpy(dtype=np.float64))
        found.append(
            {
                "learner": learner,
                "protocol": protocol,
                "metric": metric,
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "seeds": one.seeds,
            }
        )
    return pd.DataFrame(found, columns=["learner", "protocol", "metric", "value", "low", "high", "seeds"])
