"""What a picture is made of: all that the drawing needs, in metres and seconds.

Coordinates are the table's: the shoulder at (0, 0), x to the right, y away from the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

# A place farther off than this is a mistake (centimetres or pixels given for metres).
FARTHEST_M = 10.0


@dataclass(frozen=True, eq=False)
class Scene:
    """One moment of a reach, as seen from above.

    Attributes:
        joints: (4, 2) m, shoulder, elbow, wrist, palm.
        fingers: (2, 2, 2) m, base and tip of the left and of the right finger.
        finger_radius: half the thickness of a finger, m.
        grasp_point: (2,) m, the point between the fingers that stands for the hand.
        cup: (2,) m, centre of the cup.
        cup_radius: m.
        cup_held: the cup is in the hand.
        cup_tipped: the cup has fallen over.
        seen_hand: (2,) m, where the eye sees the grasp point; None when the hand is hidden.
        seen_cup: (2,) m, where the eye sees the cup.
        start: (2,) m, where the hand starts.
        touch: (3,) bool, left finger, right finger, palm.
        path: (n, 2) m, path of the hand in this reach.
        past_paths: paths of earlier reaches, each (n, 2) m, oldest first.
        time_s: time since the reach began, s.
        caption: one line to write into the picture; "" for none.
        success: the reach has succeeded.

    Raises:
        ValueError: an array of another shape, a place not finite or farther than 10 m, a radius not above 0.
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

    def __post_init__(self) -> None:
        _require_places("joints", self.joints, (4, 2))
        _require_places("fingers", self.fingers, (2, 2, 2))
        for name in ("grasp_point", "cup", "seen_cup", "start"):
            _require_places(name, getattr(self, name), (2,))
        if self.seen_hand is not None:
            _require_places("seen_hand", self.seen_hand, (2,))
        _require_places("path", self.path, (-1, 2))
        for number, past in enumerate(self.past_paths):
            _require_places(f"past_paths[{number}]", past, (-1, 2))
        if np.shape(self.touch) != (3,):
            raise ValueError(f"Scene touch has shape {np.shape(self.touch)}; (3,) is allowed")
        for name in ("finger_radius", "cup_radius"):
            radius = getattr(self, name)
            if not 0.0 < radius <= FARTHEST_M:
                raise ValueError(f"Scene {name} is {radius}; above 0 and up to {FARTHEST_M} m is allowed")


def _require_places(name: str, places: Any, shape: tuple[int, ...]) -> None:
    """Places (m) of the given shape, in which -1 stands for any length."""
    given = np.shape(places)
    fits = len(given) == len(shape) and all(want in (-1, got) for got, want in zip(given, shape, strict=True))
    if not fits:
        allowed = str(shape).replace("-1", "n")
        raise ValueError(f"Scene {name} has shape {given}; {allowed} is allowed")
    # Written so that NaN, of which every comparison is false, is refused as well.
    if np.size(places) and not np.abs(places).max() <= FARTHEST_M:
        raise ValueError(f"Scene {name} is {places}; finite values within {FARTHEST_M:g} m are allowed")
