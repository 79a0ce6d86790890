"""The arm moves as mechanics says: energy, agreement of independent formulations, step size, joint stops."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from energy import kinetic_energy
from hypothesis import given, settings
from hypothesis import strategies as st

from reach import Arm
from reach.sim import layout as s
from reach.sim import loop, setup
from reach.sim.actuators import (
    COMMAND_TIME_CONSTANT_S,
    activate_muscles,
    decode_commands,
    excite_muscles,
)
from reach.sim.arm import ARMS
from reach.sim.muscles import excitation

ARM = Arm.winter()
NO_SPRINGS = ((0.0,) * 3,) * 3


class Body:
    """One arm in a tile, moved without forces from outside."""

    def __init__(self, arm: Arm, angle: Any, velocity: Any, control: int = s.POSTURE) -> None:
        self.control = control
        self.tile = np.zeros(s.TILE_SIZE)
        # All lanes alike: a kernel moves them together.
        self.rows = self.tile.reshape(s.COLUMNS, s.LANES)
        setup.write_settings(self.rows[:, 0], arm, 1.0, asdict(setup.Cup()), asdict(setup.Senses()), control)
        self.rows[:] = self.rows[:, :1]
        self.row = self.rows[:, 0]
        self._set(s.ANGLE_1, angle)
        self._set(s.VELOCITY_1, velocity)
        self._set(s.GAIN_1, np.ones(3))
        if control == s.POSTURE:
            for column in (s.COMMAND_1, s.GOAL_1):
                self._set(column, angle)
        self.rest = self.row[s.REST_1 : s.REST_3 + 1].copy()
        self._set(s.ACTIVATION_1, excitation(*self.rest))

    def _set(self, column: int, values: Any) -> None:
        self.rows[column : column + len(values)] = np.asarray(values)[:, None]

    def take_stops_away(self) -> None:
        """Let the joints turn without limits."""
        self._set(s.LOWER_1, np.full(3, -1e9))
        self._set(s.UPPER_1, np.full(3, 1e9))

    def command(self, change: np.ndarray) -> None:
        """A command that departs by so much from the one at rest."""
        self._set(s.COMMANDED_1, self.rest + change)
        decode_commands(self.tile, s.ALL_LANES, self.control)
        excite_muscles(self.tile, s.ALL_LANES)

    def follow(self, step_s: float) -> None:
        self._set(s.COMMAND_RATE, [1.0 - np.exp(-0.5 * step_s / COMMAND_TIME_CONSTANT_S)])
        if self.control == s.MUSCLE:
            activate_muscles(self.tile, s.ALL_LANES, step_s)

    @property
    def angle(self) -> np.ndarray:
        return self.row[s.ANGLE_1 : s.ANGLE_3 + 1]

    @property
    def energy(self) -> float:
        return float(kinetic_energy(ARM, self.angle[None], self.row[None, s.VELOCITY_1 : s.VELOCITY_3 + 1])[0])

    def move(self, step_s: float = s.INNER_STEP_S) -> None:
        loop.move_arms(self.tile, s.ALL_LANES, self.control, True, False, False, step_s)


@pytest.mark.parametrize("seed", range(5))
def test_energy_is_conserved_without_viscosity_and_torque(seed: int) -> None:
    rng = np.random.default_rng(seed)
    free = replace(ARM, stiffness=NO_SPRINGS, viscosity=NO_SPRINGS)
    body = Body(free, rng.uniform(-1, 2, 3), rng.normal(0, 3, 3))
    body.take_stops_away()
    before = body.energy
    worst = 0.0
    for _ in range(round(10.0 / s.INNER_STEP_S)):
        body.move()
        worst = max(worst, abs(body.energy / before - 1.0))
    assert worst < 1e-3


def test_forward_and_inverse_dynamics_agree() -> None:
    rng = np.random.default_rng(0)
    angle, velocity, torque = (scale * rng.normal(size=(200, 3)) for scale in (1.5, 4.0, 5.0))
    acceleration = ARM.forward_dynamics(angle, velocity, torque)
    np.testing.assert_allclose(ARM.inverse_dynamics(angle, velocity, acceleration), torque, atol=1e-9)


@pytest.mark.parametrize("control", range(len(s.CONTROLS)), ids=s.CONTROLS)
@pytest.mark.parametrize("name", sorted(ARMS))
def test_halving_the_inner_step_moves_a_reach_by_less_than_half_a_millimetre(control: int, name: str) -> None:
    """The same actions, out and then against it, at the inner step and at half of it; no joint stops."""
    arm = ARMS[name]()
    out = np.array([(0.2, -0.2, 0.1), (-0.06, -0.03, -0.006), (0.04, -0.04, 0.01)][control])
    paths = []
    for halvings in (1, 2):
        body = Body(arm, setup.start_posture(arm), np.zeros(3), control)
        path = []
        for k in range(20 * s.INNER_STEPS * halvings):
            if k % (s.INNER_STEPS * halvings) == 0:
                body.command(out if k < 10 * s.INNER_STEPS * halvings else -out)
            body.follow(s.INNER_STEP_S / halvings)
            body.move(s.INNER_STEP_S / halvings)
            path.append(arm.hand(body.angle))
            assert np.all((body.angle > arm.lower) & (body.angle < arm.upper))
        paths.append(np.array(path[halvings - 1 :: halvings]))
    assert np.ptp(paths[0], axis=0).max() > 0.02
    assert np.linalg.norm(paths[0] - paths[1], axis=1).max() < 5e-4


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
