"""Checks of the fields of settings: the message names class, field, value and what is allowed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import is_number, require_whole

# Shortest time constant, ms: far below any of a cell, and above zero.
SHORTEST_MS = 1e-3
# A number, or (low, high), of which each cell draws its own, evenly.
Spread = float | tuple[float, float]


def require_number(owner: Any, name: str, low: float, high: float = math.inf) -> None:
    """Validate a field that is a finite number in [low, high]; a NumPy number in it becomes Python's.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    value = _plain(getattr(owner, name))
    if not is_number(value) or not low <= value <= high or math.isinf(value):
        raise ValueError(f"{type(owner).__name__} {name} is {value!r}; {_range(low, high)} is allowed")
    object.__setattr__(owner, name, value)


def require_count(owner: Any, name: str, low: int) -> None:
    """Validate a field that is a whole number of `low` or more; a NumPy number in it becomes Python's.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    object.__setattr__(owner, name, require_whole(f"{type(owner).__name__} {name}", getattr(owner, name), low))


def require_choice(owner: Any, name: str, allowed: tuple[str, ...]) -> None:
    """Validate a field that is one of the names in `allowed`.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    value = getattr(owner, name)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{type(owner).__name__} {name} is {value!r}; {' or '.join(map(repr, allowed))} is allowed")


def require_spread(owner: Any, name: str, low: float, high: float = math.inf) -> None:
    """Validate a field that is a finite number in [low, high] or a range within it; NumPy numbers become Python's.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    given = getattr(owner, name)
    value = tuple(map(_plain, given)) if isinstance(given, tuple) else _plain(given)
    ends = value if isinstance(value, tuple) else (value, value)
    fits = len(ends) == 2 and all(map(is_number, ends))
    if not fits or not low <= ends[0] <= ends[1] <= high or math.isinf(ends[0]) or math.isinf(ends[1]):
        raise ValueError(
            f"{type(owner).__name__} {name} is {value!r}; {_range(low, high)} is allowed, as a number or as a "
            "(low, high) range from which each cell draws"
        )
    object.__setattr__(owner, name, value)


def largest_in(dtype: Any) -> float:
    """Return the largest size of a number whose products with another of that size stay finite in a dtype."""
    return math.sqrt(float(np.finfo(dtype).max))


def require_fits(owner: Any, names: tuple[str, ...], dtype: Any) -> None:
    """Refuse a field whose number, or range, is too large for circuits of a dtype.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    most = largest_in(dtype)
    for name in names:
        value = getattr(owner, name)
        if max(abs(largest(value)), abs(smallest(value))) > most:
            raise ValueError(
                f"{type(owner).__name__} {name} is {value!r}; {_range(-most, most)} is allowed in a circuit of "
                f"{np.dtype(dtype)}"
            )


def drawn(value: Spread, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One number for each of `size` cells, (size,): all the same, or drawn evenly from a range."""
    if isinstance(value, tuple):
        return rng.uniform(value[0], value[1], size)
    return np.full(size, float(value))


def largest(value: Spread) -> float:
    """The upper end of a number or range."""
    return value[1] if isinstance(value, tuple) else value


def smallest(value: Spread) -> float:
    """The lower end of a number or range."""
    return value[0] if isinstance(value, tuple) else value


def _plain(value: Any) -> Any:
    """Return a NumPy number as Python's, so that its precision does not spread to what is computed from it."""
    return value.item() if isinstance(value, np.number) else value


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    return f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
