"""Times to an event that may never come: known curves, known means, and how often an interval holds the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.study.censored import kaplan_meier, restricted_mean, share_failed

INF = math.inf
# Freireich et al. 1963, 6-MP: the textbook example (weeks of remission; censored at the number where it says so).
REMISSION = ((6, 6, 6, 7, 10, 13, 16, 22, 23), (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35))


def test_the_curve_of_the_textbook_example() -> None:
    events, ends = REMISSION
    times = np.array([*events, *[INF] * len(ends)], dtype=np.float64)
    horizons = np.array([40.0] * len(events) + [float(end) for end in ends])
    curve = kaplan_meier(times, horizons)
    share = {int(t): round(float(s), 3) for t, s in zip(curve.time, curve.share, strict=True) if t in events}
    assert share == {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert curve.runs == 21
    assert curve.time[0] == 0.0
    assert curve.share[0] == 1.0
    # Kleinbaum and Klein's survival analysis gives .62 to .95 for week 6 on the log-log scale.
    at_six = list(curve.time).index(6.0)
    assert (curve.low[at_six], curve.high[at_six]) == pytest.approx((0.620, 0.952), abs=1e-3)


@given(times=st.lists(st.one_of(st.integers(1, 60), st.just(INF)), min_size=1, max_size=12))
def test_the_restricted_mean_is_the_area_under_the_curve(times: list[float]) -> None:
    horizon = 40.0
    curve = kaplan_meier(np.array(times, dtype=np.float64), horizon)
    edges = np.append(curve.time, horizon)
    area = float(np.sum(curve.share * np.diff(edges)))
    found = restricted_mean(np.array(times, dtype=np.float64), horizon)
    assert found.value == pytest.approx(area)
    assert found.failed == pytest.approx(float(curve.share[-1]))
    assert found.failed == share_failed(np.array(times, dtype=np.float64), horizon)


def test_a_learner_that_never_corrects_counts_as_never_and_not_as_the_last_reach() -> None:
    never, late = restricted_mean(np.full(6, INF), 100.0), restricted_mean(np.full(6, 100.0), 100.0)
    assert (never.value, never.low, never.high, never.failed) == (100.0, 100.0, 100.0, 1.0)
    assert (late.value, late.failed) == (100.0, 0.0)
    mixed = restricted_mean(np.array([8.0, 9.0, 10.0, 12.0, INF]), 100.0)
    assert (mixed.value, mixed.failed, mixed.seeds) == (pytest.approx(27.8), 0.2, 5)


def test_there_is_no_interval_below_five_runs_and_unknown_runs_are_left_out() -> None:
    few = restricted_mean(np.array([8.0, 9.0, INF, np.nan]), 40.0)
    assert (few.value, few.failed, few.seeds) == (19.0, pytest.approx(1 / 3), 3)
    assert math.isnan(few.low)
    assert "no interval" in few.warning
    assert np.all(np.isnan(kaplan_meier(np.array([8.0, 9.0, INF]), 40.0).low))
    nothing = restricted_mean(np.full(3, np.nan), 40.0)
    assert nothing.seeds == 0
    assert math.isnan(nothing.value)
    assert kaplan_meier(np.full(3, np.nan), 40.0).runs == 0
    assert math.isnan(share_failed(np.full(3, np.nan), 40.0))


@pytest.mark.parametrize(("runs", "least"), [(5, 0.75), (10, 0.84), (20, 0.88)])
def test_an_interval_covers_the_restricted_mean_about_as_often_as_it_says(runs: int, least: float) -> None:
    # Exponential times of mean 15, watched until 40: the restricted mean is 15 (1 - exp(-40 / 15)).
    rng, truth = np.random.default_rng(runs), 15.0 * (1.0 - math.exp(-40.0 / 15.0))
    found = [restricted_mean(rng.exponential(15.0, runs), 40.0) for _ in range(200)]
    assert least <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.99


@pytest.mark.parametrize(
    ("times", "horizon", "message"),
    [
        (np.zeros((2, 3)), 40.0, r"times has shape \(2, 3\)"),
        (np.ones(3), 0.0, "horizon is 0.0; finite numbers above 0"),
        (np.ones(3), np.ones(2), r"horizon has shape \(2,\)"),
        (np.array([-1.0, 2.0]), 40.0, "times holds -1.0"),
    ],
)
def test_bad_times_are_errors_that_say_what_is_allowed(times: Any, horizon: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kaplan_meier(times, horizon)
