"""The true state of a trial, as `info["truth"]` shows it: for metrics and pictures, never for an honest learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from reach.sim import state as s
from reach.sim.arm import Array

# Name: the columns of the body row, or one column with the type in which it is given.
PLACES = {
    "joint_angles": slice(s.ANGLE_1, s.ANGLE_3 + 1),
    "joint_velocities": slice(s.VELOCITY_1, s.VELOCITY_3 + 1),
    "hand": slice(s.HAND_X, s.HAND_Y + 1),
    "hand_velocity": slice(s.HAND_VELOCITY_X, s.HAND_VELOCITY_Y + 1),
    "cup": slice(s.CUP_X, s.CUP_Y + 1),
    "seen_hand": slice(s.EYE_HAND_X, s.EYE_HAND_Y + 1),
    "seen_cup": slice(s.EYE_CUP_X, s.EYE_CUP_Y + 1),
}
NUMBERS = {
    "aperture_m": s.APERTURE,
    "grip_n": s.GRIP_FORCE,
    "held_s": s.HELD_S,
    "penetration_m": s.PENETRATION,
}
FLAGS = {"hand_visible": s.EYE_VISIBLE, "tipped": s.TIPPED}
NAMES = ("time_s", *PLACES, *NUMBERS, *FLAGS)


class Truth(Mapping[str, Any]):
    """A read-only mapping over one moment's body row; what is not asked for costs nothing.

    Keys: time_s; joint_angles (3,) rad; joint_velocities (3,) rad/s; hand, cup (2,) m; hand_velocity (2,) m/s;
    seen_hand, seen_cup (2,) m, where the visual map shows them at this moment, before any delay; aperture_m; grip_n;
    held_s; penetration_m; hand_visible; tipped.
    """

    __slots__ = ("_body",)

    def __init__(self, body: Array) -> None:
        """Show a body row (BODY_SIZE,), which must not change any more."""
        self._body = body

    def __getitem__(self, name: str) -> Any:
        """The value of one key."""
        if name in PLACES:
            return self._body[PLACES[name]]
        if name in NUMBERS:
            return self._body.item(NUMBERS[name])
        if name in FLAGS:
            return self._body.item(FLAGS[name]) > 0.0
        if name == "time_s":
            return self._body.item(s.CLOCK) * s.INNER_STEP_S
        raise KeyError(f"truth has no {name!r}; it has {list(NAMES)}")

    def __iter__(self) -> Iterator[str]:
        """The keys."""
        return iter(NAMES)

    def __len__(self) -> int:
        """Number of keys."""
        return len(NAMES)

    def __eq__(self, other: object) -> bool:
        """Whether two moments are the same to the last bit."""
        return isinstance(other, Truth) and np.array_equal(self._body, other._body)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """As a dictionary."""
        return f"Truth({dict(self)!r})"
