"""Statistics over seeds: interquartile means, restricted means, paired differences and performance profiles.

Interquartile means with percentile-bootstrap intervals, performance profiles and probabilities of improvement follow
Agarwal et al. 2021 (NeurIPS, "Deep reinforcement learning at the edge of the statistical precipice"). With fewer than
five seeds, such an interval covers the true value too rarely (about 75 % at three seeds), so none is given. From five
to nine seeds it is somewhat too narrow (about 90 %).

A measure may be censored: N63, for example, is infinite for a learner that never corrects. Censored measures are
summarised by a restricted mean (Royston and Parmar 2013, BMC Med Res Methodol 13:152) and the share of seeds that
failed. In an interquartile mean, infinite values are ranked as the largest and are not replaced by a number, so the
mean, or an end of its interval, is infinite only if an infinite value is in the middle half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import lru_cache
from itertools import chain, combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach.protocols import PERTURBED
from reach.study.measures import per_seed

Array = NDArray[np.float64]

FEWEST_SEEDS = 5  # smallest number of seeds for an interval
ENOUGH_SEEDS = 10  # smallest number of seeds for a claim
RESAMPLES = 10_000
BAND_RESAMPLES = 1_000
PROFILE_RESAMPLES = 2_000
CONFIDENCE = 0.95
BOOTSTRAP_SEED = 20260101
CENSORED = frozenset({"N63", "halving_reaches", "channel_reaches_to_63"})


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval.

    Attributes:
        value: mean over seeds.
        low, high: ends of the interval; NaN below five seeds.
        seeds: number of seeds; with strata, that of the smallest stratum.
        failed: share of seeds in which a censored event did not occur; 0 for measures that are not censored.
    """

    value: float
    low: float
    high: float
    seeds: int
    failed: float = 0.0


@dataclass(frozen=True)
class Profile:
    """Share of runs below each threshold, with its pointwise 95 % interval.

    Attributes:
        share, low, high: (n,); the interval is NaN below five seeds in a stratum.
        seeds: number of seeds of the smallest stratum.
    """

    share: Array
    low: Array
    high: Array
    seeds: int


def interquartile_mean(values: Array) -> Array:
    """Return the mean of the middle half along the last axis.

    A quarter of the values is cut at each end, with fractional weights if their number is not divisible by four.
    Infinite values make the mean infinite only if they are in the middle half. If infinities of both signs are, the
    mean is NaN.

    Args:
        values: (..., n), n above 0, without NaN.
    """
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    edges = np.arange(n + 1, dtype=np.float64)
    weight = np.clip(np.minimum(edges[1:], 0.75 * n) - np.maximum(edges[:-1], 0.25 * n), 0.0, 1.0)
    weighted_values = np.where(weight > 0.0, ordered, 0.0)
    with np.errstate(invalid="ignore"):
        mean: Array = np.sum(weighted_values * weight, axis=-1) / np.sum(weight)
    return mean


def estimate(values: Array, strata: Sequence[object] | None = None) -> Estimate:
    """Return the interquartile mean over seeds with its percentile-bootstrap interval.

    Seeds with NaN are left out. The same values give a bit-identical interval in every process.

    Args:
        values: (n,), one per seed, or per seed and stratum.
        strata: (n,) label of each value, such as its protocol; seeds are resampled within their stratum. None for a
            single stratum.
    """
    places = _places_by_stratum(values, strata)
    is_known = ~np.isnan(values)
    if not np.any(is_known):
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(interquartile_mean(values[is_known]))
    seeds = min(map(len, places.values()))
    if seeds < FEWEST_SEEDS:
        return Estimate(value, math.nan, math.nan, seeds)
    low, high = _percentiles(interquartile_mean(values[_resampled_places(places)]))
    return Estimate(value, float(low), float(high), seeds)


