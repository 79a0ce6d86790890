"""The shared controller: its body map, its plan and its use of the senses."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.learner import make_learner, train_trials
from agents.reaching.controller import DAMPING_M, Controller, Reach, hand_place, minimum_jerk
from agents.reaching.senses import Sensation
from reach import Arm, HideHand
from reach.sim.arm import ARMS
from reach.sim.setup import Senses

ARM = Arm.winter()
CONTROLLER = Controller(ARM, grab=True)


@given(
    st.floats(-0.3, 1.5), st.floats(0.6, 2.3), st.floats(-0.9, 0.9),
    st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(-0.2, 0.2),
)  # fmt: skip
def test_the_body_map_is_damped_least_squares_on_the_jacobian(
    shoulder: float, elbow: float, wrist: float, right: float, forward: float, turn: float
) -> None:
    angles = np.array([shoulder, elbow, wrist])
    jacobian = np.vstack([ARM.jacobian(angles), np.full(3, 0.1)])
    wanted = np.array([right, forward, 0.1 * turn])
    expected = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING_M**2 * np.eye(3), wanted)
    np.testing.assert_allclose(CONTROLLER.motor_error(angles, (right, forward), turn), expected, atol=1e-12)


@given(st.floats(-0.3, 1.5), st.floats(0.6, 2.3), st.floats(-0.9, 0.9))
def test_the_body_map_places_the_hand_where_the_arm_does(shoulder: float, elbow: float, wrist: float) -> None:
    upper, fore, _ = ARM.length
    place = hand_place(upper, fore, ARM.grasp_m, shoulder, elbow, wrist)
    np.testing.assert_allclose(place, ARM.hand([shoulder, elbow, wrist]), atol=1e-12)


def test_minimum_jerk_is_smooth_from_start_to_end() -> None:
    assert minimum_jerk(-1.0) == 0.0
    assert minimum_jerk(0.5) == pytest.approx(0.5)
    assert minimum_jerk(2.0) == 1.0
    speed = [(minimum_jerk(x + 1e-5) - minimum_jerk(x - 1e-5)) / 2e-5 for x in (0.0, 0.5, 1.0)]
    assert speed == pytest.approx([0.0, 1.875, 0.0], abs=1e-3)


@pytest.mark.parametrize(("control", "aside_m"), [("posture", 0.003), ("torque", 0.01), ("muscle", 0.025)])
@pytest.mark.parametrize("bearing_degrees", [65, 85, 105, 125])
def test_the_plan_leads_a_quiet_arm_straight_to_its_goal(bearing_degrees: float, control: str, aside_m: float) -> None:
    env = gym.make("reach/CupReach-v1", senses=Senses.noiseless(), control=control, command="absolute")
    controller = Controller(ARM, grab=False, control=control)
    bearing = math.radians(bearing_degrees)
    start = np.array([0.12, 0.36])
    cup = start + 0.2 * np.array([math.cos(bearing), math.sin(bearing)])
    observation, _ = env.reset(seed=0, options={"cup": cup})
    reach, path = Reach(), []
    for _ in range(50):
        now = Sensation.of(observation)
        controller.sense(reach, now)
        goal = ARM.posture_for(cup, reach.axis)
        assert goal is not None
        observation, _, terminated, _, info = env.step(
            env.unwrapped.action_for(controller.act(reach, now, goal - reach.rest))
        )
        path.append(info["truth"]["hand"] - start)
        if terminated:
            break
    along = (cup - start) / 0.2
    aside = np.array(path) @ [-along[1], along[0]]
    assert np.max(np.abs(aside)) < aside_m
    assert np.linalg.norm(path[-1] - (cup - start)) < 0.025


def test_a_hidden_hand_is_felt_instead() -> None:
    env = gym.make("reach/CupReach-v1")
    observation, info = env.reset(seed=0, options={"perturbation": HideHand()})
    reach = Reach()
    CONTROLLER.sense(reach, Sensation.of(observation))
    assert not reach.visible
    np.testing.assert_allclose(reach.hand, info["truth"]["hand"], atol=0.02)


@pytest.mark.parametrize("name", [name for name, make in ARMS.items() if make().wrist_locked])
def test_a_locked_wrist_is_given_no_error_and_the_other_joints_all_of_it(name: str) -> None:
    arm = ARMS[name]()
    controller = Controller(arm, grab=False)
    for shoulder, elbow in ((0.3, 1.8), (0.6, 1.2), (0.9, 1.5)):
        angles = np.array([shoulder, elbow, 0.0])
        error = controller.motor_error(angles, (0.02, -0.01), 0.3)
        assert error[2] == 0.0
        np.testing.assert_allclose(arm.jacobian(angles) @ error, (0.02, -0.01), rtol=0.1)


@pytest.mark.parametrize("name", [name for name, make in ARMS.items() if make().wrist_locked])
def test_a_learner_with_a_locked_wrist_learns_to_reach(name: str) -> None:
    model = make_learner("error-bp", gym.make("reach/CupReach-v1", arm=name), seed=0)
    train_trials(model, 150)
    env = gym.make("reach/CupReach-v1", arm=name)
    won = 0
    for trial in range(20):
        observation, _ = env.reset(seed=1000 + trial)
        state, start, over = None, np.ones(1, dtype=bool), False
        while not over:
            action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
            observation, _, terminated, truncated, info = env.step(action)
            start, over = np.zeros(1, dtype=bool), terminated or truncated
        won += info["is_success"]
    assert won >= 18
