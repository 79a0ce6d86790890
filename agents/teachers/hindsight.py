"""Hindsight experience replay (Andrychowicz et al. 2017) whose goals are places where the hand was ready.

A goal is reached by a hand that is ready there (`reach.sim.tasks`), which a hand that passes through never is. Goals
drawn from all that was achieved would be, nearly all of them, goals that nobody could say how to reach.

A trial ends where its goal is reached. So it does in hindsight, where Stable-Baselines3 would let it go on: what a way
to a goal is worth then rests on an end that is known, instead of on what comes after it.

A cup that tips does so where it stood. Where the goal stands in for the cup (`ScaledGoal`), a tip in hindsight would
seem to come from nowhere; such a step keeps the goal that it had.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import HerReplayBuffer

from reach.sim.tasks import GOAL_READY, GOAL_TIP_PENALTY


class ReadyHindsight(HerReplayBuffer):
    """Stable-Baselines3's buffer for hindsight, "future" strategy, among the steps at which the hand was ready.

    Attributes:
        least_reward: below which no reward is given. What a tipped cup costs is meant to outweigh the time that is
            saved; one who discounts time is told enough by all that can be lost by it.
    """

    least_reward = -np.inf

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """As Stable-Baselines3's, with rewards of `least_reward` or more; a trial is over where its goal is reached."""
        drawn = super().sample(batch_size, env)
        over = torch.maximum(drawn.dones, (drawn.rewards == 0.0).to(drawn.dones.dtype))
        return drawn._replace(rewards=drawn.rewards.clamp(min=self.least_reward), dones=over)

    def _sample_goals(self, batch_indices: NDArray[np.int64], env_indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Goals (n, 4), each achieved from the transition on; at a ready step of its trial where there is one.

        Where the cup tipped, the goal that was desired.
        """
        start = self.ep_start[batch_indices, env_indices]
        length = self.ep_length[batch_indices, env_indices]
        now = (batch_indices - start) % self.buffer_size
        step = np.arange(length.max())
        place = (start[:, None] + step) % self.buffer_size
        achieved = self.next_observations["achieved_goal"]
        ready = achieved[place, env_indices[:, None], GOAL_READY] > 0.0
        allowed = (step >= now[:, None]) & (step < length[:, None])
        # The largest of equal chances; a ready step before any other.
        chance = np.random.random(ready.shape)  # noqa: NPY002  (as Stable-Baselines3 draws)
        chosen = np.argmax(np.where(allowed, chance + ready, -1.0), axis=1)
        goals: NDArray[np.float64] = achieved[place[np.arange(len(chosen)), chosen], env_indices]
        tipped = achieved[batch_indices, env_indices, GOAL_TIP_PENALTY] > 0.0
        goals[tipped] = self.next_observations["desired_goal"][batch_indices, env_indices][tipped]
        return goals
