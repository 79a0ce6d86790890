"""Kinetic energy of an arm from its segments, to check the constants with which the simulation computes it."""

from __future__ import annotations

import numpy as np

from reach.sim.arm import Arm, Array


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