def restricted_mean(times: Array, horizon: float) -> Estimate:
    """Return the mean time to an event with its bootstrap interval; a run without an event counts as the horizon.

    This is the area under the Kaplan-Meier curve from 0 to the horizon. `failed` of the result is the share of runs
    without an event. If all runs failed, value and interval are the horizon.

    Args:
        times: (n,), one per run, 0 or more; infinite if the event did not occur, NaN if unknown.
        horizon: duration of the runs; later events do not count.
    """
    time = times[~np.isnan(times)]
    if not len(time):
        return Estimate(math.nan, math.nan, math.nan, 0, math.nan)
    within = np.minimum(time, horizon)
    value, failed = float(np.mean(within)), float(np.mean(time > horizon))
    if len(within) < FEWEST_SEEDS:
        return Estimate(value, math.nan, math.nan, len(within), failed)
    low, high = _percentiles(np.mean(within[_resamples(len(within))], axis=1))
    return Estimate(value, float(low), float(high), len(within), failed)


def paired_difference(first: Array, second: Array) -> Estimate:
    """Return the interquartile mean of first - second, paired by seed, with its interval.

    Pairs with a NaN are left out. The difference of two infinite values is 0. If differences of both infinite signs are
    in the middle half, value and interval are NaN.

    Args:
        first, second: (n,), one per seed.
    """
    equal = first == second
    return estimate(np.where(equal, 0.0, first) - np.where(equal, 0.0, second))


def probability_of_improvement(first: Array, second: Array) -> float:
    """Return the share of pairs of seeds in which `first` is below `second`, that is, Mann and Whitney's U / (n m).

    Ties count half. Seeds with NaN are left out; the result is NaN if no seeds remain.

    Args:
        first, second: (n,) and (m,); lower is better.
    """
    left, right = first[~np.isnan(first), None], second[None, ~np.isnan(second)]
    wins = (left < right) + 0.5 * (left == right)
    return float(np.mean(wins)) if wins.size else math.nan


def performance_profile(scores: Array, thresholds: Array, *, strata: Sequence[object] | None = None) -> Profile:
    """Return the share of runs with a score below each threshold, with its bootstrap band.

    A profile shows what a mean hides, such as a learner that is fast in most runs and never corrects in the others.

    Args:
        scores: (n,), one per run; infinite for "never"; runs with NaN are left out.
        thresholds: (m,).
        strata: (n,) label of each run, such as its protocol; seeds are resampled within their stratum.
    """
    places = _places_by_stratum(scores, strata)
    members = np.array([*chain(*places.values())], dtype=np.int64)
    nothing = np.full_like(thresholds, np.nan)
    if not len(members):
        return Profile(nothing, nothing, nothing, 0)
    passed = scores[:, None] < thresholds
    share: Array = np.mean(passed[members], axis=0)
    seeds = min(map(len, places.values()))
    if seeds < FEWEST_SEEDS:
        return Profile(share, nothing, nothing, seeds)
    rows = _resampled_places(places, PROFILE_RESAMPLES)
    # Count how often each run is drawn and multiply by whether it passes; this takes less memory than drawing scores.
    counts = np.zeros((len(rows), len(scores)))
    np.add.at(counts, (np.arange(len(rows))[:, None], rows), 1.0)
    low, high = _percentiles(counts @ passed.astype(np.float64) / rows.shape[1])
    return Profile(share, low, high, seeds)


def mean_band(values: Array) -> tuple[Array, Array, Array]:
    """Return the mean over seeds of (seeds, trials) and its bootstrap interval by trial, NaN below five seeds."""
    mean = _means_over_seeds(values)
    if len(values) < FEWEST_SEEDS:
        nothing = np.full_like(mean, np.nan)
        return mean, nothing, nothing
    drawn = _means_over_seeds(values[_resamples(len(values))[:BAND_RESAMPLES]])
    # A resample without a value at a trial gives no information about this trial; use the mean.
    low, high = _percentiles(np.where(np.isnan(drawn), mean, drawn))
    return mean, low, high


