"""Perturbations made larger, smaller or turned to the other side, as schedules that ramp or flip them need."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reach.perturbations.bodies import DelayChange
from reach.perturbations.composing import FACTORS, SIZES, Perturbation
from reach.sim.state import INNER_STEP_S


def scaled(perturbation: Perturbation, scale: float) -> Perturbation:
    """A perturbation of `scale` times its size: 0 is none of it, -1 the same to the other side.

    Gains and changes of stiffness are raised to the power of `scale`, so that -1 undoes them. Delays stay multiples of
    5 ms. A perturbation without a size (a hidden hand, a force channel) is given back as it is.

    Raises:
        ValueError: the size would leave its range.
    """
    if scale == 1.0:
        return perturbation
    given: Any = perturbation
    changed = {name: scale * getattr(given, name) for name in SIZES.get(type(given), ())}
    changed |= {name: getattr(given, name) ** scale for name in FACTORS.get(type(given), ())}
    if isinstance(given, DelayChange):
        changed["later_s"] = round(changed["later_s"] / INNER_STEP_S) * INNER_STEP_S
    found: Perturbation = replace(given, **changed) if changed else given
    return found


def can_be_scaled(perturbation: Perturbation) -> bool:
    """Return whether a perturbation of this kind has a size at all."""
    return type(perturbation) in SIZES or type(perturbation) in FACTORS


def has_size(perturbation: Perturbation) -> bool:
    """Whether the perturbation can be made larger or smaller; none of size 0 can."""
    return scaled(perturbation, 0.0) != perturbation
