"""Physical arguments that are a number, a range drawn anew for each trial, or one number for each environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from reach.arguments import is_number

# A number; (low, high), drawn evenly at reset; or (num_envs,), one value for each environment.
Physical = float | tuple[float, float] | np.ndarray[Any, Any]


def require_physical(owner: str, name: str, value: Any, low: float, high: float) -> None:
    """Refuse a physical argument outside [low, high].

    Raises:
        ValueError: the message names owner, argument, value and what is allowed.
    """
    if isinstance(value, np.ndarray):
        fits = value.ndim == 1 and value.size > 0 and value.dtype.kind in "fiu"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        fits = len(value) == 2 and all(is_number(one) for one in value) and value[0] <= value[1]
    else:
        fits = is_number(value)
    if fits and isinstance(value, np.ndarray):
        fits = bool(np.all((value >= low) & (value <= high)))
    elif fits:  # as they are: a whole number may be too large for a float
        fits = all(low <= one <= high for one in (value if is_drawn(value) else (value,)))
    if not fits:
        raise ValueError(
            f"{owner} {name} is {value!r}; {low:g} to {high:g} is allowed, as a number, a (low, high) range or an "
            "array with one value for each environment"
        )


def is_drawn(value: Any) -> bool:
    """Whether a physical argument is a range."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def require_one_for_each(owner: Any, name: str, num_envs: int) -> None:
    """Refuse a physical argument of `owner` that is an array of another length than the number of environments.

    Raises:
        ValueError: the message names owner, argument and both numbers.
    """
    value = getattr(owner, name)
    if isinstance(value, np.ndarray) and value.size != num_envs:
        raise ValueError(
            f"{type(owner).__name__} {name} has {value.size} values; one for each of {num_envs} environments is allowed"
        )


def number_of(value: Any, index: int, uniform: float) -> float:
    """A physical argument's value in environment `index`, for one trial.

    Args:
        value: the argument.
        index: of the environment.
        uniform: in (0, 1), of which a drawn value is made.
    """
    if isinstance(value, np.ndarray):
        return float(value[index])
    if is_drawn(value):
        return float(value[0] + uniform * (value[1] - value[0]))
    return float(value)


def numbers_of(owner: Any, index: int, uniform: Callable[[], float]) -> dict[str, float]:
    """The fields of a dataclass of physical arguments, as numbers: those of environment `index` for one trial.

    Args:
        owner: the dataclass.
        index: of the environment.
        uniform: gives the next variate; asked once for each field, so that a range shifts no other's draw.
    """
    return {f.name: number_of(getattr(owner, f.name), index, uniform()) for f in fields(owner)}
