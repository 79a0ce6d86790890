"""Perturbations by name, from what a user may give, and together in one trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
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


# Fields that grow in proportion, and those in which 1 changes nothing, which grow by powers. What is in neither has no
# size: a hidden hand is hidden or not.
SIZES: dict[type[Any], tuple[str, ...]] = {
    Prism: ("shift_m",),
    Rotation: ("degrees",),
    ErrorClamp: ("degrees",),
    CurlField: ("newton_s_per_m",),
    VelocityField: ("b_xx", "b_xy", "b_yx", "b_yy"),
    ConstantForce: ("right_n", "forward_n"),
    Nudge: ("right_n", "forward_n"),
    CupJump: ("right_m", "forward_m"),
    ToolLength: ("longer_m",),
    Load: ("kilograms",),
    DelayChange: ("later_s",),
}
FACTORS: dict[type[Any], tuple[str, ...]] = {Gain: ("factor",), StiffnessChange: ("factor",)}


def is_perturbation(value: Any) -> bool:
    """Return whether a value is a perturbation of a registered kind."""
    return isinstance(value, tuple(PERTURBATIONS.values()))


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
    if is_perturbation(value):
        return (value,)
    if _is_sequence(value):
        return tuple(one for item in value for one in as_perturbations(item))
    raise ValueError(
        f"perturbation is {value!r}; None, one of {sorted(c.__name__ for c in PERTURBATIONS.values())}, a tuple of "
        'them or a mapping with "kind" is allowed'
    )


def for_each_environment(value: Any, num_envs: int) -> list[tuple[Perturbation, ...]]:
    """Return what a user may give a vector environment as `perturbation`, as one tuple for each environment.

    The meaning follows from how deep the value is nested, not from whether it is a tuple or a list, so that it is the
    same after a detour through JSON.

    Args:
        value: as for `as_perturbations`, for all environments alike; or a sequence with one entry for each environment,
            each as for `as_perturbations`, of which at least one is None or a sequence.
        num_envs: number of environments.

    Raises:
        ValueError: not a perturbation; another number of entries; or a list of as many perturbations as there are
            environments, which could mean either.
    """
    if not _is_sequence(value) or not any(item is None or _is_sequence(item) for item in value):
        acting = as_perturbations(value)
        if (
            isinstance(value, list)
            and len(value) == num_envs > 1
            and not all(isinstance(item, Mapping) for item in value)
        ):
            raise ValueError(
                f"perturbation is {value!r}, a list of as many perturbations as there are environments; a tuple is "
                f"allowed, where all act together in every environment, or {num_envs} tuples, one for each environment"
            )
        return [acting] * num_envs
    if len(value) != num_envs:
        raise ValueError(
            f"perturbation is a list of {len(value)} entries; one for each of {num_envs} environments is allowed"
        )
    return [as_perturbations(item) for item in value]


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _from_mapping(value: Mapping[str, Any]) -> Perturbation:
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in PERTURBATIONS:
        raise ValueError(f'perturbation {value!r} has "kind" {kind!r}; {sorted(PERTURBATIONS)} are allowed')
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
        perturbations: written in order; those of the body change the settings of the row. Several of one kind together
            stay within the range of one: their sizes are added, or multiplied where they are factors.
        row: (COLUMNS,) of `state.World.row`, its settings those of the unperturbed trial.

    Raises:
        ValueError: two that cannot act together, or several of one kind that are too much together.
    """
    _require_bounded(perturbations)
    row[s.DISTURBANCE : s.NOISE] = 0.0
    row[s.MAP_11] = row[s.MAP_22] = 1.0
    row[list(s.ONSETS)] = NEVER
    for perturbation in perturbations:
        perturbation.write(row)


def _require_bounded(perturbations: Sequence[Perturbation]) -> None:
    """Refuse several perturbations of one kind whose joint size is outside the range of one.

    Raises:
        ValueError: the message names the perturbation and the joint size.
    """
    for kind in {type(one): None for one in perturbations}:
        alike: list[Any] = [one for one in perturbations if type(one) is kind]
        # Angles of several rotations add up to an angle.
        if len(alike) < 2 or kind is Rotation:
            continue
        joint = {name: sum(getattr(one, name) for one in alike) for name in SIZES.get(kind, ())}
        joint |= {name: math.prod(getattr(one, name) for one in alike) for name in FACTORS.get(kind, ())}
        try:
            replace(alike[0], **joint)
        except ValueError as error:
            raise ValueError(f"{len(alike)} perturbations {kind.__name__} together: {error}") from error
