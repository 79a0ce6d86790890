"""A watcher's hand in a trial under way: what acts is changed, or the cup is moved, from this moment on.

A trial that was handled is no longer the one its protocol laid down; studies never do this.
"""

from __future__ import annotations

from typing import Any

from reach.perturbations import as_perturbations, write_perturbations
from reach.sim import layout as s
from reach.sim.grasp import smallest_clearance
from reach.simulation import cup_place


def perturb(env: Any, perturbation: Any) -> None:
    """Let `perturbation` act from now on in the present trial, instead of what acted before.

    Of perturbations of the body, nothing changes before the next trial.

    Args:
        env: a `CupEnv`, wrapped or not, in a trial.
        perturbation: as for `reset`.

    Raises:
        ValueError: an unknown perturbation, or two that cannot act together; then nothing has changed.
    """
    simulation = env.unwrapped._simulation
    acting = as_perturbations(perturbation)
    row = simulation.world.row(0)
    written = row.copy()
    write_perturbations(acting, written)
    row[s.DISTURBANCE : s.NOISE] = written[s.DISTURBANCE : s.NOISE]
    simulation.perturbations[0] = acting
    simulation.leave_changed(0)


def move_cup(env: Any, place: Any) -> bool:
    """Put the standing cup of the present trial at `place` (x, y) m; False where the hand is, or it cannot be moved.

    Raises:
        ValueError: a place that is not on the table.
    """
    row = env.unwrapped._simulation.world.row(0)
    x, y = cup_place(place).tolist()
    fixed = row[s.TIPPED] > 0.0 or row[s.HELD_S] > 0.0 or row[s.CUP_PRESENT] <= 0.0
    if fixed or smallest_clearance(row, x, y) <= 0.0:
        return False
    row[s.CUP_X : s.CUP_Y + 1] = x, y
    row[s.CUP_VELOCITY_X : s.CUP_VELOCITY_Y + 1] = 0.0
    return True
