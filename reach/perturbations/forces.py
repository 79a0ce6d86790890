"""Perturbations that push the hand: velocity fields, constant forces, pulses and the force channel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from reach.perturbations.base import Perturbation, onset_rows, register, require_unset, require_within, shared_onset
from reach.sim import layout as s
from reach.sim.layout import NEVER, Array

LARGEST_FIELD_N_S_M = 50.0
LARGEST_FORCE_N = 50.0


@register
@dataclass(frozen=True)
class CurlField(Perturbation):
    """A force at the hand across its velocity: F = b (v_y, -v_x) (curl field; Shadmehr and Mussa-Ivaldi 1994).

    Attributes:
        newton_s_per_m: b, N s/m, -50..50; positive pushes a forward reach to the right. Commonly +-13.
        onset_s: time in the trial, s; None = before it.
    """

    newton_s_per_m: float = 13.0
    onset_s: float | None = None
    kind: str = field(default="curl-field", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("newton_s_per_m",)

    def __post_init__(self) -> None:
        require_within(self, "N s/m", -LARGEST_FIELD_N_S_M, LARGEST_FIELD_N_S_M, "newton_s_per_m")
        onset_rows(self, "onset_s")

    def write(self, row: Array) -> None:
        """Add to the velocity field at the hand."""
        _add_field(self, row, 0.0, self.newton_s_per_m, -self.newton_s_per_m, 0.0)


@register
@dataclass(frozen=True)
class VelocityField(Perturbation):
    """A force at the hand that is linear in its velocity: F = B v (Shadmehr and Mussa-Ivaldi 1994, eq. 1).

    Attributes:
        b_xx, b_xy, b_yx, b_yy: B, N s/m, each -50..50; the defaults are those of the paper.
        onset_s: time in the trial, s; None = before it.
    """

    b_xx: float = -10.1
    b_xy: float = -11.2
    b_yx: float = -11.2
    b_yy: float = 11.1
    onset_s: float | None = None
    kind: str = field(default="velocity-field", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("b_xx", "b_xy", "b_yx", "b_yy")

    def __post_init__(self) -> None:
        require_within(self, "N s/m", -LARGEST_FIELD_N_S_M, LARGEST_FIELD_N_S_M, "b_xx", "b_xy", "b_yx", "b_yy")
        onset_rows(self, "onset_s")

    def write(self, row: Array) -> None:
        """Add to the velocity field at the hand."""
        _add_field(self, row, self.b_xx, self.b_xy, self.b_yx, self.b_yy)


def _add_field(owner: object, row: Array, xx: float, xy: float, yx: float, yy: float) -> None:
    onset = shared_onset(owner, "fields", row[s.FIELD_ONSET])
    row[s.FIELD_11 : s.FIELD_22 + 1] += (xx, xy, yx, yy)
    row[s.FIELD_ONSET] = onset


@register
@dataclass(frozen=True)
class ConstantForce(Perturbation):
    """A constant force at the hand (bias force; compare Lackner and Dizio 1994, in a rotating room).

    Attributes:
        right_n, forward_n: N, each -50..50.
        onset_s: time in the trial, s; None = before it.
    """

    right_n: float = 3.0
    forward_n: float = 0.0
    onset_s: float | None = None
    kind: str = field(default="constant-force", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("right_n", "forward_n")

    def __post_init__(self) -> None:
        require_within(self, "N", -LARGEST_FORCE_N, LARGEST_FORCE_N, "right_n", "forward_n")
        onset_rows(self, "onset_s")

    def write(self, row: Array) -> None:
        """Add to the constant force at the hand."""
        onset = shared_onset(self, "constant forces", row[s.FORCE_ONSET])
        row[s.FORCE_X] += self.right_n
        row[s.FORCE_Y] += self.forward_n
        row[s.FORCE_ONSET] = onset


@register
@dataclass(frozen=True)
class Nudge(Perturbation):
    """A pulse of force at the hand during the reach (mechanical perturbation; Pruszynski and Scott 2012).

    Attributes:
        right_n, forward_n: N, each -50..50.
        onset_s: time in the trial, s, 0 or later.
        duration_s: s, 0.005..3.
    """

    right_n: float = 10.0
    forward_n: float = 0.0
    onset_s: float = 0.4
    duration_s: float = 0.1
    kind: str = field(default="nudge", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("right_n", "forward_n")

    def __post_init__(self) -> None:
        require_within(self, "N", -LARGEST_FORCE_N, LARGEST_FORCE_N, "right_n", "forward_n")
        require_within(self, "s", 0.0, s.TRIAL_S, "onset_s")
        require_within(self, "s", s.INNER_STEP_S, s.TRIAL_S, "duration_s")

    def write(self, row: Array) -> None:
        """Set the pulse."""
        require_unset(self, row[s.NUDGE_ONSET])
        row[s.NUDGE_X] = self.right_n
        row[s.NUDGE_Y] = self.forward_n
        row[s.NUDGE_ONSET] = onset_rows(self, "onset_s")
        row[s.NUDGE_UNTIL] = row[s.NUDGE_ONSET] + round(self.duration_s / s.INNER_STEP_S)


@register
@dataclass(frozen=True)
class ForceChannel(Perturbation):
    """Stiff walls hold the hand to a straight line from the start; `info["truth"]["channel_force_n"]` is their force.

    Channel trials measure the force that the arm has learned to expect (error-clamp trials of Scheidt et al. 2000,
    J Neurophysiol 84:853). The walls act from before the trial.

    Attributes:
        degrees: of the line from the direction of the cup, counter-clockwise, -180..180.
    """

    degrees: float = 0.0
    kind: str = field(default="force-channel", init=False)

    def __post_init__(self) -> None:
        require_within(self, "degrees", -180.0, 180.0, "degrees")

    def write(self, row: Array) -> None:
        """Set the line."""
        require_unset(self, row[s.CHANNEL_ONSET])
        row[s.CHANNEL_COSINE] = math.cos(math.radians(self.degrees))
        row[s.CHANNEL_SINE] = math.sin(math.radians(self.degrees))
        row[s.CHANNEL_ONSET] = -NEVER
