"""Measures of a correction within one reach: synthetic reaches, whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reach.measures.reach import (
    WINDOW,
    Trajectory,
    correction_time,
    measure_correction,
    time_to_fall,
)

Array = NDArray[np.float64]

ONSET_S = 0.34
START = np.array([0.12, 0.36])
CUP = np.array([0.12, 0.56])


def minimum_jerk(time: Array, begin: float, seconds: float) -> tuple[Array, Array]:
    """Share of the way (T,) and its rate (T,) 1/s of a minimum-jerk movement."""
    x = np.clip((time - begin) / seconds, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2), 30.0 * x**2 * (1.0 - x) ** 2 / seconds


def trajectory(
    aside: Array | None = None,
    aside_rate: Array | None = None,
    *,
    direction: Array | None = None,
    jump: Array | None = None,
    until_s: float = 2.0,
    step_s: float = 0.02,
) -> Trajectory:
    """A reach forward by minimum jerk, with a way aside (T,) m on top, for a cup that jumps by (2,) m at onset."""
    time = np.arange(round(until_s / step_s) + 1) * step_s
    way, rate = minimum_jerk(time, 0.2, 0.6)
    hand = START + way[:, None] * (CUP - START)
    velocity = rate[:, None] * (CUP - START)
    if aside is not None and aside_rate is not None:
        to = np.array([1.0, 0.0]) if direction is None else direction
        hand = hand + aside[: len(time), None] * to
        velocity = velocity + aside_rate[: len(time), None] * to
    cup = np.tile(CUP, (len(time), 1))
    if jump is not None:
        cup[time >= ONSET_S - 1e-9] += jump
    return Trajectory(time, hand, velocity, hand, cup)


def corrected_jump(
    size_m: float, delay_s: float, seconds: float, *, bearing_deg: float = 0.0, **changes: Any
) -> tuple[Trajectory, Trajectory, Trajectory]:
    """Reach, twin and open loop of a cup jump that is corrected whole by minimum jerk."""
    time = np.arange(101) * 0.02
    to = np.array([math.cos(math.radians(bearing_deg)), math.sin(math.radians(bearing_deg))])
    way, rate = minimum_jerk(time, ONSET_S + delay_s, seconds)
    reach = trajectory(size_m * way, size_m * rate, direction=to, jump=size_m * to, **changes)
    return reach, trajectory(), trajectory(jump=size_m * to)


def onset_step(delay_s: float) -> float:
    """The beginning of the control step of 20 ms, s from the onset, in which a correction after a delay begins."""
    ends = np.arange(101) * 0.02
    begun = ends[minimum_jerk(ends, ONSET_S + delay_s, 0.3)[1] > 1e-9]
    return float(begun[0]) - 0.02 - ONSET_S


@given(
    size_cm=st.floats(2.0, 8.0),
    seconds=st.floats(0.25, 0.5),
    delay=st.floats(0.08, 0.25),
    bearing=st.floats(-180.0, 180.0),
)
def test_a_jump_of_the_cup_is_answered_after_the_delay_it_was_given(
    size_cm: float, seconds: float, delay: float, bearing: float
) -> None:
    trajectories = corrected_jump(0.01 * size_cm, delay, seconds, bearing_deg=bearing)
    correction = measure_correction(*trajectories, ONSET_S)
    assert correction is not None
    assert correction.correction_onset_s == pytest.approx(onset_step(delay))
    # Minimum jerk is half over in half its time, nine tenths in 0.7534 of it, and its mean error is a half.
    assert correction.t50_s == pytest.approx(delay + 0.5 * seconds, abs=0.002)
    assert correction.t90_s == pytest.approx(delay + 0.7534 * seconds, abs=0.004)
    assert correction.correction_time_s == pytest.approx(delay + 0.5 * seconds, abs=0.001)
    assert correction.overshoot == pytest.approx(0.0, abs=1e-9)
    assert correction.remaining[0] == pytest.approx(1.0)


@given(delay=st.floats(0.0, 0.3), tau=st.floats(0.06, 0.18))
def test_a_delay_and_then_an_exponential_take_the_delay_and_the_time_constant(delay: float, tau: float) -> None:
    remaining = np.where(delay > WINDOW, 1.0, np.exp(-np.maximum(WINDOW - delay, 0.0) / tau))
    assert correction_time(WINDOW, remaining) == pytest.approx(delay + tau, rel=0.01)


@given(delay=st.floats(0.05, 0.15), tau=st.floats(0.05, 0.2))
def test_after_a_human_delay_the_window_holds_time_constants_up_to_200_ms(delay: float, tau: float) -> None:
    remaining = np.where(delay > WINDOW, 1.0, np.exp(-np.maximum(WINDOW - delay, 0.0) / tau))
    assert correction_time(WINDOW, remaining) == pytest.approx(delay + tau, rel=0.01)


def test_an_error_that_grows_counts_no_more_than_the_whole_and_one_to_the_other_side_as_much() -> None:
    assert correction_time(WINDOW, np.full(51, 3.0)) == pytest.approx(1.0)
    assert correction_time(WINDOW, np.full(51, -0.25)) == pytest.approx(0.25)


def test_what_is_not_answered_is_never_corrected() -> None:
    jump = np.array([0.05, 0.0])
    correction = measure_correction(trajectory(jump=jump), trajectory(), trajectory(jump=jump), ONSET_S)
    assert correction is not None
    assert correction.correction_time_s == pytest.approx(1.0)
    assert math.isnan(correction.correction_onset_s)
    assert correction.t50_s == correction.t90_s == math.inf
    assert correction.overshoot == 0.0


def test_what_moves_neither_hand_nor_cup_is_no_perturbation() -> None:
    assert measure_correction(trajectory(), trajectory(), trajectory(), ONSET_S) is None


def test_a_reach_that_is_tipped_over_before_it_answers_has_no_correction_onset() -> None:
    trajectories = corrected_jump(0.05, 0.2, 0.3, until_s=ONSET_S + 0.16)
    correction = measure_correction(*trajectories, ONSET_S)
    assert correction is not None
    assert math.isnan(correction.correction_onset_s)
    assert correction.correction_time_s == pytest.approx(1.0)


def test_a_reach_that_went_apart_from_its_twin_before_the_onset_is_not_measured() -> None:
    reach, twin, open_loop = corrected_jump(0.05, 0.12, 0.3)
    strayed = Trajectory(
        reach.time_s, reach.hand + 1e-4, reach.velocity, reach.seen_hand + 1e-4, reach.seen_cup
    )  # fmt: skip
    assert measure_correction(strayed, twin, open_loop, ONSET_S) is None


def test_the_share_that_goes_too_far_is_the_overshoot() -> None:
    reach, twin, open_loop = corrected_jump(0.05, 0.12, 0.3)
    time = reach.time_s
    further, rate = minimum_jerk(time, ONSET_S + 0.42, 0.2)
    past = Trajectory(
        time,
        reach.hand + 0.01 * further[:, None] * np.array([1.0, 0.0]),
        reach.velocity + 0.01 * rate[:, None] * np.array([1.0, 0.0]),
        reach.hand + 0.01 * further[:, None] * np.array([1.0, 0.0]),
        reach.seen_cup,
    )
    correction = measure_correction(past, twin, open_loop, ONSET_S)
    assert correction is not None
    assert correction.overshoot == pytest.approx(0.2)


@pytest.mark.parametrize("delay", [0.10, 0.15, 0.20])
def test_a_nudged_hand_is_measured_by_what_the_push_alone_would_do(delay: float) -> None:
    time = np.arange(101) * 0.02
    pushed, pushed_rate = minimum_jerk(time, ONSET_S, 0.2)
    back, back_rate = minimum_jerk(time, ONSET_S + delay, 0.3)
    aside, rate = 0.04 * (pushed - back), 0.04 * (pushed_rate - back_rate)
    correction = measure_correction(
        trajectory(aside, rate), trajectory(), trajectory(0.04 * pushed, 0.04 * pushed_rate), ONSET_S
    )  # fmt: skip
    assert correction is not None
    # The push itself is in reach and open loop alike, and is not taken for an answer.
    assert correction.correction_onset_s == pytest.approx(onset_step(delay))
    np.testing.assert_allclose(correction.remaining, np.interp(ONSET_S + WINDOW, time, pushed - back), atol=1e-9)
    assert correction.t90_s > correction.t50_s > delay


def test_half_corrected_is_counted_from_the_largest_error_on() -> None:
    remaining = np.interp(WINDOW, [0.0, 0.2, 0.6], [0.0, 1.0, 0.0])
    assert time_to_fall(WINDOW, remaining, 0.5) == pytest.approx(0.4)
    assert time_to_fall(WINDOW, remaining, 0.1) == pytest.approx(0.56)


def test_after_a_reach_has_ended_the_hand_stands_where_it_stood() -> None:
    whole = measure_correction(*corrected_jump(0.05, 0.12, 0.3), ONSET_S)
    ended = measure_correction(*corrected_jump(0.05, 0.12, 0.3, until_s=0.9), ONSET_S)
    assert whole is not None
    assert ended is not None
    np.testing.assert_allclose(ended.remaining, whole.remaining, atol=1e-9)
    assert ended.correction_onset_s == whole.correction_onset_s
    stopped = measure_correction(*corrected_jump(0.05, 0.12, 0.3, until_s=0.6), ONSET_S)
    assert stopped is not None
    left = 1.0 - minimum_jerk(np.array([0.6]), ONSET_S + 0.12, 0.3)[0][0]
    assert stopped.remaining[-1] == pytest.approx(left)
    assert stopped.t90_s == math.inf


def test_a_cup_that_is_pushed_on_is_no_moving_target() -> None:
    reach, twin, open_loop = corrected_jump(0.05, 0.12, 0.3)
    pushed = reach.seen_cup.copy()
    pushed[reach.time_s > 0.9] += [0.03, 0.03]
    again = Trajectory(reach.time_s, reach.hand, reach.velocity, reach.seen_hand, pushed)
    plain, moved = (measure_correction(one, twin, open_loop, ONSET_S) for one in (reach, again))
    assert plain is not None
    assert moved is not None
    np.testing.assert_array_equal(plain.remaining, moved.remaining)
