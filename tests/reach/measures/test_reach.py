"""Measures of synthetic reaches, for which the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reach.measures.reach import ReachRecord, measure_reach, movement_onset, wrapped_degrees

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


@given(angle=st.floats(-1e4, 1e4))
def test_wrapped_angles_lie_in_a_half_open_turn_and_point_the_same_way(angle: float) -> None:
    found = float(wrapped_degrees(angle))
    assert -180.0 < found <= 180.0
    assert math.cos(math.radians(found)) == pytest.approx(math.cos(math.radians(angle)), abs=1e-9)
    assert math.sin(math.radians(found)) == pytest.approx(math.sin(math.radians(angle)), abs=1e-9)


def test_half_a_turn_is_positive() -> None:
    assert float(wrapped_degrees(-180.0)) == float(wrapped_degrees(180.0)) == 180.0
