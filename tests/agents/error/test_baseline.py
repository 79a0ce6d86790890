"""Errors in combinations of joints that hardly vary count for more, and none leads beyond a joint limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.error.teacher import BODY_MAPS, REACHES, Baseline, SeenError
from agents.reaching.controller import READING_STEP, Controller, Reach
from reach import Arm

ERRORS = st.lists(st.floats(-0.6, 0.6), min_size=3, max_size=3).map(np.array)


def settled(seed: int, spread: tuple[float, float, float] = (0.3, 0.1, 0.05)) -> Baseline:
    """After reaches whose postures vary by `spread` along three directions at right angles."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(3, 3)))[0] * spread
    baseline = Baseline()
    for _ in range(REACHES):
        baseline.add(rng.normal(0.02, 0.01, 2), turned @ rng.normal(size=3))
    baseline.end()
    return baseline


@given(ERRORS, st.integers(0, 20))
def test_weighing_turns_an_error_and_keeps_its_size(error: np.ndarray, seed: int) -> None:
    weighed = settled(seed).weight_error(error)
    assert np.linalg.norm(weighed) == pytest.approx(np.linalg.norm(error), abs=1e-12)
    assert weighed @ error >= 0.0


@given(ERRORS.filter(lambda error: float(np.linalg.norm(error)) > 0.1), st.integers(0, 20))
def test_through_what_varied_a_weighed_error_goes_where_it_should(error: np.ndarray, seed: int) -> None:
    baseline = settled(seed)
    # What a read-out that has learned such postures makes of a step along its own weights.
    passed_on = np.cov(np.array(baseline.postures).T)

    def aside(step: np.ndarray) -> float:
        moved = passed_on @ step
        return float(moved @ error / (np.linalg.norm(moved) * np.linalg.norm(error)))

    assert aside(baseline.weight_error(error)) >= aside(error) - 1e-9
    assert aside(baseline.weight_error(error)) > 0.7


def test_the_mean_displacement_is_expected_and_the_unsettled_expect_none() -> None:
    assert np.all(Baseline().expected == 0.0)
    assert np.array_equal(Baseline().weight_error(np.ones(3)), np.ones(3))
    np.testing.assert_allclose(settled(0).expected, [0.02, 0.02], atol=0.003)


def test_unequal_numbers_of_displacements_and_postures_are_refused() -> None:
    kept = settled(1).arrays()
    with pytest.raises(ValueError, match="checkpoint here"):
        Baseline().restore({**kept, "recent_postures_rad": np.zeros((3, 3))}, "here")


WINTER = Controller(Arm.winter(), grab=True)
PARTS = st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3).map(np.array)


def error_of(posture: np.ndarray, displacement: np.ndarray, turn: float) -> np.ndarray:
    """Return the error of a reach that ended in a posture, where the hand should have been elsewhere."""
    reach = Reach()
    memory = reach.memory
    memory["step"], memory["visible"] = READING_STEP, True
    memory["rest"], memory["angles_at_sight"] = (0.2, 2.0, -0.3), posture
    memory["goal"] = posture - memory["rest"][0]
    memory["axis"] = np.sum(posture) + turn
    memory["start"] = memory["aimed_cup"] = displacement
    reading = SeenError(WINTER, BODY_MAPS["exact"](WINTER, 0), np.zeros(2)).read(reach)
    assert reading is not None
    return reading.error


@given(PARTS, PARTS)
def test_no_error_leads_beyond_a_joint_limit(place: np.ndarray, missing: np.ndarray) -> None:
    lower, upper = np.array(WINTER.arm.lower), np.array(WINTER.arm.upper)
    # Postures up to 20 % of the range outside the limits.
    posture = 0.5 * (lower + upper) + 0.7 * place * (upper - lower)
    asked = posture + error_of(posture, 0.2 * missing[:2], missing[2])
    assert np.all(asked >= lower - 1e-12)
    assert np.all(asked <= upper + 1e-12)


def test_an_error_within_the_limits_is_that_of_the_body_map_and_a_wrist_at_its_limit_turns_no_hand() -> None:
    displacement = np.array([0.01, -0.02])
    inside = np.array([0.5, 1.5, -0.3])
    np.testing.assert_allclose(error_of(inside, displacement, 0.1), WINTER.motor_error(inside, (0.01, -0.02), 0.1))
    at_limit = np.array([0.5, 1.5, WINTER.arm.lower[2] + 0.01])
    turned = WINTER.motor_error(at_limit, (0.01, -0.02), -0.4)
    assert at_limit[2] + turned[2] < WINTER.arm.lower[2]
    without_turn = WINTER.motor_error(at_limit, (0.01, -0.02), 0.0)
    np.testing.assert_allclose(error_of(at_limit, displacement, -0.4)[:2], without_turn[:2])
