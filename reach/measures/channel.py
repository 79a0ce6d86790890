"""Measure what an arm has learned of a force field by its force on the wall of a force channel.

The hand cannot leave the line of the channel, so the wall receives the force with which the arm counteracts the field
it expects (error-clamp trials of Scheidt et al. 2000, J Neurophysiol 84:853). The adaptation index is the slope of the
wall's force over the force of the field: 0 for an arm that expects no field, 1 for one that expects all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reach.measures.reach import ReachRecord, first_stop, movement_onset
from reach.perturbations import Perturbation, write_perturbations
from reach.sim import layout as s
from reach.sim.layout import Array

# A movement with fewer rows, or with a smaller spread of the field's force (N), is not measured.
FEWEST_ROWS = 5
LEAST_SPREAD_N = 0.1


def velocity_field(perturbations: Sequence[Perturbation]) -> Array | None:
    """Return the field (2, 2), N s/m, that perturbations together exert on the hand; None without one."""
    row = np.zeros(s.COLUMNS)
    write_perturbations(perturbations, row)
    field: Array = row[s.FIELD_11 : s.FIELD_22 + 1].reshape(2, 2)
    return field if np.any(field) else None


def channel_index(record: ReachRecord, velocity: Array, wall_force: Array, field: Array) -> float:
    """Return the adaptation index: the slope of the wall's force over the field's, by least squares with an intercept.

    Args:
        record: of the channel trial; its first movement is measured.
        velocity: (T, 2) m/s, of the hand.
        wall_force: (T,) N, of the wall on the hand, to the left of the line.
        field: (2, 2) N s/m, the field that would act on a free hand.

    Returns:
        The index; NaN if the hand did not move, or hardly.
    """
    onset = movement_onset(record.speed)
    if onset is None:
        return math.nan
    rows = slice(onset, first_stop(record, onset) + 1)
    field_force = velocity @ field.T
    # The hand moves along the line, so its velocity gives the direction of the line.
    speed = np.hypot(*velocity.T)
    along = velocity[rows][int(np.argmax(speed[rows]))]
    left = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-12)
    outward = 1.0 if along @ (record.seen_cup[0] - record.hand[0]) >= 0.0 else -1.0
    ideal = outward * field_force[rows] @ left
    if len(ideal) < FEWEST_ROWS or float(np.std(ideal)) < LEAST_SPREAD_N:
        return math.nan
    centred = ideal - np.mean(ideal)
    return float(centred @ wall_force[rows] / (centred @ centred))
