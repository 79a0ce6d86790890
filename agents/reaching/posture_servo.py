"""From a wanted posture to joint commands, where torques or muscles are commanded.

Under posture control the command is the posture, and the arm's own springs do the rest. Here the learner imagines its
arm on those springs and makes the real one follow by computed torque (Craig, Introduction to Robotics, section 10.4).
It feels its joints late, so a forward model of its own unperturbed body, driven by the commands it has sent, carries
what was felt to now (Wolpert, Ghahramani and Jordan 1995, Science 269:1880; as a Smith predictor: Miall et al. 1993, J
Motor Behav 25:203): what is felt corrects the model of the moment it tells of. Springs of its own it could not command:
through the lag of torques they would swing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reach import Arm
from reach.sim.actuators import joint_action

Array = NDArray[np.float64]

CONTROL_STEP_S = 0.02
# Lag of the command filter; that of muscle activation is near it.
COMMAND_LAG_S = 0.04
LAGGING = math.exp(-CONTROL_STEP_S / COMMAND_LAG_S)
# The joints are felt 50 ms late: two steps and a half.
FELT_LATE_STEPS = 3
# Shares of the difference between what was felt and what was expected that correct the model, each step.
ANGLE_GAIN = 0.2
VELOCITY_GAIN = 0.3
# What parts the real arm from the imagined one decays with this rate, critically damped.
DECAY_PER_S = 8.0


@dataclass
class BodyState:
    """What is believed of the body, and what is imagined.

    Attributes:
        angle, velocity: joints (3,) now, rad and rad/s.
        torque: (3,) N m, the active torque that acts by now.
        past: angles and velocities (6,) of the latest steps, the oldest first.
        imagined, imagined_velocity: joints (3,) of the arm on springs, rad and rad/s.
    """

    angle: Array
    imagined: Array
    velocity: Array = field(default_factory=lambda: np.zeros(3))
    imagined_velocity: Array = field(default_factory=lambda: np.zeros(3))
    torque: Array = field(default_factory=lambda: np.zeros(3))
    past: deque[Array] = field(default_factory=lambda: deque(maxlen=FELT_LATE_STEPS + 1))


class PostureServo:
    """Holds and moves an arm at postures by torques or muscles.

    Attributes:
        control: "torque" or "muscle".
    """

    def __init__(self, arm: Arm, control: str) -> None:
        """Make a servo.

        Args:
            arm: the learner's own body, unperturbed.
            control: what its commands mean.
        """
        self.arm = arm
        self.control = control
        self._stiffness, self._viscosity = np.asarray(arm.stiffness), np.asarray(arm.viscosity)
        self._joint_viscosity = np.asarray(arm.joint_viscosity)

    def command(self, state: BodyState | None, felt: Array, posture: Array) -> tuple[Array, BodyState]:
        """The joint command (3,) in [-1, 1] for a wanted posture, and the model after it has been sent.

        Args:
            state: of the model; None at the start of a reach.
            felt: (6,) joint angles and velocities, rad and rad/s, as proprioception reports them.
            posture: (3,) rad.
        """
        state = state or BodyState(felt[:3].copy(), felt[:3].copy())
        self._correct(state, felt)
        before = state.imagined_velocity
        state.imagined, state.imagined_velocity = self._moved(
            state.imagined, before, self._stiffness @ (posture - state.imagined), self._viscosity, self._stiffness
        )
        # The command acts late: it is for the state of then.
        angle = state.angle + COMMAND_LAG_S * state.velocity
        acceleration = (
            (state.imagined_velocity - before) / CONTROL_STEP_S
            + DECAY_PER_S**2 * (state.imagined - angle)
            + 2.0 * DECAY_PER_S * (state.imagined_velocity - state.velocity)
        )
        wanted = self.arm.inverse_dynamics(angle, state.velocity, acceleration)
        command = joint_action(self.arm, self.control, wanted, angle, state.velocity)
        late = state.torque
        asked = wanted + self._joint_viscosity @ state.velocity
        state.torque = asked + (late - asked) * LAGGING
        state.angle, state.velocity = self._moved(
            state.angle, state.velocity, 0.5 * (late + state.torque), self._joint_viscosity
        )
        return command, state

    @staticmethod
    def _correct(state: BodyState, felt: Array) -> None:
        state.past.append(np.concatenate([state.angle, state.velocity]))
        then = 0.5 * (state.past[0] + state.past[1]) if len(state.past) > FELT_LATE_STEPS else state.past[0]
        shift = np.repeat((ANGLE_GAIN, VELOCITY_GAIN), 3) * (felt - then)
        state.angle = state.angle + shift[:3]
        state.velocity = state.velocity + shift[3:]
        for one in state.past:
            one += shift

    def _moved(
        self, angle: Array, velocity: Array, torque: Array, viscosity: Array, stiffness: Array | None = None
    ) -> tuple[Array, Array]:
        """Angles and velocities (3,) of the own body after a control step; what resists acts at the step's end."""
        accelerations = np.vstack([np.zeros(3), np.eye(3)])
        velocities = np.vstack([velocity, np.zeros((3, 3))])
        torques = self.arm.inverse_dynamics(np.tile(angle, (4, 1)), velocities, accelerations)
        # The torques of unit accelerations are the columns of the mass matrix.
        inertia = torques[1:].T
        resisting = inertia + CONTROL_STEP_S * viscosity
        if stiffness is not None:
            resisting = resisting + CONTROL_STEP_S**2 * stiffness
        push = inertia @ velocity + CONTROL_STEP_S * (torque - torques[0])
        free = 2 if self.arm.wrist_locked else 3
        after = np.zeros(3)
        after[:free] = np.linalg.solve(resisting[:free, :free], push[:free])
        return angle + CONTROL_STEP_S * after, after