def paired_differences(measured: pd.DataFrame, metrics: Mapping[str, str]) -> pd.DataFrame:
    """Return the difference of every two learners in each protocol, paired by seed, with its interval.

    Args:
        measured: table with columns learner, protocol, seed, metric, value.
        metrics: metric in which learners are compared, by protocol.

    Returns:
        Columns protocol, metric, first, second, value (first - second), low, high, seeds. Pairs without a common seed
        are left out.
    """
    names, rows = ["protocol", "metric", "first", "second"], []
    for protocol, metric in metrics.items():
        values = measured[(measured["protocol"] == protocol) & (measured["metric"] == metric)]
        # Columns in the order in which the learners occur.
        wide = values.pivot(index="seed", columns="learner", values="value")[list(dict.fromkeys(values["learner"]))]
        for first, second in combinations(wide, 2):
            difference = paired_difference(wide[first].to_numpy(np.float64), wide[second].to_numpy(np.float64))
            if difference.seeds:
                rows.append((protocol, metric, first, second, *astuple(difference)[:-1]))
    return pd.DataFrame(rows, columns=[*names, "value", "low", "high", "seeds"])


def summarise(trials: pd.DataFrame, measured: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return estimates over seeds, as a table with columns learner, protocol, metric, value, low, high, seeds, failed.

    Censored metrics (`CENSORED`) are summarised by a restricted mean, with the number of perturbed reaches of the
    protocol as the horizon, and the share of seeds that failed; all others by an interquartile mean.

    Args:
        trials: one row per trial.
        measured: result of `reach.study.measures.per_seed` for the trials; None to compute it.
    """
    reaches = trials[(trials["block"] == PERTURBED) & ~trials["probe"].astype(bool)]
    horizons = reaches.groupby(["learner", "protocol", "seed"], sort=False).size().groupby("protocol").max().to_dict()
    measured = per_seed(trials) if measured is None else measured
    names, rows = ["learner", "protocol", "metric"], []
    for (learner, protocol, metric), seeds in measured.groupby(names, sort=False):
        values = seeds["value"].to_numpy(dtype=np.float64)
        is_censored = metric in CENSORED and protocol in horizons
        summary = restricted_mean(values, int(horizons[protocol])) if is_censored else estimate(values)
        rows.append((learner, protocol, metric, *astuple(summary)))
    return pd.DataFrame(rows, columns=[*names, *(field.name for field in fields(Estimate))])


def _places_by_stratum(values: Array, strata: Sequence[object] | None) -> dict[object, list[int]]:
    """Return the indices of the values (n,) that are not NaN, by label of their stratum."""
    places: dict[object, list[int]] = {}
    for place, label in enumerate([None] * len(values) if strata is None else strata):
        members = places.setdefault(label, [])
        if not np.isnan(values[place]):
            members.append(place)
    return places


@lru_cache(maxsize=32)
def _resamples(n: int, stratum: int = 0) -> NDArray[np.int64]:
    """Return resamples of n seeds, the same for every estimate, so that learners share their draws."""
    seed = [BOOTSTRAP_SEED, n, stratum] if stratum else [BOOTSTRAP_SEED, n]
    rows = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    rows.flags.writeable = False
    return rows


def _resampled_places(places: dict[object, list[int]], number: int = RESAMPLES) -> NDArray[np.int64]:
    """Return the indices of the values in each of `number` resamples, drawn within each stratum."""
    drawn = [np.array(members)[_resamples(len(members), k)[:number]] for k, members in enumerate(places.values())]
    return np.concatenate(drawn, axis=1)


def _percentiles(drawn: Array) -> Array:
    """Return the ends (2, ...) of the interval over the first axis; an end is one of the draws and may be infinite."""
    tail = 50.0 * (1.0 - CONFIDENCE)
    ends: Array = np.percentile(drawn, [tail, 100.0 - tail], axis=0, method="nearest")
    return ends


def _means_over_seeds(values: Array) -> Array:
    """Return the means of (..., seeds, trials) over the seeds with a value; NaN where no seed has one."""
    known = ~np.isnan(values)
    count = np.sum(known, axis=-2)
    total = np.sum(np.where(known, values, 0.0), axis=-2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
