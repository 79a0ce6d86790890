"""The scripted expert: a feedback controller that knows body, state and cup perfectly, in every control mode.

It reads `info["truth"]`, so it is not an honest learner. It shows that a task can be done, and how well. The hand
follows a minimum-jerk trajectory (Flash and Hogan 1985) to a place before the cup, then along its own axis around the
cup, by computed torque (Craig, Introduction to Robotics, section 10.4): inverse dynamics of the wanted acceleration
plus feedback on the true state. The environment converts torques to commands, and commands to actions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.reaching.controller import AXIS_RANGE_DEGREES, LARGEST_APERTURE_M, minimum_jerk
from reach import CONTROL_STEP_S

Array = NDArray[np.float64]

# Durations of the movement to the place before the cup, and of the movement around it.
APPROACH_S = 0.9
AROUND_S = 0.6
# Distances of that place from the cup; the first for which the trajectory stays within the joints' limits is used.
STANDOFFS_M = (0.10, 0.08, 0.06, 0.04, 0.0)
CLOSE_WITHIN_M = 0.01
# Lag of the command filter, and about that of muscle activation.
LAG_S = 0.04
# Decay rate of errors, critically damped: as fast as the lag allows.
DECAY_PER_S = 8.0
# An attempt that has not held the cup by then starts again: the fingers open and the hand goes back.
ATTEMPT_S = 1.4 + APPROACH_S


class Expert:
    """Controls one `CupEnv` by its true state."""

    def __init__(self, env: Any) -> None:
        """Make an expert for a `CupEnv`, wrapped or not."""
        self.env = env.unwrapped
        self.grab = self.env.task == "grab"
        self._trajectory = np.zeros((0, 3))

    def begin(self, truth: Mapping[str, Any]) -> None:
        """Start a trial."""
        self._plan(truth)

    def act(self, truth: Mapping[str, Any]) -> Array:
        """Return the action (4,) in [-1, 1] for the true state."""
        if self._step * CONTROL_STEP_S > ATTEMPT_S:
            self._plan(truth)
        angle, velocity = truth["joint_angles"], truth["joint_velocities"]
        k = min(self._step + round(LAG_S / CONTROL_STEP_S), len(self._trajectory) - 2)
        before, now, after = self._trajectory[k - 1 : k + 2]
        wanted = (after - before) / (2.0 * CONTROL_STEP_S)
        acceleration = (after - 2.0 * now + before) / CONTROL_STEP_S**2
        # The state one lag ahead, extrapolated by its velocity.
        ahead = angle + LAG_S * velocity
        acceleration = acceleration + DECAY_PER_S**2 * (now - ahead) + 2.0 * DECAY_PER_S * (wanted - velocity)
        torque = self.env.arm.inverse_dynamics(ahead, velocity, acceleration)
        self._step += 1
        aperture = 2.0 * self._aperture(truth) / LARGEST_APERTURE_M - 1.0
        action: Array = self.env.action_for([*self.env.joint_command(torque, LAG_S), aperture])
        return action

    def _aperture(self, truth: Mapping[str, Any]) -> float:
        near = float(np.linalg.norm(truth["hand"] - truth["cup"])) < CLOSE_WITHIN_M
        arrived = self._step * CONTROL_STEP_S > APPROACH_S + AROUND_S
        if self.grab and (near or truth["grip_n"] > 0.0 or arrived):
            return 0.0
        return LARGEST_APERTURE_M

    def _plan(self, truth: Mapping[str, Any]) -> None:
        """Plan the trajectory of joint angles (steps, 3) rad from the present state."""
        arm, cup, angle = self.env.arm, truth["cup"], truth["joint_angles"]
        hand, axis = truth["hand"], float(np.sum(angle))
        bearing = math.atan2(cup[1] - hand[1], cup[0] - hand[0])
        goal_axis = float(np.clip(bearing, *np.radians(AXIS_RANGE_DEGREES)))
        if arm.wrist_locked:
            goal_axis = float(np.sum(arm.inverse_kinematics(cup, goal_axis)))
        times = np.arange(round((APPROACH_S + AROUND_S) / CONTROL_STEP_S) + 3) * CONTROL_STEP_S
        approach = np.array([minimum_jerk(t / APPROACH_S) for t in times])[:, None]
        around = np.array([minimum_jerk((t - APPROACH_S) / AROUND_S) for t in times])[:, None]
        along = np.array([math.cos(goal_axis), math.sin(goal_axis)])
        axes = axis + approach[:, 0] * (goal_axis - axis)
        for standoff in STANDOFFS_M:
            places = hand + approach * (cup - standoff * along - hand) + around * standoff * along
            self._trajectory = arm.inverse_kinematics(places, axes)
            if arm.is_within_limits(self._trajectory):
                break
        else:
            # No straight path of the hand stays within reach: move the joints straight, or stay if it is unreachable.
            goal = arm.inverse_kinematics(cup, goal_axis)
            self._trajectory = angle + approach * (np.where(np.isfinite(goal), goal, angle) - angle)
        self._step = 0
