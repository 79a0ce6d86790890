"""Measures of synthetic reaches and of synthetic learners, for which the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reach.trials import (
    ReachRecord,
    TrialSeries,
    correction_measures,
    first_corrected,
    fit_exponential,
    measure_reach,
    miss_direction,
    movement_onset,
    reference_error_deg,
    wrapped_degrees,
)

Array = NDArray[np.float64]

START = np.array([0.05, 0.30])
STEP_S = 0.02


def times(rows: int) -> Array:
    """(rows,) s, a control step apart."""
    return np.arange(rows, dtype=np.float64) * STEP_S


def minimum_jerk(length: float, seconds: float, wait: float, whole: float) -> Array:
    """Way (T,) m travelled along a straight path, at rest for `wait` s before it and after it until `whole` s."""
    time = times(round(whole / STEP_S) + 1)
    share = np.clip((time - wait) / seconds, 0.0, 1.0)
    return length * (10.0 * share**3 - 15.0 * share**4 + 6.0 * share**5)


def straight_reach(way: Array, **changes: Any) -> ReachRecord:
    """A reach along x, (T,) m, for a cup 20 cm away."""
    rows = len(way)
    hand = START + way[:, None] * np.array([1.0, 0.0])
    values: dict[str, Any] = {
        "time_s": times(rows),
        "hand": hand,
        "seen_hand": hand,
        "seen_cup": np.tile(START + np.array([0.20, 0.0]), (rows, 1)),
        "speed": np.abs(np.gradient(way, STEP_S)),
        "aperture": np.full(rows, 0.10),
        "held": np.zeros(rows, dtype=np.bool_),
    }
    return ReachRecord(**{"success": False, "tipped": False, "reward": -1.5, **values, **changes})


def aimed_reach(
    aside_deg: float = 0.0, towards_deg: float = 70.0, length: float = 0.20, seconds: float = 0.6, **changes: Any
) -> ReachRecord:
    """A straight minimum-jerk reach for a cup 20 cm away, launched so many degrees aside."""
    way = minimum_jerk(length, seconds, wait=0.2, whole=1.2)
    toward, taken = math.radians(towards_deg), math.radians(towards_deg + aside_deg)
    hand = START + way[:, None] * np.array([math.cos(taken), math.sin(taken)])
    cup = np.tile(START + 0.20 * np.array([math.cos(toward), math.sin(toward)]), (len(way), 1))
    return straight_reach(way, **{"hand": hand, "seen_hand": hand, "seen_cup": cup, **changes})


def turned(record: ReachRecord, angle_deg: float, shift: Array) -> ReachRecord:
    """The whole scene turned about the origin and shifted."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    matrix = np.array([[c, -s], [s, c]])
    return replace(
        record,
        hand=record.hand @ matrix.T + shift,
        seen_hand=record.seen_hand @ matrix.T + shift,
        seen_cup=record.seen_cup @ matrix.T + shift,
    )


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


# One reach


@given(aside=st.floats(-170.0, 170.0), towards=st.floats(-180.0, 180.0), seconds=st.floats(0.3, 0.9))
def test_a_straight_reach_has_the_launch_error_at_which_it_set_out(
    aside: float, towards: float, seconds: float
) -> None:
    measured = measure_reach(aimed_reach(aside, towards, seconds=seconds))
    assert measured.launch_error_deg == pytest.approx(aside, abs=1e-6)


@given(aside=st.floats(-150.0, 150.0), angle=st.floats(-180.0, 180.0), x=st.floats(-1.0, 1.0), y=st.floats(-1.0, 1.0))
def test_turning_and_shifting_the_whole_scene_changes_no_measure(
    aside: float, angle: float, x: float, y: float
) -> None:
    record = aimed_reach(aside)
    here, there = measure_reach(record), measure_reach(turned(record, angle, np.array([x, y])))
    assert there.launch_error_deg == pytest.approx(here.launch_error_deg, abs=1e-6)
    assert there.endpoint_error_cm == pytest.approx(here.endpoint_error_cm, abs=1e-9)
    assert there.attempts == here.attempts


@given(aside=st.floats(-150.0, 150.0))
def test_a_mirrored_reach_has_the_launch_error_of_the_other_side(aside: float) -> None:
    record = aimed_reach(aside)
    mirror = np.array([-1.0, 1.0])
    mirrored = replace(
        record, hand=record.hand * mirror, seen_hand=record.seen_hand * mirror, seen_cup=record.seen_cup * mirror
    )
    assert measure_reach(mirrored).launch_error_deg == pytest.approx(-aside, abs=1e-6)


