"""The arm moves as mechanics says: energy, agreement of independent formulations, step size, joint stops."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach import Arm
from reach.sim import setup, step
from reach.sim import state as s
from reach.sim.dynamics import forward_dynamics, kinetic_energy

ARM = Arm.winter()
NO_SPRINGS = ((0.0,) * 3,) * 3


class Body:
    """One arm in a tile, moved without forces from outside."""

    def __init__(self, arm: Arm, angle: Any, velocity: Any) -> None:
        self.tile = np.zeros(s.TILE_SIZE)
        for lane in range(s.LANES):
            row = self.tile[lane :: s.LANES]
            write_settings(row, arm)
            row[s.ANGLE_1 : s.ANGLE_3 + 1] = angle
            row[s.VELOCITY_1 : s.VELOCITY_3 + 1] = velocity
            row[s.COMMAND_1 : s.COMMAND_3 + 1] = angle
            row[s.GAIN_1 : s.GAIN_3 + 1] = 1.0
        self.row = self.tile[:: s.LANES]

    @property
    def angle(self) -> np.ndarray:
        return self.row[s.ANGLE_1 : s.ANGLE_3 + 1]

    @property
    def energy(self) -> float:
        return float(kinetic_energy(ARM, self.angle[None], self.row[None, s.VELOCITY_1 : s.VELOCITY_3 + 1])[0])

    def lead(self, change: Any) -> None:
        for lane in range(s.LANES):
            self.tile[lane :: s.LANES][s.COMMAND_1 : s.COMMAND_3 + 1] += change

    def move(self, step_s: float = s.INNER_STEP_S) -> None:
        step.move_arms(self.tile, s.POSTURE, False, False, step_s)


def write_settings(row: np.ndarray, arm: Arm) -> None:
    setup.write_settings(row, arm, 1.0, asdict(setup.Cup()), asdict(setup.Senses()), s.POSTURE)


@pytest.mark.parametrize("seed", range(5))
def test_energy_is_conserved_without_viscosity_and_torque(seed: int) -> None:
    rng = np.random.default_rng(seed)
    unlimited = replace(ARM, lower=(-1e9,) * 3, upper=(1e9,) * 3, stiffness=NO_SPRINGS, viscosity=NO_SPRINGS)
    body = Body(unlimited, rng.uniform(-1, 2, 3), rng.normal(0, 3, 3))
    before = body.energy
    worst = 0.0
    for _ in range(round(10.0 / s.INNER_STEP_S)):
        body.move()
        worst = max(worst, abs(body.energy / before - 1.0))
    assert worst < 1e-3


def test_forward_and_inverse_dynamics_agree() -> None:
    rng = np.random.default_rng(0)
    angle, velocity, torque = (scale * rng.normal(size=(200, 3)) for scale in (1.5, 4.0, 5.0))
    acceleration = forward_dynamics(ARM, angle, velocity, torque)
    np.testing.assert_allclose(ARM.inverse_dynamics(angle, velocity, acceleration), torque, atol=1e-9)


def test_halving_the_inner_step_moves_the_hand_by_less_than_half_a_millimetre() -> None:
    ends = []
    for halvings in (1, 2):
        body = Body(ARM, setup.start_posture(ARM), np.zeros(3))
        body.lead((0.7, -0.6, 0.1))
        for _ in range(200 * halvings):
            body.move(s.INNER_STEP_S / halvings)
        ends.append(ARM.hand(body.angle))
    assert np.linalg.norm(ends[0] - ends[1]) < 5e-4


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_joint_stops_are_never_crossed_and_take_energy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    free = replace(ARM, stiffness=NO_SPRINGS, viscosity=NO_SPRINGS)
    lower, upper = np.asarray(ARM.lower), np.asarray(ARM.upper)
    body = Body(free, rng.uniform(lower, upper), rng.normal(0, 6, 3))
    first = body.energy
    for _ in range(400):
        body.move()
        assert np.all(body.angle > lower - np.radians(0.5))
        assert np.all(body.angle < upper + np.radians(0.5))
    # A movement that meets no stop keeps its energy to the integration error.
    assert body.energy < first * (1.0 + 1e-6)


def test_viscosity_only_takes_energy() -> None:
    body = Body(replace(ARM, stiffness=NO_SPRINGS), (0.5, 1.2, 0.0), (1.0, -1.0, 0.5))
    energies = [body.energy]
    for _ in range(100):
        body.move()
        energies.append(body.energy)
    assert np.all(np.diff(energies) < 0)
