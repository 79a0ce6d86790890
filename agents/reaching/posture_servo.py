"""The posture servo: joint commands for a wanted posture under torque or muscle control.

Under posture control the command is the posture, and the springs of the arm's joints move the arm there. The servo
simulates a reference arm on such springs, and the real arm follows it by computed torque control (Craig, Introduction
to Robotics, section 10.4). Because proprioception is delayed, a forward model of the unperturbed body, driven by the
commands sent, predicts the present state (Wolpert, Ghahramani and Jordan 1995, Science 269:1880; as a Smith predictor:
Miall et al. 1993, J Motor Behav 25:203). Each observation corrects the model at the time it was sampled. Spring torques
computed from the delayed angles would oscillate.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reach import CONTROL_STEP_S, Arm, joint_command

Array = NDArray[np.float64]

# Time constant of the command filter; that of muscle activation is close to it.
COMMAND_LAG_S = 0.04
LAG_DECAY = math.exp(-CONTROL_STEP_S / COMMAND_LAG_S)
# Delay of proprioception, 50 ms or two and a half steps, rounded up.
DELAY_STEPS = 3
# Share of the difference between sensed and predicted angles (velocities) that each step corrects in the model.
ANGLE_GAIN = 0.2
VELOCITY_GAIN = 0.3
# Critically damped decay rate of the difference between the real arm and the reference arm; limited by the command lag.
DECAY_PER_S = 8.0


@dataclass
class BodyState:
    """State of the forward model and of the reference arm.

    Attributes:
        angle, velocity: (3,) rad and rad/s, predicted state of the real arm.
        torque: (3,) N m, present active torque.
        past: predicted angles and velocities (6,) of the latest steps, oldest first.
        reference, reference_velocity: (3,) rad and rad/s, state of the reference arm.
    """

    angle: Array
    reference: Array
    velocity: Array = field(default_factory=lambda: np.zeros(3))
    reference_velocity: Array = field(default_factory=lambda: np.zeros(3))
    torque: Array = field(default_factory=lambda: np.zeros(3))
    past: deque[Array] = field(default_factory=lambda: deque(maxlen=DELAY_STEPS + 1))


class PostureServo:
    """Compute joint commands that hold and move an arm by torques or muscles."""

    def __init__(self, arm: Arm, control: str) -> None:
        """Make a servo.

        Args:
            arm: the learner's own body, unperturbed.
            control: "torque" or "muscle".
        """
        self.arm = arm
        self.control = control
        self._stiffness, self._viscosity = np.asarray(arm.stiffness), np.asarray(arm.viscosity)
        self._joint_viscosity = np.asarray(arm.joint_viscosity)

    def command(self, state: BodyState | None, joints: Array, posture: Array) -> tuple[Array, BodyState]:
        """Return the joint command (3,) in [-1, 1] for a wanted posture, and the state after it has been sent.

        Args:
            state: of the latest step; None at the start of a reach.
            joints: (6,) sensed joint angles and velocities, rad and rad/s.
            posture: (3,) rad.
        """
        state = state or BodyState(joints[:3].copy(), joints[:3].copy())
        self._correct(state, joints)
        before = state.reference_velocity
        state.reference, state.reference_velocity = self._step(
            state.reference, before, self._stiffness @ (posture - state.reference), self._viscosity, self._stiffness
        )
        # The command acts one lag later, so it is computed for the state at that time.
        angle = state.angle + COMMAND_LAG_S * state.velocity
        acceleration = (
            (state.reference_velocity - before) / CONTROL_STEP_S
            + DECAY_PER_S**2 * (state.reference - angle)
            + 2.0 * DECAY_PER_S * (state.reference_velocity - state.velocity)
        )
        wanted = self.arm.inverse_dynamics(angle, state.velocity, acceleration)
        command = joint_command(self.arm, self.control, wanted, angle, state.velocity)
        late = state.torque
        target = wanted + self._joint_viscosity @ state.velocity
        state.torque = target + (late - target) * LAG_DECAY
        state.angle, state.velocity = self._step(
            state.angle, state.velocity, 0.5 * (late + state.torque), self._joint_viscosity
        )
        return command, state

    @staticmethod
    def _correct(state: BodyState, joints: Array) -> None:
        """Correct the model by delayed joint angles and velocities, and shift the states predicted since then."""
        state.past.append(np.concatenate([state.angle, state.velocity]))
        then = 0.5 * (state.past[0] + state.past[1]) if len(state.past) > DELAY_STEPS else state.past[0]
        shift = np.repeat((ANGLE_GAIN, VELOCITY_GAIN), 3) * (joints - then)
        state.angle = state.angle + shift[:3]
        state.velocity = state.velocity + shift[3:]
        for prediction in state.past:
            prediction += shift

    def _step(
        self, angle: Array, velocity: Array, torque: Array, viscosity: Array, stiffness: Array | None = None
    ) -> tuple[Array, Array]:
        """Return angles and velocities (3,) after a control step; viscosity and stiffness are integrated implicitly."""
        accelerations = np.vstack([np.zeros(3), np.eye(3)])
        velocities = np.vstack([velocity, np.zeros((3, 3))])
        torques = self.arm.inverse_dynamics(np.tile(angle, (4, 1)), velocities, accelerations)
        # The torques of unit accelerations are the columns of the mass matrix.
        inertia = torques[1:].T
        resistance = inertia + CONTROL_STEP_S * viscosity
        if stiffness is not None:
            resistance = resistance + CONTROL_STEP_S**2 * stiffness
        push = inertia @ velocity + CONTROL_STEP_S * (torque - torques[0])
        free = 2 if self.arm.wrist_locked else 3
        after = np.zeros(3)
        after[:free] = np.linalg.solve(resistance[:free, :free], push[:free])
        return angle + CONTROL_STEP_S * after, after
