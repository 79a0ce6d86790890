"""The scripted expert: a feedback controller that knows body, state and cup perfectly, in every control mode.

It reads `info["truth"]`, so it is no honest learner; it shows that a task can be done, and how well. The hand is led on
a minimum-jerk course (Flash and Hogan 1985) to a place before the cup and along its own axis around it, by computed
torque (Craig, Introduction to Robotics, section 10.4): the body's inverse dynamics of the wanted acceleration plus
feedback on the true state. What a torque means as an action is for the environment to say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.reaching.controller import AXIS_RANGE_DEGREES, LARGEST_APERTURE_M, minimum_jerk
from agents.reaching.posture_servo import CONTROL_STEP_S

Array = NDArray[np.float64]

# The course: to the place before the cup, then around it; the fingers close when the hand has settled.
APPROACH_S = 0.9
AROUND_S = 0.6
# Before the cup, m; the first whose course the joints can follow.
STANDOFFS_M = (0.10, 0.08, 0.06, 0.04, 0.0)
CLOSE_WITHIN_M = 0.01
# A command acts late by about the lag of its filter, or of muscle activation.
LAG_S = 0.04
# Errors decay with this rate, critically damped: as fast as the lag allows.
DECAY_PER_S = 8.0
# An attempt that has not held the cup by then is given up: the fingers open, the hand goes back and comes again.
ATTEMPT_S = 1.4 + APPROACH_S


class Expert:
    """A controller of one `CupEnv` by its truth."""

    def __init__(self, env: Any) -> None:
        """Make an expert for an environment.

        Args:
            env: a `CupEnv`, wrapped or not.
        """
        self.env = env.unwrapped
        self.grab = self.env.task == "grab"
        self._course = np.zeros((0, 3))

    def begin(self, truth: Mapping[str, Any]) -> None:
        """A trial begins."""
        self._plan(truth)

    def act(self, truth: Mapping[str, Any]) -> Array:
        """The action (4,) in [-1, 1] for the state in `truth`."""
        if self._step * CONTROL_STEP_S > ATTEMPT_S:
            self._plan(truth)
        angle, velocity = truth["joint_angles"], truth["joint_velocities"]
        k = min(self._step + round(LAG_S / CONTROL_STEP_S), len(self._course) - 2)
        before, now, after = self._course[k - 1 : k + 2]
        wanted = (after - before) / (2.0 * CONTROL_STEP_S)
        acceleration = (after - 2.0 * now + before) / CONTROL_STEP_S**2
        # The state is led by the lag too, as far as its velocity tells.
        ahead = angle + LAG_S * velocity
        acceleration = acceleration + DECAY_PER_S**2 * (now - ahead) + 2.0 * DECAY_PER_S * (wanted - velocity)
        torque = self.env.arm.inverse_dynamics(ahead, velocity, acceleration)
        self._step += 1
        return np.append(self.env.joint_action(torque, LAG_S), 2.0 * self._aperture(truth) / LARGEST_APERTURE_M - 1.0)

    def _aperture(self, truth: Mapping[str, Any]) -> float:
        near = float(np.linalg.norm(truth["hand"] - truth["cup"])) < CLOSE_WITHIN_M
        arrived = self._step * CONTROL_STEP_S > APPROACH_S + AROUND_S
        if self.grab and (near or truth["grip_n"] > 0.0 or arrived):
            return 0.0
        return LARGEST_APERTURE_M

    def _plan(self, truth: Mapping[str, Any]) -> None:
        """Lay the course of joint angles (steps, 3) rad from where the arm is."""
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
            self._course = arm.inverse_kinematics(places, axes)
            if arm.is_within_limits(self._course):
                break
        else:
            # No straight line stays within reach: the joints go straight instead, or stay where the cup is out of it.
            goal = arm.inverse_kinematics(cup, goal_axis)
            self._course = angle + approach * (np.where(np.isfinite(goal), goal, angle) - angle)
        self._step = 0
