"""Statistics of a study: measures by seed, interquartile means, bootstrap intervals and paired differences.

The interquartile mean with a percentile bootstrap over seeds follows Agarwal et al. 2021 (NeurIPS, "Deep reinforcement
learning at the edge of the statistical precipice"). Below five seeds such an interval covers its value far too rarely
(about 75 % at three), so none is given; from five to nine it is somewhat too narrow (about 90 %), which
`Estimate.warning` says.

A measure may be censored: N63 is infinite for a learner that was never corrected. It is summarised as a restricted
mean (`restricted_mean`) with the share that failed beside it. In an interquartile mean infinite values are ranked
as the largest and never replaced by a number, so it, or an end of its interval, is infinite just where one of them
reaches into the middle half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach.protocols import PERTURBED
from reach.study.run.measures import per_seed

Array = NDArray[np.float64]

FEWEST_SEEDS = 5
ENOUGH_SEEDS = 10
RESAMPLES = 10_000
BAND_RESAMPLES = 1_000
CONFIDENCE = 0.95
BOOTSTRAP_SEED = 20260101
CENSORED = frozenset({"N63", "channel_reaches_to_63"})
ESTIMATED = ("value", "low", "high", "seeds", "failed")


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval (NaN below five seeds) and the number of seeds it rests on.

    With strata, `seeds` is that of the smallest stratum. `failed` is the share of seeds in which a censored event never
    came; 0 for measures that are not censored.
    """

    value: float
    low: float
    high: float
    seeds: int
    failed: float = 0.0

    @property
    def warning(self) -> str:
        """What a reader must know of the interval; empty where there are seeds enough."""
        if self.seeds < FEWEST_SEEDS:
            return f"{self.seeds} seeds: no interval below {FEWEST_SEEDS}"
        if self.seeds < ENOUGH_SEEDS:
            return f"{self.seeds} seeds: the 95 % interval is somewhat too narrow below {ENOUGH_SEEDS}"
        return ""


def interquartile_mean(values: Array) -> Array:
    """Mean of the middle half along the last axis; infinite values count as the largest, and make it infinite only
    where they reach into that half.

    A quarter of the values is cut from either end, with fractional weights where the number is not divisible by four.
    Where both infinities reach into that half, the mean is NaN.

    Raises:
        ValueError: there are no values, or one is NaN.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    if n == 0:
        raise ValueError("values has 0 entries along its last axis; 1 or more are allowed")
    if np.any(np.isnan(ordered)):
        raise ValueError("values holds NaN; numbers and infinities are allowed")
    edges = np.arange(n + 1, dtype=np.float64)
    weight = np.clip(np.minimum(edges[1:], 0.75 * n) - np.maximum(edges[:-1], 0.25 * n), 0.0, 1.0)
    kept = np.where(weight > 0.0, ordered, 0.0)
    with np.errstate(invalid="ignore"):
        found: Array = np.sum(kept * weight, axis=-1) / np.sum(weight)
    return found


def estimate(values: Array, strata: Sequence[object] | None = None) -> Estimate:
    """Interquartile mean over seeds with its percentile-bootstrap interval; NaN seeds are left out.

    The same values give the same interval to the last bit, in whatever process.

    Args:
        values: (n,), one for each seed, or for each seed of each stratum.
        strata: (n,) label of each value, the protocol for instance: seeds are then redrawn within their own stratum, so
            that every resample holds as many of each. None: all are of one.
    """
    known = np.asarray(values, dtype=np.float64)
    places = places_by_stratum(known, strata)
    kept = ~np.isnan(known)
    if not np.any(kept):
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(interquartile_mean(known[kept]))
    seeds = min(len(own) for own in places.values())
    if seeds < FEWEST_SEEDS:
        return Estimate(value, math.nan, math.nan, seeds)
    rows = [np.array(own)[resamples(len(own), k)] for k, own in enumerate(places.values())]
    low, high = percentiles(interquartile_mean(known[np.concatenate(rows, axis=1)]))
    return Estimate(value, float(low), float(high), seeds)


def places_by_stratum(values: Array, strata: Sequence[object] | None) -> dict[object, list[int]]:
    """Label of each stratum -> where its values that are not NaN stand in `values` (n,).

    Raises:
        ValueError: `values` is not (n,), or `strata` is not as long.
    """
    if values.ndim != 1:
        raise ValueError(f"values has shape {values.shape}; (n,) is allowed")
    if strata is not None and len(strata) != len(values):
        raise ValueError(f"strata has {len(strata)} labels; {len(values)}, one a value, are allowed")
    places: dict[object, list[int]] = {}
    for place, label in enumerate([None] * len(values) if strata is None else strata):
        own = places.setdefault(label, [])
        if not np.isnan(values[place]):
            own.append(place)
    return places


def resamples(n: int, stratum: int = 0) -> NDArray[np.int64]:
    """The same resamples for every estimate from n seeds, so that learners are compared on the same draws."""
    seed = [BOOTSTRAP_SEED, n, stratum] if stratum else [BOOTSTRAP_SEED, n]
    return np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))


def percentiles(drawn: Array) -> Array:
    """Ends of the interval (2, ...) along the first axis, each one of the draws: no mean with an infinity is taken."""
    tail = 50.0 * (1.0 - CONFIDENCE)
    found: Array = np.percentile(drawn, [tail, 100.0 - tail], axis=0, method="nearest")
    return found


def paired_estimate(first: Array, second: Array) -> Estimate:
    """Interquartile mean of first - second, paired by seed, with its interval.

    A pair in which one is NaN is left out; two that are both censored do not differ. Where censored seeds on both sides
    reach into the middle half, the difference has no interval (NaN).
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"first and second have shapes {one.shape} and {other.shape}; the same (n,) is allowed")
    equal = one == other
    return estimate(np.where(equal, 0.0, one) - np.where(equal, 0.0, other))


