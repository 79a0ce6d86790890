"""The base class of perturbations, the registry of their kinds, and how several are combined in one trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, TypeVar

from reach.arguments import is_number, ranged_fields, require_fields, require_number
from reach.sim import layout as s
from reach.sim.layout import FROM_THE_START, NEVER, Array


class Perturbation:
    """Base class: a change of vision, forces, cup or body in a trial, as a frozen dataclass with a registered `kind`.

    To add a kind, write one class and decorate it with `register`. It then works in `gym.make`, `reset`, protocols,
    TOML files and `twin`.

        @register
        @dataclass(frozen=True)
        class MirrorReversal(VisualMap):
            strength: float = 1.0
            onset_s: float | None = None
            kind: str = field(default="mirror-reversal", init=False)
            sizes: ClassVar[tuple[str, ...]] = ("strength",)

            def matrix(self):
                return ((1.0 - 2.0 * self.strength, 0.0), (0.0, 1.0))  # left and right are exchanged

    Every process that reads the `kind` from a file must import the module that defines the class. For the workers of a
    comparison, write the protocol as a Python file that imports the module.

    Attributes:
        kind: the registered name, a dataclass field with `init=False`.
        sizes: names of the fields that `scaled` multiplies by the scale; 0 has no effect. A block of perturbations
            without sizes and factors counts as unperturbed in measures such as L30.
        factors: names of the fields that `scaled` raises to the power of the scale; 1 has no effect.
        steps: step by name of field; `scaled` rounds the field to a multiple of the step.
        is_bounded_together: whether the combined size of several perturbations of this kind in one trial must lie in
            the range of a single one.
        depends_on_cup: whether `write` reads the direction of the cup, columns `TARGET_X` and `TARGET_Y` of
            `sim.layout`. If False, these columns may hold the direction of an earlier trial when `write` is called.
    """

    kind: str
    sizes: ClassVar[tuple[str, ...]] = ()
    factors: ClassVar[tuple[str, ...]] = ()
    steps: ClassVar[Mapping[str, float]] = {}
    is_bounded_together: ClassVar[bool] = True
    depends_on_cup: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Validate `onset_s` and the fields declared with `ranged`.

        Raises:
            ValueError: the message names the field, its value and the range.
        """
        for limits in ranged_fields(self):
            require_number(*limits)
        onset_inner_steps(self, "onset_s")

    def write(self, row: Array) -> None:
        """Write this perturbation to a world's row (see `sim.layout`), which holds the settings of the trial."""
        raise NotImplementedError


# All registered classes of perturbations, by kind.
PERTURBATIONS: dict[str, type[Any]] = {}
P = TypeVar("P", bound=type[Perturbation])


def register(perturbation: P) -> P:
    """Register a kind of perturbation and return its class; used as a decorator.

    Raises:
        ValueError: the class is not a frozen dataclass derived from `Perturbation`, its `kind` has no default, or
            another class has this kind.
    """
    cls: Any = perturbation
    frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
    if Perturbation not in cls.__mro__ or not frozen:
        raise ValueError(f"expected a frozen dataclass derived from Perturbation, got {cls.__name__}")
    named = {f.name: f for f in fields(cls)}
    kind = named["kind"].default if "kind" in named and not named["kind"].init else None
    if not isinstance(kind, str):
        raise ValueError(f'{cls.__name__} kind: expected a field kind: str = field(default="name", init=False)')
    unknown = sorted({*cls.sizes, *cls.factors, *cls.steps} - set(named))
    if unknown:
        raise ValueError(f"{cls.__name__} sizes, factors and steps: expected names of its fields, got {unknown}")
    if PERTURBATIONS.get(kind, cls).__qualname__ != cls.__qualname__:
        raise ValueError(f"{cls.__name__} kind: expected a new name, got {kind!r}, which is registered")
    PERTURBATIONS[kind] = cls
    return perturbation


def is_perturbation(value: Any) -> bool:
    """Return whether a value is a perturbation of a registered kind."""
    return isinstance(value, tuple(PERTURBATIONS.values()))


