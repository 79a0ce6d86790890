"""Times to an event that some runs never reach: Kaplan and Meier's curve, restricted means, the share that failed.

A learner that never corrects has no time to correct: its run is censored at the last reach it was given, the horizon.
The curve of Kaplan and Meier (1958, J Am Stat Assoc 53:457) is the share of runs that are still uncorrected after each
reach; the area under it up to the horizon is the restricted mean (Royston and Parmar 2013, BMC Med Res Methodol
13:152), in which a run that never corrects counts as the whole horizon and no more. The share that failed is therefore
always told beside it.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import CensoredData, ecdf

from reach.study.statistics import FEWEST_SEEDS, Estimate, percentiles, resamples

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SurvivalCurve:
    """Share of runs without the event: `share[k]` holds from `time[k]` until the next time; it begins with 1 at 0.

    time, share, low, high: (n,), the last two the ends of the pointwise 95 % interval (Greenwood's variance on the
    log-log scale), NaN below five runs and where the share is 1 or 0, of which that variance says nothing.
    """

    time: Array
    share: Array
    low: Array
    high: Array
    runs: int


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


def share_failed(times: Array, horizon: float | Array) -> float:
    """Share of runs without the event within their horizon; NaN where no run is known."""
    time, end = checked_times(times, horizon)
    return float(np.mean(time > end)) if len(time) else math.nan


def kaplan_meier(times: Array, horizon: float | Array) -> SurvivalCurve:
    """The share of runs that are still without the event, by time.

    Args:
        times: (n,) time of the event in each run; infinite where there was none, NaN where the run is unknown.
        horizon: until when the runs were watched, one for all or (n,) one for each; events after it do not count.
    """
    time, end = checked_times(times, horizon)
    if not len(time):
        nothing = np.full(1, np.nan)
        return SurvivalCurve(np.zeros(1), nothing, nothing, nothing, 0)
    failed = time > end
    found = ecdf(CensoredData.right_censored(np.minimum(time, end), failed)).sf
    share = np.concatenate([[1.0], found.probabilities])
    if len(time) < FEWEST_SEEDS:
        low = high = np.full_like(share, np.nan)
    else:
        with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # undefined ends stay NaN, as the docstring says
            between: Any = found.confidence_interval(0.95, method="log-log")
        low = np.concatenate([[1.0], between.low.probabilities])
        high = np.concatenate([[1.0], between.high.probabilities])
    return SurvivalCurve(np.concatenate([[0.0], found.quantiles]), share, low, high, len(time))


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
