"""The reach controller that all error-driven learners share: timing, plan, visual feedback and grip.

A reach is prepared for 0.2 s, in which the cup's place is averaged; then the arm is led on a straight minimum-jerk
course (Flash and Hogan 1985) to a posture that the learner supplies, while a fixed and modest visual feedback loop
pulls the seen hand towards where it ought to be by now. It uses what the senses give and the learner's own
unperturbed body (kinematics and inertia), and nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.body_map import motor_error
from agents.posture_servo import COMMAND_LAG_S, CONTROL_STEP_S, BodyState, PostureServo
from agents.sensation import Sensation
from reach import Arm

Array = NDArray[np.float64]

PREPARATION_S = 0.20
MOVEMENT_S = 0.60
# What the plan, which leads the command filter by its lag, means for now is seen one visual delay later.
SIGHT_LAG_S = 0.14
FEEDBACK_GAIN_PER_S = 1.2
AXIS_GAIN_PER_S = 1.0
FASTEST_CORRECTION_M_S = 0.25
VISION_BEHIND_TOUCH_STEPS = 2
CUP_FILTER = 0.10

# The approach funnel: sideways errors above the clearance keep the fingertips this far before the cup.
FUNNEL_CLEARANCE_M = 0.012
FUNNEL_SLOPE = 4.0
FUNNEL_STANDOFF_M = 0.085
AXIS_RANGE_DEGREES = (80.0, 130.0)


OPEN_APERTURE_M = 0.11
LARGEST_APERTURE_M = 0.11
CLOSE_WITHIN_M = 0.015
EMPTY_APERTURE_M = 0.045
RELEASE_STEPS = 15


def minimum_jerk(share: float) -> float:
    """Position from 0 to 1 of a minimum-jerk movement at a share of its time (Flash and Hogan 1985, eq. 4)."""
    x = min(1.0, max(0.0, share))
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


@dataclass
class Reach:
    """What the controller remembers within one reach.

    Attributes:
        step: control steps since the trial began.
        cup: (2,) m, the filtered seen cup; `aimed_cup` is that of the moment of launch.
        picture: on the retina, its mean while the reach is prepared; None without a retina.
        start: (2,) m, where the hand was seen (or felt, when hidden) at the start.
        feedback: (3,) rad, what feedback has added to the posture so far.
        hand: (2,) m, the latest sight (or feeling) of the hand.
        felt: joint angles (3,) rad of the moment at which `hand` was seen.
        body: what the own body is believed to do, where torques or muscles are commanded.
    """

    step: int = 0
    cup: Array = field(default_factory=lambda: np.zeros(2))
    aimed_cup: Array = field(default_factory=lambda: np.zeros(2))
    picture: Array | None = None
    start: Array = field(default_factory=lambda: np.zeros(2))
    rest: Array = field(default_factory=lambda: np.zeros(3))
    feedback: Array = field(default_factory=lambda: np.zeros(3))
    hand: Array = field(default_factory=lambda: np.zeros(2))
    visible: bool = False
    felt: Array = field(default_factory=lambda: np.zeros(3))
    body: BodyState | None = None
    axis: float = 0.0
    closing: bool = False
    opening: int = 0
    goal: Array = field(default_factory=lambda: np.zeros(3))
    plan: Array = field(default_factory=lambda: np.zeros((0, 3)))
    past_angles: deque[Array] = field(default_factory=lambda: deque(maxlen=VISION_BEHIND_TOUCH_STEPS + 1))

    @property
    def time_s(self) -> float:
        """Time since the trial began, s."""
        return self.step * CONTROL_STEP_S


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
        self.feedback_share = feedback_share
        self.arm = arm
        self.servo = PostureServo(arm, control)
        self.grab = grab
        self._lower = np.asarray(arm.lower)
        self._upper = np.asarray(arm.upper)

    def sense(self, reach: Reach, now: Sensation) -> None:
        """Take in one observation."""
        reach.past_angles.append(now.angles)
        reach.felt = reach.past_angles[0] if len(reach.past_angles) > VISION_BEHIND_TOUCH_STEPS else now.angles
        reach.visible = now.visible
        reach.hand = now.hand if now.visible else self.arm.hand(reach.felt)
        if reach.step == 0:
            reach.rest = self.servo.held_posture(now.command, now.angles)
        preparing = reach.time_s < PREPARATION_S
        weight = 1.0 / (reach.step + 1) if preparing else CUP_FILTER
        reach.cup = reach.cup + weight * (now.cup - reach.cup)
        if preparing:
            if now.picture is not None:
                before = np.zeros(now.picture.shape) if reach.picture is None else reach.picture
                reach.picture = before + weight * (now.picture - before)
            reach.start = reach.start + weight * (reach.hand - reach.start)
            reach.aimed_cup = reach.cup
            reach.axis = self.approach_axis(reach.start, reach.cup)

    def act(self, reach: Reach, now: Sensation, feedforward: Array) -> Array:
        """The command (4,) in [-1, 1] for this step; moves the reach on by one step.

        Args:
            reach: memory of this reach, updated.
            now: the observation that `sense` has taken in.
            feedforward: (3,) rad, the learned change of posture from rest that should bring the hand to the cup.
        """
        moving_s = reach.time_s - PREPARATION_S
        wanted = reach.rest
        if moving_s >= 0.0:
            if len(reach.plan) == 0:
                reach.goal = feedforward
                reach.plan = self.plan(reach.rest, reach.rest + feedforward)
            correction = self.feedback_share * self._correction(reach, moving_s)
            reach.feedback = reach.feedback + CONTROL_STEP_S * correction
            # What the learner wants otherwise since the launch fades in with the movement.
            since = minimum_jerk(moving_s / MOVEMENT_S) * (feedforward - reach.goal)
            wanted = reach.plan[min(round(moving_s / CONTROL_STEP_S), len(reach.plan) - 1)] + since
        # Feedback never winds up beyond what the joints can do.
        posture = self._within_limits(wanted + reach.feedback)
        reach.feedback = posture - self._within_limits(wanted)
        aperture = self._aperture(reach, now)
        reach.step += 1
        joints, reach.body = self.servo.command(reach.body, np.concatenate([now.angles, now.velocities]), posture)
        command = np.array([*joints.tolist(), 2.0 * aperture / LARGEST_APERTURE_M - 1.0])
        within: Array = np.minimum(1.0, np.maximum(-1.0, command))
        return within

    def _within_limits(self, posture: Array) -> Array:
        within: Array = np.minimum(self._upper, np.maximum(self._lower, posture))
        return within

    def plan(self, rest: Array, goal: Array) -> Array:
        """Equilibrium postures (steps, 3) rad, one a control step, that lead the arm from rest to goal, (3,) rad.

        The hand goes straight with minimum jerk and turns on the way; the posture springs are led by what the body's
        own inertia and viscosity will ask of them: theta* = theta + K^-1 (V theta' + inverse dynamics). Where the
        straight line leaves the reachable, the joints go straight instead.
        """
        steps = round(MOVEMENT_S / CONTROL_STEP_S)
        times = np.arange(-1, steps + 2) * CONTROL_STEP_S + COMMAND_LAG_S
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
        """The change of posture (3,) rad that would move the hand by `displacement` m and turn it by `turn` rad."""
        upper, fore, _ = self.arm.length
        q1, q2, q3 = angles.tolist()
        return np.array(motor_error(upper, fore, self.arm.grasp_m, q1, q2, q3, *displacement, turn))

    def approach_axis(self, start: Array, cup: Array) -> float:
        """Direction, rad, in which the hand should point at the cup: that of the reach, as far as the wrist allows."""
        bearing = math.atan2(cup[1] - start[1], cup[0] - start[0])
        return float(np.clip(bearing, *np.radians(AXIS_RANGE_DEGREES)))

    def _correction(self, reach: Reach, moving_s: float) -> Array:
        """Rate of change of posture (3,) rad/s that feedback asks for."""
        course = minimum_jerk((moving_s - SIGHT_LAG_S) / MOVEMENT_S)
        axis = sum(reach.felt.tolist())
        (x, y), (cup_x, cup_y) = reach.hand.tolist(), reach.cup.tolist()
        if course < 1.0:
            start_x, start_y = reach.start.tolist()
            right = start_x + course * (cup_x - start_x) - x
            forward = start_y + course * (cup_y - start_y) - y
        else:
            right, forward = self._funnel(cup_x - x, cup_y - y, axis)
        gain = min(FEEDBACK_GAIN_PER_S, FASTEST_CORRECTION_M_S / max(math.hypot(right, forward), 1e-9))
        turn = AXIS_GAIN_PER_S * course * (reach.axis - axis)
        return self.motor_error(reach.felt, (gain * right, gain * forward), turn)

    @staticmethod
    def _funnel(right: float, forward: float, axis: float) -> tuple[float, float]:
        """The error to correct first: sideways before along, so that the fingers go round the cup, not into it."""
        cosine, sine = math.cos(axis), math.sin(axis)
        along, aside = right * cosine + forward * sine, forward * cosine - right * sine
        along -= min(FUNNEL_STANDOFF_M, FUNNEL_SLOPE * max(0.0, abs(aside) - FUNNEL_CLEARANCE_M))
        return along * cosine - aside * sine, along * sine + aside * cosine

    def _aperture(self, reach: Reach, now: Sensation) -> float:
        """Close around the cup, and open again when the fingers met without it."""
        if not self.grab:
            return OPEN_APERTURE_M
        if reach.opening > 0:
            reach.opening -= 1
            return OPEN_APERTURE_M
        distance = math.dist(reach.cup.tolist(), reach.hand.tolist())
        left, right, palm = (now.touch > 0.5).tolist()
        touched = palm or (left and right)
        near = distance < CLOSE_WITHIN_M or (touched and distance < 3 * CLOSE_WITHIN_M)
        if not reach.closing:
            reach.closing = near and reach.time_s > PREPARATION_S
        elif now.aperture < EMPTY_APERTURE_M:
            reach.closing = False
            reach.opening = RELEASE_STEPS
        return 0.0 if reach.closing else OPEN_APERTURE_M