def as_perturbations(value: Any) -> tuple[Perturbation, ...]:
    """Convert a `perturbation` argument to a tuple of perturbations.

    Args:
        value: None, one perturbation, a sequence of them, or mappings with a "kind" (as read from JSON).

    Raises:
        ValueError: a kind or field is unknown; the message lists the known ones.
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
    """Convert the `perturbation` argument of a vector environment to one tuple of perturbations for each environment.

    A flat sequence of perturbations acts in every environment. A nested sequence has one entry for each environment.
    Only the nesting counts, not the type of sequence, because JSON converts tuples to lists.

    Args:
        value: a value of `as_perturbations`, for all environments; or a sequence with one such value for each
            environment. At least one entry must be None or a sequence.
        num_envs: number of environments.

    Raises:
        ValueError: an entry is not a perturbation, the number of entries is wrong, or the value is a list of `num_envs`
            perturbations, which is ambiguous.
    """
    if not _is_sequence(value) or not any(item is None or _is_sequence(item) for item in value):
        shared = as_perturbations(value)
        are_mappings = isinstance(value, list) and all(isinstance(item, Mapping) for item in value)
        if isinstance(value, list) and len(value) == num_envs > 1 and not are_mappings:
            raise ValueError(
                "perturbation: expected a tuple of perturbations that act together in every environment, or "
                f"{num_envs} tuples, one for each environment, got an ambiguous list: {value!r}"
            )
        return [shared] * num_envs
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
    """Reset the perturbation columns of a world's row, then write `perturbations` to the row.

    Args:
        perturbations: perturbations in the order in which they are written. Those of the body also change the settings
            in the row. Several of one kind are combined: `sizes` are added and `factors` multiplied. The result must
            lie in the range of a single one, unless `is_bounded_together` is False.
        row: (COLUMNS,) of `World.row`, with the settings of the unperturbed trial.

    Raises:
        ValueError: two perturbations exclude each other, or the combined size of one kind is outside its range.
    """
    _require_bounded(perturbations)
    row[s.PERTURBATION : s.NOISE] = 0.0
    row[s.MAP_11] = row[s.MAP_22] = 1.0
    row[list(s.ONSETS)] = NEVER
    for perturbation in perturbations:
        perturbation.write(row)


def _require_bounded(perturbations: Sequence[Perturbation]) -> None:
    """Validate the combined size of several perturbations of one kind, see `Perturbation.is_bounded_together`.

    Raises:
        ValueError: the message names the perturbation and the combined size.
    """
    for kind in {type(perturbation): None for perturbation in perturbations}:
        same_kind: list[Any] = [perturbation for perturbation in perturbations if type(perturbation) is kind]
        if len(same_kind) < 2 or not kind.is_bounded_together:
            continue
        combined = {name: sum(getattr(p, name) for p in same_kind) for name in kind.sizes}
        combined |= {name: math.prod(getattr(p, name) for p in same_kind) for name in kind.factors}
        try:
            replace(same_kind[0], **combined)
        except ValueError as error:
            raise ValueError(f"{len(same_kind)} perturbations {kind.__name__} together: {error}") from error


def scaled(perturbation: Perturbation, scale: float) -> Perturbation:
    """Return the perturbation at `scale` times its size: 0 has no effect, and -1 is the opposite perturbation.

    Factors (gains, changes of stiffness) are raised to the power of `scale`, so -1 gives the inverse factor. Delays are
    rounded to multiples of 5 ms. A perturbation without a size (a hidden hand, a force channel) is returned unchanged.

    Raises:
        ValueError: the scaled size is outside its range.
    """
    if scale == 1.0:
        return perturbation
    unscaled: Any = perturbation
    changed = {name: scale * getattr(unscaled, name) for name in unscaled.sizes}
    changed |= {name: getattr(unscaled, name) ** scale for name in unscaled.factors}
    changed |= {name: round(changed[name] / step) * step for name, step in unscaled.steps.items()}
    return replace(unscaled, **changed) if changed else perturbation


def can_be_scaled(perturbation: Perturbation) -> bool:
    """Return whether perturbations of this kind have a size, which may be 0."""
    return bool(perturbation.sizes or perturbation.factors)


def has_size(perturbation: Perturbation) -> bool:
    """Return whether the perturbation has a size other than 0, so that scaling changes it."""
    return scaled(perturbation, 0.0) != perturbation


def onset_inner_steps(perturbation: object, name: str) -> float:
    """Convert the field `name` of a perturbation, a time in s, to inner steps.

    Return `FROM_THE_START` for None or a missing field, and `NEVER` for infinity.

    Raises:
        ValueError: the value is neither None nor a time of 0 s or later.
    """
    seconds: Any = getattr(perturbation, name, None)
    if seconds is None:
        return FROM_THE_START
    if not is_number(seconds) or math.isnan(seconds) or seconds < 0:
        raise ValueError(
            f"{type(perturbation).__name__} {name}: expected None or a time of 0 s or later, got {seconds!r}"
        )
    steps = float(seconds) / s.INNER_STEP_S
    return float(round(steps)) if steps < NEVER else NEVER


def direction(degrees: float) -> tuple[float, float]:
    """Return cosine and sine of an angle in degrees."""
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def write_once(perturbation: object, row: Array, onset: int, *values: float) -> None:
    """Write `values` and the onset of a perturbation that a trial can contain only once.

    Args:
        perturbation: perturbation whose `onset_s` is written.
        row: (COLUMNS,) row of the world.
        onset: column of the onset.
        values: numbers for the columns just before `onset`.

    Raises:
        ValueError: the trial already contains a perturbation of this kind.
    """
    if row[onset] != NEVER:
        raise ValueError(f"perturbation: expected one {type(perturbation).__name__} in a trial, got two")
    row[onset - len(values) : onset] = values
    row[onset] = onset_inner_steps(perturbation, "onset_s")


def add_shared(perturbation: object, group: str, row: Array, onset: int, *values: float) -> None:
    """Add `values` to columns to which several perturbations of a trial can contribute, with one common onset.

    Args:
        perturbation: perturbation whose `onset_s` is written.
        group: name of these perturbations, in the plural, for the error message.
        row: (COLUMNS,) row of the world.
        onset: column of the onset.
        values: numbers to add to the columns just before `onset`.

    Raises:
        ValueError: another perturbation of the group has a different onset.
    """
    steps = onset_inner_steps(perturbation, "onset_s")
    if row[onset] not in (NEVER, steps):
        name, given = type(perturbation).__name__, getattr(perturbation, "onset_s", None)
        raise ValueError(f"{name} onset_s: expected that of the other {group} in the trial, got {given}")
    row[onset - len(values) : onset] += values
    row[onset] = steps
