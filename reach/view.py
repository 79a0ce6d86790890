"""From a simulated trial to the scene that is drawn: reads the world, never changes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reach import tasks
from reach.sim import state as s
from reach.sim.grasp import FINGERS, capsule
from reach.simulation import Simulation
from reach.truth import Truth

PAST_PATHS = 6


@dataclass(frozen=True)
class Label:
    """What is written over a picture.

    Attributes:
        caption: what is shown.
        trial: number of the trial; None counts those of the environment.
        block: name of the block the trial belongs to.
    """

    caption: str = ""
    trial: int | None = None
    block: str = ""


class Paths:
    """The course of the hand in this trial, and in the last few.

    Attributes:
        trials: begun so far.
    """

    def __init__(self) -> None:
        """No trial yet."""
        self.trials = 0
        self._path: list[tuple[float, float]] = []
        self._past: tuple[Any, ...] = ()

    def begin(self) -> None:
        """A trial begins; keep the one before it."""
        self.trials += 1
        if len(self._path) > 1:
            self._past = (*self._past, self.path)[-PAST_PATHS:]
        self._path = []

    def extend(self, simulation: Simulation, index: int) -> None:
        """Take in where the hand of world `index` is now."""
        x, y = simulation.world.row(index)[s.HAND_X : s.HAND_Y + 1].tolist()
        self._path.append((x, y))

    @property
    def path(self) -> Any:
        """(n, 2) m, of this trial."""
        return np.array(self._path).reshape(-1, 2)

    @property
    def past_paths(self) -> tuple[Any, ...]:
        """Of earlier trials, oldest first, each (n, 2) m."""
        return self._past


def scene_of(simulation: Simulation, index: int, paths: Paths, label: Label) -> Any:
    """The `reach.render.Scene` of world `index`.

    The error that the eye sees is shown until the cup is in the hand.
    """
    from reach.render import Scene

    row = simulation.world.row(index)
    truth = Truth(row)
    (x, y), (ax, ay) = row[s.HAND_X : s.HAND_Y + 1].tolist(), row[s.AXIS_X : s.AXIS_Y + 1].tolist()
    palm, half = row.item(s.PALM_OFFSET), 0.5 * row.item(s.APERTURE) + row.item(s.FINGER_RADIUS)

    def on_table(u: float, v: float) -> tuple[float, float]:
        """A place of the hand's frame, see `sim.grasp.capsule`."""
        return x + u * ax - v * ay, y + u * ay + v * ax

    shapes = [capsule(row, half, k) for k in FINGERS]
    fingers = np.array([[on_table(u0, v0), on_table(u1, v1)] for u0, v0, u1, v1, _ in shapes])
    joints = simulation.arms[index].joints(truth["joint_angles"])
    joints[3] = on_table(palm, 0.0)
    muscles = simulation.control == s.MUSCLE
    force = truth["hand_force_n"]
    return Scene(
        joints=joints,
        fingers=fingers,
        finger_radius=float(row[s.FINGER_RADIUS]),
        grasp_point=truth["hand"],
        cup=truth["cup"],
        cup_radius=float(row[s.CUP_RADIUS]),
        cup_held=bool(row[s.HELD_S] > 0.0),
        cup_tipped=truth["tipped"],
        seen_hand=truth["seen_hand"] if truth["hand_visible"] else None,
        seen_cup=truth["seen_cup"],
        start=row[s.START_X : s.START_Y + 1],
        touch=row[s.TOUCH_LEFT : s.TOUCH_PALM + 1] > 0.0,
        path=paths.path,
        past_paths=paths.past_paths,
        time_s=truth["time_s"],
        caption=label.caption,
        trial=paths.trials if label.trial is None else label.trial,
        block=label.block,
        show_error=bool(row[s.HELD_S] == 0.0) and not truth["tipped"],
        success=bool(row[tasks.SUCCESS] > 0.0),
        cup_present=truth["cup_present"],
        effort=None if muscles else truth["torque_n_m"] / row[s.LARGEST_TORQUE_1 : s.LARGEST_TORQUE_3 + 1],
        activation=truth["activation"] if muscles else None,
        hand_force_n=force if force.any() else None,
        field_n_s_per_m=row[s.FIELD_11 : s.FIELD_22 + 1].reshape(2, 2) if row[s.FIELD_ONSET] < s.NEVER else None,
        constant_force_n=row[s.FORCE_X : s.FORCE_Y + 1] if row[s.FORCE_ONSET] < s.NEVER else None,
        channel=_channel(row) if row[s.CHANNEL_ONSET] < s.NEVER else None,
    )


def _channel(row: Any) -> Any:
    """Unit vector along the channel."""
    cosine, sine = row[s.CHANNEL_COSINE], row[s.CHANNEL_SINE]
    x, y = row[s.TARGET_X], row[s.TARGET_Y]
    return np.array([cosine * x - sine * y, sine * x + cosine * y])
