"""Measures of correction over many reaches: what learning leaves of the miss, how soon, and what stays afterwards."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reach.measures.series import (
    TrialSeries,
    fit_exponential,
    halving_reaches,
    miss_deg,
    reaches_to_63,
    relative_error,
    series_measures,
)

Array = NDArray[np.float64]


def series(
    perturbed: Array,
    baseline: Array | None = None,
    washout: Array | None = None,
    *,
    cup: Array | None = None,
    **changes: Any,
) -> TrialSeries:
    """A learner whose launch errors (deg) are given; one cup, and every reach gets it in 1 s unless told."""
    baseline = np.zeros(20) if baseline is None else baseline
    washout = np.zeros(20) if washout is None else washout
    error = np.concatenate([baseline, perturbed, washout])
    block = np.repeat(["baseline", "perturbed", "washout"], [len(baseline), len(perturbed), len(washout)])
    values: dict[str, Any] = {
        "launch_error_deg": error,
        "block": block,
        "cup": np.tile([0.0, 0.5], (len(error), 1)) if cup is None else cup,
        "endpoint_error_cm": np.full(len(error), 2.0),
        "time_to_success_s": np.ones(len(error)),
        "success": np.ones(len(error), dtype=np.bool_),
    }
    return TrialSeries(**(values | changes))


def decay(tau: float, amplitude: float = 1.0, size_deg: float = 30.0, reaches: int = 100) -> Array:
    """Launch errors (deg) of a learner that corrects A (1 - exp(-(n - 1) / tau)) of the miss."""
    return size_deg * (1.0 - amplitude * (1.0 - np.exp(-np.arange(reaches) / tau)))


def test_a_learner_that_does_not_learn_keeps_the_whole_miss() -> None:
    noise = np.random.default_rng(0).normal(scale=3.0, size=140)
    unlearning = series(30.0 + noise[:100], noise[100:120], noise[120:])
    measures = series_measures(unlearning, miss_deg(unlearning))
    assert measures["L30"] == pytest.approx(1.0, abs=0.05)
    assert measures["N63"] == math.inf
    assert measures["A"] == pytest.approx(0.0, abs=0.1)
    assert math.isnan(measures["tau"])
    assert measures["after_effect"] == pytest.approx(0.0, abs=0.1)
    assert measures["late_error"] == pytest.approx(1.0, abs=0.1)


@settings(max_examples=30)
@given(tau=st.floats(1.0, 40.0), amplitude=st.floats(0.3, 1.0), side=st.sampled_from([-1.0, 1.0]))
def test_an_exponential_learner_gives_back_its_amplitude_and_time_constant(
    tau: float, amplitude: float, side: float
) -> None:
    measures = series_measures(series(side * decay(tau, amplitude)), side * 30.0)
    assert measures["A"] == pytest.approx(amplitude, abs=1e-4)
    assert measures["tau"] == pytest.approx(tau, rel=1e-3)
    left = 1.0 - amplitude * (1.0 - np.exp(-np.arange(100) / tau))
    assert measures["L30"] == pytest.approx(float(np.mean(np.abs(left[:30]))))


def test_noise_blurs_amplitude_and_time_constant_but_does_not_shift_them() -> None:
    rng = np.random.default_rng(1)
    fits = [fit_exponential(1.0 - (decay(8.0, 0.9) / 30.0 + rng.normal(scale=0.1, size=100))) for _ in range(100)]
    amplitude, tau = np.mean(fits, axis=0)
    assert amplitude == pytest.approx(0.9, abs=0.02)
    assert tau == pytest.approx(8.0, abs=0.4)


def test_noise_alone_has_no_time_constant() -> None:
    rng = np.random.default_rng(2)
    taus = [fit_exponential(rng.normal(scale=0.2, size=100))[1] for _ in range(200)]
    assert np.mean(np.isnan(taus)) >= 0.98


@pytest.mark.parametrize("adaptation", [np.zeros(100), np.zeros(1), np.ones(1), np.array([0.0, 1.0])])
def test_too_little_to_fit_gives_no_time_constant(adaptation: Array) -> None:
    assert math.isnan(fit_exponential(adaptation)[1])


def test_amplitude_and_time_constant_stay_in_their_bounds() -> None:
    n = np.arange(100.0)
    for adaptation in (0.05 * n, -0.05 * n, np.where(n > 0, 3.0, 0.0), np.full(100, 0.8)):
        amplitude, tau = fit_exponential(adaptation)
        assert -0.5 <= amplitude <= 1.5
        assert 0.299 <= tau <= 300.1


def test_n63_is_the_reach_that_brings_the_median_of_four_below_the_threshold() -> None:
    error = np.array([1.0, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2])
    # After reach 5 the last four are 1, 1, 0.2, 0.2 with median 0.6, after reach 6 they are 1, 0.2, 0.2, 0.2.
    assert reaches_to_63(error) == 6.0
    assert reaches_to_63(np.full(3, 0.0)) == math.inf
    assert reaches_to_63(np.full(4, 0.368)) == math.inf
    assert reaches_to_63(np.full(4, 0.367)) == 4.0
    assert reaches_to_63(-np.ones(10)) == math.inf


@settings(max_examples=20)
@given(tau=st.floats(2.0, 25.0), factor=st.floats(1.1, 2.0))
def test_a_slower_learner_has_a_larger_l30_and_no_smaller_n63(tau: float, factor: float) -> None:
    fast = series_measures(series(decay(tau)), 30.0)
    slow = series_measures(series(decay(tau * factor)), 30.0)
    assert slow["L30"] > fast["L30"]
    assert slow["N63"] >= fast["N63"]


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_after_effect_is_that_of_the_first_washout_reach_and_negative_to_the_other_side(side: float) -> None:
    """The reaches that follow come after washout learning, and would measure how fast that is."""
    washout = side * np.array([-15.0, -6.0, 0.0, 0.0, 30.0, 30.0])
    learner = series(side * decay(5.0), washout=washout)
    assert series_measures(learner, side * 30.0)["after_effect"] == pytest.approx(-0.5)


def test_an_after_effect_given_for_each_cup_is_their_mean_weighted_by_the_misses() -> None:
    cup = np.tile([[0.0, 0.5], [0.1, 0.5]], (70, 1))
    learner = series(np.tile([30.0, -10.0], 50), cup=cup)
    given_deg = np.full(140, np.nan)
    given_deg[120:122] = [-24.0, 4.0]
    measures = series_measures(learner, miss_deg(learner), given_deg)
    assert measures["after_effect"] == pytest.approx(-(24.0 + 4.0) / (30.0 + 10.0))


def test_an_overshoot_is_an_error_as_large_as_the_miss_it_equals() -> None:
    """A learner that swings to the other side and stays there has corrected nothing."""
    swinging = np.array([30.0] + [-30.0] * 99)
    measures = series_measures(series(swinging), 30.0)
    assert (measures["L30"], measures["N63"], measures["late_error"]) == pytest.approx((1.0, math.inf, 1.0))
    assert abs(measures["A"]) < 0.1


def test_a_learner_that_keeps_misses_to_both_sides_is_not_taken_for_one_that_corrects() -> None:
    """In a field that throws the hand to another side at each cup, the misses of all cups have a mean of zero."""
    cup = np.tile([[0.0, 0.5], [0.1, 0.5]], (70, 1))
    noise = np.random.default_rng(4).normal(scale=2.0, size=140)
    miss = np.tile([20.0, -20.0], 50)
    still = series(miss + noise[20:120], noise[:20], noise[120:], cup=cup)
    measures = series_measures(still, miss_deg(still))
    assert measures["L30"] == pytest.approx(1.0, abs=0.05)
    assert measures["N63"] == math.inf
    halved = series_measures(series(0.5 * miss, cup=cup), miss_deg(series(miss, cup=cup)))
    assert halved["late_error"] == pytest.approx(0.5)


def test_where_nothing_acts_there_is_no_miss() -> None:
    """An arm that launches aside, without a baseline to tell so, has not been perturbed by that."""
    aside = series(np.full(40, 5.0), np.zeros(0), np.zeros(0))
    assert np.all(np.isnan(miss_deg(aside, np.zeros(40))))
    half = np.where(np.arange(40) < 20, 0.0, 1.0)
    assert miss_deg(series(30.0 * half, np.zeros(0), np.zeros(0)), half) == pytest.approx(np.full(40, 30.0))


@settings(max_examples=20)
@given(small=st.floats(0.0, 1.9))
def test_a_cup_without_a_miss_has_no_say_in_when_the_others_are_corrected(small: float) -> None:
    """An error of some degrees is many times a miss of one degree, and none of it is left to correct."""
    cup = np.tile([[0.0, 0.5], [0.1, 0.5]], (70, 1))
    miss = np.tile([30.0, small], 70)
    error = np.where(np.arange(100) % 2 == 0, decay(8.0), 3.0)
    measures = series_measures(series(error, cup=cup), miss)
    assert measures["tau"] == pytest.approx(8.0, rel=0.05)
    assert measures["N63"] < math.inf


def test_the_miss_of_a_cup_is_its_own_mean_without_learning() -> None:
    cup = np.tile([[0.0, 0.5], [0.1, 0.5]], (70, 1))
    cup[121] = [0.3, 0.3]  # a cup that was never perturbed has the mean over those that were
    still = series(np.tile([20.0, -10.0], 50), cup=cup)
    missed = miss_deg(still)
    assert missed[20:24] == pytest.approx([20.0, -10.0, 20.0, -10.0])
    assert missed[120:123] == pytest.approx([20.0, 5.0, 20.0])
    scale = np.where(np.arange(140) % 4 < 2, 1.0, -1.0)
    turned = replace(still, launch_error_deg=still.launch_error_deg * scale)
    assert miss_deg(turned, scale)[20:24] == pytest.approx([20.0, -10.0, 20.0, -10.0])


def test_mirroring_all_reaches_changes_no_measure() -> None:
    rng = np.random.default_rng(3)
    learner = series(decay(6.0) + rng.normal(size=100), rng.normal(size=20), rng.normal(size=20) - 15.0)
    mirrored = replace(learner, launch_error_deg=-learner.launch_error_deg)
    assert series_measures(mirrored, -29.0) == pytest.approx(series_measures(learner, 29.0))


@settings(max_examples=20)
@given(shift=st.floats(-20.0, 20.0))
def test_an_arm_that_always_launches_aside_is_measured_like_one_that_does_not(shift: float) -> None:
    learner = series(decay(6.0), washout=np.full(20, -15.0))
    shifted = replace(learner, launch_error_deg=learner.launch_error_deg + shift)
    assert series_measures(shifted, 30.0) == pytest.approx(series_measures(learner, 30.0))


def test_the_baseline_is_that_of_the_last_ten_reaches_to_the_same_cup() -> None:
    cup = np.tile([[0.0, 0.5], [0.1, 0.5]], (70, 1))
    aside = np.tile([2.0, -4.0], 70)
    early = np.zeros(140)
    early[:10] = 50.0
    learner = series(np.full(100, 30.0), cup=cup)
    learner = replace(learner, launch_error_deg=learner.launch_error_deg + aside + early)
    corrected = learner.corrected_error_deg()
    assert corrected[10:20] == pytest.approx(np.zeros(10))
    assert corrected[20:120] == pytest.approx(np.full(100, 30.0))


def test_a_cup_met_once_in_the_baseline_is_corrected_by_the_mean_over_all_cups() -> None:
    cup = np.tile([0.0, 0.5], (140, 1))
    cup[19] = cup[20] = [0.2, 0.4]
    learner = series(np.full(100, 30.0), np.append(np.full(19, 1.0), 11.0), cup=cup)
    corrected = learner.corrected_error_deg()
    assert corrected[20] == pytest.approx(28.0)
    assert corrected[21] == pytest.approx(29.0)


def test_without_a_baseline_errors_stay_as_they_are() -> None:
    learner = series(np.full(10, 30.0), np.zeros(0))
    assert learner.corrected_error_deg()[:10] == pytest.approx(np.full(10, 30.0))


def test_a_corrected_error_is_wrapped() -> None:
    learner = series(np.full(10, -175.0), np.full(20, 20.0))
    assert learner.corrected_error_deg()[20] == pytest.approx(165.0)


def test_a_reach_that_never_set_out_counts_as_the_whole_miss() -> None:
    error = np.zeros(100)
    error[:15] = np.nan
    measures = series_measures(series(error), 30.0)
    assert measures["L30"] == pytest.approx(0.5)
    assert measures["N63"] == 18.0
    measures = series_measures(series(np.full(100, np.nan)), 30.0)
    assert (measures["L30"], measures["N63"], measures["late_error"]) == (1.0, math.inf, 1.0)
    assert math.isnan(measures["tau"])


def test_a_washout_that_never_set_out_has_no_after_effect() -> None:
    nowhere = series_measures(series(decay(5.0), washout=np.full(20, np.nan)), 30.0)
    assert math.isnan(nowhere["after_effect"])


def test_seconds_lost_count_a_reach_without_success_as_the_limit_of_a_trial() -> None:
    time, success = np.full(140, 1.0), np.ones(140, dtype=np.bool_)
    time[20:50] = 1.4
    time[20:35] = np.nan
    success[20:35] = False
    measures = series_measures(series(np.full(100, 30.0), time_to_success_s=time, success=success), 30.0)
    assert measures["seconds_lost"] == pytest.approx(0.5 * (1.4 + 3.0) - 1.0)
    assert measures["success"] == pytest.approx(0.85)
    assert measures["time_to_success_s"] == pytest.approx((15 * 1.4 + 70 * 1.0) / 85)


def test_seconds_lost_are_unknown_to_an_arm_that_never_got_the_cup_in_the_baseline() -> None:
    never = series(np.full(100, 30.0), time_to_success_s=np.full(140, np.nan), success=np.zeros(140, dtype=np.bool_))
    assert math.isnan(series_measures(never, 30.0)["seconds_lost"])


def test_endpoint_errors_are_those_of_the_first_and_the_last_ten_perturbed_reaches() -> None:
    endpoint = np.full(140, 50.0)
    endpoint[20:30], endpoint[110:120] = 8.0, 1.5
    endpoint[22] = np.nan
    measures = series_measures(series(np.full(100, 30.0), endpoint_error_cm=endpoint), 30.0)
    assert (measures["endpoint_early_cm"], measures["endpoint_late_cm"]) == (8.0, 1.5)


@pytest.mark.parametrize("miss", [0.0, -1.0, math.nan])
def test_without_a_miss_to_correct_there_is_no_measure_of_its_correction(miss: float) -> None:
    measures = series_measures(series(np.full(10, 30.0)), miss)
    assert all(math.isnan(measures[name]) for name in ("L30", "N63", "A", "tau", "late_error", "after_effect"))
    assert measures["success"] == 1.0


def test_half_is_reached_where_the_last_fifty_errors_are_first_below_half_of_their_misses() -> None:
    rng = np.random.default_rng(0)
    miss = rng.choice([-30.0, 20.0, math.nan], 400)
    error = miss * np.exp(-np.arange(400) / 150.0) + rng.normal(scale=5.0, size=400)
    error[rng.random(400) < 0.1] = math.nan
    left = [relative_error(error[n - 50 : n], miss[n - 50 : n]) for n in range(50, 401)]
    reached = 50 + int(np.flatnonzero(np.array(left) < 0.5)[0])
    assert 100 < reached < 400
    assert halving_reaches(error, miss) == reached
    assert (
        halving_reaches(error[: reached - 1], miss[: reached - 1]) == halving_reaches(error[:9], miss[:9]) == math.inf
    )
    assert math.isnan(halving_reaches(error, np.full(400, math.nan)))
