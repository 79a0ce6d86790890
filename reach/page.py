"""The tables of the environment's page, made from the one specification that kernels and spaces read too."""

from __future__ import annotations

import math

from reach.sim import state as s
from reach.sim.arm import ELBOW_LIMITS_DEGREES, SHOULDER_LIMITS_DEGREES, WRIST_LIMITS_DEGREES
from reach.sim.setup import LARGEST_APERTURE_M, LARGEST_TORQUE_N_M

JOINTS = ("shoulder", "elbow", "wrist")
JOINT_LIMITS_DEGREES = (SHOULDER_LIMITS_DEGREES, ELBOW_LIMITS_DEGREES, WRIST_LIMITS_DEGREES)


def action_table() -> str:
    """What -1 and 1 ask for in each control mode, of the arm "winter", as a Markdown table."""
    lines = ['| index | action | `"posture"` | `"torque"` | `"muscle"` |', "|---|---|---|---|---|"]
    for k, joint in enumerate(JOINTS):
        low, high = JOINT_LIMITS_DEGREES[k]
        torque = LARGEST_TORQUE_N_M[k]
        lines.append(
            f"| {k} | {joint} | {low:g}..{high:g} degrees | {-torque:g}..{torque:g} N m | extensors..flexors |"
        )
    fingers = f"0..{LARGEST_APERTURE_M:g} m"
    lines.append(f"| {len(JOINTS)} | aperture of the fingers | {fingers} | {fingers} | {fingers} |")
    return "\n".join(lines)


def observation_table() -> str:
    """Index, meaning, unit, bounds and delay of each observation, as a Markdown table."""
    lines = ["| index | observation | unit | min | max | delay |", "|---|---|---|---|---|---|"]
    first = 0
    for name, width, unit, low, high, delay in s.OBSERVATION:
        index = str(first) if width == 1 else f"{first}-{first + width - 1}"
        lines.append(f"| {index} | {name} | {unit} | {_bound(low)} | {_bound(high)} | {delay} |")
        first += width
    return "\n".join(lines)


def _bound(value: float) -> str:
    return ("-" if value < 0 else "") + ("pi" if abs(value) == math.pi else f"{abs(value):g}")
