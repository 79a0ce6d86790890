"""The arm moves as mechanics says: energy, agreement of independent formulations, step size, joint stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach import Arm
from reach.perturbations import write_perturbations
from reach.sim import setup, step
from reach.sim import state as s
from reach.sim.dynamics import forward_dynamics, kinetic_energy

ARM = Arm.winter()
NO_SPRINGS = ((0.0,) * 3,) * 3
NO_NOISE = (1.0, 1.0, 1.0)


def row_of(arm: Arm) -> np.ndarray:
    return setup.settings_row(arm, setup.Cup(), setup.Senses())


def undisturbed() -> np.ndarray:
    row = np.zeros(s.DISTURBANCE_SIZE)
    write_perturbations((), row, np.zeros(2))
    return row


def body_at(angle: Any, velocity: Any) -> np.ndarray:
    body = np.zeros(s.BODY_SIZE)
    body[s.ANGLE_1 : s.ANGLE_3 + 1] = angle
    body[s.VELOCITY_1 : s.VELOCITY_3 + 1] = velocity
    body[s.COMMAND_1 : s.COMMAND_3 + 1] = angle
    return body


def energy(body: np.ndarray) -> float:
    return float(
        kinetic_energy(ARM, body[None, s.ANGLE_1 : s.ANGLE_3 + 1], body[None, s.VELOCITY_1 : s.VELOCITY_3 + 1])[0]
    )


@pytest.mark.parametrize("seed", range(5))
def test_energy_is_conserved_without_viscosity_and_torque(seed: int) -> None:
    rng = np.random.default_rng(seed)
    unlimited = replace(ARM, lower=(-1e9,) * 3, upper=(1e9,) * 3, stiffness=NO_SPRINGS, viscosity=NO_SPRINGS)
    setting = row_of(unlimited)
    body = body_at(rng.uniform(-1, 2, 3), rng.normal(0, 3, 3))
    before = energy(body)
    worst = 0.0
    for _ in range(round(10.0 / s.INNER_STEP_S)):
        step.move_arm(body, setting, undisturbed(), NO_NOISE, s.INNER_STEP_S)
        worst = max(worst, abs(energy(body) / before - 1.0))
    assert worst < 1e-3


def test_forward_and_inverse_dynamics_agree() -> None:
    rng = np.random.default_rng(0)
    angle, velocity, torque = (scale * rng.normal(size=(200, 3)) for scale in (1.5, 4.0, 5.0))
    acceleration = forward_dynamics(row_of(ARM), angle, velocity, torque)
    np.testing.assert_allclose(ARM.inverse_dynamics(angle, velocity, acceleration), torque, atol=1e-9)


def test_forward_dynamics_agree_with_mujoco() -> None:
    mujoco = pytest.importorskip("mujoco")
    (l1, l2, _), m, c, i = ARM.length, ARM.mass, ARM.centre, ARM.inertia

    def body(k: int, offset: float, inner: str) -> str:
        small = 1e-3 * i[k]
        return (
            f'<body pos="{offset} 0 0"><joint type="hinge" axis="0 0 1"/><inertial pos="{c[k]} 0 0" mass="{m[k]}" '
            f'diaginertia="{i[k]} {i[k] + small} {i[k]}"/>{inner}</body>'
        )

    xml = (
        '<mujoco><option gravity="0 0 0"/><worldbody>'
        + body(0, 0.0, body(1, l1, body(2, l2, "")))
        + "</worldbody></mujoco>"
    )
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    rng = np.random.default_rng(1)
    angle, velocity, torque = (scale * rng.normal(size=(300, 3)) for scale in (1.5, 4.0, 5.0))
    ours = forward_dynamics(row_of(ARM), angle, velocity, torque)
    for k in range(len(angle)):
        data.qpos[:], data.qvel[:], data.qfrc_applied[:] = angle[k], velocity[k], torque[k]
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(ours[k], data.qacc, rtol=1e-9, atol=1e-9 * np.abs(data.qacc).max())


def test_halving_the_inner_step_moves_the_hand_by_less_than_half_a_millimetre() -> None:
    setting = row_of(ARM)
    ends = []
    for halvings in (1, 2):
        body = body_at(setup.start_posture(ARM), np.zeros(3))
        body[s.COMMAND_1 : s.COMMAND_3 + 1] += (0.7, -0.6, 0.1)
        for _ in range(200 * halvings):
            step.move_arm(body, setting, undisturbed(), NO_NOISE, s.INNER_STEP_S / halvings)
        ends.append(ARM.hand(body[s.ANGLE_1 : s.ANGLE_3 + 1]))
    assert np.linalg.norm(ends[0] - ends[1]) < 5e-4


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_joint_stops_are_never_crossed_and_take_energy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    free = replace(ARM, stiffness=NO_SPRINGS, viscosity=NO_SPRINGS)
    setting, lower, upper = row_of(free), np.asarray(ARM.lower), np.asarray(ARM.upper)
    body = body_at(rng.uniform(lower, upper), rng.normal(0, 6, 3))
    first = energy(body)
    for _ in range(400):
        step.move_arm(body, setting, undisturbed(), NO_NOISE, s.INNER_STEP_S)
        angle = body[s.ANGLE_1 : s.ANGLE_3 + 1]
        assert np.all(angle > lower - np.radians(0.5))
        assert np.all(angle < upper + np.radians(0.5))
    assert energy(body) < first


def test_viscosity_only_takes_energy() -> None:
    setting = row_of(replace(ARM, stiffness=NO_SPRINGS))
    body = body_at((0.5, 1.2, 0.0), (1.0, -1.0, 0.5))
    energies = [energy(body)]
    for _ in range(100):
        step.move_arm(body, setting, undisturbed(), NO_NOISE, s.INNER_STEP_S)
        energies.append(energy(body))
    assert np.all(np.diff(energies) < 0)