def paired_difference(first: Array, second: Array) -> tuple[float, float, float]:
    """Value, low and high of `paired_estimate`."""
    found = paired_estimate(first, second)
    return found.value, found.low, found.high


def probability_of_improvement(first: Array, second: Array) -> float:
    """Share of pairs of seeds in which `first` is below `second` (ties count half): Mann and Whitney's U / (n m).

    Lower is better. Every seed of one meets every seed of the other; NaN seeds are left out, and the share is NaN when
    none are left.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    one, other = one[~np.isnan(one)], other[~np.isnan(other)]
    if not len(one) or not len(other):
        return math.nan
    below, equal = one[:, None] < other[None, :], one[:, None] == other[None, :]
    return float(np.mean(below + 0.5 * equal))


def mean_band(values: Array) -> tuple[Array, Array, Array]:
    """Mean over seeds of (seeds, trials), with the bootstrap interval of each trial; NaN below five seeds."""
    mean = _column_means(values)
    if len(values) < FEWEST_SEEDS:
        nothing = np.full_like(mean, np.nan)
        return mean, nothing, nothing
    drawn = np.array([_column_means(values[rows]) for rows in resamples(len(values))[:BAND_RESAMPLES]])
    # A resample may miss all the seeds that have a value at some trial: it says nothing of that trial.
    low, high = percentiles(np.where(np.isnan(drawn), mean, drawn))
    return mean, low, high


def _column_means(values: Array) -> Array:
    known = ~np.isnan(values)
    count = np.sum(known, axis=0)
    total = np.sum(np.where(known, values, 0.0), axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def perturbed_reaches(trials: pd.DataFrame) -> dict[str, int]:
    """Protocol -> its perturbed reaches, probes not counted: until when a correction is waited for."""
    reaches = trials[(trials["block"] == PERTURBED) & ~trials["probe"].astype(bool)]
    counts = reaches.groupby(["learner", "protocol", "seed"], sort=False).size().groupby("protocol").max()
    return {str(protocol): int(n) for protocol, n in counts.items()}


def summarise(trials: pd.DataFrame, measured: pd.DataFrame | None = None) -> pd.DataFrame:
    """Estimates over seeds: a row (learner, protocol, metric, value, low, high, seeds, failed) each.

    Args:
        trials: a row a trial.
        measured: what `reach.study.run.measures.per_seed` says of them; None: it is asked.

    Censored metrics (`CENSORED`) have a restricted mean, with the perturbed reaches of the protocol as the horizon, and
    the share of seeds that `failed`; all others an interquartile mean.
    """
    horizons = perturbed_reaches(trials)
    found = []
    measured = per_seed(trials) if measured is None else measured
    for (learner, protocol, metric), rows in measured.groupby(["learner", "protocol", "metric"], sort=False):
        values = rows["value"].to_numpy(dtype=np.float64)
        censored = metric in CENSORED and protocol in horizons
        one = restricted_mean(values, horizons[str(protocol)]) if censored else estimate(values)
        whose = {"learner": learner, "protocol": protocol, "metric": metric}
        found.append({**whose, **{name: getattr(one, name) for name in ESTIMATED}})
    return pd.DataFrame(found, columns=["learner", "protocol", "metric", *ESTIMATED])


def checked_times(times: Array, horizon: float | Array) -> tuple[Array, Array]:
    """Times (n,) and horizons (n,) of the runs that are known; NaN runs are left out.

    Raises:
        ValueError: a horizon that is not above 0, a time below 0, or shapes that do not fit.
    """
    time = np.asarray(times, dtype=np.float64)
    if time.ndim != 1:
        raise ValueError(f"times has shape {time.shape}; (n,) is allowed")
    end = np.asarray(horizon, dtype=np.float64)
    if end.shape not in ((), time.shape):
        raise ValueError(f"horizon has shape {end.shape}; a number or {time.shape}, one a run, is allowed")
    ends = np.broadcast_to(end, time.shape)
    known = ~np.isnan(time)
    if not np.all(ends[known] > 0.0) or not np.all(np.isfinite(ends[known])):
        raise ValueError(f"horizon is {horizon}; finite numbers above 0 are allowed")
    if np.any(time[known] < 0.0):
        raise ValueError(f"times holds {float(np.min(time[known]))}; 0 or more, or infinity for never, is allowed")
    return time[known], ends[known]


def restricted_mean(times: Array, horizon: float) -> Estimate:
    """Mean time to the event, a run without one counted as the horizon, with its percentile-bootstrap interval.

    The value is the area under `kaplan_meier` from 0 to the horizon. `failed` of the estimate is the share of runs in
    which there was no event; where all failed, value and interval are the horizon, and `failed` is 1.
    """
    time, end = checked_times(times, horizon)
    if not len(time):
        return Estimate(math.nan, math.nan, math.nan, 0, math.nan)
    within = np.minimum(time, end)
    value, failed = float(np.mean(within)), float(np.mean(time > end))
    if len(within) < FEWEST_SEEDS:
        return Estimate(value, math.nan, math.nan, len(within), failed)
    low, high = percentiles(np.mean(within[resamples(len(within))], axis=1))
    return Estimate(value, float(low), float(high), len(within), failed)


Better = Literal["low", "high"]


PROFILE_RESAMPLES = 2_000


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
