"""From torques to actions: what a body has to be told so that its joints turn by so much, in every control mode."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import is_number, numbers_in, require_choice, require_numbers
from reach.sim import setup
from reach.sim import state as s
from reach.sim.arm import Arm


def joint_action(
    arm: Arm, control: str, torque: Any, angle: Any, velocity: Any, strength: float = 1.0
) -> NDArray[np.float64]:
    """The action (3,) in [-1, 1] that, held until its lag is over, turns the joints by `torque`, or as near as it can.

    Args:
        arm: the body.
        control: "posture", "torque" or "muscle".
        torque: (3,) N m, viscosity overcome.
        angle, velocity: (3,) rad and rad/s, at which it is wanted.
        strength: of its muscles, above 0; 1 for an unperturbed body.

    Raises:
        ValueError: an argument that is not as described; the message names it.
    """
    if not isinstance(arm, Arm):
        raise ValueError(f"arm is {arm!r}; an Arm is allowed")
    require_choice("control", control, s.CONTROLS)
    if not is_number(strength) or not 0.0 < strength < math.inf:
        raise ValueError(f"strength is {strength!r}; a finite number above 0 is allowed")
    # All at once, which is faster: this is called in every control step.
    given = numbers_in((torque, angle, velocity))
    if given is None or given.shape != (3, 3) or not np.isfinite(given).all():
        named = {"torque": torque, "angle": angle, "velocity": velocity}
        given = np.array([require_numbers(name, values, (3,)) for name, values in named.items()])
    return setup.joint_action(arm, strength, s.CONTROLS.index(control), *given)
