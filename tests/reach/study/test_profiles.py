"""Profiles and probabilities of improvement, and the stratified mean: laws, and the numbers rliable stored."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reach.study.profiles import improvement, performance_profile, thresholds_for
from reach.study.statistics import estimate, probability_of_improvement

INF = math.inf
RLIABLE: dict[str, Any] = json.loads(Path(__file__).with_name("rliable.json").read_text())
TASKS = [task for task in range(3) for _ in range(10)]
# Two bootstraps of the same scores differ by their draws; of what the interval is wide, 4 %.
DRAWS = 0.04


def scores(learner: str) -> NDArray[np.float64]:
    return np.ravel(RLIABLE["scores"][learner])


@pytest.mark.parametrize("learner", ["slow", "fast"])
def test_the_stratified_interquartile_mean_is_rliables(learner: str) -> None:
    value, low, high = RLIABLE["iqm"][learner]
    found = estimate(scores(learner), TASKS)
    # rliable cuts whole values, ours fractions of them: of 30 values, 7 and 7.5 from either end.
    assert found.value == pytest.approx(value, abs=0.02 * (high - low))
    assert (found.low, found.high) == pytest.approx((low, high), abs=DRAWS * (high - low))


@pytest.mark.parametrize("learner", ["slow", "fast"])
def test_the_performance_profile_and_its_band_are_rliables(learner: str) -> None:
    share, low, high = RLIABLE["profiles"][learner]
    found = performance_profile(scores(learner), np.array(RLIABLE["thresholds"]), better="high", strata=TASKS)
    assert found.share == pytest.approx(np.array(share))
    # A share of thirty runs moves in steps of a thirtieth.
    assert found.low == pytest.approx(np.array(low), abs=1 / 30 + 1e-9)
    assert found.high == pytest.approx(np.array(high), abs=1 / 30 + 1e-9)


def test_the_probability_of_improvement_and_its_interval_are_rliables() -> None:
    value, low, high = RLIABLE["improvement"]
    found = improvement(scores("fast"), scores("slow"), strata=(TASKS, TASKS))
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2 * DRAWS * (high - low))


def test_a_profile_falls_from_all_to_none_and_turns_with_what_is_better() -> None:
    values = np.array([3.0, 1.0, INF, 2.0, 5.0, 4.0])
    limits = np.array([0.5, 2.5, 4.5, 100.0])
    below = performance_profile(values, limits)
    above = performance_profile(values, limits, better="high")
    assert below.share == pytest.approx([0.0, 2 / 6, 4 / 6, 5 / 6])
    assert below.share + above.share == pytest.approx(np.ones(4))
    assert np.all(below.low <= below.share)
    assert np.all(below.share <= below.high)
    assert below.seeds == 6


def test_there_is_no_band_below_five_seeds_and_unknown_runs_are_left_out() -> None:
    found = performance_profile(np.array([1.0, 2.0, np.nan, 3.0, 4.0]), np.array([2.5]))
    assert (float(found.share[0]), found.seeds) == (0.5, 4)
    assert math.isnan(float(found.low[0]))
    assert performance_profile(np.array([np.nan]), np.array([2.5])).seeds == 0
    few = improvement(np.arange(4.0), np.arange(9.0))
    assert (few.seeds, few.value) == (4, probability_of_improvement(np.arange(4.0), np.arange(9.0)))
    assert math.isnan(few.low)
    assert improvement(np.array([np.nan]), np.arange(9.0)).seeds == 0


def test_improvement_is_one_half_between_equals_and_sure_between_those_apart() -> None:
    same = improvement(np.arange(8.0), np.arange(8.0))
    assert same.value == 0.5
    assert same.low < 0.5 < same.high
    sure = improvement(np.arange(8.0), np.arange(8.0) + 100.0)
    assert (sure.value, sure.low, sure.high) == (1.0, 1.0, 1.0)
    assert improvement(np.arange(8.0), np.arange(8.0) + 100.0, better="high").value == 0.0


def test_an_interval_covers_the_probability_about_as_often_as_it_says() -> None:
    # Two normal scores, one lower by 1: P = Phi(1 / sqrt 2).
    rng, truth = np.random.default_rng(3), 0.5 * (1.0 + math.erf(0.5))
    found = [improvement(rng.normal(size=10) - 1.0, rng.normal(size=10)) for _ in range(30)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.8


def test_a_band_covers_the_share_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    found = [performance_profile(rng.uniform(size=20), np.array([0.5])) for _ in range(100)]
    assert np.mean([one.low[0] <= 0.5 <= one.high[0] for one in found]) >= 0.86


def test_thresholds_span_all_finite_scores() -> None:
    limits = thresholds_for(np.array([1.0, INF]), np.array([np.nan, 3.0]), count=3)
    assert limits == pytest.approx([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: performance_profile(np.ones(5), np.ones(2), better="up"), "better is 'up'"),  # type: ignore[arg-type]
        (lambda: performance_profile(np.ones(5), np.ones((2, 2))), "thresholds has shape"),
        (lambda: improvement(np.ones(5), np.ones(5), strata=(["a"] * 5, ["b"] * 5)), "the same are allowed"),
        (lambda: thresholds_for(np.array([INF])), "no finite number"),
    ],
)
def test_bad_arguments_are_errors_that_say_what_is_allowed(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
