"""What every perturbation is, the registry of their kinds, and how several act together in one trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, TypeVar

from reach.arguments import is_number, ranged_fields, require_fields, require_number
from reach.sim import layout as s
from reach.sim.layout import FROM_THE_START, NEVER, Array


class Perturbation:
    """A change of what is seen, felt or moved in a trial, as a frozen dataclass with a registered `kind`.

    A new kind is one class that is passed to `register`. It then works wherever a perturbation does: `gym.make`,
    `reset`, protocols, TOML and the twin.

        @register
        @dataclass(frozen=True)
        class MirrorReversal(VisualMap):
            onset_s: float | None = None
            kind: str = field(default="mirror-reversal", init=False)

            def matrix(self):
                return ((-1.0, 0.0), (0.0, 1.0))  # left and right are exchanged

    The module that defines it must be imported where its `kind` is read. In a comparison this is every worker: write
    the protocol as a Python file that imports the module.

    Attributes:
        kind: the registered name, a dataclass field that `__init__` does not take.
        sizes: names of the fields that `scaled` multiplies.
        factors: names of the fields in which 1 changes nothing, which `scaled` raises to a power.
        steps: fields of which `scaled` keeps multiples of a step, with that step.
        is_bounded_together: whether several in one trial stay within the range of one.
        depends_on_cup: whether `write` reads the direction of the cup from the row, `sim.layout.TARGET_X` and
            `TARGET_Y`. Without it they are those of an earlier trial when `write` is called.
    """

    kind: str
    sizes: ClassVar[tuple[str, ...]] = ()
    factors: ClassVar[tuple[str, ...]] = ()
    steps: ClassVar[Mapping[str, float]] = {}
    is_bounded_together: ClassVar[bool] = True
    depends_on_cup: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Validate the fields that `ranged` made, and `onset_s`.

        Raises:
            ValueError: the message names the field, its value and the range.
        """
        for limits in ranged_fields(self):
            require_number(*limits)
        onset_rows(self, "onset_s")

    def write(self, row: Array) -> None:
        """Add this perturbation to a row of a world (see `sim.layout`), whose settings are those of the trial."""
        raise NotImplementedError


# Every registered perturbation by its kind.
PERTURBATIONS: dict[str, type[Any]] = {}
P = TypeVar("P", bound=type[Perturbation])


def register(perturbation: P) -> P:
    """Register a kind of perturbation; return the class, so that this can decorate it.

    Raises:
        ValueError: not a frozen dataclass of `Perturbation` whose `kind` has a default, or a kind that is taken.
    """
    cls: Any = perturbation
    frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
    if Perturbation not in cls.__mro__ or not frozen:
        raise ValueError(f"expected a frozen dataclass derived from Perturbation, got {cls.__name__}")
    named = {f.name: f for f in fields(cls)}
    kind = named["kind"].default if "kind" in named and not named["kind"].init else None
    if not isinstance(kind, str):
        raise ValueError(f'{cls.__name__} kind: expected a field kind: str = field(default="prism", init=False)')
    unknown = sorted({*cls.sizes, *cls.factors, *cls.steps} - set(named))
    if unknown:
        raise ValueError(f"{cls.__name__} sizes, factors and steps: expected names of its fields, got {unknown}")
    if PERTURBATIONS.get(kind, cls).__qualname__ != cls.__qualname__:
        raise ValueError(f"{cls.__name__} kind: expected a new name, got {kind!r}")
    PERTURBATIONS[kind] = cls
    return perturbation


def is_perturbation(value: Any) -> bool:
    """Return whether a value is a perturbation of a registered kind."""
    return isinstance(value, tuple(PERTURBATIONS.values()))


