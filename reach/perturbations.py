"""Perturbations of the motor-learning laboratory, as frozen values that compose: a tuple of them acts together.

Each says what it changes and when. `onset_s` None means that it is there before the trial begins (goggles are put on
between trials); a number is a time in the trial, and what it changes at the eye shows one visual delay later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reach.sim import state as s

Array = NDArray[np.float64]
FROM_THE_START = -1e9
NEVER = 1e9


class Perturbation(Protocol):
    """What every perturbation answers."""

    @property
    def kind(self) -> str:
        """The registered name, in `PERTURBATIONS`."""

    def write(self, disturbance: Array) -> None:
        """Add this perturbation to a row of `state.World.disturbance`."""


def _require_finite(owner: object, **values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{type(owner).__name__} {name} is {value!r}; a finite number is allowed")


def _onset_rows(owner: object, name: str, seconds: float | None) -> float:
    """Inner steps of a time in the trial; before the trial for None."""
    if seconds is None:
        return FROM_THE_START
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{type(owner).__name__} {name} is {seconds!r}; None or a time of 0 s or later is allowed")
    return NEVER if math.isinf(seconds) else float(round(seconds / s.INNER_STEP_S))


def _add_visual_map(owner: object, row: Array, matrix: Array, hand: Array, cup: Array, onset_s: float | None) -> None:
    """Put a visual map after those already in `row`; all maps of a trial act about the start and share one onset."""
    onset = _onset_rows(owner, "onset_s", onset_s)
    if row[s.MAP_ONSET] != NEVER and row[s.MAP_ONSET] != onset:
        raise ValueError(
            f"{type(owner).__name__} onset_s is {onset_s}; visual perturbations in one trial share an onset"
        )
    old = row[s.MAP_11 : s.MAP_22 + 1].reshape(2, 2)
    row[s.MAP_X : s.MAP_Y + 1] = matrix @ row[s.MAP_X : s.MAP_Y + 1] + hand
    row[s.MAP_11 : s.MAP_22 + 1] = (matrix @ old).ravel()
    row[s.CUP_SHIFT_X : s.CUP_SHIFT_Y + 1] += cup
    row[s.MAP_ONSET] = onset


@dataclass(frozen=True)
class Prism:
    """All that is seen, hand and cup, is shifted sideways, as by wedge prisms (Helmholtz 1867; Martin et al. 1996).

    Attributes:
        shift_m: shift to the right, m, -0.5..0.5. At 0.6 m from the eyes 17 degrees of prism are 0.18 m.
        onset_s: time in the trial, s; None = before it.
    """

    shift_m: float = 0.06
    onset_s: float | None = None
    kind: str = field(default="prism", init=False)

    def __post_init__(self) -> None:
        _require_finite(self, shift_m=self.shift_m)
        if abs(self.shift_m) > 0.5:
            raise ValueError(f"Prism shift_m is {self.shift_m}; -0.5 to 0.5 m is allowed")
        _onset_rows(self, "onset_s", self.onset_s)

    def write(self, disturbance: Array) -> None:
        """Shift seen hand and seen cup alike."""
        shift = np.array([self.shift_m, 0.0])
        _add_visual_map(self, disturbance, np.eye(2), shift, shift, self.onset_s)


@dataclass(frozen=True)
class Rotation:
    """The seen hand is turned about the start of the reach (Cunningham 1989; Krakauer et al. 2000).

    Attributes:
        degrees: counter-clockwise, -180..180.
        onset_s: time in the trial, s; None = before it.
    """

    degrees: float = 30.0
    onset_s: float | None = None
    kind: str = field(default="rotation", init=False)

    def __post_init__(self) -> None:
        _require_finite(self, degrees=self.degrees)
        if abs(self.degrees) > 180:
            raise ValueError(f"Rotation degrees is {self.degrees}; -180 to 180 is allowed")
        _onset_rows(self, "onset_s", self.onset_s)

    def write(self, disturbance: Array) -> None:
        """Turn the seen hand about the start."""
        cosine, sine = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        matrix = np.array([[cosine, -sine], [sine, cosine]])
        _add_visual_map(self, disturbance, matrix, np.zeros(2), np.zeros(2), self.onset_s)


@dataclass(frozen=True)
class HideHand:
    """The hand is not seen between two times of the trial.

    Attributes:
        from_s: time at which it vanishes, s; None = before the trial.
        until_s: time at which it is seen again, s; infinity (the default) = never in this trial.
    """

    from_s: float | None = None
    until_s: float = math.inf
    kind: str = field(default="hide-hand", init=False)

    def __post_init__(self) -> None:
        if _onset_rows(self, "from_s", self.from_s) >= _onset_rows(self, "until_s", self.until_s):
            raise ValueError(f"HideHand until_s is {self.until_s}; a time after from_s ({self.from_s}) is allowed")

    def write(self, disturbance: Array) -> None:
        """Set the window in which the hand is hidden."""
        if disturbance[s.HIDDEN_FROM] != NEVER:
            raise ValueError("HideHand is given twice; one window in a trial is allowed")
        disturbance[s.HIDDEN_FROM] = _onset_rows(self, "from_s", self.from_s)
        disturbance[s.HIDDEN_UNTIL] = _onset_rows(self, "until_s", self.until_s)


@dataclass(frozen=True)
class CupJump:
    """The cup jumps while the hand is under way (target jump; Paulignan et al. 1991).

    A cup in the grip stays where it is, and a jump onto the hand waits until the place is free.

    Attributes:
        right_m, forward_m: displacement, m, each -0.3..0.3.
        onset_s: time in the trial, s.
    """

    right_m: float = 0.05
    forward_m: float = 0.0
    onset_s: float = 0.4
    kind: str = field(default="cup-jump", init=False)

    def __post_init__(self) -> None:
        _require_finite(self, right_m=self.right_m, forward_m=self.forward_m, onset_s=self.onset_s)
        for name in ("right_m", "forward_m"):
            if abs(getattr(self, name)) > 0.3:
                raise ValueError(f"CupJump {name} is {getattr(self, name)}; -0.3 to 0.3 m is allowed")
        _onset_rows(self, "onset_s", self.onset_s)

    def write(self, disturbance: Array) -> None:
        """Set where and when the cup goes."""
        if disturbance[s.JUMP_ONSET] != NEVER:
            raise ValueError("CupJump is given twice; one jump in a trial is allowed")
        disturbance[s.JUMP_X] = self.right_m
        disturbance[s.JUMP_Y] = self.forward_m
        disturbance[s.JUMP_ONSET] = _onset_rows(self, "onset_s", self.onset_s)


@dataclass(frozen=True)
class CurlField:
    """A force at the hand across its velocity: F = b (v_y, -v_x) (curl field; Shadmehr and Mussa-Ivaldi 1994).

    Attributes:
        newton_s_per_m: b, N s/m, -50..50; positive pushes a forward reach to the right. Commonly +-13.
        onset_s: time in the trial, s; None = before it.
    """

    newton_s_per_m: float = 13.0
    onset_s: float | None = None
    kind: str = field(default="curl-field", init=False)

    def __post_init__(self) -> None:
        _require_finite(self, newton_s_per_m=self.newton_s_per_m)
        if abs(self.newton_s_per_m) > 50:
            raise ValueError(f"CurlField newton_s_per_m is {self.newton_s_per_m}; -50 to 50 is allowed")
        _onset_rows(self, "onset_s", self.onset_s)

    def write(self, disturbance: Array) -> None:
        """Add to the velocity field at the hand."""
        onset = _onset_rows(self, "onset_s", self.onset_s)
        if disturbance[s.FIELD_ONSET] != NEVER and disturbance[s.FIELD_ONSET] != onset:
            raise ValueError(f"CurlField onset_s is {self.onset_s}; fields in one trial share an onset")
        disturbance[s.FIELD_12] += self.newton_s_per_m
        disturbance[s.FIELD_21] -= self.newton_s_per_m
        disturbance[s.FIELD_ONSET] = onset


PERTURBATIONS: dict[str, type[Any]] = {
    "prism": Prism,
    "rotation": Rotation,
    "hide-hand": HideHand,
    "cup-jump": CupJump,
    "curl-field": CurlField,
}


def as_perturbations(value: Any) -> tuple[Perturbation, ...]:
    """What a user may give as `perturbation`, as a tuple.

    Args:
        value: None, one perturbation, a sequence of them, or mappings with a "kind" (as JSON brings them back).

    Raises:
        ValueError: an unknown kind or field; the message lists the known ones.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return (_from_mapping(value),)
    for kind in PERTURBATIONS.values():
        if isinstance(value, kind):
            return (value,)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(one for item in value for one in as_perturbations(item))
    raise ValueError(
        f"perturbation is {value!r}; None, one of {sorted(c.__name__ for c in PERTURBATIONS.values())}, a tuple of "
        'them or a mapping with "kind" is allowed'
    )


def _from_mapping(value: Mapping[str, Any]) -> Perturbation:
    kind = value.get("kind")
    if kind not in PERTURBATIONS:
        raise ValueError(f'perturbation "kind" is {kind!r}; {sorted(PERTURBATIONS)} are allowed')
    chosen = PERTURBATIONS[kind]
    known = [f.name for f in fields(chosen) if f.init]
    given = {name: item for name, item in value.items() if name != "kind"}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"perturbation {kind!r} has no {unknown}; {known} are allowed")
    made: Perturbation = chosen(**given)
    return made


def write_perturbations(perturbations: Sequence[Perturbation], disturbance: Array, start: Array) -> None:
    """Overwrite one disturbance row with `perturbations`, acting together; `start` (2,) m is the hand's start."""
    disturbance[:] = 0.0
    disturbance[s.MAP_11] = disturbance[s.MAP_22] = 1.0
    disturbance[s.ORIGIN_X : s.ORIGIN_Y + 1] = start
    for onset in (s.MAP_ONSET, s.HIDDEN_FROM, s.HIDDEN_UNTIL, s.FIELD_ONSET, s.JUMP_ONSET):
        disturbance[onset] = NEVER
    for perturbation in perturbations:
        perturbation.write(disturbance)
