"""Validation of settings: arguments of learners, fields of circuits and entries of checkpoints.

Each error reads "NAME: expected WHAT, got VALUE". Spiking circuits use this module, so it imports neither torch nor
Stable-Baselines3.
"""

from __future__ import annotations

import math
import re
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

LARGEST = sys.float_info.max
LARGEST_COUNT = 2**53

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 12


def short(value: Any) -> str:
    """Return `repr(value)`, shortened."""
    return _SHORT.repr(value)


@dataclass(frozen=True)
class Setting:
    """The valid values of a setting.

    Attributes:
        low, high: range of a number; `low` is None if numbers are invalid. NaN and infinity are never valid.
        is_integer: whether the number must be an integer.
        allowed: further valid values, such as None or "auto".
        pattern: regular expression for valid strings.
        allows_range: whether a tuple (low, high) of two valid numbers is valid too.
    """

    low: float | None = None
    high: float = LARGEST
    is_integer: bool = False
    allowed: tuple[Any, ...] = ()
    pattern: str | None = None
    allows_range: bool = False

    def check(self, name: str, value: Any) -> Any:
        """Validate and return a value; NumPy scalars become Python scalars, which JSON can store.

        Raises:
            ValueError: the value is invalid; the message has the name, the valid values and the given value.
        """
        if self.allows_range and isinstance(value, tuple):
            ends = tuple(map(_plain, value))
            is_valid = len(ends) == 2 and all(map(self._holds, ends)) and ends[0] <= ends[1]
            plain: Any = ends
        else:
            plain = _plain(value)
            is_listed = any(type(plain) is type(other) and plain == other for other in self.allowed)
            is_text = isinstance(plain, str) and self.pattern is not None and bool(re.fullmatch(self.pattern, plain))
            is_valid = is_listed or is_text or self._holds(plain)
        if not is_valid:
            raise ValueError(f"{name}: expected {self}, got {short(value)}")
        return plain

    def _holds(self, plain: Any) -> bool:
        is_number = isinstance(plain, int if self.is_integer else int | float) and not isinstance(plain, bool)
        return self.low is not None and is_number and self.low <= plain <= self.high

    def __str__(self) -> str:
        parts = [repr(value) for value in self.allowed]
        if self.pattern is not None:
            parts.append(f"text matching {self.pattern!r}")
        if self.low is not None:
            kind = "a whole number" if self.is_integer else "a number"
            upper = f" to {self.high:g}" if self.high < LARGEST else " or more"
            parts.insert(0, "a finite number" if self.low == -LARGEST else f"{kind} of {self.low:g}{upper}")
        if self.allows_range:
            parts.append("a (low, high) range of such numbers")
        return " or ".join(parts)


FLAG = Setting(allowed=(True, False))
COUNT = Setting(0, LARGEST_COUNT, is_integer=True)
FINITE = Setting(-LARGEST)
SEED = {"seed": Setting(0, is_integer=True)}
# Settings of every learner that a checkpoint does not store.
LOG_SETTINGS = {
    "verbose": replace(COUNT, allowed=(False, True)),
    "tensorboard_log": Setting(allowed=(None,), pattern=r"(?s).+"),
}


def check_settings(given: Mapping[str, Any], known: Mapping[str, Setting]) -> dict[str, Any]:
    """Validate and return settings; NumPy scalars become Python scalars.

    Raises:
        ValueError: a setting is unknown or its value invalid; the message names the setting.
    """
    for name in given:
        if name not in known:
            raise ValueError(f"unknown setting: expected one of {sorted(known)}, got {short(name)}")
    return {name: known[name].check(name, value) for name, value in given.items()}


def check_fields(owner: Any, **fields: Setting) -> None:
    """Validate fields of a frozen dataclass; NumPy scalars become Python scalars.

    Raises:
        ValueError: a value is invalid; the message has the class, the field, the valid values and the given value.
    """
    for name, setting in fields.items():
        object.__setattr__(owner, name, setting.check(f"{type(owner).__name__} {name}", getattr(owner, name)))


def largest_in(dtype: Any) -> float:
    """Return the largest magnitude such that the product of two numbers is finite in a dtype."""
    return math.sqrt(float(np.finfo(dtype).max))


def _plain(value: Any) -> Any:
    """Convert a NumPy scalar to a Python scalar, so that its dtype does not propagate to results."""
    return value.item() if isinstance(value, np.generic) else value
