"""From a simulated trial to the scene that is drawn: reads the world, never changes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from reach.sim import layout as s
from reach.sim.grasp import FINGERS, capsule
from reach.sim.jit import python_function
from reach.simulation import Simulation

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
    number = row.item
    x, y, ax, ay = row[s.HAND_X : s.AXIS_Y + 1].tolist()
    palm, half = number(s.PALM_OFFSET), 0.5 * number(s.APERTURE) + number(s.FINGER_RADIUS)

    def on_table(u: float, v: float) -> tuple[float, float]:
        """A place of the hand's frame, see `sim.grasp.capsule`."""
        return x + u * ax - v * ay, y + u * ay + v * ax

    fingers = []
    for k in FINGERS:
        u0, v0, u1, v1, _ = python_function(capsule)(row, half, k)
        fingers.append((on_table(u0, v0), on_table(u1, v1)))
    shoulder_angle, upper_arm = number(s.ANGLE_1), number(s.LENGTH_1)
    elbow = (upper_arm * math.cos(shoulder_angle), upper_arm * math.sin(shoulder_angle))
    joints = ((0.0, 0.0), elbow, on_table(-number(s.WRIST_TO_GRASP), 0.0), on_table(palm, 0.0))
    muscles = simulation.control == s.MUSCLE
    held, tipped = number(s.HELD_S) > 0.0, number(s.TIPPED) > 0.0
    forced = number(s.HAND_FORCE_X) != 0.0 or number(s.HAND_FORCE_Y) != 0.0
    return Scene.trusted(
        joints=np.array(joints),
        fingers=np.array(fingers),
        finger_radius=number(s.FINGER_RADIUS),
        grasp_point=row[s.HAND_X : s.HAND_Y + 1],
        cup=row[s.CUP_X : s.CUP_Y + 1],
        cup_radius=number(s.CUP_RADIUS),
        cup_held=held,
        cup_tipped=tipped,
        seen_hand=row[s.EYE_HAND_X : s.EYE_HAND_Y + 1] if number(s.EYE_VISIBLE) > 0.0 else None,
        seen_cup=row[s.EYE_CUP_X : s.EYE_CUP_Y + 1],
        start=row[s.START_X : s.START_Y + 1],
        touch=row[s.TOUCH_LEFT : s.TOUCH_PALM + 1] > 0.0,
        path=paths.path,
        past_paths=paths.past_paths,
        time_s=number(s.CLOCK) * s.INNER_STEP_S,
        caption=label.caption,
        trial=paths.trials if label.trial is None else label.trial,
        block=label.block,
        show_error=not held and not tipped,
        success=number(s.SUCCESS) > 0.0,
        cup_present=number(s.CUP_PRESENT) > 0.0,
        effort=None if muscles else row[s.TORQUE_1 : s.TORQUE_3 + 1] / row[s.LARGEST_TORQUE_1 : s.LARGEST_TORQUE_3 + 1],
        activation=row[s.ACTIVATION_1 : s.ACTIVATION_8 + 1] if muscles else None,
        hand_force_n=row[s.HAND_FORCE_X : s.HAND_FORCE_Y + 1] if forced else None,
        field_n_s_per_m=row[s.FIELD_11 : s.FIELD_22 + 1].reshape(2, 2) if number(s.FIELD_ONSET) < s.NEVER else None,
        constant_force_n=row[s.FORCE_X : s.FORCE_Y + 1] if number(s.FORCE_ONSET) < s.NEVER else None,
        channel=_channel(row) if number(s.CHANNEL_ONSET) < s.NEVER else None,
    )


def _channel(row: Any) -> Any:
    """Unit vector along the channel."""
    cosine, sine = row[s.CHANNEL_COSINE], row[s.CHANNEL_SINE]
    x, y = row[s.TARGET_X], row[s.TARGET_Y]
    return np.array([cosine * x - sine * y, sine * x + cosine * y])
