"""The scene: the content of a picture of the world, read from a simulation without changing it.

Coordinates are those of the table, m: the shoulder is at (0, 0), x points right, y away from the body.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.jit import python_function_of
from reach.sim import layout as s
from reach.sim.grasp import FINGERS, capsule
from reach.simulation import Simulation

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """One moment of a reach, as seen from above.

    Attributes:
        joints: (4, 2) m, shoulder, elbow, wrist, palm.
        fingers: (2, 2, 2) m, base and tip of the left and of the right finger.
        finger_radius: half the thickness of a finger, m.
        grasp_point: (2,) m, the point between the fingers that represents the hand.
        cup: (2,) m, centre of the cup.
        cup_radius: radius of the cup, m.
        cup_held: whether the hand holds the cup.
        cup_tipped: whether the cup has tipped over.
        seen_hand: (2,) m, seen position of the grasp point; None if the hand is hidden.
        seen_cup: (2,) m, seen position of the cup.
        start: (2,) m, position of the hand at the start.
        touch: (3,) bool, left finger, right finger, palm.
        path: (n, 2) m, path of the hand in this reach.
        past_paths: paths of earlier reaches, each (n, 2) m, oldest first.
        time_s: time since the reach began, s.
        caption: one line of text in the picture; "" for none.
        success: whether the reach has succeeded.
        cup_is_mark: True for a mark on the table in place of the cup.
        cup_present: False after the cup was removed; a faint outline marks its position.
        effort: (3,) torques of shoulder, elbow and wrist as shares of the largest, -1..1, flexion positive, shown as
            colour at the joints; None in muscle control.
        activation: (8,) activations of the muscles, 0..1, in the order of `sim.muscles.MUSCLES`, shown as strands along
            the arm; None without muscles.
        hand_force_n: (2,) N, present external force on the hand, shown as an arrow; None for none.
        field_n_s_per_m: (2, 2) N s/m, the matrix B of a force F = B v at the hand; None for none.
        position_field_n_per_m: k of a force F = k (y, -x) on a hand at (x, y) from the start, N/m; None for none.
        constant_force_n: (2,) N, force on the hand at any position, shown with the field; None for none.
        channel: (2,) unit vector along a force channel from the start, shown by its walls; None for none.
        lamps: (n,) cue lamps at the far edge of the table, 1 for on and 0 for off; None for none.
        show_error: whether to show the seen error, an arrow from the seen hand to the seen cup; it is never shown if
            the hand is hidden or the cup removed.
        trial: number of the trial, 0 or more; None for none.
        block: name of the trial's block; "" for none.
    """

    joints: Points
    fingers: Points
    finger_radius: float
    grasp_point: Points
    cup: Points
    cup_radius: float
    cup_held: bool
    cup_tipped: bool
    seen_hand: Points | None
    seen_cup: Points
    start: Points
    touch: NDArray[np.bool_]
    path: Points
    past_paths: tuple[Points, ...] = ()
    time_s: float = 0.0
    caption: str = ""
    success: bool = False
    cup_is_mark: bool = False
    cup_present: bool = True
    effort: Points | None = None
    activation: Points | None = None
    hand_force_n: Points | None = None
    field_n_s_per_m: Points | None = None
    position_field_n_per_m: float | None = None
    constant_force_n: Points | None = None
    channel: Points | None = None
    lamps: NDArray[np.float32] | None = None
    show_error: bool = False
    trial: int | None = None
    block: str = ""


# --- from a simulation ----------------------------------------------------------------------------------------

# Number of earlier paths that are shown.
PAST_PATHS = 6


@dataclass(frozen=True)
class Label:
    """Caption, trial and block in a picture.

    Attributes:
        caption: one line of text.
        trial: number of the trial; None for the number of trials of the environment so far.
        block: name of the block that the trial belongs to.
    """

    caption: str = ""
    trial: int | None = None
    block: str = ""


class Paths:
    """Path of the hand in this trial and in the last few.

    Attributes:
        trials: number of trials begun so far.
        past_paths: paths of earlier trials, oldest first, each (n, 2) m.
    """

    def __init__(self) -> None:
        """Start with no trials."""
        self.trials = 0
        self.past_paths: tuple[Any, ...] = ()
        self._path: list[tuple[float, float]] = []

    def begin(self) -> None:
        """Begin a trial; store the path of the previous one."""
        self.trials += 1
        if len(self._path) > 1:
            self.past_paths = (*self.past_paths, self.path)[-PAST_PATHS:]
        self._path = []

    def extend(self, simulation: Simulation, index: int) -> None:
        """Append the current position of the hand of world `index`."""
        x, y = simulation.world.row(index)[s.HAND_X : s.HAND_Y + 1].tolist()
        self._path.append((x, y))

    def extend_by(self, places: NDArray[np.float64]) -> None:
        """Append positions of the hand, (n, 2) m."""
        self._path += [(x, y) for x, y in places.tolist()]

    @property
    def path(self) -> Any:
        """Return the path of this trial, (n, 2) m."""
        return np.array(self._path).reshape(-1, 2)


def scene_of(simulation: Simulation, index: int, paths: Paths, label: Label) -> Scene:
    """Return the scene of world `index`; its arrays are views that the next step overwrites.

    The seen error is shown until the cup is held or tips over.
    """
    row = simulation.world.row(index)
    number = row.item
    x, y, ax, ay = row[s.HAND_X : s.AXIS_Y + 1].tolist()
    palm, half = number(s.PALM_OFFSET), 0.5 * number(s.APERTURE) + number(s.FINGER_RADIUS)

    def on_table(u: float, v: float) -> tuple[float, float]:
        """Return the position on the table, m, of a position in the hand's frame, see `sim.grasp.capsule`."""
        return x + u * ax - v * ay, y + u * ay + v * ax

    fingers = []
    for k in FINGERS:
        u0, v0, u1, v1, _ = python_function_of(capsule)(row, half, k)
        fingers.append((on_table(u0, v0), on_table(u1, v1)))
    shoulder_angle, upper_arm = number(s.ANGLE_1), number(s.LENGTH_1)
    elbow = (upper_arm * math.cos(shoulder_angle), upper_arm * math.sin(shoulder_angle))
    joints = ((0.0, 0.0), elbow, on_table(-number(s.WRIST_TO_GRASP), 0.0), on_table(palm, 0.0))
    muscles = simulation.control == s.MUSCLE
    held, tipped = number(s.HELD_S) > 0.0, number(s.TIPPED) > 0.0
    forced = number(s.HAND_FORCE_X) != 0.0 or number(s.HAND_FORCE_Y) != 0.0
    return Scene(
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
        cup_is_mark=number(s.CUP_IS_MARK) > 0.0,
        cup_present=number(s.CUP_PRESENT) > 0.0,
        effort=None if muscles else row[s.TORQUE_1 : s.TORQUE_3 + 1] / row[s.LARGEST_TORQUE_1 : s.LARGEST_TORQUE_3 + 1],
        activation=row[s.ACTIVATION_1 : s.ACTIVATION_8 + 1] if muscles else None,
        hand_force_n=row[s.HAND_FORCE_X : s.HAND_FORCE_Y + 1] if forced else None,
        field_n_s_per_m=row[s.FIELD_11 : s.FIELD_22 + 1].reshape(2, 2) if number(s.FIELD_ONSET) < s.NEVER else None,
        position_field_n_per_m=number(s.POSITION_FIELD) if number(s.POSITION_FIELD_ONSET) < s.NEVER else None,
        constant_force_n=row[s.FORCE_X : s.FORCE_Y + 1] if number(s.FORCE_ONSET) < s.NEVER else None,
        channel=_channel_direction(row) if number(s.CHANNEL_ONSET) < s.NEVER else None,
        lamps=simulation.lamps[index] if simulation.lamps.size else None,
    )


def copy_scene(env: Any) -> Scene:
    """Return a copy of the current scene of `env`, a `CupEnv`, wrapped or not, with a render mode."""
    cup_env = env.unwrapped
    scene = scene_of(cup_env._simulation, 0, cup_env._paths, cup_env.label)
    # Copy the arrays: they are views that the next step overwrites.
    copies: dict[str, Any] = {
        name: value.copy() for name, value in vars(scene).items() if isinstance(value, np.ndarray)
    }
    return replace(scene, **copies)


def _channel_direction(row: Any) -> Any:
    """Return the unit vector (2,) along the channel."""
    cosine, sine = row[s.CHANNEL_COSINE], row[s.CHANNEL_SINE]
    x, y = row[s.TARGET_X], row[s.TARGET_Y]
    return np.array([cosine * x - sine * y, sine * x + cosine * y])
