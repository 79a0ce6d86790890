"""The reach controller that all error-driven learners share: timing, plan, visual feedback and grip.

A reach is prepared for 0.2 s, in which the cup's place is averaged; then the arm is led on a straight minimum-jerk
course (Flash and Hogan 1985) to a posture that the learner supplies, while a fixed and modest visual feedback loop
pulls the seen hand towards where it ought to be by now. It uses what the senses give and the learner's own
unperturbed body (kinematics and inertia), and nothing else. What it does in each step is in `agents.reach_kernel`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.body_map import motor_error
from agents.posture_servo import COMMAND_LAG_S, CONTROL_STEP_S, BodyState, PostureServo
from agents.reach_kernel import (
    BODY,
    MOVEMENT_S,
    PLAN_STEPS,
    PREPARATION_STEPS,
    REACH,
    act,
    minimum_jerk,
    sense,
)
from agents.sensation import Sensation
from reach import Arm

Array = NDArray[np.float64]

# Of shoulder, elbow and a locked wrist.
BOTH_FREE = np.array([1.0, 1.0, 0.0])


class Reach:
    """What the controller remembers within one reach.

    Attributes:
        memory: (1,) of `agents.reach_kernel.REACH`, on which the kernels work.
        picture: on the retina, its mean while the reach is prepared; None without a retina.
        body: what the own body is believed to do, where torques or muscles are commanded.
    """

    def __init__(self) -> None:
        """Nothing has been sensed yet."""
        self.memory = np.zeros(1, dtype=REACH)
        self.picture: Array | None = None
        self.body: BodyState | None = None

    @property
    def step(self) -> int:
        """Control steps since the trial began."""
        return int(self.memory["step"].item())

    @property
    def time_s(self) -> float:
        """Time since the trial began, s."""
        return self.step * CONTROL_STEP_S

    @property
    def cup(self) -> Array:
        """The filtered seen cup, (2,) m, as it is now."""
        return self._copy("cup")

    @property
    def aimed_cup(self) -> Array:
        """The filtered seen cup, (2,) m, at the moment of launch."""
        return self._copy("aimed_cup")

    @property
    def start(self) -> Array:
        """Where the hand was seen (or felt, when hidden) at the start, (2,) m."""
        return self._copy("start")

    @property
    def rest(self) -> Array:
        """The posture that was held at the start, (3,) rad."""
        return self._copy("rest")

    @property
    def feedback(self) -> Array:
        """What feedback has added to the posture so far, (3,) rad."""
        return self._copy("feedback")

    @property
    def hand(self) -> Array:
        """The latest sight (or feeling) of the hand, (2,) m."""
        return self._copy("hand")

    @property
    def visible(self) -> bool:
        """Whether `hand` was seen."""
        return bool(self.memory["visible"].item())

    @property
    def felt(self) -> Array:
        """Joint angles (3,) rad of the moment at which `hand` was seen."""
        return self._copy("felt")

    @property
    def axis(self) -> float:
        """Direction, rad, in which the hand should point at the cup: that of the reach, as far as the wrist allows."""
        return float(self.memory["axis"].item())

    @property
    def past_angles(self) -> Array:
        """Joint angles (n, 3) rad as they were felt in the latest steps, the oldest first."""
        past: Array = self.memory["past_angles"][0]
        return past[max(0, len(past) - self.step) :]

    def launch(self, feedforward: Array, plan: Array) -> None:
        """Set out for a change of posture (3,) rad, by postures (PLAN_STEPS, 3) rad."""
        self.memory["goal"] = feedforward
        self.memory["plan"] = plan

    def _copy(self, name: str) -> Array:
        part: Array = self.memory[name][0].copy()
        return part


class Controller:
    """The fixed part of a reaching learner: from sensations and a feed-forward posture to commands."""

    def __init__(self, arm: Arm, grab: bool, control: str = "posture", feedback_share: float = 1.0) -> None:
        """Make a controller for a body.

        Args:
            arm: the learner's own body, unperturbed.
            grab: whether the fingers are to close on the cup.
            control: what its commands mean: "posture", "torque" or "muscle".
            feedback_share: of the visual feedback, 0..1; with 0 the arm goes where the learner says, seen or not.
        """
        self.arm = arm
        self.servo = None if control == "posture" else PostureServo(arm, control)
        upper, fore, _ = arm.length
        lengths = upper, fore, arm.grasp_m
        limits = tuple(arm.lower), tuple(arm.upper)
        settings = feedback_share, grab, self.servo is None, arm.wrist_locked
        self._body = np.array([(*lengths, *limits, *settings)], dtype=BODY)

    def sense(self, reach: Reach, now: Sensation) -> None:
        """Take in one observation."""
        if now.picture is not None and reach.step < PREPARATION_STEPS:
            before = np.zeros(now.picture.shape) if reach.picture is None else reach.picture
            reach.picture = before + (now.picture - before) / (reach.step + 1)
        sense(reach.memory, self._body, now.row)

    def act(self, reach: Reach, now: Sensation, feedforward: Array) -> NDArray[np.float32]:
        """The command (4,) in [-1, 1] for this step; moves the reach on by one step.

        Args:
            reach: memory of this reach, updated.
            now: the observation that `sense` has taken in.
            feedforward: (3,) rad, the learned change of posture from rest that should bring the hand to the cup.
        """
        if reach.step == PREPARATION_STEPS:
            reach.launch(feedforward, self.plan(reach.rest, reach.rest + feedforward))
        command = np.empty(4, dtype=np.float32)
        act(reach.memory, self._body, now.row, feedforward, command)
        if self.servo is not None:
            joints, reach.body = self.servo.command(reach.body, now.felt, reach.memory["posture"][0])
            command[:3] = np.minimum(1.0, np.maximum(-1.0, joints))
        return command

    def plan(self, rest: Array, goal: Array) -> Array:
        """Equilibrium postures (steps, 3) rad, one a control step, that lead the arm from rest to goal, (3,) rad.

        The hand goes straight with minimum jerk and turns on the way; the posture springs are led by what the body's
        own inertia and viscosity will ask of them: theta* = theta + K^-1 (V theta' + inverse dynamics). Where the
        straight line leaves the reachable, the joints go straight instead.
        """
        if self.arm.wrist_locked:
            rest, goal = rest * BOTH_FREE, goal * BOTH_FREE
        times = np.arange(-1, PLAN_STEPS + 1) * CONTROL_STEP_S + COMMAND_LAG_S
        course = np.array([minimum_jerk(t / MOVEMENT_S) for t in times])[:, None]
        ends = self.arm.hand(rest), self.arm.hand(goal)
        axes = float(np.sum(rest)), float(np.sum(goal))
        angles = self.arm.inverse_kinematics(
            ends[0] + course * (ends[1] - ends[0]), axes[0] + course[:, 0] * (axes[1] - axes[0])
        )
        if not self.arm.is_within_limits(angles):
            angles = rest + course * (goal - rest)
        velocity = (angles[2:] - angles[:-2]) / (2.0 * CONTROL_STEP_S)
        acceleration = (angles[2:] - 2.0 * angles[1:-1] + angles[:-2]) / CONTROL_STEP_S**2
        torque = self.arm.inverse_dynamics(angles[1:-1], velocity, acceleration)
        torque += velocity @ np.asarray(self.arm.viscosity)
        lead: Array = np.linalg.solve(np.asarray(self.arm.stiffness), torque.T).T
        return angles[1:-1] + lead

    def motor_error(self, angles: Array, displacement: tuple[float, float], turn: float) -> Array:
        """Return the change of posture (3,) rad that moves the hand by `displacement` m and turns it by `turn` rad."""
        arm = self.arm
        upper, fore, _ = arm.length
        q1, q2, q3 = angles.tolist()
        return np.array(motor_error(upper, fore, arm.grasp_m, arm.wrist_locked, q1, q2, q3, *displacement, turn))
