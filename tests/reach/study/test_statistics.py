"""Interquartile means and their intervals: known values, laws, and golden numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, trim_mean

from reach.study.measures import per_seed, with_misses
from reach.study.statistics import (
    Estimate,
    estimate,
    interquartile_mean,
    mean_band,
    paired_difference,
    paired_differences,
    performance_profile,
    probability_of_improvement,
    restricted_mean,
    summarise,
)

Array = NDArray[np.float64]

# Ten values of L30 such as a study gives, one of them an outlier.
TEN = np.array([0.21, 0.35, 0.28, 0.44, 0.31, 0.26, 0.39, 0.90, 0.30, 0.25])
INF = math.inf

numbers = st.lists(st.floats(-100.0, 100.0), min_size=5, max_size=12)


def close(actual: Estimate, value: float, low: float, high: float, seeds: int) -> bool:
    expected = pytest.approx((value, low, high), rel=1e-9, abs=1e-12, nan_ok=True)
    return (actual.value, actual.low, actual.high) == expected and actual.seeds == seeds


@pytest.mark.parametrize("n", [4, 8, 12, 20])
def test_the_interquartile_mean_is_scipys_trimmed_mean_where_four_divides_the_number(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    assert float(interquartile_mean(values)) == pytest.approx(float(trim_mean(values, 0.25)))


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),
        ([1.0, 2.0, 6.0], (0.25 * 1 + 1.0 * 2 + 0.25 * 6) / 1.5),
        ([9.0, 2.0, 3.0, 4.0, 1.0], (0.75 * 2 + 1.0 * 3 + 0.75 * 4) / 2.5),
        ([1.0, 2.0, 3.0, INF], 2.5),
        ([1.0, 2.0, INF, INF], INF),
        ([-INF, 2.0, 4.0, INF], 3.0),
    ],
)
def test_the_interquartile_mean_weighs_by_how_far_a_value_reaches_into_the_middle_half(
    values: list[float], mean: float
) -> None:
    assert float(interquartile_mean(np.array(values))) == pytest.approx(mean)


@given(values=numbers, shift=st.floats(-50.0, 50.0), scale=st.floats(0.1, 10.0))
def test_estimates_move_and_stretch_with_their_values(values: list[float], shift: float, scale: float) -> None:
    plain, moved = estimate(np.array(values)), estimate(scale * np.array(values) + shift)
    assert (moved.value, moved.low, moved.high) == pytest.approx(
        (scale * plain.value + shift, scale * plain.low + shift, scale * plain.high + shift), abs=1e-6
    )
    assert plain.low - 1e-9 <= plain.value <= plain.high + 1e-9


def test_golden_estimates() -> None:
    assert close(estimate(TEN), 0.313, 0.265, 0.424, 10)
    assert close(estimate(TEN[:7]), 0.315, 0.25142857142857145, 0.39071428571428574, 7)
    assert close(estimate(TEN, [0] * 5 + [1] * 5), 0.313, 0.267, 0.416, 5)
    assert close(paired_difference(TEN, TEN[::-1] + 0.1), -0.1, -0.196, -0.004, 10)


def test_the_same_values_give_the_same_bits() -> None:
    assert estimate(TEN) == estimate(TEN.copy())


def test_there_is_no_interval_below_five_seeds() -> None:
    four, five = estimate(TEN[:4]), estimate(TEN[:5])
    assert close(four, float(np.mean([0.28, 0.35])), math.nan, math.nan, 4)
    assert math.isfinite(five.low + five.high)


def test_seeds_without_a_value_are_left_out() -> None:
    with_gaps = np.insert(TEN, [0, 4, 10], np.nan)
    assert estimate(with_gaps) == estimate(TEN)
    assert close(estimate(np.full(6, np.nan)), math.nan, math.nan, math.nan, 0)
    assert close(estimate(np.zeros(0)), math.nan, math.nan, math.nan, 0)


def test_censored_seeds_stay_infinite_where_they_reach_into_the_middle_half() -> None:
    assert close(estimate(np.array([8.0, 9.0, 10.0, 12.0, INF])), 10.3, 8.3, INF, 5)
    assert estimate(np.array([8.0, 9.0, INF, INF, INF])).value == INF
    assert close(estimate(np.full(6, INF)), INF, INF, INF, 6)
    assert close(estimate(np.append(np.full(19, 9.0), INF)), 9.0, 9.0, 9.0, 20)


def test_strata_keep_their_share_in_every_resample() -> None:
    # Two protocols, each without spread: resampled within them nothing varies, resampled over all of them it does.
    values, labels = np.repeat([0.0, 1.0], 6), ["rotation30"] * 6 + ["prism"] * 6
    assert close(estimate(values, labels), 0.5, 0.5, 0.5, 6)
    assert estimate(values).low < 0.5 < estimate(values).high


def test_an_interval_over_strata_needs_five_seeds_in_each() -> None:
    labels = ["a"] * 8 + ["b"] * 4
    assert math.isnan(estimate(np.arange(12.0), labels).low)
    unknown = np.arange(12.0)
    unknown[8:] = np.nan
    assert estimate(unknown, labels).seeds == 0


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    runs = [estimate(rng.normal(size=10)) for _ in range(150)]
    assert 0.88 <= np.mean([interval.low <= 0.0 <= interval.high for interval in runs]) <= 0.99


def test_paired_differences_are_taken_seed_by_seed() -> None:
    hard = np.array([1.0, 5.0, 2.0, 9.0, 4.0, 7.0])
    assert close(paired_difference(hard + 0.25, hard), 0.25, 0.25, 0.25, 6)
    assert estimate(hard).high - estimate(hard).low > 1.0


def test_two_censored_seeds_do_not_differ() -> None:
    censored, nine = np.full(6, INF), np.full(6, 9.0)
    either = np.array([INF, 9.0] * 3)
    assert close(paired_difference(censored, censored), 0.0, 0.0, 0.0, 6)
    assert close(paired_difference(censored, nine), INF, INF, INF, 6)
    assert close(paired_difference(nine, censored), -INF, -INF, -INF, 6)
    assert close(paired_difference(either, either[::-1]), math.nan, math.nan, math.nan, 6)


@given(first=numbers, second=numbers)
def test_the_probability_of_improvement_is_mann_and_whitneys_and_turns_with_its_arguments(
    first: list[float], second: list[float]
) -> None:
    x, y = np.array(first), np.array(second)
    chance = probability_of_improvement(x, y)
    assert chance == pytest.approx(mannwhitneyu(y, x).statistic / (len(x) * len(y)))
    assert chance + probability_of_improvement(y, x) == pytest.approx(1.0)


def test_the_probability_of_improvement_knows_censored_and_missing_seeds() -> None:
    assert probability_of_improvement(np.array([9.0, INF]), np.array([INF, INF])) == 0.75
    assert probability_of_improvement(np.array([9.0, np.nan]), np.array([10.0])) == 1.0
    assert math.isnan(probability_of_improvement(np.array([np.nan]), np.array([10.0])))


def test_a_band_leaves_out_reaches_without_a_value() -> None:
    values = np.tile(np.array([1.0, 2.0, 3.0]), (6, 1))
    values[:, 1] = np.nan
    values[1:, 2] = np.nan
    mean, low, high = mean_band(values)
    for band in (mean, low, high):
        np.testing.assert_array_equal(band, [1.0, np.nan, 3.0])
    spread = np.random.default_rng(0).normal(size=(8, 5))
    mean, low, high = mean_band(spread)
    assert np.all(low < mean)
    assert np.all(mean < high)
    assert np.all(np.isnan(mean_band(values[:4])[1]))


# Performance profiles

RLIABLE: dict[str, Any] = json.loads(Path(__file__).with_name("rliable.json").read_text())
TASKS = [task for task in range(3) for _ in range(10)]
# Two bootstraps of the same scores differ by their draws; of what the interval is wide, 4 %.
DRAWS = 0.04


def scores(learner: str) -> Array:
    return np.ravel(RLIABLE["scores"][learner])


@pytest.mark.parametrize("learner", ["slow", "fast"])
def test_the_stratified_interquartile_mean_is_rliables(learner: str) -> None:
    value, low, high = RLIABLE["iqm"][learner]
    actual = estimate(scores(learner), TASKS)
    # rliable cuts whole values, ours fractions of them: of 30 values, 7 and 7.5 from either end.
    assert actual.value == pytest.approx(value, abs=0.02 * (high - low))
    assert (actual.low, actual.high) == pytest.approx((low, high), abs=DRAWS * (high - low))


@pytest.mark.parametrize("learner", ["slow", "fast"])
def test_the_performance_profile_and_its_band_are_rliables(learner: str) -> None:
    share, low, high = RLIABLE["profiles"][learner]
    profile = performance_profile(-scores(learner), -np.array(RLIABLE["thresholds"]), strata=TASKS)  # rliable: above
    assert profile.share == pytest.approx(np.array(share))
    # A share of thirty runs moves in steps of a thirtieth.
    assert profile.low == pytest.approx(np.array(low), abs=1 / 30 + 1e-9)
    assert profile.high == pytest.approx(np.array(high), abs=1 / 30 + 1e-9)


def test_the_probability_of_improvement_is_rliables() -> None:
    by_task = zip(RLIABLE["scores"]["fast"], RLIABLE["scores"]["slow"], strict=True)
    chances = [probability_of_improvement(np.array(fast), np.array(slow)) for fast, slow in by_task]
    assert np.mean(chances) == pytest.approx(RLIABLE["improvement"])


def test_a_profile_falls_from_all_to_none_and_turns_with_what_is_better() -> None:
    values = np.array([3.0, 1.0, INF, 2.0, 5.0, 4.0])
    limits = np.array([0.5, 2.5, 4.5, 100.0])
    below = performance_profile(values, limits)
    above = performance_profile(-values, -limits)
    assert below.share == pytest.approx([0.0, 2 / 6, 4 / 6, 5 / 6])
    assert below.share + above.share == pytest.approx(np.ones(4))
    assert np.all(below.low <= below.share)
    assert np.all(below.share <= below.high)
    assert below.seeds == 6


def test_there_is_no_band_below_five_seeds_and_unknown_runs_are_left_out() -> None:
    profile = performance_profile(np.array([1.0, 2.0, np.nan, 3.0, 4.0]), np.array([2.5]))
    assert (float(profile.share[0]), profile.seeds) == (0.5, 4)
    assert math.isnan(float(profile.low[0]))
    assert performance_profile(np.array([np.nan]), np.array([2.5])).seeds == 0


def test_a_band_covers_the_share_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    runs = [performance_profile(rng.uniform(size=20), np.array([0.5])) for _ in range(100)]
    assert np.mean([run.low[0] <= 0.5 <= run.high[0] for run in runs]) >= 0.86


# Paired differences


def test_every_two_learners_are_compared_with_the_same_seeds_in_the_metric_of_the_protocol() -> None:
    lead = {"a": 0.0, "b": -0.25, "c": 0.5}
    measured = pd.DataFrame(
        [
            {"learner": learner, "protocol": "one", "seed": seed, "metric": metric, "value": seed + factor * offset}
            for metric, factor in (("L30", 1.0), ("N63", 9.0))
            for learner, offset in lead.items()
            for seed in range(4 if learner == "c" else 6)
        ]
    )
    pairs = paired_differences(measured, {"one": "L30", "two": "L30"}).set_index(["first", "second"])
    assert pairs["value"].to_dict() == {("a", "b"): 0.25, ("a", "c"): -0.5, ("b", "c"): -0.75}
    assert pairs["seeds"].to_dict() == {("a", "b"): 6, ("a", "c"): 4, ("b", "c"): 4}
    # Seeds differ far more than learners, which a paired difference leaves out.
    assert tuple(pairs.loc[("a", "b"), ["low", "high"]]) == (0.25, 0.25)
    assert math.isnan(pairs.loc[("a", "c"), "low"])
    assert set(pairs["protocol"]) == {"one"}


# Times to an event that may never come


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
    nothing = restricted_mean(np.full(3, np.nan), 40.0)
    assert nothing.seeds == 0
    assert math.isnan(nothing.value)


@pytest.mark.parametrize(("n", "least"), [(5, 0.75), (10, 0.84), (20, 0.88)])
def test_an_interval_covers_the_restricted_mean_about_as_often_as_it_says(n: int, least: float) -> None:
    # Exponential times of mean 15, watched until 40: the restricted mean is 15 (1 - exp(-40 / 15)).
    rng, truth = np.random.default_rng(n), 15.0 * (1.0 - math.exp(-40.0 / 15.0))
    runs = [restricted_mean(rng.exponential(15.0, n), 40.0) for _ in range(200)]
    assert least <= np.mean([run.low <= truth <= run.high for run in runs]) <= 0.99


# From trials to the summary

BLOCKS = (("baseline", 20), ("perturbed", 40), ("washout", 10))


def trials_of(learner: str, seed: int, perturbed: Array, washout: float = 0.0, aside: float = 3.0) -> pd.DataFrame:
    """Rows of one run: launch errors as given on top of an arm that launches aside, and a probe after each."""
    error = np.concatenate([np.zeros(20), perturbed, np.full(10, washout)]) + aside
    rows: list[dict[str, Any]] = []
    names = np.repeat([name for name, _ in BLOCKS], [n for _, n in BLOCKS])
    for trial, (block, launch) in enumerate(zip(names.tolist(), error.tolist(), strict=True), start=1):
        row = {
            "learner": learner,
            "protocol": "rotation30",
            "seed": seed,
            "trial": trial,
            "block": block,
            "probe": False,
            "cup_x": 0.1 * (trial % 2),
            "cup_y": 0.5,
            "launch_error_deg": launch,
            "endpoint_error_cm": 1.0,
            "time_to_success_s": 1.0,
            "success": True,
        }
        rows += [row, row | {"probe": True, "launch_error_deg": 7.0}] if block == "perturbed" else [row]
    return pd.DataFrame(rows)


def study(seeds: int, *, size: float = -30.0) -> pd.DataFrame:
    """The learner that does not learn, and one that halves its miss every four reaches."""
    runs = []
    for seed in range(seeds):
        runs.append(trials_of("none", seed, np.full(40, size + 0.1 * seed)))
        runs.append(trials_of("halving", seed, (size + 0.1 * seed) * 0.5 ** (np.arange(40) / 4.0), -0.6 * size))
    return pd.concat(runs, ignore_index=True)


def test_measures_by_seed_take_the_miss_of_the_learner_that_does_not_learn() -> None:
    measured = per_seed(study(2)).pivot(index=["learner", "seed"], columns="metric", values="value")
    for seed in (0, 1):
        assert measured.loc[("none", seed), "L30"] == pytest.approx(1.0)
        assert measured.loc[("none", seed), "N63"] == INF
        assert measured.loc[("halving", seed), "L30"] == pytest.approx(float(np.mean(0.5 ** (np.arange(30) / 4.0))))
        assert measured.loc[("halving", seed), "tau"] == pytest.approx(4.0 / math.log(2.0), rel=1e-3)
        # The running median of reaches n - 3 .. n is about 0.5 ** ((n - 2.5) / 4), below 0.368 from 8.3 on.
        assert measured.loc[("halving", seed), "N63"] == 9.0
        assert measured.loc[("halving", seed), "after_effect"] == pytest.approx(-0.6, abs=0.01)


def test_errors_to_either_side_of_the_miss_count_by_their_size() -> None:
    swinging = np.array([-30.0] + [20.0] * 39)
    trials = pd.concat(
        [trials_of("none", 0, np.full(40, -30.0)), trials_of("swinging", 0, swinging)], ignore_index=True
    )
    measured = per_seed(trials).set_index(["learner", "metric"])["value"]
    assert measured["swinging", "N63"] == INF
    assert measured["swinging", "A"] == pytest.approx(1.0 - 20.0 / 30.0, abs=0.01)


def test_a_seed_without_the_learner_that_does_not_learn_has_no_measures() -> None:
    trials = study(3)
    trials = trials[~((trials["learner"] == "none") & (trials["seed"] == 1))]
    assert set(per_seed(trials)["seed"]) == {0, 2}
    assert per_seed(trials[trials["learner"] != "none"]).empty
    assert summarise(trials[trials["learner"] != "none"]).empty


def test_the_summary_has_a_row_for_each_learner_and_metric_with_its_interval() -> None:
    summary = summarise(study(6))
    assert list(summary.columns) == ["learner", "protocol", "metric", "value", "low", "high", "seeds", "failed"]
    assert set(summary["learner"]) == {"none", "halving"}
    # Never corrected: the 40 perturbed reaches are a lower limit, and the share that failed says so.
    n63 = summary[(summary["learner"] == "none") & (summary["metric"] == "N63")].iloc[0]
    assert (n63["value"], n63["low"], n63["high"], n63["seeds"], n63["failed"]) == (40.0, 40.0, 40.0, 6, 1.0)
    assert set(summary[summary["metric"] != "N63"]["failed"]) == {0.0}
    l30 = summary[(summary["learner"] == "halving") & (summary["metric"] == "L30")].iloc[0]
    assert l30["low"] <= l30["value"] <= l30["high"] < 0.5


def test_the_summary_does_not_depend_on_the_order_of_rows_within_a_run() -> None:
    trials = study(5)
    turned = pd.concat([rows.iloc[::-1] for _, rows in trials.groupby(["learner", "seed"], sort=False)])
    pd.testing.assert_frame_equal(summarise(turned), summarise(trials))


def test_corrected_trials_lack_the_side_to_which_the_arm_launches_anyway() -> None:
    trials = study(1)
    corrected = with_misses(trials)
    reaches, probes = corrected[~corrected["probe"]], corrected[corrected["probe"]]
    assert reaches[reaches["block"] == "baseline"]["launch_error_deg"].to_numpy() == pytest.approx(np.zeros(40))
    first = reaches[(reaches["learner"] == "halving") & (reaches["block"] == "perturbed")]["launch_error_deg"].iloc[0]
    assert first == pytest.approx(-30.0)
    assert probes["launch_error_deg"].to_numpy() == pytest.approx(np.full(80, 4.0))
    assert trials["launch_error_deg"].iloc[0] == 3.0
