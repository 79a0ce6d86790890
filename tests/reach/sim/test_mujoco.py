"""The same bodies built in MuJoCo move alike: accelerations and whole trajectories of every preset.

A locked wrist is a joint less in MuJoCo: the hand is then a body welded to the forearm.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from reach.sim import layout as s
from reach.sim import loop, setup
from reach.sim.arm import ARMS, Arm

mujoco = pytest.importorskip("mujoco")

STATES = 1000
COMMAND_STEP = np.array([0.7, -0.6, 0.2])
BODIES = [*(make() for make in ARMS.values()), replace(Arm.winter(), wrist_locked=True)]
SMALL_STEP_S = 1e-4


def trajectory_of(arm: Arm, angle: np.ndarray, equilibrium: np.ndarray, steps: int, step_s: float) -> np.ndarray:
    """Joint angles (steps, 3) after each step under posture springs towards `equilibrium`, by the compiled step."""
    tile = np.zeros(s.TILE_SIZE)
    row = tile[:: s.LANES]
    setup.write_settings(row, arm, 1.0, asdict(setup.Cup()), asdict(setup.Senses()), s.POSTURE)
    row[s.ANGLE_1 : s.ANGLE_3 + 1] = angle
    row[s.COMMAND_1 : s.COMMAND_3 + 1] = row[s.GOAL_1 : s.GOAL_3 + 1] = equilibrium
    row[s.GAIN_1 : s.GAIN_3 + 1] = 1.0
    path = np.empty((steps, 3))
    for k in range(steps):
        loop.move_arms(tile, s.ALL_LANES, s.POSTURE, None, False, False, step_s)
        path[k] = row[s.ANGLE_1 : s.ANGLE_3 + 1]
    return path


def build(arm: Arm, step_s: float = SMALL_STEP_S) -> tuple[Any, Any]:
    """Model and data of `arm`, without gravity, contacts and damping, integrated by Runge-Kutta of fourth order."""

    def body(k: int, offset: float, inner: str) -> str:
        joint = "" if arm.wrist_locked and k == 2 else '<joint type="hinge" axis="0 0 1"/>'
        # Only the moment about z acts in the plane; the others must satisfy the triangle inequality.
        moment = arm.inertia[k]
        return (
            f'<body pos="{offset!r} 0 0">{joint}<inertial pos="{arm.centre[k]!r} 0 0" mass="{arm.mass[k]!r}" '
            f'diaginertia="{moment!r} {moment!r} {moment!r}"/>{inner}</body>'
        )

    hand = body(2, arm.length[1], "") if arm.mass[2] > 0 else ""
    xml = (
        f'<mujoco><option gravity="0 0 0" timestep="{step_s!r}" integrator="RK4"/><worldbody>'
        + body(0, 0.0, body(1, arm.length[0], hand))
        + "</worldbody></mujoco>"
    )
    model = mujoco.MjModel.from_xml_string(xml)
    return model, mujoco.MjData(model)


def random_states(arm: Arm, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles, velocities and torques or accelerations (STATES, 3) all over the joint ranges; 0 at a locked wrist."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(arm.lower, arm.upper, (STATES, 3))
    velocity, drive = (scale * rng.normal(size=(STATES, 3)) for scale in (4.0, 5.0))
    if arm.wrist_locked:
        for values in (angle, velocity, drive):
            values[:, 2] = 0.0
    return angle, velocity, drive


def joints_of(model: Any) -> int:
    return int(model.nv)


def test_a_locked_wrist_is_a_joint_less() -> None:
    assert {name: joints_of(build(make())[0]) for name, make in ARMS.items()} == {
        "winter": 3,
        "shadmehr1994": 2,
        "li-todorov2004": 2,
    }


@pytest.mark.parametrize("arm", BODIES)
def test_accelerations_agree(arm: Arm) -> None:
    model, data = build(arm)
    angle, velocity, torque = random_states(arm, 1)
    ours = arm.forward_dynamics(angle, velocity, torque)
    n = joints_of(model)
    for k in range(STATES):
        data.qpos[:], data.qvel[:], data.qfrc_applied[:] = angle[k, :n], velocity[k, :n], torque[k, :n]
        mujoco.mj_forward(model, data)
        assert np.linalg.norm(ours[k, :n] - data.qacc) <= 1e-9 * np.linalg.norm(data.qacc)


@pytest.mark.parametrize("arm", BODIES)
def test_inverse_dynamics_agree(arm: Arm) -> None:
    model, data = build(arm)
    angle, velocity, acceleration = random_states(arm, 2)
    ours = arm.inverse_dynamics(angle, velocity, acceleration)
    n = joints_of(model)
    for k in range(STATES):
        data.qpos[:], data.qvel[:], data.qacc[:] = angle[k, :n], velocity[k, :n], acceleration[k, :n]
        mujoco.mj_inverse(model, data)
        assert np.linalg.norm(ours[k, :n] - data.qfrc_inverse) <= 1e-9 * np.linalg.norm(data.qfrc_inverse)


@pytest.mark.parametrize("arm", BODIES)
def test_trajectories_of_one_second_agree(arm: Arm) -> None:
    """Posture springs pull the arm through a second of large movement; the hands never part by 0.1 mm."""
    start = setup.start_posture(arm)
    goal = start + COMMAND_STEP * (1.0, 1.0, 0.0 if arm.wrist_locked else 1.0)
    steps = round(1.0 / SMALL_STEP_S)
    ours = trajectory_of(arm, start, goal, steps, SMALL_STEP_S)
    model, data = build(arm)
    n = joints_of(model)
    stiffness, viscosity = np.array(arm.stiffness)[:n, :n], np.array(arm.viscosity)[:n, :n]

    def springs(_: Any, data: Any) -> None:
        data.qfrc_passive[:] = stiffness @ (goal[:n] - data.qpos) - viscosity @ data.qvel

    data.qpos[:] = start[:n]
    farthest = 0.0
    mujoco.set_mjcb_passive(springs)
    try:
        for k in range(steps):
            mujoco.mj_step(model, data)
            theirs = np.append(data.qpos, np.zeros(3 - n))
            farthest = max(farthest, float(np.linalg.norm(arm.hand(ours[k]) - arm.hand(theirs))))
    finally:
        mujoco.set_mjcb_passive(None)
    assert np.linalg.norm(arm.hand(ours[-1]) - arm.hand(start)) > 0.05
    assert farthest < 1e-4