def test_launch_and_endpoint_are_those_of_the_seen_hand() -> None:
    record = aimed_reach(0.0)
    seen = turned(replace(record, hand=record.hand - START, seen_hand=record.hand - START), 30.0, START).seen_hand
    measured = measure_reach(replace(record, seen_hand=seen))
    assert measured.launch_error_deg == pytest.approx(30.0, abs=1e-6)
    assert measured.endpoint_error_cm == pytest.approx(100 * 2 * 0.20 * math.sin(math.radians(15.0)), abs=0.2)


def test_feedback_that_bends_the_path_after_the_launch_window_does_not_change_the_launch_error() -> None:
    record = aimed_reach(20.0)
    onset = movement_onset(record.speed)
    assert onset is not None
    bent = record.seen_hand.copy()
    bent[onset + 7 :] += 0.05
    assert measure_reach(replace(record, seen_hand=bent)).launch_error_deg == pytest.approx(20.0, abs=1e-6)


def test_a_cup_that_is_pushed_after_the_launch_changes_no_error() -> None:
    record = aimed_reach(10.0)
    pushed = record.seen_cup.copy()
    pushed[35:] += 0.08
    assert measure_reach(replace(record, seen_cup=pushed)) == measure_reach(record)


@pytest.mark.parametrize(("length", "wide_cm"), [(0.20, 0.0), (0.15, 5.0), (0.26, 6.0)])
def test_the_endpoint_error_is_how_far_from_the_cup_a_reach_stops(length: float, wide_cm: float) -> None:
    assert measure_reach(aimed_reach(length=length)).endpoint_error_cm == pytest.approx(wide_cm, abs=0.2)


@pytest.mark.parametrize("second_starts_s", [0.52, 0.60])
def test_the_endpoint_is_taken_where_a_first_movement_ends_or_lulls_before_a_second(second_starts_s: float) -> None:
    first = minimum_jerk(0.15, 0.5, wait=0.1, whole=1.4)
    second = minimum_jerk(0.06, 0.4, wait=second_starts_s, whole=1.4)
    assert measure_reach(straight_reach(first + second)).endpoint_error_cm == pytest.approx(5.0, abs=0.5)


def test_a_slow_reach_ends_a_second_after_its_onset() -> None:
    assert measure_reach(straight_reach(0.10 * times(151))).endpoint_error_cm == pytest.approx(10.0)


def test_a_hand_that_never_sets_out_has_no_errors_and_no_attempts() -> None:
    record = aimed_reach()
    still = replace(record, hand=record.hand[:1].repeat(61, 0), speed=np.zeros(61))
    measured = measure_reach(still)
    assert math.isnan(measured.launch_error_deg)
    assert math.isnan(measured.endpoint_error_cm)
    assert measured.attempts == 0


def test_a_single_fast_row_is_no_onset() -> None:
    speed = np.array([0.0, 0.0, 0.2, 0.0, 0.0, 0.06, 0.07, 0.3])
    assert movement_onset(speed) == 5


def test_time_to_success_is_that_of_the_last_row_and_nan_without_success() -> None:
    record = aimed_reach(success=True)
    assert measure_reach(record).time_to_success_s == pytest.approx(1.2)
    assert measure_reach(record).duration_s == pytest.approx(1.2)
    assert math.isnan(measure_reach(replace(record, success=False)).time_to_success_s)


def attempts(speed: list[float], aperture: list[float], held: list[bool] | None = None) -> int:
    rows = len(speed)
    fingers = {"aperture": np.array(aperture), "held": np.array(held or [False] * rows)}
    return measure_reach(straight_reach(np.zeros(rows), speed=np.array(speed), **fingers)).attempts


def test_attempts_are_movements_between_stops() -> None:
    speed = [0.0, 0.2, 0.3, 0.02, 0.2, 0.08, 0.2, 0.01, 0.0, 0.0]
    assert attempts(speed, [0.1] * 10) == 2


def test_a_slow_movement_is_one_attempt() -> None:
    assert attempts([0.0, 0.06, 0.08, 0.06, 0.0], [0.1] * 5) == 1


