"""From a command to joint torques: the command filter and the posture springs.

`posture` control (Shadmehr and Mussa-Ivaldi 1994): the command is an equilibrium posture theta*, and the torque is
K (theta* - theta) - V theta'. Before it stands a first-order filter of 40 ms, the lag of muscle activation.
"""

from __future__ import annotations

from numba import njit

from reach.sim import state as s

COMMAND_TIME_CONSTANT_S = 0.040


@njit(cache=True, inline="always")
def equilibrium(p, joint, action):  # type: ignore[no-untyped-def]
    """Equilibrium angle, rad, of a joint for an action in [-1, 1]: its limits are the ends of the range."""
    return p[s.LOWER_1 + joint] + 0.5 * (action + 1.0) * (p[s.UPPER_1 + joint] - p[s.LOWER_1 + joint])


@njit(cache=True, inline="always")
def posture_torque(p, c1, c2, c3, q1, q2, q3, v1, v2, v3, g1, g2, g3):  # type: ignore[no-untyped-def]
    """Joint torques, N m, of the posture springs.

    `c` is the filtered equilibrium posture, `q` the angles, `v` the velocities; `g` scales the active (spring) torque
    of each joint and carries the signal-dependent motor noise.
    """
    d1 = c1 - q1
    d2 = c2 - q2
    d3 = c3 - q3
    t1 = (p[s.STIFFNESS_11] * d1 + p[s.STIFFNESS_12] * d2) * g1
    t2 = (p[s.STIFFNESS_12] * d1 + p[s.STIFFNESS_22] * d2) * g2
    t3 = p[s.STIFFNESS_33] * d3 * g3
    return (
        t1 - p[s.VISCOSITY_11] * v1 - p[s.VISCOSITY_12] * v2,
        t2 - p[s.VISCOSITY_12] * v1 - p[s.VISCOSITY_22] * v2,
        t3 - p[s.VISCOSITY_33] * v3,
    )
