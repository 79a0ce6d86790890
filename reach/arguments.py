"""Validation of arguments. Each error reads "NAME: expected WHAT, got VALUE"."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Limit for names that become part of the names of files and folders, which may have 255 characters.
MOST_NAME_CHARACTERS = 100
NAME_PATTERN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._,=-]{{0,{MOST_NAME_CHARACTERS - 1}}}")
SMALLEST_PICTURE_PX, LARGEST_PICTURE_PX = 16, 4096


def is_number(value: Any) -> bool:
    """Return whether a value is a real number of Python or NumPy; True and False are not."""
    return isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer of Python or NumPy; True, False and 3.0 are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def require_number(name: str, value: Any, low: float, high: float, unit: str = "") -> float:
    """Return a number in [low, high] as a float.

    Raises:
        ValueError: the value is not a number, or out of range; NaN is out of every range.
    """
    if not is_number(value) or not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low:g} to {f'{high:g} {unit}'.rstrip()}, got {value!r}")
    return float(value)


def require_whole(name: str, value: Any, low: int, high: int | None = None, *, none_allowed: bool = False) -> int:
    """Return a whole number in [low, high] as an int; without `high` there is no upper bound.

    Args:
        name: name of the argument, for the message.
        value: a Python or NumPy integer; 200.0 is an error.
        low, high: smallest and largest value.
        none_allowed: whether the caller accepts None, for the message.

    Raises:
        ValueError: the value is not a whole number, or out of range.
    """
    if not is_whole(value) or value < low or (high is not None and value > high):
        bounds = f"of {low} or more" if high is None else f"from {low} to {high}"
        none = "None or " if none_allowed else ""
        raise ValueError(f"{name}: expected {none}a whole number {bounds}, got {value!r}")
    return int(value)


def picture_size(width: Any, height: Any) -> tuple[int, int]:
    """Return width and height of a picture, pixels.

    Raises:
        ValueError: a value is not a whole number of pixels, or out of range.
    """
    return (
        require_whole("width", width, SMALLEST_PICTURE_PX, LARGEST_PICTURE_PX),
        require_whole("height", height, SMALLEST_PICTURE_PX, LARGEST_PICTURE_PX),
    )


def require_seed(name: str, value: Any) -> int | None:
    """Return a seed as an int, or None.

    Raises:
        ValueError: the value is neither None nor a whole number of 0 or more.
    """
    return None if value is None else require_whole(name, value, 0, none_allowed=True)


def require_bool(name: str, value: Any) -> bool:
    """Return True or False.

    Raises:
        ValueError: any other value, including 1, 0 and "False".
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected true or false, got {value!r}")
    return bool(value)


def require_choice(name: str, value: Any, allowed: Sequence[str | None]) -> None:
    """Validate a value that must be one of `allowed`.

    Raises:
        ValueError: the message lists the choices.
    """
    if not (value is None or isinstance(value, str)) or value not in allowed:
        raise ValueError(f"{name}: expected one of {list(allowed)}, got {value!r}")


def require_known(name: str, given: Mapping[Any, Any], known: Sequence[str]) -> None:
    """Validate the keys of a mapping.

    Raises:
        ValueError: the message lists the unknown keys and the known ones.
    """
    unknown = sorted(set(given) - set(known), key=str)
    if unknown:
        raise ValueError(f"{name}: expected keys from {list(known)}, got {unknown}")


def require_name(name: str, value: Any) -> None:
    """Validate a name that becomes part of the name of a file.

    Raises:
        ValueError: the message says which characters a name may hold, and how many.
    """
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise ValueError(
            f"{name}: expected up to {MOST_NAME_CHARACTERS} letters, digits, '.', '_' and '-' that begin with a letter "
            f"or digit, got {value!r}"
        )


def numbers_in(value: Any) -> NDArray[np.float64] | None:
    """Return nested real numbers as an array; return None for text, booleans, complex numbers and ragged lists."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array.astype(np.float64) if array.dtype.kind in "fiu" else None


def require_numbers(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return finite real numbers of a shape as an array.

    Raises:
        ValueError: the shape is wrong, or an entry is not a finite real number.
    """
    array = numbers_in(value)
    if array is None or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers of shape {shape}, got {value!r}")
    return array


def require_same_form(name: str, value: Any, current: NDArray[Any]) -> None:
    """Validate an array that will replace `current`.

    Raises:
        ValueError: type or shape differ, or a number is not finite.
    """
    has_same_form = isinstance(value, np.ndarray) and (value.dtype, value.shape) == (current.dtype, current.shape)
    if not has_same_form or not np.isfinite(value).all():
        raise ValueError(
            f"{name}: expected an array of finite {current.dtype} of shape {current.shape}, got {reprlib.repr(value)}"
        )


def require_generator(state: Any, rng: np.random.Generator) -> None:
    """Validate a state of the bit generator of `rng`.

    Raises:
        ValueError: the state is invalid; the message contains it.
    """
    kind = type(rng.bit_generator)
    try:
        kind().state = state
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"generator of the state: expected the state of a {kind.__name__}, got {state!r}") from error


def require_keys(name: str, value: Any, keys: Sequence[str]) -> None:
    """Validate a mapping that must hold all `keys`.

    Raises:
        ValueError: the message lists the missing keys.
    """
    missing = [key for key in keys if key not in value] if isinstance(value, Mapping) else list(keys)
    if missing:
        raise ValueError(f"{name}: expected a mapping with {list(keys)}, missing: {missing}")


def require_fields(name: str, kind: type[Any], given: Mapping[Any, Any]) -> None:
    """Validate the keys of a mapping that holds the arguments of a dataclass.

    Raises:
        ValueError: the message lists the unknown and the known fields, or the missing ones.
    """
    arguments = [f for f in fields(kind) if f.init]
    require_known(name, given, [f.name for f in arguments])
    required = [f.name for f in arguments if f.default is MISSING and f.default_factory is MISSING]
    require_keys(name, given, required)


def ranged(default: Any, low: float, high: float, unit: str = "") -> Any:
    """Return a field of a dataclass whose numbers must be in [low, high]."""
    return field(default=default, metadata={"range": (low, high, unit)})


def ranged_fields(owner: Any) -> Iterator[tuple[str, Any, float, float, str]]:
    """Yield (name for messages, value, lowest, highest number, unit) of each field made by `ranged`."""
    for f in fields(owner):
        if "range" in f.metadata:
            yield f"{type(owner).__name__} {f.name}", getattr(owner, f.name), *f.metadata["range"]
