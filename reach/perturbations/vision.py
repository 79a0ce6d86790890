"""Perturbations of vision: the visual map, the hidden hand and the error clamp.

They act at the eye, so a learner sees them one visual delay after their onset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from reach.perturbations.base import Perturbation, onset_rows, register, require_unset, require_within, shared_onset
from reach.sim import layout as s
from reach.sim.layout import Array


class VisualMap(Perturbation):
    """A linear map of the seen hand about the start of the reach, and a shift, from `onset_s` on.

    A new one derives from this class, is a frozen dataclass with the fields `onset_s` and `kind`, and returns its own
    `matrix`, `shift` or both. With `depends_on_cup = True` in the class body the matrix is relative to the cup: its
    first axis points from the start to the cup, its second to the left of that line.

    Attributes:
        onset_s: time in the trial, s; None = before it.
    """

    onset_s: float | None

    def matrix(self) -> Any:
        """Return the (2, 2) map of the seen hand, relative to the start; without one the hand stays where it is."""
        return np.eye(2)

    def shift(self) -> tuple[float, float]:
        """Return the shift (right, forward) of the seen hand after the map, m."""
        return 0.0, 0.0

    def write(self, row: Array) -> None:
        """Put this map after those already in `row`."""
        onset = shared_onset(self, "visual perturbations", row[s.MAP_ONSET])
        matrix = np.asarray(self.matrix(), dtype=np.float64)
        if self.depends_on_cup:
            x, y = row[s.TARGET_X : s.TARGET_Y + 1]
            axes = np.array([[x, -y], [y, x]])
            matrix = axes @ matrix @ axes.T
        old = row[s.MAP_11 : s.MAP_22 + 1].reshape(2, 2)
        row[s.MAP_X : s.MAP_Y + 1] = matrix @ row[s.MAP_X : s.MAP_Y + 1] + self.shift()
        row[s.MAP_11 : s.MAP_22 + 1] = (matrix @ old).ravel()
        row[s.MAP_ONSET] = onset


@register
@dataclass(frozen=True)
class Prism(VisualMap):
    """Hand and cup are seen shifted sideways, as by wedge prisms (Helmholtz 1867; Martin et al. 1996).

    Attributes:
        shift_m: shift to the right, m, -0.5..0.5. At 0.6 m from the eyes 17 degrees of prism are 0.18 m.
        onset_s: time in the trial, s; None = before it.
    """

    shift_m: float = 0.06
    onset_s: float | None = None
    kind: str = field(default="prism", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("shift_m",)

    def __post_init__(self) -> None:
        require_within(self, "m", -0.5, 0.5, "shift_m")
        onset_rows(self, "onset_s")

    def shift(self) -> tuple[float, float]:
        """Return the shift of the seen hand, m."""
        return self.shift_m, 0.0

    def write(self, row: Array) -> None:
        """Shift seen hand and seen cup alike."""
        super().write(row)
        row[s.CUP_SHIFT_X] += self.shift_m


@register
@dataclass(frozen=True)
class Rotation(VisualMap):
    """The seen hand is rotated about the start of the reach (Cunningham 1989; Krakauer et al. 2000).

    Attributes:
        degrees: counter-clockwise, -180..180.
        onset_s: time in the trial, s; None = before it.
    """

    degrees: float = 30.0
    onset_s: float | None = None
    kind: str = field(default="rotation", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("degrees",)
    is_bounded_together: ClassVar[bool] = False  # angles add up to an angle

    def __post_init__(self) -> None:
        require_within(self, "degrees", -180.0, 180.0, "degrees")
        onset_rows(self, "onset_s")

    def matrix(self) -> Any:
        """Return the rotation about the start."""
        cosine, sine = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        return [[cosine, -sine], [sine, cosine]]


@register
@dataclass(frozen=True)
class Gain(VisualMap):
    """The seen hand is farther from the start than the true one, or nearer (Krakauer et al. 2000).

    Attributes:
        factor: seen distance by true distance, 0.1..10.
        onset_s: time in the trial, s; None = before it.
    """

    factor: float = 1.5
    onset_s: float | None = None
    kind: str = field(default="gain", init=False)
    factors: ClassVar[tuple[str, ...]] = ("factor",)

    def __post_init__(self) -> None:
        require_within(self, "times", 0.1, 10.0, "factor")
        onset_rows(self, "onset_s")

    def matrix(self) -> Any:
        """Return the scaling about the start."""
        return self.factor * np.eye(2)


@register
@dataclass(frozen=True)
class HideHand(Perturbation):
    """The hand is not seen between two times of the trial.

    Attributes:
        from_s: time at which it vanishes, s; None = before the trial.
        until_s: time at which it is seen again, s; infinity (the default) = never in this trial.
    """

    from_s: float | None = None
    until_s: float = math.inf
    kind: str = field(default="hide-hand", init=False)

    def __post_init__(self) -> None:
        if onset_rows(self, "from_s") >= onset_rows(self, "until_s"):
            raise ValueError(f"HideHand until_s: expected a time after from_s ({self.from_s}), got {self.until_s}")

    def write(self, row: Array) -> None:
        """Set the window in which the hand is hidden."""
        require_unset(self, row[s.HIDDEN_FROM])
        row[s.HIDDEN_FROM] = onset_rows(self, "from_s")
        row[s.HIDDEN_UNTIL] = onset_rows(self, "until_s")


@register
@dataclass(frozen=True)
class EndVision(Perturbation):
    """The hand is seen only at the end of a reach: at rest, away from the start (Bernier, Chua and Franks 2005)."""

    kind: str = field(default="end-vision", init=False)

    def write(self, row: Array) -> None:
        """Hide the hand while it moves or is still at the start."""
        row[s.END_ONLY] = 1.0


@register
@dataclass(frozen=True)
class ErrorClamp(Perturbation):
    """The seen hand moves along a fixed ray, as far from the start as the true one (Morehead et al. 2017).

    Attributes:
        degrees: of the ray from the direction of the cup, counter-clockwise, -180..180; 0 shows no error.
        onset_s: time in the trial, s; None = before it.
    """

    degrees: float = 0.0
    onset_s: float | None = None
    kind: str = field(default="error-clamp", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("degrees",)

    def __post_init__(self) -> None:
        require_within(self, "degrees", -180.0, 180.0, "degrees")
        onset_rows(self, "onset_s")

    def write(self, row: Array) -> None:
        """Set the ray."""
        require_unset(self, row[s.CLAMP_ONSET])
        row[s.CLAMP_COSINE] = math.cos(math.radians(self.degrees))
        row[s.CLAMP_SINE] = math.sin(math.radians(self.degrees))
        row[s.CLAMP_ONSET] = onset_rows(self, "onset_s")
