"""From torques to actions: what a body has to be told so that its joints turn by so much, in every control mode."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import require_choice
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
        strength: of its muscles, 1 for an unperturbed body.

    Raises:
        ValueError: another control.
    """
    require_choice("control", control, s.CONTROLS)
    wanted, q, v = (np.asarray(values, dtype=np.float64) for values in (torque, angle, velocity))
    return setup.joint_action(arm, strength, s.CONTROLS.index(control), wanted, q, v)
