"""The scripted expert: a feedback controller that reads the true state from `info["truth"]`, in every control mode.

The expert shows that a task can be solved, and how well; it is not a learner. The hand follows a minimum-jerk
trajectory (Flash and Hogan 1985) to a standoff point before the cup, then moves forward along its own axis until the
cup is between the fingers. The controller is computed torque control (Craig, Introduction to Robotics, section 10.4):
inverse dynamics of the desired acceleration plus feedback on the true state. The environment converts torques to
commands, and commands to actions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.reaching.controller import AXIS_RANGE_DEGREES, LARGEST_APERTURE_M, minimum_jerk
from agents.reaching.posture_servo import COMMAND_LAG_S, DECAY_PER_S
from reach import CONTROL_STEP_S

Array = NDArray[np.float64]

# Durations of the movement to the standoff point, and from there to the cup.
APPROACH_S = 0.9
ENCLOSE_S = 0.6
# Distances of the standoff point from the cup, in order of preference. The first one whose trajectory stays within the
# joint limits is used.
STANDOFFS_M = (0.10, 0.08, 0.06, 0.04, 0.0)
# Distance from hand to cup below which the fingers close.
CLOSE_WITHIN_M = 0.01
# Time without success after which a new attempt starts: the fingers open, and the trajectory is planned again.
ATTEMPT_S = 1.4 + APPROACH_S


class Expert:
    """A controller that reads the true state of a `CupEnv`. Call `begin` after each reset, then `act` in each step."""

    def __init__(self, env: Any) -> None:
        """Create an expert for `env`, a `CupEnv`, wrapped or not."""
        self.env = env.unwrapped
        self.grab = self.env.task == "grab"
        self._trajectory = np.zeros((0, 3))

    def begin(self, truth: Mapping[str, Any]) -> None:
        """Plan the trajectory of a new trial from the true state after its reset."""
        self._plan(truth)

    def act(self, truth: Mapping[str, Any]) -> Array:
        """Return the action (4,) in [-1, 1] for the true state."""
        if self._step * CONTROL_STEP_S > ATTEMPT_S:
            self._plan(truth)
        angle, velocity = truth["joint_angles"], truth["joint_velocities"]
        k = min(self._step + round(COMMAND_LAG_S / CONTROL_STEP_S), len(self._trajectory) - 2)
        before, desired, after = self._trajectory[k - 1 : k + 2]
        desired_velocity = (after - before) / (2.0 * CONTROL_STEP_S)
        acceleration = (after - 2.0 * desired + before) / CONTROL_STEP_S**2
        # Extrapolate the joint angles by the command lag with the present velocity.
        predicted = angle + COMMAND_LAG_S * velocity
        acceleration = (
            acceleration + DECAY_PER_S**2 * (desired - predicted) + 2.0 * DECAY_PER_S * (desired_velocity - velocity)
        )
        torque = self.env.arm.inverse_dynamics(predicted, velocity, acceleration)
        self._step += 1
        aperture = 2.0 * self._aperture(truth) / LARGEST_APERTURE_M - 1.0
        action: Array = self.env.action_for([*self.env.joint_command(torque, COMMAND_LAG_S), aperture])
        return action

    def _aperture(self, truth: Mapping[str, Any]) -> float:
        """Return the commanded aperture, m: open; when grabbing, closed once the hand is at the cup or touches it."""
        near = float(np.linalg.norm(truth["hand"] - truth["cup"])) < CLOSE_WITHIN_M
        is_over = self._step * CONTROL_STEP_S > APPROACH_S + ENCLOSE_S
        if self.grab and (near or truth["grip_n"] > 0.0 or is_over):
            return 0.0
        return LARGEST_APERTURE_M

    def _plan(self, truth: Mapping[str, Any]) -> None:
        """Plan the trajectory of the joint angles, (steps, 3) rad, from the true state, and restart its clock."""
        arm, cup, angle = self.env.arm, truth["cup"], truth["joint_angles"]
        hand, axis = truth["hand"], float(np.sum(angle))
        bearing = math.atan2(cup[1] - hand[1], cup[0] - hand[0])
        goal_axis = float(np.clip(bearing, *np.radians(AXIS_RANGE_DEGREES)))
        if arm.wrist_locked:
            goal_axis = float(np.sum(arm.inverse_kinematics(cup, goal_axis)))
        times = np.arange(round((APPROACH_S + ENCLOSE_S) / CONTROL_STEP_S) + 3) * CONTROL_STEP_S
        approach = np.array([minimum_jerk(t / APPROACH_S) for t in times])[:, None]
        enclose = np.array([minimum_jerk((t - APPROACH_S) / ENCLOSE_S) for t in times])[:, None]
        direction = np.array([math.cos(goal_axis), math.sin(goal_axis)])
        axes = axis + approach[:, 0] * (goal_axis - axis)
        for standoff in STANDOFFS_M:
            hands = hand + approach * (cup - standoff * direction - hand) + enclose * standoff * direction
            self._trajectory = arm.inverse_kinematics(hands, axes)
            if arm.is_within_limits(self._trajectory):
                break
        else:
            # No straight path of the hand stays within the joint limits: interpolate the joint angles instead. If the
            # cup is out of reach, goal angles are not finite, and those joints do not move.
            goal = arm.inverse_kinematics(cup, goal_axis)
            self._trajectory = angle + approach * (np.where(np.isfinite(goal), goal, angle) - angle)
        self._step = 0
