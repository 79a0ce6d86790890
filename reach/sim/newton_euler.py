"""Inverse dynamics of the planar arm, segment by segment from the hand inwards (Featherstone 2008, section 5.3)."""

from __future__ import annotations

import math

from reach.sim.compiled import inlined, kernel


@kernel
def torques(length, mass, centre, inertia, angle, velocity, acceleration, found):  # type: ignore[no-untyped-def]
    """Fill `found` (n, 3) with the joint torques, N m, of n states.

    Args:
        length, mass, centre, inertia: of the three segments, as in `Arm`.
        angle, velocity, acceleration: (n, 3) rad, rad/s and rad/s2.
        found: (n, 3).
    """
    for i in range(len(angle)):
        absolute = _summed(angle[i, 0], angle[i, 1], angle[i, 2])
        rate = _summed(velocity[i, 0], velocity[i, 1], velocity[i, 2])
        spin = _summed(acceleration[i, 0], acceleration[i, 1], acceleration[i, 2])
        torque, force_x, force_y = 0.0, 0.0, 0.0
        for k in (2, 1, 0):
            x, y = 0.0, 0.0
            for j in range(k + 1):
                # Acceleration of a point along the segment, beyond that of the segment's proximal joint.
                along = centre[k] if j == k else length[j]
                cosine, sine = math.cos(absolute[j]), math.sin(absolute[j])
                x -= along * (spin[j] * sine + rate[j] * rate[j] * cosine)
                y += along * (spin[j] * cosine - rate[j] * rate[j] * sine)
            own_x, own_y = mass[k] * x, mass[k] * y
            cosine, sine = math.cos(absolute[k]), math.sin(absolute[k])
            torque += inertia[k] * spin[k]
            torque += centre[k] * (cosine * own_y - sine * own_x) + length[k] * (cosine * force_y - sine * force_x)
            force_x += own_x
            force_y += own_y
            found[i, k] = torque


@inlined
def _summed(first, second, third):  # type: ignore[no-untyped-def]
    """Of each segment, from what the joints add to it."""
    return first, first + second, first + second + third
