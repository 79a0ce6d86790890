"""Checks and conversions that perturbations share."""

from __future__ import annotations

import math
from typing import Any

from reach.arguments import is_number, require_number
from reach.sim import state as s
from reach.sim.state import FROM_THE_START, NEVER


def require_within(owner: object, unit: str, low: float, high: float, *names: str) -> None:
    """Refuse fields of `owner` that are not finite numbers in [low, high].

    Raises:
        ValueError: the message names the field, its value and the range.
    """
    for name in names:
        require_number(f"{type(owner).__name__} {name}", getattr(owner, name), low, high, unit)


def onset_rows(owner: object, name: str) -> float:
    """The time (s) in a field of `owner`, in inner steps; None is before the trial, infinity never.

    Raises:
        ValueError: neither None nor a time of 0 s or later.
    """
    seconds: Any = getattr(owner, name)
    if seconds is None:
        return FROM_THE_START
    if not is_number(seconds) or math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{type(owner).__name__} {name} is {seconds!r}; None or a time of 0 s or later is allowed")
    rows = float(seconds) / s.INNER_STEP_S
    # A time later than any trial is never, and so is one too large to be counted in steps.
    return float(round(rows)) if rows < NEVER else NEVER


def require_unset(owner: object, onset: float) -> None:
    """Refuse a second perturbation of a kind of which a trial has room for one.

    Raises:
        ValueError: `onset` is already set.
    """
    if onset != NEVER:
        raise ValueError(f"{type(owner).__name__} is given twice; one in a trial is allowed")


def shared_onset(owner: object, what: str, before: float) -> float:
    """The onset of `owner` in inner steps, which must be that of others of its sort in the trial.

    Raises:
        ValueError: `before` is set to another time.
    """
    onset = onset_rows(owner, "onset_s")
    if before not in (NEVER, onset):
        given = getattr(owner, "onset_s")  # noqa: B009
        raise ValueError(f"{type(owner).__name__} onset_s is {given}; {what} in one trial share an onset")
    return onset
