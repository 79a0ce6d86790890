"""Forward dynamics of the planar arm, compiled: full inertia and Coriolis coupling, and the joint stops.

In absolute segment angles phi the kinetic energy is T = 1/2 sum_ij A_ij cos(phi_i - phi_j) phi'_i phi'_j with constants
A_ij of the body alone, so the equations of motion are

    sum_j A_ij cos(phi_i - phi_j) phi''_j + sum_j A_ij sin(phi_i - phi_j) phi'_j^2 = Q_i

(Goldstein, Classical Mechanics, chapter 1, for the Lagrangian). The torques at the joints give Q = (t1 - t2, t2 - t3,
t3).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from reach.sim import state as s
from reach.sim.arm import Arm, Array


def inertia_constants(arm: Arm) -> tuple[float, float, float, float, float, float]:
    """A_11, A_22, A_33, A_12, A_13, A_23 of the kinetic energy above, kg m2."""
    (l1, l2, _), (m1, m2, m3), (c1, c2, c3), (i1, i2, i3) = arm.length, arm.mass, arm.centre, arm.inertia
    return (
        i1 + m1 * c1**2 + (m2 + m3) * l1**2,
        i2 + m2 * c2**2 + m3 * l2**2,
        i3 + m3 * c3**2,
        l1 * (m2 * c2 + m3 * l2),
        m3 * l1 * c3,
        m3 * l2 * c3,
    )


@njit(cache=True, inline="always")
def _solve(a11, a22, a33, a12, a13, a23, b1, b2, b3):  # type: ignore[no-untyped-def]
    """Solve the symmetric positive definite 3 x 3 system A x = b by cofactors."""
    k11 = a22 * a33 - a23 * a23
    k12 = a13 * a23 - a12 * a33
    k13 = a12 * a23 - a13 * a22
    inverse = 1.0 / (a11 * k11 + a12 * k12 + a13 * k13)
    k22 = a11 * a33 - a13 * a13
    k23 = a12 * a13 - a11 * a23
    k33 = a11 * a22 - a12 * a12
    return (
        (k11 * b1 + k12 * b2 + k13 * b3) * inverse,
        (k12 * b1 + k22 * b2 + k23 * b3) * inverse,
        (k13 * b1 + k23 * b2 + k33 * b3) * inverse,
    )


@njit(cache=True, inline="always")
def acceleration(p, q2, q3, v1, v2, v3, t1, t2, t3):  # type: ignore[no-untyped-def]
    """Joint accelerations, rad/s2, of the arm with settings row `p`.

    Args:
        p: (SETTING_SIZE,) settings.
        q2, q3: elbow and wrist angle, rad (the shoulder angle does not enter: no gravity).
        v1, v2, v3: joint velocities, rad/s.
        t1, t2, t3: joint torques, N m.
    """
    w1 = v1
    w2 = v1 + v2
    w3 = w2 + v3
    cos2 = math.cos(q2)
    sin2 = math.sin(q2)
    cos3 = math.cos(q3)
    sin3 = math.sin(q3)
    cos23 = cos2 * cos3 - sin2 * sin3
    sin23 = sin2 * cos3 + cos2 * sin3
    a12 = p[s.INERTIA_12]
    a13 = p[s.INERTIA_13]
    a23 = p[s.INERTIA_23]
    b1 = t1 - t2 + a12 * sin2 * w2 * w2 + a13 * sin23 * w3 * w3
    b2 = t2 - t3 - a12 * sin2 * w1 * w1 + a23 * sin3 * w3 * w3
    b3 = t3 - a13 * sin23 * w1 * w1 - a23 * sin3 * w2 * w2
    x1, x2, x3 = _solve(
        p[s.INERTIA_11], p[s.INERTIA_22], p[s.INERTIA_33], a12 * cos2, a13 * cos23, a23 * cos3, b1, b2, b3
    )
    return x1, x2 - x1, x3 - x2


@njit(cache=True)
def stop(p, q1, q2, q3, v1, v2, v3, step):  # type: ignore[no-untyped-def]
    """Velocities after the inelastic stops: no joint crosses its limit within `step` seconds.

    A joint about to cross takes the impulse that brings it just to its limit; the other joints take their share of it
    through the inertia matrix, so momentum is passed on as in a real collision. Two joints at their stops are solved
    by Gauss-Seidel.
    """
    for _ in range(8):
        settled = True
        for joint in range(3):
            q = q1 if joint == 0 else (q2 if joint == 1 else q3)
            v = v1 if joint == 0 else (v2 if joint == 1 else v3)
            highest = (p[s.UPPER_1 + joint] - q) / step
            lowest = (p[s.LOWER_1 + joint] - q) / step
            excess = 0.0
            if v > highest:
                excess = v - highest
            elif v < lowest:
                excess = v - lowest
            if abs(excess) > 1e-9:
                settled = False
                t1 = 1.0 if joint == 0 else 0.0
                t2 = 1.0 if joint == 1 else 0.0
                t3 = 1.0 if joint == 2 else 0.0
                u1, u2, u3 = acceleration(p, q2, q3, 0.0, 0.0, 0.0, t1, t2, t3)
                own = u1 if joint == 0 else (u2 if joint == 1 else u3)
                impulse = -excess / own
                v1 += impulse * u1
                v2 += impulse * u2
                v3 += impulse * u3
        if settled:
            break
    return v1, v2, v3


@njit(cache=True)
def is_at_stop(p, q1, q2, q3, v1, v2, v3, step):  # type: ignore[no-untyped-def]
    """Whether any joint would cross its limit within `step` seconds."""
    e1 = q1 + step * v1
    e2 = q2 + step * v2
    e3 = q3 + step * v3
    return (
        e1 < p[s.LOWER_1] or e1 > p[s.UPPER_1]
        or e2 < p[s.LOWER_2] or e2 > p[s.UPPER_2]
        or e3 < p[s.LOWER_3] or e3 > p[s.UPPER_3]
    )  # fmt: skip


@njit(cache=True)
def forward_dynamics(p, angle, velocity, torque):  # type: ignore[no-untyped-def]
    """Joint accelerations (n, 3) rad/s2 at angles, velocities and torques (n, 3), for settings row `p`."""
    result = np.empty_like(angle)
    for i in range(angle.shape[0]):
        a1, a2, a3 = acceleration(
            p, angle[i, 1], angle[i, 2],
            velocity[i, 0], velocity[i, 1], velocity[i, 2], torque[i, 0], torque[i, 1], torque[i, 2],
        )  # fmt: skip
        result[i, 0] = a1
        result[i, 1] = a2
        result[i, 2] = a3
    return result


def kinetic_energy(arm: Arm, angle: Array, velocity: Array) -> Array:
    """Kinetic energy (n,) J at joint angles and velocities (n, 3), from the body's segments one by one.

    Computed from the velocity of each centre of mass rather than from A_ij, so that it checks them.
    """
    absolute = np.cumsum(angle, axis=-1)
    rate = np.cumsum(velocity, axis=-1)
    joint_velocity = np.zeros((*angle.shape[:-1], 2))
    energy = np.zeros(angle.shape[:-1])
    for k in range(3):
        across = np.stack([-np.sin(absolute[..., k]), np.cos(absolute[..., k])], axis=-1) * rate[..., k, None]
        centre_velocity = joint_velocity + arm.centre[k] * across
        energy += 0.5 * arm.mass[k] * np.sum(centre_velocity**2, axis=-1) + 0.5 * arm.inertia[k] * rate[..., k] ** 2
        joint_velocity = joint_velocity + arm.length[k] * across
    return energy
