"""From a command to joint torques, compiled: posture springs, torques and muscles.

`posture` (Shadmehr and Mussa-Ivaldi 1994): the command is an equilibrium posture theta*, and the torque is
K (theta* - theta) - V theta'. `torque`: the command is a share of the largest torque. Before both stands a first-order
filter of 40 ms, the lag of muscle activation. `muscle`: the command excites antagonist muscles (see `muscles`), whose
own activation lags. Without posture springs only the viscosity of the joints themselves damps them.
"""

from __future__ import annotations

from reach.sim import muscles
from reach.sim import state as s
from reach.sim.compiled import kernel

L = s.LANES
COMMAND_TIME_CONSTANT_S = 0.040


@kernel
def set_goals(t, control):  # type: ignore[no-untyped-def]
    """Turn the actions of a tile into what this control step aims at, with its signal-dependent motor noise."""
    for i in range(L):
        for j in range(3):
            action = t[(s.ACTION_1 + j) * L + i]
            low = t[(s.LOWER_1 + j) * L + i]
            posture = low + 0.5 * (action + 1.0) * (t[(s.UPPER_1 + j) * L + i] - low)
            torque = action * t[(s.LARGEST_TORQUE_1 + j) * L + i]
            t[(s.GOAL_1 + j) * L + i] = posture if control == s.POSTURE else torque
            noise = t[(s.NOISE_TORQUE_1 + j) * L + i]
            t[(s.GAIN_1 + j) * L + i] = 1.0 + t[s.TORQUE_NOISE * L + i] * noise
    for i in range(L):
        t[s.GOAL_APERTURE * L + i] = 0.5 * (t[s.ACTION_4 * L + i] + 1.0) * t[s.LARGEST_APERTURE * L + i]
    if control == s.MUSCLE:
        for i in range(L):
            (
                t[s.EXCITATION_1 * L + i], t[s.EXCITATION_2 * L + i],
                t[s.EXCITATION_3 * L + i], t[s.EXCITATION_4 * L + i],
                t[s.EXCITATION_5 * L + i], t[s.EXCITATION_6 * L + i],
                t[s.EXCITATION_7 * L + i], t[s.EXCITATION_8 * L + i],
            ) = muscles.excitation(t[s.ACTION_1 * L + i], t[s.ACTION_2 * L + i], t[s.ACTION_3 * L + i])  # fmt: skip


@kernel
def follow_goals(t, control, step):  # type: ignore[no-untyped-def]
    """Move filtered commands or activations towards their goals for `step` seconds, and note their means over it.

    The means are what acts in this step: with the values at its end the arm would lead by half a step.
    """
    if control == s.MUSCLE:
        for i in range(L):
            for m in range(s.MUSCLES):
                before = t[(s.ACTIVATION_1 + m) * L + i]
                after = muscles.activate(before, t[(s.EXCITATION_1 + m) * L + i], step)
                t[(s.ACTIVATION_1 + m) * L + i] = after
                t[(s.MEAN_1 + m) * L + i] = 0.5 * (before + after)
        return
    for i in range(L):
        for j in range(3):
            before = t[(s.COMMAND_1 + j) * L + i]
            after = before + t[s.COMMAND_RATE * L + i] * (t[(s.GOAL_1 + j) * L + i] - before)
            t[(s.COMMAND_1 + j) * L + i] = after
            t[(s.MEAN_1 + j) * L + i] = 0.5 * (before + after)


@kernel
def pull(t, control):  # type: ignore[no-untyped-def]
    """Write the joint torques at the point of this Runge-Kutta stage."""
    if control == s.MUSCLE:
        _pull_muscles(t)
    else:
        for i in range(L):
            v1 = t[s.AT_VELOCITY_1 * L + i]
            v2 = t[s.AT_VELOCITY_2 * L + i]
            v3 = t[s.AT_VELOCITY_3 * L + i]
            c1 = t[s.MEAN_1 * L + i]
            c2 = t[s.MEAN_2 * L + i]
            c3 = t[s.MEAN_3 * L + i]
            d1 = c1 - t[s.AT_ANGLE_1 * L + i]
            d2 = c2 - t[s.AT_ANGLE_2 * L + i]
            spring1 = t[s.STIFFNESS_11 * L + i] * d1 + t[s.STIFFNESS_12 * L + i] * d2
            spring2 = t[s.STIFFNESS_12 * L + i] * d1 + t[s.STIFFNESS_22 * L + i] * d2
            spring3 = t[s.STIFFNESS_33 * L + i] * (c3 - t[s.AT_ANGLE_3 * L + i])
            active1 = spring1 if control == s.POSTURE else c1
            active2 = spring2 if control == s.POSTURE else c2
            active3 = spring3 if control == s.POSTURE else c3
            damping1 = t[s.VISCOSITY_11 * L + i] * v1 + t[s.VISCOSITY_12 * L + i] * v2
            damping2 = t[s.VISCOSITY_12 * L + i] * v1 + t[s.VISCOSITY_22 * L + i] * v2
            t[s.TORQUE_1 * L + i] = active1 * t[s.GAIN_1 * L + i] - damping1
            t[s.TORQUE_2 * L + i] = active2 * t[s.GAIN_2 * L + i] - damping2
            t[s.TORQUE_3 * L + i] = active3 * t[s.GAIN_3 * L + i] - t[s.VISCOSITY_33 * L + i] * v3


@kernel
def _pull_muscles(t):  # type: ignore[no-untyped-def]
    """The joint torques of the muscles; noise scales what all muscles of a joint do together."""
    for i in range(L):
        v1 = t[s.AT_VELOCITY_1 * L + i]
        v2 = t[s.AT_VELOCITY_2 * L + i]
        v3 = t[s.AT_VELOCITY_3 * L + i]
        m1, m2, m3 = muscles.muscle_torque(
            t[s.STRENGTH * L + i],
            t[s.MEAN_1 * L + i], t[s.MEAN_2 * L + i], t[s.MEAN_3 * L + i],
            t[s.MEAN_4 * L + i], t[s.MEAN_5 * L + i], t[s.MEAN_6 * L + i],
            t[s.MEAN_7 * L + i], t[s.MEAN_8 * L + i],
            t[s.AT_ANGLE_1 * L + i], t[s.AT_ANGLE_2 * L + i], t[s.AT_ANGLE_3 * L + i], v1, v2, v3,
        )  # fmt: skip
        t[s.TORQUE_1 * L + i] = (
            m1 * t[s.GAIN_1 * L + i] - t[s.VISCOSITY_11 * L + i] * v1 - t[s.VISCOSITY_12 * L + i] * v2
        )
        t[s.TORQUE_2 * L + i] = (
            m2 * t[s.GAIN_2 * L + i] - t[s.VISCOSITY_12 * L + i] * v1 - t[s.VISCOSITY_22 * L + i] * v2
        )
        t[s.TORQUE_3 * L + i] = m3 * t[s.GAIN_3 * L + i] - t[s.VISCOSITY_33 * L + i] * v3
