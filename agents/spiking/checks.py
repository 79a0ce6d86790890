"""Checks of the fields of settings. Each error reads "CLASS FIELD: expected WHAT, got VALUE"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import is_number, require_whole

# Shortest time constant, ms: above zero, and far below any of a cell.
SHORTEST_MS = 1e-3
# A number for all cells, or (low, high), from which each cell draws its own uniformly.
Spread = float | tuple[float, float]


def require_number(owner: Any, name: str, low: float, high: float = math.inf) -> None:
    """Validate a field that is a finite number in [low, high]; convert a NumPy number to Python's.

    Raises:
        ValueError: another value.
    """
    value = _plain(getattr(owner, name))
    if not is_number(value) or not low <= value <= high or math.isinf(value):
        raise ValueError(f"{type(owner).__name__} {name}: expected {_range(low, high)}, got {value!r}")
    object.__setattr__(owner, name, value)


def require_count(owner: Any, name: str, low: int) -> None:
    """Validate a field that is a whole number of `low` or more; convert a NumPy number to Python's.

    Raises:
        ValueError: another value.
    """
    object.__setattr__(owner, name, require_whole(f"{type(owner).__name__} {name}", getattr(owner, name), low))


def require_spread(owner: Any, name: str, low: float, high: float = math.inf) -> None:
    """Validate a field that is a finite number in [low, high] or a range within it; convert NumPy numbers to Python's.

    Raises:
        ValueError: another value.
    """
    raw = getattr(owner, name)
    value = tuple(map(_plain, raw)) if isinstance(raw, tuple) else _plain(raw)
    ends = value if isinstance(value, tuple) else (value, value)
    fits = len(ends) == 2 and all(map(is_number, ends))
    if not fits or not low <= ends[0] <= ends[1] <= high or math.isinf(ends[0]) or math.isinf(ends[1]):
        raise ValueError(
            f"{type(owner).__name__} {name}: expected {_range(low, high)}, or a (low, high) range of such numbers, got "
            f"{value!r}"
        )
    object.__setattr__(owner, name, value)


def largest_in(dtype: Any) -> float:
    """Return the largest magnitude of numbers whose products are finite in a dtype."""
    return math.sqrt(float(np.finfo(dtype).max))


def require_fits(owner: Any, names: tuple[str, ...], dtype: Any) -> None:
    """Validate that fields, numbers or ranges, are not too large for circuits of a dtype.

    Raises:
        ValueError: a larger number.
    """
    most = largest_in(dtype)
    for name in names:
        value = getattr(owner, name)
        if max(abs(largest(value)), abs(smallest(value))) > most:
            raise ValueError(
                f"{type(owner).__name__} {name}: expected {_range(-most, most)} in a circuit of {np.dtype(dtype)}, "
                f"got {value!r}"
            )


def drawn(value: Spread, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a number for each cell, (size,): all the same, or drawn uniformly from a range."""
    if isinstance(value, tuple):
        return rng.uniform(value[0], value[1], size)
    return np.full(size, float(value))


def largest(value: Spread) -> float:
    """Return a number, or the upper end of a range."""
    return value[1] if isinstance(value, tuple) else value


def smallest(value: Spread) -> float:
    """Return a number, or the lower end of a range."""
    return value[0] if isinstance(value, tuple) else value


def _plain(value: Any) -> Any:
    """Return a NumPy number as Python's, so that its precision does not propagate to results."""
    return value.item() if isinstance(value, np.number) else value


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    return f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
