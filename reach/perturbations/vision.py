"""Perturbations of vision. They act at the eye, so a learner sees them one visual delay after their onset."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from reach.arguments import ranged
from reach.perturbations.base import Perturbation, add_shared, direction, onset_inner_steps, register, write_once
from reach.sim import layout as s
from reach.sim.layout import Array


class VisualMap(Perturbation):
    """A linear map of the seen hand about the start of the reach, plus a shift, from `onset_s` on.

    To add a visual map, derive a frozen dataclass with the fields `onset_s` and `kind` from this class, and override
    `matrix`, `shift` or both. With `depends_on_cup = True` in the class body, the matrix is relative to the cup: its
    first axis points from the start to the cup, its second to the left of that line.

    Attributes:
        onset_s: time in the trial, s; None = before it.
    """

    onset_s: float | None

    def matrix(self) -> Any:
        """Return the (2, 2) map of the seen hand relative to the start; by default the identity."""
        return np.eye(2)

    def shift(self) -> tuple[float, float]:
        """Return the shift (right, forward) of the seen hand after the map, m; by default 0."""
        return 0.0, 0.0

    def write(self, row: Array) -> None:
        """Compose this map with those already in `row`; it is applied after them."""
        add_shared(self, "visual perturbations", row, s.MAP_ONSET)
        matrix = np.asarray(self.matrix(), dtype=np.float64)
        if self.depends_on_cup:
            x, y = row[s.TARGET_X : s.TARGET_Y + 1]
            axes = np.array([[x, -y], [y, x]])
            matrix = axes @ matrix @ axes.T
        old = row[s.MAP_11 : s.MAP_22 + 1].reshape(2, 2)
        row[s.MAP_X : s.MAP_Y + 1] = matrix @ row[s.MAP_X : s.MAP_Y + 1] + self.shift()
        row[s.MAP_11 : s.MAP_22 + 1] = (matrix @ old).ravel()


@register
@dataclass(frozen=True)
class Prism(VisualMap):
    """The seen hand and cup are shifted sideways, as by wedge prisms (Helmholtz 1867; Martin et al. 1996).

    Attributes:
        shift_m: shift to the right, m, -0.5..0.5. At 0.6 m from the eyes, 17 degrees of prism shift by 0.18 m.
        onset_s: time in the trial, s; None = before it.
    """

    shift_m: float = ranged(0.06, -0.5, 0.5, "m")
    onset_s: float | None = None
    kind: str = field(default="prism", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("shift_m",)

    def shift(self) -> tuple[float, float]:
        """Return the shift of the seen hand, m."""
        return self.shift_m, 0.0

    def write(self, row: Array) -> None:
        """Shift the seen hand and the seen cup by the same amount."""
        super().write(row)
        row[s.CUP_SHIFT_X] += self.shift_m


@register
@dataclass(frozen=True)
class Rotation(VisualMap):
    """The seen hand is rotated about the start of the reach (Cunningham 1989; Krakauer et al. 2000).

    Attributes:
        degrees: counter-clockwise angle, -180..180.
        onset_s: time in the trial, s; None = before it.
    """

    degrees: float = ranged(30.0, -180.0, 180.0, "degrees")
    onset_s: float | None = None
    kind: str = field(default="rotation", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("degrees",)
    is_bounded_together: ClassVar[bool] = False  # angles add up to an angle

    def matrix(self) -> Any:
        """Return the rotation about the start."""
        cosine, sine = direction(self.degrees)
        return [[cosine, -sine], [sine, cosine]]


@register
@dataclass(frozen=True)
class MirrorReversal(VisualMap):
    """The seen hand goes to the left as far as the true hand goes to the right (Telgen, Parvin and Diedrichsen 2014).

    The mirror stands on the forward axis through the start of the reach. Corrections of the seen error have the wrong
    sign, so a learner must reverse the map from error to correction. Acting twice, it shows the true hand.

    Attributes:
        onset_s: time in the trial, s; None = before it.
    """

    onset_s: float | None = None
    kind: str = field(default="mirror-reversal", init=False)

    def matrix(self) -> Any:
        """Return the reflection about the forward axis through the start."""
        return np.diag([-1.0, 1.0])


@register
@dataclass(frozen=True)
class Gain(VisualMap):
    """The seen hand is farther from the start than the true hand, or nearer (Krakauer et al. 2000).

    Attributes:
        factor: seen distance divided by true distance, 0.1..10.
        onset_s: time in the trial, s; None = before it.
    """

    factor: float = ranged(1.5, 0.1, 10.0, "times")
    onset_s: float | None = None
    kind: str = field(default="gain", init=False)
    factors: ClassVar[tuple[str, ...]] = ("factor",)

    def matrix(self) -> Any:
        """Return the scaling about the start."""
        return self.factor * np.eye(2)


@register
@dataclass(frozen=True)
class HideHand(Perturbation):
    """The hand is hidden between two times of the trial.

    Attributes:
        from_s: time at which the hand disappears, s; None = before the trial.
        until_s: time at which the hand reappears, s; infinity (the default) = not in this trial.
    """

    from_s: float | None = None
    until_s: float = math.inf
    kind: str = field(default="hide-hand", init=False)

    def __post_init__(self) -> None:
        if onset_inner_steps(self, "from_s") >= onset_inner_steps(self, "until_s"):
            raise ValueError(f"HideHand until_s: expected a time after from_s ({self.from_s}), got {self.until_s}")

    def write(self, row: Array) -> None:
        """Set the window in which the hand is hidden."""
        write_once(self, row, s.HIDDEN_FROM)
        row[s.HIDDEN_FROM : s.HIDDEN_UNTIL + 1] = onset_inner_steps(self, "from_s"), onset_inner_steps(self, "until_s")


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
    """The seen hand moves along a fixed ray, at the true hand's distance from the start (Morehead et al. 2017).

    Attributes:
        degrees: angle of the ray from the direction of the cup, counter-clockwise, -180..180; 0 shows no error.
        onset_s: time in the trial, s; None = before it.
    """

    degrees: float = ranged(0.0, -180.0, 180.0, "degrees")
    onset_s: float | None = None
    kind: str = field(default="error-clamp", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("degrees",)

    def write(self, row: Array) -> None:
        """Set the ray."""
        write_once(self, row, s.CLAMP_ONSET, *direction(self.degrees))
