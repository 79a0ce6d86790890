"""Actuators: from actions to commands, and from commands to joint torques by posture springs, torques or muscles.

A command is four numbers from -1 to 1, for the three joints and the aperture of the fingers. An action changes the
command (`CommandMap`), and `control` defines the effect of the command on the joints. `posture` (Shadmehr and
Mussa-Ivaldi 1994): the command is an equilibrium posture theta*, and the torque is K (theta* - theta) - V theta'.
`torque`: the command is a share of the largest torque. In both cases a first-order filter of 40 ms, the lag of muscle
activation, precedes. `muscle`: the command excites antagonist muscles (see `muscles`), which have their own activation
dynamics. Under torque and muscle control, only the viscosity of the joints damps them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import is_number, numbers_in, require_choice, require_numbers
from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim import muscles
from reach.sim.arm import Arm
from reach.sim.dynamics import (
    acceleration,
    clip_velocity,
    difference_of,
    mean_velocity,
    moved,
    overshoot,
    read_three,
    weighted_sum,
    write_three,
)
from reach.sim.elementary import clip, fma
from reach.sim.layout import Array

L = s.LANES
COMMAND_TIME_CONSTANT_S = 0.040
# Torque at a command of 1 in `torque` control: about three times what a reach of 0.2 m in 0.5 s needs in a curl field
# of 13 N s/m, and well below an adult's largest voluntary torques.
LARGEST_TORQUE_N_M = (12.0, 10.0, 1.0)


# Change of the commanded posture and aperture by an action of 1 in a control step: 200 degrees/s and 0.55 m/s. This
# does not limit a minimum-jerk reach of 0.2 m in 0.5 s. Smaller increments make it easier to learn to hold still.
INCREMENT_DEGREES = 4.0
INCREMENT_APERTURE = 0.2
# Change of the commanded torque or excitation by an action of 1, as a share of the largest.
INCREMENT_SHARE = 0.2


@dataclass(frozen=True)
class CommandMap:
    """The map from an action to the command: command = clip(keep * last command + offset + scale * action, -1, 1).

    With `command="increment"` an action changes the command by a bounded amount, and action 0 keeps the command. With
    "absolute" an action is the command itself, shifted so that action 0 is rest, the command that holds the posture at
    the start of a trial.

    Attributes:
        keep: 1 for "increment", 0 for "absolute".
        offset, scale: (4,), for three joints and the aperture.
    """

    keep: float
    offset: Array
    scale: Array

    @classmethod
    def of(cls, command: str, control: str, arm: Arm, rest: Array) -> CommandMap:
        """Return the map of an environment.

        Args:
            command: "increment" or "absolute".
            control: "posture", "torque" or "muscle".
            arm: arm of the environment.
            rest: (4,) the command at the start of a trial.
        """
        if command == "absolute":
            return cls(0.0, rest, 1.0 + np.abs(rest))
        joints = np.full(3, INCREMENT_SHARE)
        if control == "posture":
            joints = 2.0 * math.radians(INCREMENT_DEGREES) / (np.asarray(arm.upper) - np.asarray(arm.lower))
        return cls(1.0, np.zeros(s.ACTION_SIZE), np.append(joints, INCREMENT_APERTURE))

    def action_for(self, command: NDArray[Any], last: NDArray[Any]) -> Array:
        """Return the action (4,) that moves the `last` command nearest to `command`, (4,) each."""
        action: Array = np.clip((command - self.keep * last - self.offset) / self.scale, -1.0, 1.0)
        return action

    def command_after(self, action: NDArray[Any], last: NDArray[Any]) -> Array:
        """Return the command (4,) after an action (4,) at the `last` command (4,)."""
        command: Array = np.clip(self.keep * last + self.offset + self.scale * action, -1.0, 1.0)
        return command


@kernel
def write_action(keep, offset, scale, command, last, action):  # type: ignore[no-untyped-def]
    """Write the result of `CommandMap.action_for` to `action` (4,)."""
    for c in range(action.size):
        action[c] = clip((command[c] - keep * last[c] - offset[c]) / scale[c], -1.0, 1.0)


@kernel
def decode_commands(t, lanes, control):  # type: ignore[no-untyped-def]
    """Write the decoded commands and their signal-dependent noise to the GOAL and GAIN columns."""
    for i in range(len(lanes)):
        for j in range(3):
            command = t[(s.COMMANDED_1 + j) * L + i]
            low = t[(s.LOWER_1 + j) * L + i]
            posture = low + 0.5 * (command + 1.0) * (t[(s.UPPER_1 + j) * L + i] - low)
            torque = command * t[(s.LARGEST_TORQUE_1 + j) * L + i]
            t[(s.GOAL_1 + j) * L + i] = posture if control == s.POSTURE else torque
            noise = t[(s.NOISE_TORQUE_1 + j) * L + i]
            t[(s.GAIN_1 + j) * L + i] = 1.0 + t[s.TORQUE_NOISE * L + i] * noise
    for i in range(len(lanes)):
        t[s.GOAL_APERTURE * L + i] = 0.5 * (t[s.COMMANDED_4 * L + i] + 1.0) * t[s.LARGEST_APERTURE * L + i]


@kernel
def excite_muscles(t, lanes):  # type: ignore[no-untyped-def]
    """Write the excitations for the commands to the EXCITATION columns."""
    for i in range(len(lanes)):
        muscles.write_excitation(t, s.EXCITATION_1, i, read_three(t, s.COMMANDED_1, i))


@kernel
def activate_muscles(t, lanes, step):  # type: ignore[no-untyped-def]
    """Advance the activations by `step` seconds, and write their means over the step to the MEAN columns.

    The mean is used in all stages of a Runge-Kutta step. It is consistent with the implicit midpoint rule of
    `activate`, for which mean excitation minus mean activation is exact; the activations at the times of the stages
    would not be.
    """
    for i in range(len(lanes)):
        for m in range(s.MUSCLES):
            before = t[(s.ACTIVATION_1 + m) * L + i]
            after = muscles.activate(before, t[(s.EXCITATION_1 + m) * L + i], step)
            t[(s.ACTIVATION_1 + m) * L + i] = after
            t[(s.MEAN_1 + m) * L + i] = 0.5 * (before + after)


@inlined
def filtered_command(t, i):  # type: ignore[no-untyped-def]
    """Return the filtered command of lane `i` at the start, in the middle and at the end of an inner step.

    Each stage of a Runge-Kutta step uses the command at its own time. One command for the whole step would reduce the
    order of the step to two.
    """
    rate = t[s.COMMAND_RATE * L + i]
    before, goal = read_three(t, s.COMMAND_1, i), read_three(t, s.GOAL_1, i)
    middle = moved(rate, difference_of(goal, before), before)
    return before, middle, moved(rate, difference_of(goal, middle), middle)


@kernel
def filter_commands(t, lanes):  # type: ignore[no-untyped-def]
    """Filter commands for an inner step; write those at its start and middle to BEFORE and MIDDLE."""
    for i in range(len(lanes)):
        before, middle, command = filtered_command(t, i)
        write_three(t, s.BEFORE_1, i, before)
        write_three(t, s.MIDDLE_1, i, middle)
        write_three(t, s.COMMAND_1, i, command)


@inlined
def joint_torque(t, i, control, command, q, v):  # type: ignore[no-untyped-def]
    """Return the torques, N m, of lane `i` under POSTURE or TORQUE control at angles and velocities q, v."""
    c1, c2, c3 = command
    k11, k12, k22 = read_three(t, s.STIFFNESS_11, i)
    b11, b12, b22 = read_three(t, s.VISCOSITY_11, i)
    gain1, gain2, gain3 = read_three(t, s.GAIN_1, i)
    d1 = c1 - q[0]
    d2 = c2 - q[1]
    spring1 = fma(k11, d1, k12 * d2)
    spring2 = fma(k12, d1, k22 * d2)
    spring3 = t[s.STIFFNESS_33 * L + i] * (c3 - q[2])
    active1 = spring1 if control == s.POSTURE else c1
    active2 = spring2 if control == s.POSTURE else c2
    active3 = spring3 if control == s.POSTURE else c3
    return (
        fma(active1, gain1, -fma(b11, v[0], b12 * v[1])),
        fma(active2, gain2, -fma(b12, v[0], b22 * v[1])),
        fma(active3, gain3, -t[s.VISCOSITY_33 * L + i] * v[2]),
    )


@kernel
def unforced_step(t, lanes, control, step):  # type: ignore[no-untyped-def]
    """Take a Runge-Kutta step of `step` seconds under POSTURE or TORQUE control without external forces.

    The operations are those of `filter_commands`, `begin_step`, four times `write_torques` and `stage`, `end_step` and
    `find_overshoot`. In one loop, the values between stages stay in registers.
    """
    half = 0.5 * step
    sixth = step / 6.0
    for i in range(len(lanes)):
        before, middle, command = filtered_command(t, i)
        q, v1 = read_three(t, s.ANGLE_1, i), read_three(t, s.VELOCITY_1, i)
        a1 = acceleration(t, i, q, v1, joint_torque(t, i, control, before, q, v1))
        p, v2 = moved(half, v1, q), moved(half, a1, v1)
        a2 = acceleration(t, i, p, v2, joint_torque(t, i, control, middle, p, v2))
        p, v3 = moved(half, v2, q), moved(half, a2, v1)
        a3 = acceleration(t, i, p, v3, joint_torque(t, i, control, middle, p, v3))
        p, v4 = moved(step, v3, q), moved(step, a3, v1)
        torque = joint_torque(t, i, control, command, p, v4)
        a4 = acceleration(t, i, p, v4, torque)
        rate = mean_velocity(weighted_sum(v1, v2, v3, v4))
        velocity = clip_velocity(moved(sixth, weighted_sum(a1, a2, a3, a4), v1))
        past = overshoot(t, i, step, rate)
        # All loads precede the stores, because the compiler does not vectorise loads that may alias a store.
        write_three(t, s.COMMAND_1, i, command)
        write_three(t, s.TORQUE_1, i, torque)
        write_three(t, s.VELOCITY_1, i, velocity)
        write_three(t, s.SUM_VELOCITY_1, i, rate)
        t[s.OVERSHOOT * L + i] = past


@kernel
def write_torques(t, lanes, control, number):  # type: ignore[no-untyped-def]
    """Write the joint torques at the point of Runge-Kutta stage `number`, 0..3."""
    if control == s.MUSCLE:
        _pull_muscles(t, lanes)
    else:
        column = s.BEFORE_1 if number == 0 else (s.COMMAND_1 if number == 3 else s.MIDDLE_1)
        for i in range(len(lanes)):
            q, v = read_three(t, s.STAGE_ANGLE_1, i), read_three(t, s.STAGE_VELOCITY_1, i)
            write_three(t, s.TORQUE_1, i, joint_torque(t, i, control, read_three(t, column, i), q, v))


@kernel
def _pull_muscles(t, lanes):  # type: ignore[no-untyped-def]
    """Write the joint torques of the muscles; noise scales the summed torque of each joint."""
    for i in range(len(lanes)):
        last = (t[s.MEAN_7 * L + i], t[s.MEAN_8 * L + i])
        activation = read_three(t, s.MEAN_1, i) + read_three(t, s.MEAN_4, i) + last
        v = read_three(t, s.STAGE_VELOCITY_1, i)
        b11, b12, b22 = read_three(t, s.VISCOSITY_11, i)
        gain1, gain2, gain3 = read_three(t, s.GAIN_1, i)
        m1, m2, m3 = muscles.muscle_torque(t[s.STRENGTH * L + i], activation, read_three(t, s.STAGE_ANGLE_1, i), v)
        torque1 = m1 * gain1 - b11 * v[0] - b12 * v[1]
        torque2 = m2 * gain2 - b12 * v[0] - b22 * v[1]
        torque3 = m3 * gain3 - t[s.VISCOSITY_33 * L + i] * v[2]
        write_three(t, s.TORQUE_1, i, (torque1, torque2, torque3))


def command_for_control(command: str | None, control: str) -> str:
    """Return "increment" or "absolute": the argument `command`, or the default for `control` if it is None.

    Raises:
        ValueError: `command` or `control` is unknown.
    """
    require_choice("control", control, s.CONTROLS)
    require_choice("command", command, (None, *s.COMMANDS))
    return command or ("increment" if control == "posture" else "absolute")


def joint_command(arm: Arm, control: str, torque: Any, angle: Any, velocity: Any, strength: float = 1.0) -> Array:
    """Return the command (3,) of the joints in [-1, 1] whose steady torque is nearest to `torque`.

    Args:
        arm: the body.
        control: "posture", "torque" or "muscle".
        torque: (3,) N m, in addition to the torque that compensates viscosity.
        angle, velocity: (3,) rad and rad/s, state in which the torque acts.
        strength: factor on torques and muscle forces, above 0; 1 for an unperturbed body.

    Raises:
        ValueError: an argument is invalid; the message names it.
    """
    if not isinstance(arm, Arm):
        raise ValueError(f"arm: expected an Arm, got {arm!r}")
    require_choice("control", control, s.CONTROLS)
    if not is_number(strength) or not 0.0 < strength < math.inf:
        raise ValueError(f"strength: expected a finite number above 0, got {strength!r}")
    # One conversion for all three, for speed.
    given = numbers_in((torque, angle, velocity))
    if given is None or given.shape != (3, 3) or not np.isfinite(given).all():
        named = {"torque": torque, "angle": angle, "velocity": velocity}
        given = np.array([require_numbers(name, values, (3,)) for name, values in named.items()])
    torque, angle, velocity = given
    return command_for(arm, s.CONTROLS.index(control), torque, angle, velocity, strength)


def command_for(arm: Arm, control: int, torque: Array, angle: Array, velocity: Array, strength: float) -> Array:
    """Return `joint_command` without checks of the arguments; `control` is POSTURE, TORQUE or MUSCLE."""
    if control == s.POSTURE:
        lower, upper = np.asarray(arm.lower), np.asarray(arm.upper)
        active = torque + np.asarray(arm.viscosity) @ velocity
        # Least squares, because a joint may have no spring.
        equilibrium = angle + np.linalg.lstsq(np.asarray(arm.stiffness), active, rcond=None)[0]
        posture: Array = np.clip(2.0 * (equilibrium - lower) / (upper - lower) - 1.0, -1.0, 1.0)
        return posture
    active = torque + np.asarray(arm.joint_viscosity) @ velocity
    if control == s.TORQUE:
        command: Array = np.clip(active / (strength * np.array(LARGEST_TORQUE_N_M)), -1.0, 1.0)
    else:
        command = muscles.command_for_torque(active, angle, velocity, strength)
    return command
