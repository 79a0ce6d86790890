"""Interactive changes to a running trial: set a perturbation or move the cup from now on.

Such a trial no longer is the one that its protocol describes; studies never do this.
"""

from __future__ import annotations

from typing import Any

from reach.perturbations import as_perturbations, write_perturbations
from reach.sim import layout as s
from reach.sim.grasp import smallest_clearance
from reach.sim.setup import cup_place


def perturb(env: Any, perturbation: Any) -> None:
    """Replace the perturbation of the current trial from now on.

    Perturbations of the body take effect in the next trial.

    Args:
        env: a `CupEnv`, wrapped or not, in a trial.
        perturbation: as for `reset`.

    Raises:
        ValueError: an unknown perturbation, or two that cannot be combined; nothing has changed then.
    """
    simulation = env.unwrapped._simulation
    perturbations = as_perturbations(perturbation)
    row = simulation.world.row(0)
    changed = row.copy()
    write_perturbations(perturbations, changed)
    row[s.PERTURBATION : s.NOISE] = changed[s.PERTURBATION : s.NOISE]
    simulation.perturbations[0] = perturbations
    simulation.mark_changed(0)


def move_cup(env: Any, place: Any) -> bool:
    """Move the standing cup of the current trial to `place` (x, y) m; return whether it was moved.

    A cup that is held, tipped over or removed stays, and so does one that would overlap the hand.

    Raises:
        ValueError: a place that is not on the table.
    """
    row = env.unwrapped._simulation.world.row(0)
    x, y = cup_place(place).tolist()
    is_fixed = row[s.TIPPED] > 0.0 or row[s.HELD_S] > 0.0 or row[s.CUP_PRESENT] <= 0.0
    if is_fixed or smallest_clearance(row, x, y) <= 0.0:
        return False
    row[s.CUP_X : s.CUP_Y + 1] = x, y
    row[s.CUP_VELOCITY_X : s.CUP_VELOCITY_Y + 1] = 0.0
    return True