def as_perturbations(value: Any) -> tuple[Perturbation, ...]:
    """Return what a user may give as `perturbation`, as a tuple.

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
        return tuple(perturbation for item in value for perturbation in as_perturbations(item))
    raise ValueError(
        f"perturbation: expected None, one of {sorted(kind.__name__ for kind in PERTURBATIONS.values())}, a tuple of "
        f'them or a mapping with "kind", got {value!r}'
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
        are_mappings = isinstance(value, list) and all(isinstance(item, Mapping) for item in value)
        if isinstance(value, list) and len(value) == num_envs > 1 and not are_mappings:
            raise ValueError(
                "perturbation: expected a tuple of perturbations that act together in every environment, or "
                f"{num_envs} tuples, one for each environment, got a list, which could mean either: {value!r}"
            )
        return [acting] * num_envs
    if len(value) != num_envs:
        raise ValueError(f"perturbation: expected one entry for each of {num_envs} environments, got {len(value)}")
    return [as_perturbations(item) for item in value]


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _from_mapping(value: Mapping[str, Any]) -> Perturbation:
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in PERTURBATIONS:
        raise ValueError(
            f'perturbation: expected "kind" to be one of {sorted(PERTURBATIONS)}, got {value!r}; to use a kind of your '
            "own, import the module that registers it first: write the protocol as a Python file that imports it, or "
            "give that module as the --factory of compare.py"
        )
    arguments = {name: item for name, item in value.items() if name != "kind"}
    require_fields(f"perturbation {kind!r}", PERTURBATIONS[kind], arguments)
    perturbation: Perturbation = PERTURBATIONS[kind](**arguments)
    return perturbation


def write_perturbations(perturbations: Sequence[Perturbation], row: Array) -> None:
    """Write `perturbations`, acting together, to the disturbance columns of a world's row.

    Args:
        perturbations: in the order in which they are written. Those of the body change the settings of the row. The
            sizes of several of one kind are added, or multiplied where they are factors, and must together stay within
            the range of one.
        row: (COLUMNS,) of `World.row`, with the settings of the unperturbed trial.

    Raises:
        ValueError: two that cannot act together, or several of one kind that are too large together.
    """
    _require_bounded(perturbations)
    row[s.PERTURBATION : s.NOISE] = 0.0
    row[s.MAP_11] = row[s.MAP_22] = 1.0
    row[list(s.ONSETS)] = NEVER
    for perturbation in perturbations:
        perturbation.write(row)


def _require_bounded(perturbations: Sequence[Perturbation]) -> None:
    """Validate the joint size of several perturbations of one kind, which must be within the range of one.

    Raises:
        ValueError: the message names the perturbation and the joint size.
    """
    for kind in {type(perturbation): None for perturbation in perturbations}:
        alike: list[Any] = [perturbation for perturbation in perturbations if type(perturbation) is kind]
        if len(alike) < 2 or not kind.is_bounded_together:
            continue
        joint = {name: sum(getattr(p, name) for p in alike) for name in kind.sizes}
        joint |= {name: math.prod(getattr(p, name) for p in alike) for name in kind.factors}
        try:
            replace(alike[0], **joint)
        except ValueError as error:
            raise ValueError(f"{len(alike)} perturbations {kind.__name__} together: {error}") from error


def scaled(perturbation: Perturbation, scale: float) -> Perturbation:
    """Return the perturbation at `scale` times its size: 0 is none of it, -1 the same to the other side.

    Gains and changes of stiffness are raised to the power of `scale`, so that -1 undoes them. Delays stay multiples of
    5 ms. A perturbation without a size (a hidden hand, a force channel) is returned as it is.

    Raises:
        ValueError: the size would leave its range.
    """
    if scale == 1.0:
        return perturbation
    given: Any = perturbation
    changed = {name: scale * getattr(given, name) for name in given.sizes}
    changed |= {name: getattr(given, name) ** scale for name in given.factors}
    changed |= {name: round(changed[name] / step) * step for name, step in given.steps.items()}
    return replace(given, **changed) if changed else perturbation


def can_be_scaled(perturbation: Perturbation) -> bool:
    """Return whether a perturbation of this kind has a size at all."""
    return bool(perturbation.sizes or perturbation.factors)


def has_size(perturbation: Perturbation) -> bool:
    """Return whether the perturbation can be made larger or smaller; one of size 0 cannot."""
    return scaled(perturbation, 0.0) != perturbation


def onset_rows(owner: object, name: str) -> float:
    """Return the time in a field of `owner`, s, in inner steps; None, or no such field, is before the trial.

    Infinity is never.

    Raises:
        ValueError: neither None nor a time of 0 s or later.
    """
    seconds: Any = getattr(owner, name, None)
    if seconds is None:
        return FROM_THE_START
    if not is_number(seconds) or math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{type(owner).__name__} {name}: expected None or a time of 0 s or later, got {seconds!r}")
    rows = float(seconds) / s.INNER_STEP_S
    return float(round(rows)) if rows < NEVER else NEVER


def write_once(owner: object, row: Array, onset: int, *values: float) -> None:
    """Write a perturbation of which a trial can hold one: its onset, and `values` to the columns before.

    Args:
        owner: the perturbation.
        row: (COLUMNS,) of the world.
        onset: column of the onset.
        values: numbers.

    Raises:
        ValueError: the onset is already set.
    """
    if row[onset] != NEVER:
        raise ValueError(f"perturbation: expected one {type(owner).__name__} in a trial, got two")
    row[onset - len(values) : onset] = values
    row[onset] = onset_rows(owner, "onset_s")


def add_shared(owner: object, sort: str, row: Array, onset: int, *values: float) -> None:
    """Add `values` to the columns before that of the onset, which all perturbations of a sort in a trial share.

    Args:
        owner: the perturbation.
        sort: of perturbation, in the plural, for the message.
        row: (COLUMNS,) of the world.
        onset: column of the onset.
        values: numbers.

    Raises:
        ValueError: another perturbation has set another onset.
    """
    rows = onset_rows(owner, "onset_s")
    if row[onset] not in (NEVER, rows):
        given = getattr(owner, "onset_s", None)
        raise ValueError(f"{type(owner).__name__} onset_s: expected that of the other {sort} in the trial, got {given}")
    row[onset - len(values) : onset] += values
    row[onset] = rows
