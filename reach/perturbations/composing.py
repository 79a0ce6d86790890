"""Perturbations by name, from what a user may give, and together in one trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from reach.perturbations.bodies import DelayChange, Load, StiffnessChange, ToolLength
from reach.perturbations.cups import CupJump, CupRemoved, Slip
from reach.perturbations.hand_forces import ConstantForce, CurlField, ForceChannel, Nudge, VelocityField
from reach.perturbations.vision import EndVision, ErrorClamp, Gain, HideHand, Prism, Rotation
from reach.sim import state as s
from reach.sim.state import NEVER, Array


class Perturbation(Protocol):
    """What every perturbation answers."""

    @property
    def kind(self) -> str:
        """The registered name, in `PERTURBATIONS`."""

    def write(self, row: Array) -> None:
        """Add this perturbation to a row of a world (see `sim.state`), whose settings are those of the trial."""


PERTURBATIONS: dict[str, type[Any]] = {
    "prism": Prism,
    "rotation": Rotation,
    "gain": Gain,
    "hide-hand": HideHand,
    "end-vision": EndVision,
    "error-clamp": ErrorClamp,
    "curl-field": CurlField,
    "velocity-field": VelocityField,
    "constant-force": ConstantForce,
    "nudge": Nudge,
    "force-channel": ForceChannel,
    "cup-jump": CupJump,
    "cup-removed": CupRemoved,
    "slip": Slip,
    "tool-length": ToolLength,
    "stiffness-change": StiffnessChange,
    "load": Load,
    "delay-change": DelayChange,
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
    if not isinstance(kind, str) or kind not in PERTURBATIONS:
        raise ValueError(f'perturbation "kind" is {kind!r}; {sorted(PERTURBATIONS)} are allowed')
    chosen = PERTURBATIONS[kind]
    known = [f.name for f in fields(chosen) if f.init]
    given = {name: item for name, item in value.items() if name != "kind"}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"perturbation {kind!r} has no {unknown}; {known} are allowed")
    made: Perturbation = chosen(**given)
    return made


def write_perturbations(perturbations: Sequence[Perturbation], row: Array) -> None:
    """Overwrite the disturbance of a world's row with `perturbations`, acting together.

    Args:
        perturbations: written in order; those of the body change the settings of the row.
        row: (COLUMNS,) of `state.World.row`, its settings those of the unperturbed trial.

    Raises:
        ValueError: two that cannot act together.
    """
    row[s.DISTURBANCE : s.NOISE] = 0.0
    row[s.MAP_11] = row[s.MAP_22] = 1.0
    row[list(s.ONSETS)] = NEVER
    for perturbation in perturbations:
        perturbation.write(row)
