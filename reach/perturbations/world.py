"""Perturbations of the world: forces on the hand, the cup, and the body. The last act from before the trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from reach.arguments import ranged
from reach.perturbations.base import Perturbation, add_shared, direction, register, write_once
from reach.sim import layout as s
from reach.sim.layout import Array

LARGEST_FIELD_N_S_M = 50.0
LARGEST_FIELD_N_M = 200.0
LARGEST_FORCE_N = 50.0


# Forces on the hand.


@register
@dataclass(frozen=True)
class CurlField(Perturbation):
    """A force at the hand across its velocity: F = b (v_y, -v_x) (curl field; Shadmehr and Mussa-Ivaldi 1994).

    Attributes:
        newton_s_per_m: b, N s/m, -50..50; positive values push a forward reach to the right. Typical: +-13.
        onset_s: time in the trial, s; None = before it.
    """

    newton_s_per_m: float = ranged(13.0, -LARGEST_FIELD_N_S_M, LARGEST_FIELD_N_S_M, "N s/m")
    onset_s: float | None = None
    kind: str = field(default="curl-field", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("newton_s_per_m",)

    def write(self, row: Array) -> None:
        """Add to the velocity field at the hand."""
        add_shared(self, "fields", row, s.FIELD_ONSET, 0.0, self.newton_s_per_m, -self.newton_s_per_m, 0.0)


@register
@dataclass(frozen=True)
class VelocityField(Perturbation):
    """A force at the hand that is linear in its velocity: F = B v (Shadmehr and Mussa-Ivaldi 1994, eq. 1).

    Attributes:
        b_xx, b_xy, b_yx, b_yy: entries of B, N s/m, each -50..50; the defaults are those of the paper.
        onset_s: time in the trial, s; None = before it.
    """

    b_xx: float = ranged(-10.1, -LARGEST_FIELD_N_S_M, LARGEST_FIELD_N_S_M, "N s/m")
    b_xy: float = ranged(-11.2, -LARGEST_FIELD_N_S_M, LARGEST_FIELD_N_S_M, "N s/m")
    b_yx: float = ranged(-11.2, -LARGEST_FIELD_N_S_M, LARGEST_FIELD_N_S_M, "N s/m")
    b_yy: float = ranged(11.1, -LARGEST_FIELD_N_S_M, LARGEST_FIELD_N_S_M, "N s/m")
    onset_s: float | None = None
    kind: str = field(default="velocity-field", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("b_xx", "b_xy", "b_yx", "b_yy")

    def write(self, row: Array) -> None:
        """Add to the velocity field at the hand."""
        add_shared(self, "fields", row, s.FIELD_ONSET, self.b_xx, self.b_xy, self.b_yx, self.b_yy)


@register
@dataclass(frozen=True)
class PositionField(Perturbation):
    """A force at the hand across its displacement (x, y) from the start: F = k (y, -x) (Sing et al. 2009).

    Unlike the force of a curl field, it grows to the end of the reach and stays while the hand is held there.

    Attributes:
        newton_per_m: k, N/m, -200..200; positive values push a forward reach to the right. Typical: +-45.
        onset_s: time in the trial, s; None = before it.
    """

    newton_per_m: float = ranged(45.0, -LARGEST_FIELD_N_M, LARGEST_FIELD_N_M, "N/m")
    onset_s: float | None = None
    kind: str = field(default="position-field", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("newton_per_m",)

    def write(self, row: Array) -> None:
        """Add to the position-dependent field at the hand."""
        add_shared(self, "position fields", row, s.POSITION_FIELD_ONSET, self.newton_per_m)


@register
@dataclass(frozen=True)
class ConstantForce(Perturbation):
    """A constant force at the hand (bias force; compare Lackner and Dizio 1994, in a rotating room).

    Attributes:
        right_n, forward_n: components of the force, N, each -50..50.
        onset_s: time in the trial, s; None = before it.
    """

    right_n: float = ranged(3.0, -LARGEST_FORCE_N, LARGEST_FORCE_N, "N")
    forward_n: float = ranged(0.0, -LARGEST_FORCE_N, LARGEST_FORCE_N, "N")
    onset_s: float | None = None
    kind: str = field(default="constant-force", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("right_n", "forward_n")

    def write(self, row: Array) -> None:
        """Add to the constant force at the hand."""
        add_shared(self, "constant forces", row, s.FORCE_ONSET, self.right_n, self.forward_n)


@register
@dataclass(frozen=True)
class Nudge(Perturbation):
    """A pulse of force at the hand during the reach (mechanical perturbation; Pruszynski and Scott 2012).

    Attributes:
        right_n, forward_n: components of the force, N, each -50..50.
        onset_s: time in the trial, s, 0 or later.
        duration_s: duration of the pulse, s, 0.005..3.
    """

    right_n: float = ranged(10.0, -LARGEST_FORCE_N, LARGEST_FORCE_N, "N")
    forward_n: float = ranged(0.0, -LARGEST_FORCE_N, LARGEST_FORCE_N, "N")
    onset_s: float = ranged(0.4, 0.0, s.TRIAL_S, "s")
    duration_s: float = ranged(0.1, s.INNER_STEP_S, s.TRIAL_S, "s")
    kind: str = field(default="nudge", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("right_n", "forward_n")

    def write(self, row: Array) -> None:
        """Set the pulse."""
        write_once(self, row, s.NUDGE_ONSET, self.right_n, self.forward_n)
        row[s.NUDGE_UNTIL] = row[s.NUDGE_ONSET] + round(self.duration_s / s.INNER_STEP_S)


@register
@dataclass(frozen=True)
class ForceChannel(Perturbation):
    """Stiff walls hold the hand to a straight line from the start; `info["truth"]["channel_force_n"]` is their force.

    Channel trials measure the force that the arm has learned to expect (error-clamp trials of Scheidt et al. 2000,
    J Neurophysiol 84:853). The walls act from before the trial.

    Attributes:
        degrees: angle of the line from the direction of the cup, counter-clockwise, -180..180.
    """

    degrees: float = ranged(0.0, -180.0, 180.0, "degrees")
    kind: str = field(default="force-channel", init=False)

    def write(self, row: Array) -> None:
        """Set the line."""
        write_once(self, row, s.CHANNEL_ONSET, *direction(self.degrees))


# The cup.


@register
@dataclass(frozen=True)
class CupJump(Perturbation):
    """The cup jumps during the reach (target jump; Paulignan et al. 1991).

    A gripped cup does not jump. A jump to a position that the hand occupies is delayed until the position is free.

    Attributes:
        right_m, forward_m: displacement, m, each -0.3..0.3.
        onset_s: time in the trial, s, 0 or later.
    """

    right_m: float = ranged(0.05, -0.3, 0.3, "m")
    forward_m: float = ranged(0.0, -0.3, 0.3, "m")
    onset_s: float = ranged(0.4, 0.0, s.TRIAL_S, "s")
    kind: str = field(default="cup-jump", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("right_m", "forward_m")

    def write(self, row: Array) -> None:
        """Set the displacement and its onset."""
        write_once(self, row, s.JUMP_ONSET, self.right_m, self.forward_m)


@register
@dataclass(frozen=True)
class CupRemoved(Perturbation):
    """The cup is removed: it can no longer be seen or touched (target removal; Prablanc et al. 1986).

    Attributes:
        onset_s: time in the trial, s; None = before it.
    """

    onset_s: float | None = 0.4
    kind: str = field(default="cup-removed", init=False)

    def write(self, row: Array) -> None:
        """Set the onset."""
        write_once(self, row, s.REMOVED_ONSET)


@register
@dataclass(frozen=True)
class CupMark(Perturbation):
    """The cup is a mark on the table, the target of reaching studies: seen, but neither touched nor pushed.

    Without it, a force field that pushes the hand aside can also push it into the cup. A mark can be reached, but not
    grabbed.
    """

    kind: str = field(default="cup-mark", init=False)

    def write(self, row: Array) -> None:
        """Switch off the contact of hand and cup."""
        row[s.CUP_IS_MARK] = 1.0


@register
@dataclass(frozen=True)
class Slip(Perturbation):
    """The cup becomes slippery in the fingers (Johansson and Westling 1984, Exp Brain Res 56:550).

    Attributes:
        finger_friction: Coulomb friction coefficient between finger and cup from the onset on, 0..2.
        onset_s: time in the trial, s; None = before it.
    """

    finger_friction: float = ranged(0.1, 0.0, 2.0, "times")
    onset_s: float | None = None
    kind: str = field(default="slip", init=False)

    def write(self, row: Array) -> None:
        """Set the friction and its onset."""
        write_once(self, row, s.SLIP_ONSET, self.finger_friction)


# The body.


@register
@dataclass(frozen=True)
class ToolLength(Perturbation):
    """The hand is longer: fingers and grasp point are farther from the wrist (tool use; Cardinali et al. 2009).

    The arm starts in its usual posture, so the grasp point starts farther away from the body.

    Attributes:
        longer_m: increase of the length, m, -0.05..0.15.
    """

    longer_m: float = ranged(0.05, -0.05, 0.15, "m")
    kind: str = field(default="tool-length", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("longer_m",)

    def write(self, row: Array) -> None:
        """Move the grasp point and the fingers outwards along the hand."""
        row[s.WRIST_TO_GRASP] += self.longer_m
        row[s.WRIST_OFFSET] -= self.longer_m


@register
@dataclass(frozen=True)
class StiffnessChange(Perturbation):
    """The springs of `posture` control, the torques or the muscles become stronger or weaker.

    Attributes:
        factor: factor on stiffness, largest torque and muscle strength, 0.2..5.
    """

    factor: float = ranged(0.7, 0.2, 5.0, "times")
    kind: str = field(default="stiffness-change", init=False)
    factors: ClassVar[tuple[str, ...]] = ("factor",)

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
        kilograms: mass, kg, 0..5.
    """

    kilograms: float = ranged(1.0, 0.0, 5.0, "kg")
    kind: str = field(default="load", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("kilograms",)

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
    """The visual delay is longer or shorter than usual (Miall and Jackson 2006, Exp Brain Res 172:77).

    Attributes:
        later_s: increase of the delay, s, in steps of 5 ms, -0.63..0.63; the total delay is clipped to 0..0.635 s.
    """

    later_s: float = ranged(0.10, -0.63, 0.63, "s")
    kind: str = field(default="delay-change", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("later_s",)
    steps: ClassVar[Mapping[str, float]] = {"later_s": s.INNER_STEP_S}

    def __post_init__(self) -> None:
        super().__post_init__()
        rows = self.later_s / s.INNER_STEP_S
        if abs(rows - round(rows)) > 1e-6:
            raise ValueError(f"DelayChange later_s: expected a multiple of {s.INNER_STEP_S} s, got {self.later_s!r}")

    def write(self, row: Array) -> None:
        """Change the visual delay."""
        longest = round(s.LONGEST_DELAY_S / s.INNER_STEP_S)
        row[s.VISION_DELAY] = min(longest, max(0, row[s.VISION_DELAY] + round(self.later_s / s.INNER_STEP_S)))
