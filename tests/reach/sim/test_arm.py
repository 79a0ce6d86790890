"""The arms' kinematics and inverse dynamics agree with each other and with the bodies they describe."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from energy import kinetic_energy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reach.sim import layout as s
from reach.sim.arm import ARMS, Arm

ARM = Arm.winter()
LOCKED = [name for name, make in ARMS.items() if make().wrist_locked]
postures = arrays(np.float64, 3, elements=st.floats(-1.0, 2.4))
arms = st.sampled_from([make() for make in ARMS.values()])


def held(arm: Arm, angle: np.ndarray) -> np.ndarray:
    """`angle` as the arm can take it: a locked wrist at 0."""
    return angle * (1.0, 1.0, 0.0) if arm.wrist_locked else angle


def test_winter_segments_are_the_table_s() -> None:
    arm = Arm.winter(height_m=2.0, mass_kg=100.0)
    assert arm.length == pytest.approx((0.372, 0.292, 0.216))
    assert arm.mass == pytest.approx((2.8, 1.6, 0.6))
    assert arm.centre[0] == pytest.approx(0.436 * 0.372)
    assert arm.inertia[1] == pytest.approx(1.6 * (0.303 * 0.292) ** 2)


# Of the papers' inertia matrices [[a + 2 b cos q, d + b cos q], [d + b cos q, d]], q the elbow: a, b, d, kg m2; and the
# length of the second link, m.
TWO_LINKS = {
    "shadmehr1994": (
        0.0141 + 0.0188 + 1.93 * 0.165**2 + 1.52 * (0.33**2 + 0.19**2),
        1.52 * 0.33 * 0.19,
        0.0188 + 1.52 * 0.19**2,
        0.34,
    ),
    "li-todorov2004": (0.025 + 0.045 + 1.0 * 0.30**2, 1.0 * 0.30 * 0.16, 0.045, 0.33),
}


@pytest.mark.parametrize("name", LOCKED)
def test_the_two_link_arms_have_the_inertia_and_length_of_their_papers(name: str) -> None:
    arm, (a, b, d, length) = ARMS[name](), TWO_LINKS[name]
    elbow = 1.1
    angle = np.tile((0.3, elbow, 0.0), (2, 1))
    found = arm.inverse_dynamics(angle, np.zeros((2, 3)), np.eye(3)[:2])[:, :2]
    coupling = d + b * math.cos(elbow)
    np.testing.assert_allclose(found, [[a + 2.0 * b * math.cos(elbow), coupling], [coupling, d]], rtol=1e-12)
    assert arm.length[1] + arm.grasp_m == pytest.approx(length)


@given(arms, postures)
def test_jacobian_is_the_derivative_of_the_hand(arm: Arm, angle: np.ndarray) -> None:
    step = 1e-6
    angle = held(arm, angle)
    numeric = np.stack(
        [
            (arm.hand(angle + step * held(arm, e)) - arm.hand(angle - step * held(arm, e))) / (2 * step)
            for e in np.eye(3)
        ],
        axis=1,
    )
    np.testing.assert_allclose(arm.jacobian(angle), numeric, atol=1e-8)


@given(arms, st.floats(0.05, 2.5), st.floats(-1.0, 1.0), st.floats(-0.5, 2.4))
def test_inverse_kinematics_undoes_the_forward(arm: Arm, elbow: float, wrist: float, shoulder: float) -> None:
    angle = held(arm, np.array([shoulder, elbow, wrist]))
    found = arm.inverse_kinematics(arm.hand(angle), float(np.sum(angle)))
    turned = (found - angle + math.pi) % (2 * math.pi) - math.pi
    np.testing.assert_allclose(turned, 0.0, atol=1e-6)


@pytest.mark.parametrize("name", LOCKED)
def test_a_locked_wrist_stays_straight_whatever_axis_is_asked_for(name: str) -> None:
    places = np.array([[0.1, 0.4], [0.2, 0.5], [-0.05, 0.45]])
    found = ARMS[name]().inverse_kinematics(places, np.array([0.5, 1.0, 2.0]))
    np.testing.assert_array_equal(found[:, 2], 0.0)
    np.testing.assert_array_equal(found, ARMS[name]().inverse_kinematics(places, 1.8))


@given(arms, postures, postures, st.integers(0, 2**32 - 1))
def test_torques_do_the_work_that_the_kinetic_energy_gains(
    arm: Arm, angle: np.ndarray, velocity: np.ndarray, seed: int
) -> None:
    angle, velocity = held(arm, angle), held(arm, velocity)
    acceleration = held(arm, np.random.default_rng(seed).normal(0.0, 10.0, 3))
    power = float(velocity @ arm.inverse_dynamics(angle, velocity, acceleration))
    step = 1e-5
    before, after = (
        kinetic_energy(
            arm,
            (angle + t * velocity + 0.5 * t * t * acceleration)[None],
            (velocity + t * acceleration)[None],
        )[0]
        for t in (-step, step)
    )
    assert (after - before) / (2 * step) == pytest.approx(power, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_holds_its_hand_at_the_start_and_reaches_every_cup(name: str) -> None:
    arm, start = ARMS[name](), np.array(s.START_HAND_M)
    axis = math.radians(s.START_AXIS_DEGREES)
    assert arm.posture_for(start, axis) is not None
    for distance in (0.16, 0.20, 0.24):
        for bearing in np.radians(np.linspace(65.0, 125.0, 13)):
            cup = start + distance * np.array([math.cos(bearing), math.sin(bearing)])
            path = np.linspace(start, cup, 20)
            assert arm.is_within_limits(arm.inverse_kinematics(path, np.full(20, axis)))


def test_posture_out_of_reach_is_none() -> None:
    for make in ARMS.values():
        assert make().posture_for((0.0, 0.9), 1.5) is None


def test_segments_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"height_m: .* got 0\.1"):
        Arm.winter(height_m=0.1)
    with pytest.raises(ValueError, match="Arm mass"):
        replace(ARM, mass=(1.0, 1.0, 0.0))
    with pytest.raises(ValueError, match="0 for the hand"):
        replace(Arm.shadmehr1994(), mass=(1.0, 0.0, 0.0))
    assert replace(ARM, wrist_locked=True).mass == ARM.mass


def test_matrices_must_be_symmetric() -> None:
    with pytest.raises(ValueError, match="joint_viscosity: expected a symmetric"):
        replace(ARM, joint_viscosity=((1.0, 0.5, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


def test_an_arm_of_any_numbers_is_the_arm_of_those_numbers() -> None:
    given = {"mass": [2, 1.5, 1], "lower": np.array([-1, 0, -1]), "stiffness": 10 * np.eye(3, dtype=np.float32)}
    arm = replace(ARM, **given)
    plain = replace(ARM, mass=(2.0, 1.5, 1.0), lower=(-1.0, 0.0, -1.0), stiffness=arm.stiffness)
    assert arm == plain
    assert hash(arm) == hash(plain)
    state = np.ones((3, 3))
    np.testing.assert_array_equal(arm.inverse_dynamics(state, state, state), plain.inverse_dynamics(*[state] * 3))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", "abc"),
        ("lower", (1.0, 1.0)),
        ("upper", (np.inf, 1.0, 1.0)),
        ("mass", (1.0, 1.0, 1j)),
        ("viscosity", np.eye(2)),
        ("stiffness", None),
        ("wrist_locked", "yes"),
    ],
)
def test_what_is_no_arm_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"(?s)Arm {name}: expected "):
        replace(ARM, **{name: value})


@pytest.mark.parametrize("shapes", [((4, 3), (3,), (3,)), ((2,), (2,), (2,)), ((), (), ()), ((3, 2), (3, 2), (3, 2))])
def test_states_of_other_shapes_have_no_torques(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"expected one shape \(\.\.\., 3\)"):
        Arm.winter().inverse_dynamics(*(np.zeros(shape) for shape in shapes))
