"""Refusals of settings, in one wording: who, which argument, which value, what is allowed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Shortest time constant, ms: far below any of a cell, and above zero.
SHORTEST_MS = 1e-3
# A number, or (low, high), of which each cell draws its own, evenly.
Spread = float | tuple[float, float]


def require_number(owner: Any, name: str, low: float, high: float = math.inf) -> None:
    """Refuse a field that is no finite number in [low, high]; a `high` of infinity lets any finite number pass.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high or math.isinf(value):
        raise ValueError(f"{type(owner).__name__} {name} is {value!r}; {_range(low, high)} is allowed")


def require_count(owner: Any, name: str, low: int) -> None:
    """Refuse a field that is no whole number of `low` or more.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{type(owner).__name__} {name} is {value!r}; a whole number of {low} or more is allowed")


def require_choice(owner: Any, name: str, allowed: tuple[str, ...]) -> None:
    """Refuse a field that is none of the names in `allowed`.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    value = getattr(owner, name)
    if value not in allowed:
        raise ValueError(f"{type(owner).__name__} {name} is {value!r}; {' or '.join(map(repr, allowed))} is allowed")


def require_spread(owner: Any, name: str, low: float, high: float = math.inf) -> None:
    """Refuse a field that is neither a finite number in [low, high] nor a range within it.

    Raises:
        ValueError: the message names class, field, value and what is allowed.
    """
    value = getattr(owner, name)
    ends = value if isinstance(value, tuple) else (value, value)
    fits = len(ends) == 2 and all(isinstance(x, int | float) and not isinstance(x, bool) for x in ends)
    if not fits or not low <= ends[0] <= ends[1] <= high or math.isinf(ends[0]) or math.isinf(ends[1]):
        raise ValueError(
            f"{type(owner).__name__} {name} is {value!r}; {_range(low, high)} is allowed, as a number or as a "
            "(low, high) range from which each cell draws"
        )


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


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    return f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
