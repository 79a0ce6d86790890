"""From actions to joint torques and back: posture springs, torques and muscles.

`posture` (Shadmehr and Mussa-Ivaldi 1994): the action is an equilibrium posture theta*, and the torque is
K (theta* - theta) - V theta'. `torque`: the action is a share of the largest torque. A first-order filter of 40 ms, the
lag of muscle activation, precedes both. `muscle`: the action excites antagonist muscles (see `muscles`), which have
activation dynamics of their own. Without posture springs only the viscosity of the joints damps them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reach.arguments import is_number, numbers_in, require_choice, require_numbers
from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim import muscles
from reach.sim.arm import Arm
from reach.sim.dynamics import ONE_SIXTH, acceleration, clip_velocity, overshoot, weighted_sum
from reach.sim.elementary import fma
from reach.sim.layout import Array

L = s.LANES
COMMAND_TIME_CONSTANT_S = 0.040
# Torque at action 1 in `torque` control: about three times what a reach of 0.2 m in 0.5 s needs in a curl field of
# 13 N s/m, and well below an adult's largest voluntary torques.
LARGEST_TORQUE_N_M = (12.0, 10.0, 1.0)


@kernel
def decode_actions(t, lanes, control):  # type: ignore[no-untyped-def]
    """Write the GOAL, GAIN and EXCITATION columns: the decoded actions and their signal-dependent noise."""
    for i in range(len(lanes)):
        for j in range(3):
            action = t[(s.ACTION_1 + j) * L + i]
            low = t[(s.LOWER_1 + j) * L + i]
            posture = low + 0.5 * (action + 1.0) * (t[(s.UPPER_1 + j) * L + i] - low)
            torque = action * t[(s.LARGEST_TORQUE_1 + j) * L + i]
            t[(s.GOAL_1 + j) * L + i] = posture if control == s.POSTURE else torque
            noise = t[(s.NOISE_TORQUE_1 + j) * L + i]
            t[(s.GAIN_1 + j) * L + i] = 1.0 + t[s.TORQUE_NOISE * L + i] * noise
    for i in range(len(lanes)):
        t[s.GOAL_APERTURE * L + i] = 0.5 * (t[s.ACTION_4 * L + i] + 1.0) * t[s.LARGEST_APERTURE * L + i]
    if control == s.MUSCLE:
        for i in range(len(lanes)):
            (
                t[s.EXCITATION_1 * L + i], t[s.EXCITATION_2 * L + i],
                t[s.EXCITATION_3 * L + i], t[s.EXCITATION_4 * L + i],
                t[s.EXCITATION_5 * L + i], t[s.EXCITATION_6 * L + i],
                t[s.EXCITATION_7 * L + i], t[s.EXCITATION_8 * L + i],
            ) = muscles.excitation(t[s.ACTION_1 * L + i], t[s.ACTION_2 * L + i], t[s.ACTION_3 * L + i])  # fmt: skip


@kernel
def filter_commands(t, lanes, control, step):  # type: ignore[no-untyped-def]
    """Filter commands or activations for `step` seconds, and write their means over the step to the MEAN columns.

    The means act in this step: with the values at its end the arm would lead by half a step.
    """
    if control == s.MUSCLE:
        for i in range(len(lanes)):
            for m in range(s.MUSCLES):
                before = t[(s.ACTIVATION_1 + m) * L + i]
                after = muscles.activate(before, t[(s.EXCITATION_1 + m) * L + i], step)
                t[(s.ACTIVATION_1 + m) * L + i] = after
                t[(s.MEAN_1 + m) * L + i] = 0.5 * (before + after)
        return
    for i in range(len(lanes)):
        rate = t[s.COMMAND_RATE * L + i]
        before1 = t[s.COMMAND_1 * L + i]
        before2 = t[s.COMMAND_2 * L + i]
        before3 = t[s.COMMAND_3 * L + i]
        after1 = fma(rate, t[s.GOAL_1 * L + i] - before1, before1)
        after2 = fma(rate, t[s.GOAL_2 * L + i] - before2, before2)
        after3 = fma(rate, t[s.GOAL_3 * L + i] - before3, before3)
        t[s.COMMAND_1 * L + i] = after1
        t[s.COMMAND_2 * L + i] = after2
        t[s.COMMAND_3 * L + i] = after3
        t[s.MEAN_1 * L + i] = 0.5 * (before1 + after1)
        t[s.MEAN_2 * L + i] = 0.5 * (before2 + after2)
        t[s.MEAN_3 * L + i] = 0.5 * (before3 + after3)


@inlined
def joint_torque(t, i, control, q1, q2, q3, v1, v2, v3):  # type: ignore[no-untyped-def]
    """Return the torques, N m, of lane `i` under POSTURE or TORQUE control at angles, rad, and velocities, rad/s."""
    c1 = t[s.MEAN_1 * L + i]
    c2 = t[s.MEAN_2 * L + i]
    c3 = t[s.MEAN_3 * L + i]
    d1 = c1 - q1
    d2 = c2 - q2
    spring1 = fma(t[s.STIFFNESS_11 * L + i], d1, t[s.STIFFNESS_12 * L + i] * d2)
    spring2 = fma(t[s.STIFFNESS_12 * L + i], d1, t[s.STIFFNESS_22 * L + i] * d2)
    spring3 = t[s.STIFFNESS_33 * L + i] * (c3 - q3)
    active1 = spring1 if control == s.POSTURE else c1
    active2 = spring2 if control == s.POSTURE else c2
    active3 = spring3 if control == s.POSTURE else c3
    damping1 = fma(t[s.VISCOSITY_11 * L + i], v1, t[s.VISCOSITY_12 * L + i] * v2)
    damping2 = fma(t[s.VISCOSITY_12 * L + i], v1, t[s.VISCOSITY_22 * L + i] * v2)
    return (
        fma(active1, t[s.GAIN_1 * L + i], -damping1),
        fma(active2, t[s.GAIN_2 * L + i], -damping2),
        fma(active3, t[s.GAIN_3 * L + i], -t[s.VISCOSITY_33 * L + i] * v3),
    )


@kernel
def unforced_step(t, lanes, control, step):  # type: ignore[no-untyped-def]
    """Take a Runge-Kutta step of `step` seconds under POSTURE or TORQUE control without external forces.

    These are the operations of `begin_step`, four times `write_torques` and `stage`, `end_step` and `find_overshoot`
    in one loop, so that nothing goes through memory between the stages.
    """
    half = 0.5 * step
    sixth = step / 6.0
    for i in range(len(lanes)):
        q1 = t[s.ANGLE_1 * L + i]
        q2 = t[s.ANGLE_2 * L + i]
        q3 = t[s.ANGLE_3 * L + i]
        v1 = t[s.VELOCITY_1 * L + i]
        v2 = t[s.VELOCITY_2 * L + i]
        v3 = t[s.VELOCITY_3 * L + i]
        t1, t2, t3 = joint_torque(t, i, control, q1, q2, q3, v1, v2, v3)
        a1, a2, a3 = acceleration(t, i, q2, q3, v1, v2, v3, t1, t2, t3)
        p1 = fma(half, v1, q1)
        p2 = fma(half, v2, q2)
        p3 = fma(half, v3, q3)
        u1 = fma(half, a1, v1)
        u2 = fma(half, a2, v2)
        u3 = fma(half, a3, v3)
        t1, t2, t3 = joint_torque(t, i, control, p1, p2, p3, u1, u2, u3)
        b1, b2, b3 = acceleration(t, i, p2, p3, u1, u2, u3, t1, t2, t3)
        p1 = fma(half, u1, q1)
        p2 = fma(half, u2, q2)
        p3 = fma(half, u3, q3)
        w1 = fma(half, b1, v1)
        w2 = fma(half, b2, v2)
        w3 = fma(half, b3, v3)
        t1, t2, t3 = joint_torque(t, i, control, p1, p2, p3, w1, w2, w3)
        c1, c2, c3 = acceleration(t, i, p2, p3, w1, w2, w3, t1, t2, t3)
        p1 = fma(step, w1, q1)
        p2 = fma(step, w2, q2)
        p3 = fma(step, w3, q3)
        x1 = fma(step, c1, v1)
        x2 = fma(step, c2, v2)
        x3 = fma(step, c3, v3)
        t1, t2, t3 = joint_torque(t, i, control, p1, p2, p3, x1, x2, x3)
        d1, d2, d3 = acceleration(t, i, p2, p3, x1, x2, x3, t1, t2, t3)
        rate1 = clip_velocity(ONE_SIXTH * weighted_sum(v1, u1, w1, x1))
        rate2 = clip_velocity(ONE_SIXTH * weighted_sum(v2, u2, w2, x2))
        rate3 = clip_velocity(ONE_SIXTH * weighted_sum(v3, u3, w3, x3))
        past = overshoot(t, i, step, rate1, rate2, rate3)
        # All loads come before the stores: the compiler does not vectorise loads that may alias a store.
        t[s.TORQUE_1 * L + i] = t1
        t[s.TORQUE_2 * L + i] = t2
        t[s.TORQUE_3 * L + i] = t3
        t[s.VELOCITY_1 * L + i] = clip_velocity(fma(sixth, weighted_sum(a1, b1, c1, d1), v1))
        t[s.VELOCITY_2 * L + i] = clip_velocity(fma(sixth, weighted_sum(a2, b2, c2, d2), v2))
        t[s.VELOCITY_3 * L + i] = clip_velocity(fma(sixth, weighted_sum(a3, b3, c3, d3), v3))
        t[s.SUM_VELOCITY_1 * L + i] = rate1
        t[s.SUM_VELOCITY_2 * L + i] = rate2
        t[s.SUM_VELOCITY_3 * L + i] = rate3
        t[s.OVERSHOOT * L + i] = past


@kernel
def write_torques(t, lanes, control):  # type: ignore[no-untyped-def]
    """Write the joint torques at the point of this Runge-Kutta stage."""
    if control == s.MUSCLE:
        _pull_muscles(t, lanes)
    else:
        for i in range(len(lanes)):
            t[s.TORQUE_1 * L + i], t[s.TORQUE_2 * L + i], t[s.TORQUE_3 * L + i] = joint_torque(
                t, i, control,
                t[s.STAGE_ANGLE_1 * L + i], t[s.STAGE_ANGLE_2 * L + i], t[s.STAGE_ANGLE_3 * L + i],
                t[s.STAGE_VELOCITY_1 * L + i], t[s.STAGE_VELOCITY_2 * L + i], t[s.STAGE_VELOCITY_3 * L + i],
            )  # fmt: skip


@kernel
def _pull_muscles(t, lanes):  # type: ignore[no-untyped-def]
    """Write the joint torques of the muscles; noise scales the sum over the muscles of a joint."""
    for i in range(len(lanes)):
        v1 = t[s.STAGE_VELOCITY_1 * L + i]
        v2 = t[s.STAGE_VELOCITY_2 * L + i]
        v3 = t[s.STAGE_VELOCITY_3 * L + i]
        m1, m2, m3 = muscles.muscle_torque(
            t[s.STRENGTH * L + i],
            t[s.MEAN_1 * L + i], t[s.MEAN_2 * L + i], t[s.MEAN_3 * L + i],
            t[s.MEAN_4 * L + i], t[s.MEAN_5 * L + i], t[s.MEAN_6 * L + i],
            t[s.MEAN_7 * L + i], t[s.MEAN_8 * L + i],
            t[s.STAGE_ANGLE_1 * L + i], t[s.STAGE_ANGLE_2 * L + i], t[s.STAGE_ANGLE_3 * L + i], v1, v2, v3,
        )  # fmt: skip
        t[s.TORQUE_1 * L + i] = (
            m1 * t[s.GAIN_1 * L + i] - t[s.VISCOSITY_11 * L + i] * v1 - t[s.VISCOSITY_12 * L + i] * v2
        )
        t[s.TORQUE_2 * L + i] = (
            m2 * t[s.GAIN_2 * L + i] - t[s.VISCOSITY_12 * L + i] * v1 - t[s.VISCOSITY_22 * L + i] * v2
        )
        t[s.TORQUE_3 * L + i] = m3 * t[s.GAIN_3 * L + i] - t[s.VISCOSITY_33 * L + i] * v3


def joint_action(arm: Arm, control: str, torque: Any, angle: Any, velocity: Any, strength: float = 1.0) -> Array:
    """Return the action (3,) in [-1, 1] whose steady torque is nearest to `torque`.

    Args:
        arm: the body.
        control: "posture", "torque" or "muscle".
        torque: (3,) N m, beyond what overcomes viscosity.
        angle, velocity: (3,) rad and rad/s, at which the torque acts.
        strength: factor on torques and muscle forces, above 0; 1 for an unperturbed body.

    Raises:
        ValueError: an argument that is not as described; the message names it.
    """
    if not isinstance(arm, Arm):
        raise ValueError(f"arm: expected an Arm, got {arm!r}")
    require_choice("control", control, s.CONTROLS)
    if not is_number(strength) or not 0.0 < strength < math.inf:
        raise ValueError(f"strength: expected a finite number above 0, got {strength!r}")
    # One conversion for all three, for speed.
    given = numbers_in((torque, angle, velocity))
    if given is None or given.shape != (3, 3) or not np.isfinite(given).all():
        named = {"torque": torque, "angle": angle, "velocity": velocity}
        given = np.array([require_numbers(name, values, (3,)) for name, values in named.items()])
    torque, angle, velocity = given
    return action_for(arm, s.CONTROLS.index(control), torque, angle, velocity, strength)


def action_for(arm: Arm, control: int, torque: Array, angle: Array, velocity: Array, strength: float) -> Array:
    """Return `joint_action` of arguments that have been checked; `control` is POSTURE, TORQUE or MUSCLE."""
    if control == s.POSTURE:
        lower, upper = np.asarray(arm.lower), np.asarray(arm.upper)
        active = torque + np.asarray(arm.viscosity) @ velocity
        # Least squares: an arm may lack springs at some joint.
        equilibrium = angle + np.linalg.lstsq(np.asarray(arm.stiffness), active, rcond=None)[0]
        posture_action: Array = np.clip(2.0 * (equilibrium - lower) / (upper - lower) - 1.0, -1.0, 1.0)
        return posture_action
    active = torque + np.asarray(arm.joint_viscosity) @ velocity
    if control == s.TORQUE:
        action: Array = np.clip(active / (strength * np.array(LARGEST_TORQUE_N_M)), -1.0, 1.0)
    else:
        action = muscles.action_for_torque(active, angle, velocity, strength)
    return action
