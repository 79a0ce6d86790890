"""Hindsight experience replay (Andrychowicz et al. 2017) whose goals are places where the hand was ready.

A goal is reached by a hand that is ready there (`reach.goals`), which a hand that passes through never is. Goals drawn
from all that was achieved would be, nearly all of them, goals that nobody could say how to reach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import HerReplayBuffer

from reach.goals import READY


class ReadyHindsight(HerReplayBuffer):
    """Stable-Baselines3's buffer for hindsight, "future" strategy, among the steps at which the hand was ready."""

    def _sample_goals(self, batch_indices: NDArray[np.int64], env_indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Goals (n, 4), each achieved from the transition on; at a ready step of its trial where there is one."""
        start = self.ep_start[batch_indices, env_indices]
        length = self.ep_length[batch_indices, env_indices]
        now = (batch_indices - start) % self.buffer_size
        step = np.arange(length.max())
        place = (start[:, None] + step) % self.buffer_size
        achieved = self.next_observations["achieved_goal"]
        ready = achieved[place, env_indices[:, None], READY] > 0.0
        allowed = (step >= now[:, None]) & (step < length[:, None])
        # The largest of equal chances; a ready step before any other.
        chance = np.random.random(ready.shape)  # noqa: NPY002  (as Stable-Baselines3 draws)
        chosen = np.argmax(np.where(allowed, chance + ready, -1.0), axis=1)
        goals: NDArray[np.float64] = achieved[place[np.arange(len(chosen)), chosen], env_indices]
        return goals
