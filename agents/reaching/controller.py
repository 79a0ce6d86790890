"""The reach controller that all error-driven learners share: timing, plan, visual feedback and grip.

A reach begins with a preparation of 0.2 s, in which the seen position of the cup is averaged. Then the hand follows a
straight minimum-jerk trajectory (Flash and Hogan 1985) to a posture that the learner supplies, while a fixed visual
feedback loop of low gain pulls the seen hand towards its planned position. The controller uses only the senses and the
learner's own unperturbed body (kinematics and inertia). `sense` and `act`, both compiled, make up one control step.

The body map computes the position of the hand and the joint changes that move it (`hand_place`, `motor_error`). Its
inverse is damped least squares (Wampler 1986, IEEE Trans SMC 16:93) on the Jacobian of the unperturbed arm, with the
direction of the hand as a third coordinate. The damping bounds joint changes near a straight arm and causes only small
errors at other postures.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.reaching.posture_servo import COMMAND_LAG_S, BodyState, PostureServo
from agents.reaching.senses import ANGLES, APERTURE, COMMAND, CUP, HAND, TOUCH, VISIBLE, Sensation
from reach import CONTROL_STEP_S, Arm
from reach.jit import inlined, kernel, python_function_of

# Hand displacement that weighs as much as a turn of 1 rad, and damping of the least squares, m.
TURN_WEIGHT_M = 0.10
DAMPING_M = 0.03


@kernel
def hand_place(upper, fore, grasp, q1, q2, q3):  # type: ignore[no-untyped-def]
    """Return the position (x, y) of the grasp point relative to the shoulder, m; arguments as in `motor_error`."""
    f2 = q1 + q2
    f3 = f2 + q3
    x = upper * math.cos(q1) + fore * math.cos(f2) + grasp * math.cos(f3)
    y = upper * math.sin(q1) + fore * math.sin(f2) + grasp * math.sin(f3)
    return x, y


@kernel
def motor_error(upper, fore, grasp, wrist_locked, q1, q2, q3, right, forward, turn):  # type: ignore[no-untyped-def]
    """Return the changes of shoulder, elbow and wrist, rad, that move the hand by (right, forward) and turn it.

    A locked wrist does not move. The hand's position then determines its direction, so `turn` is ignored.

    Args:
        upper, fore, grasp: lengths of upper arm, forearm and wrist to grasp point, m.
        wrist_locked: whether hand and forearm are one rigid link.
        q1, q2, q3: joint angles, rad.
        right, forward: wanted displacement of the grasp point, m.
        turn: wanted change of the hand's direction, rad.
    """
    f2 = q1 + q2
    f3 = f2 + q3
    # (x, y) from each joint to the grasp point. The Jacobian J has the columns (-y, x, w).
    x3 = grasp * math.cos(f3)
    y3 = grasp * math.sin(f3)
    x2 = x3 + fore * math.cos(f2)
    y2 = y3 + fore * math.sin(f2)
    x1 = x2 + upper * math.cos(q1)
    y1 = y2 + upper * math.sin(q1)
    w = TURN_WEIGHT_M
    if wrist_locked:
        x3 = 0.0
        y3 = 0.0
        w = 0.0
    # Damped least squares: J' A^-1 (right, forward, b3), with A = J J' + damping^2. k: cofactors of A.
    damping_m2 = DAMPING_M * DAMPING_M
    a11 = y1 * y1 + y2 * y2 + y3 * y3 + damping_m2
    a22 = x1 * x1 + x2 * x2 + x3 * x3 + damping_m2
    a33 = 3.0 * w * w + damping_m2
    a12 = -(x1 * y1 + x2 * y2 + x3 * y3)
    a13 = -w * (y1 + y2 + y3)
    a23 = w * (x1 + x2 + x3)
    b3 = w * turn
    k11 = a22 * a33 - a23 * a23
    k12 = a13 * a23 - a12 * a33
    k13 = a12 * a23 - a13 * a22
    k22 = a11 * a33 - a13 * a13
    k23 = a12 * a13 - a11 * a23
    k33 = a11 * a22 - a12 * a12
    scale = 1.0 / (a11 * k11 + a12 * k12 + a13 * k13)
    u = (k11 * right + k12 * forward + k13 * b3) * scale
    v = (k12 * right + k22 * forward + k23 * b3) * scale
    z = w * (k13 * right + k23 * forward + k33 * b3) * scale
    return x1 * v - y1 * u + z, x2 * v - y2 * u + z, x3 * v - y3 * u + z


Array = NDArray[np.float64]

PREPARATION_S = 0.20
MOVEMENT_S = 0.60
PREPARATION_STEPS = round(PREPARATION_S / CONTROL_STEP_S)
# Simulated time of spiking networks in a control step.
CONTROL_STEP_MS = round(1000.0 * CONTROL_STEP_S)
# Postures in a plan: one for the launch and one for the end of every control step of the movement.
PLAN_STEPS = round(MOVEMENT_S / CONTROL_STEP_S) + 1
# Time from a planned posture to the sight of its effect: lag of the command filter (0.04 s) plus visual delay (0.1 s).
SIGHT_LAG_S = 0.14
# Time in the trial at which the movement should have ended and its end has been seen.
READING_S = PREPARATION_S + MOVEMENT_S + SIGHT_LAG_S
READING_STEP = round(READING_S / CONTROL_STEP_S)
FEEDBACK_GAIN_PER_S = 1.2
AXIS_GAIN_PER_S = 1.0
FASTEST_CORRECTION_M_S = 0.25
VISION_BEHIND_TOUCH_STEPS = 2
CUP_FILTER = 0.10

# The approach funnel: while the sideways error exceeds the clearance, the hand aims at a point before the cup, at
# FUNNEL_SLOPE times the excess and at most FUNNEL_STANDOFF_M.
FUNNEL_CLEARANCE_M = 0.012
FUNNEL_SLOPE = 4.0
FUNNEL_STANDOFF_M = 0.085
AXIS_RANGE_DEGREES = (80.0, 130.0)
LEAST_AXIS, LARGEST_AXIS = (math.radians(degrees) for degrees in AXIS_RANGE_DEGREES)

OPEN_APERTURE_M = 0.11
LARGEST_APERTURE_M = 0.11
CLOSE_WITHIN_M = 0.015
EMPTY_APERTURE_M = 0.045
RELEASE_STEPS = 15

# One visual sample: whether the hand was visible, its position (2,) m, and the joint angles (3,) rad at that time.
SIGHT = np.dtype([("visible", "?"), ("hand", "f8", 2), ("angles", "f8", 3)], align=True)
# Memory of one reach; `Reach` documents most fields. `goal` is the feed-forward change of posture at launch; `opening`
# is the number of steps for which the fingers still stay open after they closed on nothing.
REACH = np.dtype(
    [
        ("step", "i8"),
        ("cup", "f8", 2),
        ("aimed_cup", "f8", 2),
        ("start", "f8", 2),
        ("rest", "f8", 3),
        ("feedback", "f8", 3),
        ("corrected", "f8", 3),
        ("hand", "f8", 2),
        ("angles_at_sight", "f8", 3),
        ("past_angles", "f8", (VISION_BEHIND_TOUCH_STEPS + 1, 3)),
        ("sights", SIGHT, READING_STEP + 1),
        ("axis", "f8"),
        ("babble", "f8", 3),
        ("goal", "f8", 3),
        ("plan", "f8", (PLAN_STEPS, 3)),
        ("posture", "f8", 3),
        ("opening", "i8"),
        ("visible", "?"),
        ("closing", "?"),
    ],
    align=True,
)
# Body (lengths in m, angles in rad) and settings of the controller, for the kernels.
BODY = np.dtype(
    [
        ("upper", "f8"),
        ("fore", "f8"),
        ("grasp", "f8"),
        ("lower", "f8", 3),
        ("higher", "f8", 3),
        ("feedback_gain", "f8"),
        ("grabs", "?"),
        ("commands_postures", "?"),
        ("wrist_locked", "?"),
    ],
    align=True,
)


def _copy_of(name: str) -> Any:
    """Return a property that copies a field of `Reach.memory`; NumPy scalars become Python scalars."""

    def copy(reach: Reach) -> Any:
        value = reach.memory[name][0]
        return value.copy() if isinstance(value, np.ndarray) else value.item()

    return property(copy)


class Reach:
    """Memory of the controller within one reach.

    Attributes:
        memory: (1,) of `REACH`, on which the kernels work. The attributes from `step` on are copies of its fields.
        picture: mean picture of the retina during preparation; None without a retina.
        body: state of the posture servo under torque or muscle control.
        step: number of control steps since the start of the trial.
        cup, aimed_cup: (2,) m, filtered seen position of the cup, at present and at launch.
        start: (2,) m, position of the seen hand at the start; from proprioception if the hand is hidden.
        rest: (3,) rad, the posture held at the start.
        feedback: (3,) rad, sum of the visual feedback added to the posture.
        corrected: (3,) m, m and rad, displacement and turn of the seen hand that this feedback was meant to cause.
        hand: (2,) m, latest position of the seen hand; from proprioception if the hand is hidden.
        visible: whether the hand was visible then.
        angles_at_sight: (3,) rad, the joint angles at the time at which `hand` was seen.
        axis: rad, wanted direction of the hand at the cup: the direction of the reach, limited by the wrist's range.
        sights: (n,) of `SIGHT`, visual samples up to `READING_STEP`, oldest first.
        babble: (3,) rad, random change added to the feed-forward posture at launch.
    """

    step: int = _copy_of("step")
    visible: bool = _copy_of("visible")
    axis: float = _copy_of("axis")
    cup: Array = _copy_of("cup")
    aimed_cup: Array = _copy_of("aimed_cup")
    start: Array = _copy_of("start")
    rest: Array = _copy_of("rest")
    feedback: Array = _copy_of("feedback")
    corrected: Array = _copy_of("corrected")
    babble: Array = _copy_of("babble")
    hand: Array = _copy_of("hand")
    angles_at_sight: Array = _copy_of("angles_at_sight")

    def __init__(self) -> None:
        """Start with empty memory."""
        self.memory = np.zeros(1, dtype=REACH)
        self.picture: Array | None = None
        self.body: BodyState | None = None

    @property
    def time_s(self) -> float:
        """Return the time since the start of the trial, s."""
        return self.step * CONTROL_STEP_S

    @property
    def past_angles(self) -> Array:
        """Return the joint angles (n, 3) rad sensed in the latest steps, oldest first."""
        past: Array = self.memory["past_angles"][0]
        return past[max(0, len(past) - self.step) :]

    @property
    def sights(self) -> NDArray[Any]:
        """Return the visual samples (n,) of `SIGHT` up to `READING_STEP`, oldest first."""
        sights: NDArray[Any] = self.memory["sights"][0]
        return sights[: self.step + 1]


class Controller:
    """The fixed part of a learner: computes commands from sensations and a feed-forward posture.

    Attributes:
        arm: the learner's own body, unperturbed.
        free: (3,), 1 for a joint that can turn, 0 for a locked wrist.
        servo: holds the posture under torque or muscle control; None under posture control.
        body: (1,) of `BODY`, for the kernels.
    """

    def __init__(self, arm: Arm, grab: bool, control: str = "posture", feedback_gain: float = 1.0) -> None:
        """Make a controller for a body.

        Args:
            arm: the learner's own body, unperturbed.
            grab: whether the fingers close on the cup.
            control: control mode of the environment: "posture", "torque" or "muscle".
            feedback_gain: gain of the visual feedback, 0..1; 0 for none.
        """
        self.arm = arm
        self.free: Array = np.array([1.0, 1.0, 0.0 if arm.wrist_locked else 1.0])
        self.servo = None if control == "posture" else PostureServo(arm, control)
        upper, fore, _ = arm.length
        lengths = upper, fore, arm.grasp_m
        limits = tuple(arm.lower), tuple(arm.upper)
        settings = feedback_gain, grab, self.servo is None, arm.wrist_locked
        self.body = np.array([(*lengths, *limits, *settings)], dtype=BODY)

    def sense(self, reach: Reach, now: Sensation) -> None:
        """Update the memory of a reach by one observation."""
        if now.picture is not None and reach.step < PREPARATION_STEPS:
            before = np.zeros(now.picture.shape) if reach.picture is None else reach.picture
            reach.picture = before + (now.picture - before) / (reach.step + 1)
        sense(reach.memory, self.body, now.row)

    def act(self, reach: Reach, now: Sensation, feedforward: Array) -> NDArray[np.float32]:
        """Return the command (4,) in [-1, 1] for this step, and advance the reach by one step.

        Args:
            reach: memory of this reach, updated.
            now: the observation given to `sense`.
            feedforward: (3,) rad, the learned change of the resting posture that brings the hand to the cup.
        """
        if reach.step == PREPARATION_STEPS:
            self.launch(reach, feedforward)
        command = np.empty(4, dtype=np.float32)
        act(reach.memory, self.body, now.row, feedforward, command)
        if self.servo is not None:
            joints, reach.body = self.servo.command(reach.body, now.joints, reach.memory["posture"][0])
            command[:3] = np.minimum(1.0, np.maximum(-1.0, joints))
        return command

    def launch(self, reach: Reach, feedforward: Array) -> None:
        """Plan the movement from rest to the posture rest + `feedforward` (3,) rad + babble.

        The goal is clipped to the joint limits.
        """
        reach.memory["goal"] = feedforward
        goal = np.clip(reach.rest + feedforward + reach.babble, self.arm.lower, self.arm.upper)
        reach.memory["plan"] = self.plan(reach.rest, goal)

    def plan(self, rest: Array, goal: Array) -> Array:
        """Return equilibrium postures (steps, 3) rad, one per control step, from rest to goal, (3,) rad each.

        The hand moves along a straight line with minimum jerk and turns on the way. The postures lead the trajectory to
        compensate inertia and viscosity: theta* = theta + K^-1 (V theta' + inverse dynamics). If the straight line
        leaves the reachable space, the joint angles are interpolated with minimum jerk instead.
        """
        rest, goal = rest * self.free, goal * self.free
        progress = PLAN_PROGRESS[:, None]
        ends = self.arm.hand(rest), self.arm.hand(goal)
        axes = float(np.sum(rest)), float(np.sum(goal))
        angles = self.arm.inverse_kinematics(
            ends[0] + progress * (ends[1] - ends[0]), axes[0] + progress[:, 0] * (axes[1] - axes[0])
        )
        within = np.clip(angles, self.arm.lower, self.arm.upper)
        # The tolerance allows for rounding at a joint limit.
        angles = within if np.allclose(angles, within, rtol=0.0, atol=1e-9) else rest + progress * (goal - rest)
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


@kernel
def minimum_jerk(fraction):  # type: ignore[no-untyped-def]
    """Return the position, 0..1, of a minimum-jerk movement at a fraction of its time (Flash and Hogan 1985, eq. 4)."""
    x = min(1.0, max(0.0, fraction))
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


# Progress at the steps of a plan, plus one step before and one after for numerical derivatives.
_minimum_jerk: Any = python_function_of(minimum_jerk)
PLAN_PROGRESS = np.array(
    [_minimum_jerk((k * CONTROL_STEP_S + COMMAND_LAG_S) / MOVEMENT_S) for k in range(-1, PLAN_STEPS + 1)]
)


@inlined
def _clip(value, low, high):  # type: ignore[no-untyped-def]
    """Clip a value. NaN stays NaN, so that the environment raises an error."""
    if value < low:
        return low
    if value > high:
        return high
    return value


@kernel
def sense(reaches, bodies, row):  # type: ignore[no-untyped-def]
    """Update the memory of a reach by one observation.

    Args:
        reaches: (1,) of `REACH`, updated.
        bodies: (1,) of `BODY`.
        row: (19,) observation, see `agents.reaching.senses`.
    """
    reach, body = reaches[0], bodies[0]
    past = reach.past_angles
    for late in range(VISION_BEHIND_TOUCH_STEPS):
        for joint in range(3):
            past[late, joint] = past[late + 1, joint]
    latest = past[VISION_BEHIND_TOUCH_STEPS]
    for joint in range(3):
        latest[joint] = row[ANGLES + joint]
    # In the first steps, the angles at the time of the visual sample were not sensed; use the latest ones.
    then = past[0] if reach.step >= VISION_BEHIND_TOUCH_STEPS else latest
    for joint in range(3):
        reach.angles_at_sight[joint] = then[joint]
    reach.visible = row[VISIBLE] > 0.5
    if reach.visible:
        reach.hand[0], reach.hand[1] = row[HAND], row[HAND + 1]
    else:
        q1, q2, q3 = reach.angles_at_sight[0], reach.angles_at_sight[1], reach.angles_at_sight[2]
        x, y = hand_place(body.upper, body.fore, body.grasp, q1, q2, q3)
        reach.hand[0], reach.hand[1] = x, y
    if reach.step <= READING_STEP:
        sight = reach.sights[reach.step]
        sight.visible = reach.visible
        sight.hand[0], sight.hand[1] = reach.hand[0], reach.hand[1]
        for joint in range(3):
            sight.angles[joint] = then[joint]
    if reach.step == 0:
        for joint in range(3):
            commanded = body.lower[joint] + 0.5 * (row[COMMAND + joint] + 1.0) * (
                body.higher[joint] - body.lower[joint]
            )
            reach.rest[joint] = commanded if body.commands_postures else row[ANGLES + joint]
    preparing = reach.step < PREPARATION_STEPS
    weight = 1.0 / (reach.step + 1) if preparing else CUP_FILTER
    for way in range(2):
        reach.cup[way] += weight * (row[CUP + way] - reach.cup[way])
        if preparing:
            reach.start[way] += weight * (reach.hand[way] - reach.start[way])
            reach.aimed_cup[way] = reach.cup[way]
    if preparing:
        bearing = math.atan2(reach.cup[1] - reach.start[1], reach.cup[0] - reach.start[0])
        reach.axis = _clip(bearing, LEAST_AXIS, LARGEST_AXIS)


@kernel
def act(reaches, bodies, row, feedforward, command):  # type: ignore[no-untyped-def]
    """Compute the command of this step, and advance the reach by one step.

    Args:
        reaches: (1,) of `REACH`, updated, including `posture`; needs a plan from the launch on.
        bodies: (1,) of `BODY`.
        row: (19,) the observation given to `sense`.
        feedforward: (3,) rad, the learned change of the resting posture.
        command: (4,) float32, overwritten by posture and aperture, scaled to [-1, 1].
    """
    reach, body = reaches[0], bodies[0]
    moving = reach.step - PREPARATION_STEPS
    shoulder, elbow, wrist, progress = 0.0, 0.0, 0.0, 0.0
    if moving >= 0:
        right, forward, turn = _correction(reach, moving * CONTROL_STEP_S)
        share_s = CONTROL_STEP_S * body.feedback_gain
        reach.corrected[0] += share_s * right
        reach.corrected[1] += share_s * forward
        reach.corrected[2] += share_s * turn
        q1, q2, q3 = reach.angles_at_sight[0], reach.angles_at_sight[1], reach.angles_at_sight[2]
        shoulder, elbow, wrist = motor_error(
            body.upper, body.fore, body.grasp, body.wrist_locked, q1, q2, q3, right, forward, turn
        )
        progress = minimum_jerk(moving * CONTROL_STEP_S / MOVEMENT_S)
    for joint, rate in ((0, shoulder), (1, elbow), (2, wrist)):
        wanted = reach.rest[joint]
        if moving >= 0:
            reach.feedback[joint] += CONTROL_STEP_S * (body.feedback_gain * rate)
            # A feed-forward posture that has changed since the launch is blended in with the progress.
            change = progress * (feedforward[joint] - reach.goal[joint])
            wanted = reach.plan[min(moving, PLAN_STEPS - 1), joint] + change
        low, high = body.lower[joint], body.higher[joint]
        # Anti-windup: limit the accumulated feedback to the joint limits.
        posture = _clip(wanted + reach.feedback[joint], low, high)
        reach.feedback[joint] = posture - _clip(wanted, low, high)
        reach.posture[joint] = posture
        command[joint] = _clip(2.0 * (posture - low) / (high - low) - 1.0, -1.0, 1.0)
    aperture = _aperture(reach, row) if body.grabs else OPEN_APERTURE_M
    command[3] = _clip(2.0 * aperture / LARGEST_APERTURE_M - 1.0, -1.0, 1.0)
    reach.step += 1


@inlined
def _correction(reach, moving_s):  # type: ignore[no-untyped-def]
    """Return the correcting velocity (right, forward) of the hand, m/s, and its turning rate, rad/s."""
    progress = minimum_jerk((moving_s - SIGHT_LAG_S) / MOVEMENT_S)
    axis = reach.angles_at_sight[0] + reach.angles_at_sight[1] + reach.angles_at_sight[2]
    x, y = reach.hand[0], reach.hand[1]
    if progress < 1.0:
        right = reach.start[0] + progress * (reach.cup[0] - reach.start[0]) - x
        forward = reach.start[1] + progress * (reach.cup[1] - reach.start[1]) - y
    else:
        right, forward = _funnel(reach.cup[0] - x, reach.cup[1] - y, axis)
    distance = math.sqrt(right * right + forward * forward)
    gain = min(FEEDBACK_GAIN_PER_S, FASTEST_CORRECTION_M_S / max(distance, 1e-9))
    turn = AXIS_GAIN_PER_S * progress * (reach.axis - axis)
    return gain * right, gain * forward, turn


@inlined
def _funnel(right, forward, axis):  # type: ignore[no-untyped-def]
    """Return the error (right, forward), m, to correct: sideways first, so that the fingers pass beside the cup."""
    cosine, sine = math.cos(axis), math.sin(axis)
    along, aside = right * cosine + forward * sine, forward * cosine - right * sine
    along -= min(FUNNEL_STANDOFF_M, FUNNEL_SLOPE * max(0.0, abs(aside) - FUNNEL_CLEARANCE_M))
    return along * cosine - aside * sine, along * sine + aside * cosine


@inlined
def _aperture(reach, row):  # type: ignore[no-untyped-def]
    """Return the commanded aperture, m: close near the cup, reopen if the fingers closed without it."""
    if reach.opening > 0:
        reach.opening -= 1
        return OPEN_APERTURE_M
    right, forward = reach.cup[0] - reach.hand[0], reach.cup[1] - reach.hand[1]
    distance = math.sqrt(right * right + forward * forward)
    left_finger, right_finger, palm = row[TOUCH] > 0.5, row[TOUCH + 1] > 0.5, row[TOUCH + 2] > 0.5
    touched = palm or (left_finger and right_finger)
    near = distance < CLOSE_WITHIN_M or (touched and distance < 3 * CLOSE_WITHIN_M)
    if not reach.closing:
        reach.closing = near and reach.step > PREPARATION_STEPS
    elif row[APERTURE] < EMPTY_APERTURE_M:
        reach.closing = False
        reach.opening = RELEASE_STEPS
    return 0.0 if reach.closing else OPEN_APERTURE_M