def test_every_closing_on_nothing_after_the_first_is_one_more_attempt() -> None:
    speed = [0.0, 0.2, 0.3, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert attempts(speed, [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05]) == 1
    assert attempts(speed, [0.1, 0.1, 0.1, 0.1, 0.05, 0.07, 0.05, 0.07, 0.05]) == 1
    assert attempts(speed, [0.1, 0.1, 0.1, 0.1, 0.05, 0.09, 0.05, 0.09, 0.05]) == 3


def test_a_closing_that_grips_the_cup_is_no_further_attempt() -> None:
    speed = [0.0, 0.2, 0.3, 0.02, 0.0, 0.0, 0.0]
    aperture = [0.1, 0.1, 0.1, 0.05, 0.09, 0.07, 0.07]
    assert attempts(speed, aperture, [False] * 5 + [True] * 2) == 1


@pytest.mark.parametrize("name", ["hand", "seen_hand", "seen_cup", "speed", "aperture", "held"])
def test_a_record_with_rows_missing_is_an_error_that_names_the_array(name: str) -> None:
    record = aimed_reach()
    with pytest.raises(ValueError, match=rf"^{name} has shape"):
        replace(record, **{name: getattr(record, name)[1:]})


def test_an_empty_record_is_an_error() -> None:
    record = aimed_reach()
    nothing = {
        name: getattr(record, name)[:0]
        for name in ("time_s", "hand", "seen_hand", "seen_cup", "speed", "aperture", "held")
    }
    with pytest.raises(ValueError, match="0 rows"):
        replace(record, **nothing)


@given(angle=st.floats(-1e4, 1e4))
def test_wrapped_angles_lie_in_a_half_open_turn_and_point_the_same_way(angle: float) -> None:
    found = float(wrapped_degrees(angle))
    assert -180.0 < found <= 180.0
    assert math.cos(math.radians(found)) == pytest.approx(math.cos(math.radians(angle)), abs=1e-9)
    assert math.sin(math.radians(found)) == pytest.approx(math.sin(math.radians(angle)), abs=1e-9)


def test_half_a_turn_is_positive() -> None:
    assert float(wrapped_degrees(-180.0)) == float(wrapped_degrees(180.0)) == 180.0


# Many reaches


def test_a_learner_that_does_not_learn_keeps_the_whole_miss() -> None:
    noise = np.random.default_rng(0).normal(scale=3.0, size=140)
    unlearning = series(30.0 + noise[:100], noise[100:120], noise[120:])
    found = correction_measures(unlearning, reference_error_deg(unlearning), miss_direction(unlearning))
    assert found["L30"] == pytest.approx(1.0, abs=0.05)
    assert found["N63"] == math.inf
    assert found["A"] == pytest.approx(0.0, abs=0.1)
    assert math.isnan(found["tau"])
    assert found["after_effect"] == pytest.approx(0.0, abs=0.1)
    assert found["late_error"] == pytest.approx(1.0, abs=0.1)


@given(tau=st.floats(1.0, 40.0), amplitude=st.floats(0.3, 1.2), side=st.sampled_from([-1.0, 1.0]))
def test_an_exponential_learner_gives_back_its_amplitude_and_time_constant(
    tau: float, amplitude: float, side: float
) -> None:
    found = correction_measures(series(side * decay(tau, amplitude)), 30.0, side)
    assert found["A"] == pytest.approx(amplitude, abs=1e-4)
    assert found["tau"] == pytest.approx(tau, rel=1e-3)
    left = 1.0 - amplitude * (1.0 - np.exp(-np.arange(100) / tau))
    assert found["L30"] == pytest.approx(float(np.mean(np.abs(left[:30]))))


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
    assert first_corrected(error) == 6.0
    assert first_corrected(np.full(3, 0.0)) == math.inf
    assert first_corrected(np.full(4, 0.368)) == math.inf
    assert first_corrected(np.full(4, 0.367)) == 4.0
    assert first_corrected(-np.ones(10)) == 4.0


@given(tau=st.floats(2.0, 25.0), factor=st.floats(1.1, 2.0))
def test_a_slower_learner_has_a_larger_l30_and_no_smaller_n63(tau: float, factor: float) -> None:
    fast = correction_measures(series(decay(tau)), 30.0)
    slow = correction_measures(series(decay(tau * factor)), 30.0)
    assert slow["L30"] > fast["L30"]
    assert slow["N63"] >= fast["N63"]


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_an_after_effect_to_the_other_side_is_negative(side: float) -> None:
    washout = side * np.array([-20.0, -16.0, -12.0, -12.0, 30.0, 30.0])
    learner = series(side * decay(5.0), washout=washout)
    for direction in (None, side):
        assert correction_measures(learner, 30.0, direction)["after_effect"] == pytest.approx(-0.5)


def test_the_direction_of_the_miss_is_that_of_the_learner_that_does_not_learn() -> None:
    assert miss_direction(series(np.full(100, -30.0))) == -1.0
    assert miss_direction(series(np.full(100, 30.0))) == 1.0
    # A learner that swings to the other side after its first reach keeps the sign of the perturbation.
    swinging = np.array([30.0] + [-20.0] * 99)
    assert correction_measures(series(swinging), 30.0, 1.0)["N63"] == 4.0


def test_mirroring_all_reaches_changes_no_measure() -> None:
    rng = np.random.default_rng(3)
    learner = series(decay(6.0) + rng.normal(size=100), rng.normal(size=20), rng.normal(size=20) - 15.0)
    mirrored = replace(learner, launch_error_deg=-learner.launch_error_deg)
    assert correction_measures(mirrored, 29.0, -1.0) == pytest.approx(correction_measures(learner, 29.0, 1.0))


@given(shift=st.floats(-20.0, 20.0))
def test_an_arm_that_always_launches_aside_is_measured_like_one_that_does_not(shift: float) -> None:
    learner = series(decay(6.0), washout=np.full(20, -15.0))
    shifted = replace(learner, launch_error_deg=learner.launch_error_deg + shift)
    assert correction_measures(shifted, 30.0, 1.0) == pytest.approx(correction_measures(learner, 30.0, 1.0))


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
    found = correction_measures(series(error), 30.0, 1.0)
    assert found["L30"] == pytest.approx(0.5)
    assert found["N63"] == 18.0
    found = correction_measures(series(np.full(100, np.nan)), 30.0)
    assert (found["L30"], found["N63"], found["late_error"]) == (1.0, math.inf, 1.0)
    assert math.isnan(found["tau"])


def test_a_washout_reach_that_never_set_out_is_left_out_of_the_after_effect() -> None:
    found = correction_measures(series(decay(5.0), washout=np.array([np.nan, -15.0, -15.0, -15.0, 9.0])), 30.0)
    assert found["after_effect"] == pytest.approx(-0.5)
    nowhere = correction_measures(series(decay(5.0), washout=np.full(20, np.nan)), 30.0)
    assert math.isnan(nowhere["after_effect"])


def test_seconds_lost_count_a_reach_without_success_as_the_limit_of_a_trial() -> None:
    time, success = np.full(140, 1.0), np.ones(140, dtype=np.bool_)
    time[20:50] = 1.4
    time[20:35] = np.nan
    success[20:35] = False
    found = correction_measures(series(np.full(100, 30.0), time_to_success_s=time, success=success), 30.0)
    assert found["seconds_lost"] == pytest.approx(0.5 * (1.4 + 3.0) - 1.0)
    assert found["success"] == pytest.approx(0.85)
    assert found["time_to_success_s"] == pytest.approx((15 * 1.4 + 70 * 1.0) / 85)


def test_seconds_lost_are_unknown_to_an_arm_that_never_got_the_cup_in_the_baseline() -> None:
    never = series(np.full(100, 30.0), time_to_success_s=np.full(140, np.nan), success=np.zeros(140, dtype=np.bool_))
    assert math.isnan(correction_measures(never, 30.0)["seconds_lost"])


def test_endpoint_errors_are_those_of_the_first_and_the_last_ten_perturbed_reaches() -> None:
    endpoint = np.full(140, 50.0)
    endpoint[20:30], endpoint[110:120] = 8.0, 1.5
    endpoint[22] = np.nan
    found = correction_measures(series(np.full(100, 30.0), endpoint_error_cm=endpoint), 30.0)
    assert (found["endpoint_early_cm"], found["endpoint_late_cm"]) == (8.0, 1.5)


@pytest.mark.parametrize("reference", [0.0, -1.0, math.nan, math.inf])
def test_a_reference_that_is_no_miss_is_an_error(reference: float) -> None:
    with pytest.raises(ValueError, match="reference_deg is"):
        correction_measures(series(np.full(10, 30.0)), reference)


def test_a_direction_other_than_one_side_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"direction is 0.5; 1, -1 and None are allowed"):
        correction_measures(series(np.full(10, 30.0)), 30.0, 0.5)


def test_a_series_without_perturbed_reaches_is_an_error() -> None:
    with pytest.raises(ValueError, match="no perturbed reaches"):
        correction_measures(series(np.zeros(0)), 30.0)


def test_a_series_with_columns_of_unequal_length_is_an_error_that_names_the_column() -> None:
    with pytest.raises(ValueError, match=r"^success has shape"):
        series(np.zeros(10), success=np.ones(3, dtype=np.bool_))
    with pytest.raises(ValueError, match=r"^cup has shape"):
        series(np.zeros(10), cup=np.zeros((3, 2)))
