"""Perturbations of the cup: it jumps, vanishes or becomes slippery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from reach.perturbations.base import Perturbation, onset_rows, register, require_unset, require_within
from reach.sim import layout as s
from reach.sim.layout import Array


@register
@dataclass(frozen=True)
class CupJump(Perturbation):
    """The cup jumps during the reach (target jump; Paulignan et al. 1991).

    A cup in the grip stays where it is, and a jump onto the hand waits until the place is free.

    Attributes:
        right_m, forward_m: displacement, m, each -0.3..0.3.
        onset_s: time in the trial, s, 0 or later.
    """

    right_m: float = 0.05
    forward_m: float = 0.0
    onset_s: float = 0.4
    kind: str = field(default="cup-jump", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("right_m", "forward_m")

    def __post_init__(self) -> None:
        require_within(self, "m", -0.3, 0.3, "right_m", "forward_m")
        require_within(self, "s", 0.0, s.TRIAL_S, "onset_s")

    def write(self, row: Array) -> None:
        """Set the displacement and its onset."""
        require_unset(self, row[s.JUMP_ONSET])
        row[s.JUMP_X] = self.right_m
        row[s.JUMP_Y] = self.forward_m
        row[s.JUMP_ONSET] = onset_rows(self, "onset_s")


@register
@dataclass(frozen=True)
class CupRemoved(Perturbation):
    """The cup is taken away: neither seen nor touched any more (target removal; Prablanc et al. 1986).

    Attributes:
        onset_s: time in the trial, s; None = before it.
    """

    onset_s: float | None = 0.4
    kind: str = field(default="cup-removed", init=False)

    def __post_init__(self) -> None:
        onset_rows(self, "onset_s")

    def write(self, row: Array) -> None:
        """Set the onset."""
        require_unset(self, row[s.REMOVED_ONSET])
        row[s.REMOVED_ONSET] = onset_rows(self, "onset_s")


@register
@dataclass(frozen=True)
class Slip(Perturbation):
    """The cup becomes slippery in the fingers (Johansson and Westling 1984, Exp Brain Res 56:550).

    Attributes:
        finger_friction: Coulomb coefficient of finger and cup from then on, 0..2.
        onset_s: time in the trial, s; None = before it.
    """

    finger_friction: float = 0.1
    onset_s: float | None = None
    kind: str = field(default="slip", init=False)

    def __post_init__(self) -> None:
        require_within(self, "times", 0.0, 2.0, "finger_friction")
        onset_rows(self, "onset_s")

    def write(self, row: Array) -> None:
        """Set the friction and its onset."""
        require_unset(self, row[s.SLIP_ONSET])
        row[s.SLIP_FRICTION] = self.finger_friction
        row[s.SLIP_ONSET] = onset_rows(self, "onset_s")
