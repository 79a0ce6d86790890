"""What a policy that learns from reward sees: observations less their usual centre, in units of their usual spread.

The constants are fixed, so that nothing that was seen has to be kept with a policy.
"""

from __future__ import annotations

from typing import cast

import gymnasium as gym
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

# Where observations lie in a reach, and how far they spread; columns as in the environment's observation table.
CENTRE = (0.10, 0.45, 1.0, 0.13, 0.55, 0.4, 1.9, -0.4, 0, 0, 0, 0.08, 0, 0, 0, -0.45, 0.5, -0.4, 0.5)
SPREAD = (0.10, 0.10, 1.0, 0.07, 0.03, 0.3, 0.3, 0.3, 1, 1, 2, 0.02, 1, 1, 1, 0.2, 0.3, 0.3, 0.5)
SEEN_CUP = slice(3, 5)
# A goal's place; what follows it says whether the hand was ready there, which every goal asks for.
PLACE = slice(0, 2)
# Of the way that is left to a goal: a few times the distance within which the goal is reached.
WAY_SPREAD_M = 0.05


class ScaledObservation(BaseFeaturesExtractor):
    """The observation less its usual centre, in units of its usual spread."""

    def __init__(self, observation_space: gym.spaces.Box) -> None:
        """Keep the constants as buffers; the observation has 19 columns."""
        super().__init__(observation_space, features_dim=len(CENTRE))
        self.centre: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("centre", torch.tensor(CENTRE))
        self.register_buffer("spread", torch.tensor(SPREAD))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Scale a batch (n, 19)."""
        return (observation - self.centre) / self.spread


class ScaledGoal(BaseFeaturesExtractor):
    """The scaled observation with the place of the goal where the seen cup stands, and the way from hand to goal.

    In hindsight the goal is elsewhere than the cup was. A policy that saw both would learn from hindsight only for
    trials such as there are none: with the cup away from the goal.
    """

    def __init__(self, observation_space: gym.spaces.Dict) -> None:
        """Take the dictionary of `observation="goal"`."""
        super().__init__(observation_space, features_dim=len(CENTRE) + 2)
        self.scaled = ScaledObservation(cast(gym.spaces.Box, observation_space["observation"]))

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Features (n, 21) of a batch."""
        goal, hand = (observations[name][:, PLACE] for name in ("desired_goal", "achieved_goal"))
        seen = observations["observation"].clone()
        seen[:, SEEN_CUP] = goal
        return torch.cat([self.scaled(seen), (goal - hand) / WAY_SPREAD_M], dim=1)
