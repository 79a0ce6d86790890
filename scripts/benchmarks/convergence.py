"""Measure the error of the inner step, as a distance of the hand: `python scripts/benchmarks/convergence.py`.

Each run holds random commands for 0.2 s each, without contact, noise or forces. Its error is the largest distance of
the grasp point, at the ends of control steps, from the path with inner steps of REFERENCE_S.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np

from reach.sim import layout as s
from reach.sim import loop, setup
from reach.sim.actuators import (
    COMMAND_TIME_CONSTANT_S,
    activate_muscles,
    decode_commands,
    excite_muscles,
)
from reach.sim.arm import Arm
from reach.sim.layout import Array
from reach.sim.muscles import excitation

REFERENCE_S = 0.00125
INNER_STEPS_S = (0.0025, 0.005, 0.01)
RUNS = 24
# Largest command of a run: whole postures; torques and excitations that keep the arm away from its stops for most runs.
AMPLITUDE = {"posture": 1.0, "torque": 0.1, "muscle": 0.1}


def path(control: int, actions: Array, step_s: float, stops: bool) -> Array:
    """Return the hand (steps, 2) m after each control step.

    Args:
        control: POSTURE, TORQUE or MUSCLE.
        actions: (steps, 3).
        step_s: inner step, s.
        stops: whether the joints have stops.
    """
    arm = Arm.winter()
    rows = np.zeros((s.COLUMNS, s.LANES))
    tile = rows.reshape(-1)
    setup.write_settings(rows[:, 0], arm, 1.0, asdict(setup.Cup()), asdict(setup.Senses()), control)
    row = rows[:, 0]
    start = row[s.START_ANGLE_1 : s.START_ANGLE_3 + 1]
    row[s.ANGLE_1 : s.ANGLE_3 + 1] = start
    row[s.COMMAND_1 : s.COMMAND_3 + 1] = start if control == s.POSTURE else 0.0
    row[s.ACTIVATION_1 : s.ACTIVATION_8 + 1] = excitation(*row[s.REST_1 : s.REST_3 + 1])
    row[s.COMMAND_RATE] = 1.0 - math.exp(-0.5 * step_s / COMMAND_TIME_CONSTANT_S)
    rows[:] = rows[:, :1]
    hands = []
    for action in actions:
        rows[s.COMMANDED_1 : s.COMMANDED_3 + 1] = action[:, None]
        decode_commands(tile, s.ALL_LANES, control)
        excite_muscles(tile, s.ALL_LANES)
        if not stops:
            rows[s.LOWER_1 : s.LOWER_3 + 1], rows[s.UPPER_1 : s.UPPER_3 + 1] = -1e9, 1e9
        for _ in range(round(s.CONTROL_STEP_S / step_s)):
            if control == s.MUSCLE:
                activate_muscles(tile, s.ALL_LANES, step_s)
            loop.move_arms(tile, s.ALL_LANES, control, True, False, False, step_s)
        if not stops:
            rows[s.LOWER_1 : s.LOWER_3 + 1] = np.asarray(arm.lower)[:, None]
            rows[s.UPPER_1 : s.UPPER_3 + 1] = np.asarray(arm.upper)[:, None]
        hands.append(arm.hand(row[s.ANGLE_1 : s.ANGLE_3 + 1]))
    return np.array(hands)


def main() -> None:
    """Print the errors as a Markdown table."""
    print("| control | joint stops | inner step, ms | median error, mm | largest of 24, mm |\n|---|---|---|---|---|")
    for control, name in enumerate(s.CONTROLS):
        for stops in (True, False):
            errors = []
            for seed in range(RUNS):
                actions = np.random.default_rng(seed).uniform(-1.0, 1.0, (8, 3)) * AMPLITUDE[name]
                actions = actions.repeat(10, axis=0)[:75]
                reference = path(control, actions, REFERENCE_S, stops)
                paths = (path(control, actions, step_s, stops) for step_s in INNER_STEPS_S)
                errors.append([1e3 * np.linalg.norm(taken - reference, axis=1).max() for taken in paths])
            for step_s, middle, largest in zip(
                INNER_STEPS_S, np.median(errors, axis=0), np.max(errors, axis=0), strict=True
            ):
                print(f"| {name} | {'yes' if stops else 'no'} | {1e3 * step_s:g} | {middle:.3g} | {largest:.3g} |")


if __name__ == "__main__":
    main()
