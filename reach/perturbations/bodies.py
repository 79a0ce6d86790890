"""Perturbations of the body, present from before the trial: a tool, other springs, a load, another visual delay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from reach.perturbations.base import Perturbation, register, require_within
from reach.sim import layout as s
from reach.sim.layout import Array


@register
@dataclass(frozen=True)
class ToolLength(Perturbation):
    """The hand is lengthened: fingers and grasp point lie farther from the wrist (tool use; Cardinali et al. 2009).

    The arm starts in the posture in which it always does, so the grasp point starts farther out.

    Attributes:
        longer_m: m, -0.05..0.15.
    """

    longer_m: float = 0.05
    kind: str = field(default="tool-length", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("longer_m",)

    def __post_init__(self) -> None:
        require_within(self, "m", -0.05, 0.15, "longer_m")

    def write(self, row: Array) -> None:
        """Move the grasp point, and with it the fingers, out along the hand."""
        row[s.WRIST_TO_GRASP] += self.longer_m
        row[s.WRIST_OFFSET] -= self.longer_m


@register
@dataclass(frozen=True)
class StiffnessChange(Perturbation):
    """The springs of `posture` control, the torques or the muscles become stronger or weaker.

    Attributes:
        factor: 0.2..5.
    """

    factor: float = 0.7
    kind: str = field(default="stiffness-change", init=False)
    factors: ClassVar[tuple[str, ...]] = ("factor",)

    def __post_init__(self) -> None:
        require_within(self, "times", 0.2, 5.0, "factor")

    def write(self, row: Array) -> None:
        """Scale stiffness, largest torque and muscle strength."""
        row[s.STIFFNESS_11 : s.STIFFNESS_33 + 1] *= self.factor
        row[s.LARGEST_TORQUE_1 : s.LARGEST_TORQUE_3 + 1] *= self.factor
        row[s.STRENGTH] *= self.factor


@register
@dataclass(frozen=True)
class Load(Perturbation):
    """A mass at the grasp point moves with the hand (inertial load; Krakauer, Ghilardi and Ghez 1999).

    Attributes:
        kilograms: kg, 0..5.
    """

    kilograms: float = 1.0
    kind: str = field(default="load", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("kilograms",)

    def __post_init__(self) -> None:
        require_within(self, "kg", 0.0, 5.0, "kilograms")

    def write(self, row: Array) -> None:
        """Add a point mass to the constants of the kinetic energy (see `sim.dynamics`)."""
        mass, upper, fore, hand = self.kilograms, row[s.LENGTH_1], row[s.LENGTH_2], row[s.WRIST_TO_GRASP]
        row[s.INERTIA_11] += mass * upper**2
        if row[s.WRIST_FREE] > 0.0:
            row[s.INERTIA_22] += mass * fore**2
            row[s.INERTIA_33] += mass * hand**2
            row[s.INERTIA_12] += mass * upper * fore
            row[s.INERTIA_13] += mass * upper * hand
            row[s.INERTIA_23] += mass * fore * hand
        else:
            row[s.INERTIA_22] += mass * (fore + hand) ** 2
            row[s.INERTIA_12] += mass * upper * (fore + hand)


@register
@dataclass(frozen=True)
class DelayChange(Perturbation):
    """Vision arrives later, or earlier, than usual (Miall and Jackson 2006, Exp Brain Res 172:77).

    Attributes:
        later_s: s, in steps of 5 ms, -0.63..0.63; the whole delay is clipped to 0..0.635 s.
    """

    later_s: float = 0.10
    kind: str = field(default="delay-change", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("later_s",)
    steps: ClassVar[Mapping[str, float]] = {"later_s": s.INNER_STEP_S}

    def __post_init__(self) -> None:
        require_within(self, "s", -0.63, 0.63, "later_s")
        rows = self.later_s / s.INNER_STEP_S
        if abs(rows - round(rows)) > 1e-6:
            raise ValueError(f"DelayChange later_s: expected a multiple of {s.INNER_STEP_S} s, got {self.later_s!r}")

    def write(self, row: Array) -> None:
        """Change the visual delay."""
        longest = round(s.LONGEST_DELAY_S / s.INNER_STEP_S)
        row[s.VISION_DELAY] = min(longest, max(0, row[s.VISION_DELAY] + round(self.later_s / s.INNER_STEP_S)))
