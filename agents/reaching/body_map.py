"""Kinematic model of the arm that a learner uses: forward kinematics, and damped inverse kinematics. Compiled.

The inverse is damped least squares (Wampler 1986, IEEE Trans SMC 16:93) on the Jacobian of the unperturbed arm, with
the direction of the hand as a third coordinate. The damping bounds joint changes near a straight arm; at other postures
the error it causes is small.
"""

from __future__ import annotations

import math

from numba import njit

from reach.jit import kept_on_disk

kernel = kept_on_disk(njit)
# Metres of hand position that weigh as much as one radian of hand direction, and the damping of the least squares, m.
TURN_WEIGHT_M = 0.10
DAMPING_M = 0.03


@kernel
def hand_place(upper, fore, grasp, q1, q2, q3):  # type: ignore[no-untyped-def]
    """Return the position of the grasp point relative to the shoulder, m; arguments as in `motor_error`."""
    f2 = q1 + q2
    f3 = f2 + q3
    x = upper * math.cos(q1) + fore * math.cos(f2) + grasp * math.cos(f3)
    y = upper * math.sin(q1) + fore * math.sin(f2) + grasp * math.sin(f3)
    return x, y


@kernel
def motor_error(upper, fore, grasp, wrist_locked, q1, q2, q3, right, forward, turn):  # type: ignore[no-untyped-def]
    """Return the changes of shoulder, elbow and wrist, rad, that move the hand by (right, forward) and turn it.

    A locked wrist does not move. The hand's direction then follows from its position, so `turn` is ignored.

    Args:
        upper, fore, grasp: lengths of upper arm, forearm and wrist to grasp point, m.
        wrist_locked: whether hand and forearm are one link.
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
