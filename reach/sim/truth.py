"""The true state of a trial, `info["truth"]`: for metrics and pictures, never for an honest learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from reach.sim import layout as s
from reach.sim.layout import Array

# Keys of arrays, numbers and flags -> their columns.
PLACES = {
    "joint_angles": slice(s.ANGLE_1, s.ANGLE_3 + 1),
    "joint_velocities": slice(s.VELOCITY_1, s.VELOCITY_3 + 1),
    "hand": slice(s.HAND_X, s.HAND_Y + 1),
    "hand_velocity": slice(s.HAND_VELOCITY_X, s.HAND_VELOCITY_Y + 1),
    "cup": slice(s.CUP_X, s.CUP_Y + 1),
    "seen_hand": slice(s.EYE_HAND_X, s.EYE_HAND_Y + 1),
    "seen_cup": slice(s.EYE_CUP_X, s.EYE_CUP_Y + 1),
    "torque_n_m": slice(s.TORQUE_1, s.TORQUE_3 + 1),
    "activation": slice(s.ACTIVATION_1, s.ACTIVATION_8 + 1),
    "hand_force_n": slice(s.HAND_FORCE_X, s.HAND_FORCE_Y + 1),
}
NUMBERS = {
    "aperture_m": s.APERTURE,
    "grip_n": s.GRIP_FORCE,
    "held_s": s.HELD_S,
    "penetration_m": s.PENETRATION,
    "channel_force_n": s.CHANNEL_FORCE,
}
FLAGS = {"hand_visible": s.EYE_VISIBLE, "cup_present": s.CUP_PRESENT, "tipped": s.TIPPED}
NAMES = ("time_s", *PLACES, *NUMBERS, *FLAGS)
# The keys for many trials, each with its mask. Values are read on access.
OF_MANY = dict.fromkeys([*NAMES, *(f"_{name}" for name in NAMES)])


class Truth(Mapping[str, Any]):
    """A read-only mapping over the body columns of one moment; values are read on access.

    Keys: time_s; joint_angles (3,) rad; joint_velocities (3,) rad/s; hand, cup (2,) m; hand_velocity (2,) m/s;
    seen_hand, seen_cup (2,) m, after the visual map and before any delay; aperture_m; grip_n; held_s; penetration_m;
    torque_n_m (3,) of the actuators; activation (8,) of the muscles in 0..1; hand_force_n (2,) from outside;
    channel_force_n, of the channel's wall on the hand, to the left of the line; hand_visible; cup_present; tipped.
    """

    __slots__ = ("_body",)

    def __init__(self, body: Array) -> None:
        """Wrap the first SETTING columns of a world's row, which must not change any more."""
        self._body = body

    def __getitem__(self, name: str) -> Any:
        """Return the value of a key."""
        if name in PLACES:
            return self._body[PLACES[name]]
        if name in NUMBERS:
            return self._body.item(NUMBERS[name])
        if name in FLAGS:
            return self._body.item(FLAGS[name]) > 0.0
        if name == "time_s":
            return self._body.item(s.CLOCK) * s.INNER_STEP_S
        raise KeyError(f"truth: expected one of {list(NAMES)}, got {name!r}")

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(NAMES)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(NAMES)

    def __eq__(self, other: object) -> bool:
        """Return whether two moments are bit-identical."""
        return isinstance(other, Truth) and np.array_equal(self._body, other._body)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return it as a dictionary would be shown."""
        return f"Truth({dict(self)!r})"


class Truths(dict[str, Any]):
    """The truth of many trials at one step: `truths["hand"]` holds all of them, `truths[3]` is the `Truth` of one.

    A dictionary of arrays with their masks ("_hand" and so on), as Gymnasium's vector wrappers expect. It reads the
    world on access and copies nothing, so reading it after a later step is an error.
    """

    def __init__(self, world: s.World, num_envs: int) -> None:
        """Wrap `num_envs` worlds as they are now."""
        super().__init__(OF_MANY)
        self._world = world
        self._num_envs = num_envs
        self._tick = int(world.tick[0])

    def __getitem__(self, which: str | int) -> Any:
        """Return the value of a key for all trials, (num_envs, ...), or the `Truth` of one trial.

        Raises:
            RuntimeError: the world has been stepped since.
            KeyError: an unknown key.
            IndexError: an unknown trial.
        """
        if int(self._world.tick[0]) != self._tick:
            raise RuntimeError("truth: expected to be read before the next step, got a world that has been stepped")
        if isinstance(which, str):
            return self._of_all(which)
        if not -self._num_envs <= which < self._num_envs:
            raise IndexError(f"truth: expected an environment from 0 to {self._num_envs - 1}, got {which}")
        return Truth(self._world.row(which % self._num_envs)[: s.SETTING].copy())

    def get(self, which: Any, default: Any = None) -> Any:
        """Return the value of a key, or `default`."""
        if which not in self:
            return default
        return self[which]

    def items(self) -> Any:
        """Return pairs of key and array."""
        return [(name, self[name]) for name in self]

    def values(self) -> Any:
        """Return the arrays."""
        return [self[name] for name in self]

    def _of_all(self, name: str) -> Any:
        if name not in self:
            raise KeyError(f"truth: expected one of {list(NAMES)}, got {name!r}")
        if name.startswith("_"):
            return np.ones(self._num_envs, dtype=np.bool_)
        lanes = self._world.tiles.reshape(-1, s.COLUMNS, s.LANES).transpose(0, 2, 1)
        if name in PLACES:
            places = lanes[:, :, PLACES[name]]
            return places.reshape(-1, places.shape[-1])[: self._num_envs].copy()
        column = s.CLOCK if name == "time_s" else {**NUMBERS, **FLAGS}[name]
        values = lanes[:, :, column].reshape(-1)[: self._num_envs]
        if name in FLAGS:
            return values > 0.0
        return values * (s.INNER_STEP_S if name == "time_s" else 1.0)

    def kept(self) -> Truths:
        """Return a copy that can be read at any time."""
        return Truths(self._world.copy(), self._num_envs)
