"""What an arm has learned to expect of a force field, read from the wall of a force channel.

In a channel the hand cannot leave its line, so the wall takes up whatever the arm does against the field it expects
(error-clamp trials of Scheidt et al. 2000, J Neurophysiol 84:853). The slope of the wall's force on that of the field
is the adaptation index: 0 for an arm that expects nothing, 1 for one that expects all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reach.measures.reach import ReachRecord, first_stop, movement_onset
from reach.perturbations import Perturbation, write_perturbations
from reach.sim import layout as s
from reach.sim.layout import Array

# A movement with less is no measure: rows of it, and the spread of the ideal force, N.
FEWEST_ROWS = 5
LEAST_SPREAD_N = 0.1


def velocity_field(perturbations: Sequence[Perturbation]) -> Array | None:
    """The field (2, 2) N s/m that perturbations make together at the hand; None without one."""
    row = np.zeros(s.COLUMNS)
    write_perturbations(perturbations, row)
    found: Array = row[s.FIELD_11 : s.FIELD_22 + 1].reshape(2, 2)
    return found if np.any(found) else None


def channel_index(record: ReachRecord, velocity: Array, wall_force: Array, field: Array) -> float:
    """Slope of the wall's force on the ideal one over the first movement, by least squares with an intercept.

    Args:
        record: of the channel trial.
        velocity: (T, 2) m/s, of the hand.
        wall_force: (T,) N, of the wall on the hand, to the left of the line.
        field: (2, 2) N s/m, the field that would act on a free hand.

    Returns:
        The index; NaN where the hand did not set out or hardly moved.
    """
    onset = movement_onset(record.speed)
    if onset is None:
        return math.nan
    rows = slice(onset, first_stop(record, onset) + 1)
    ideal_force = velocity @ field.T
    # A hand in the channel moves along its line, so its own velocity says which way the line goes.
    speed = np.hypot(*velocity.T)
    along = velocity[rows][int(np.argmax(speed[rows]))]
    left = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-12)
    outward = 1.0 if along @ (record.seen_cup[0] - record.hand[0]) >= 0.0 else -1.0
    ideal = outward * ideal_force[rows] @ left
    if len(ideal) < FEWEST_ROWS or float(np.std(ideal)) < LEAST_SPREAD_N:
        return math.nan
    centred = ideal - np.mean(ideal)
    return float(centred @ wall_force[rows] / (centred @ centred))
