"""The reward teacher by Stable-Baselines3's PPO: nothing of the algorithm is touched, only where it starts and how it is kept.

The policy begins at the resting command with small exploration of the joints and a larger one of the grip, and sees its
observations scaled by fixed constants, so that nothing but weights has to be saved. A checkpoint is `config.json` and
safetensors; no pickle is written or read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import numbers_of, read_checkpoint, tensors_of, write_checkpoint

PARALLEL_ENVS = 16
# Where observations lie in a reach, and how far they spread; columns as in the environment's observation table.
CENTRE = (0.10, 0.45, 1.0, 0.13, 0.55, 0.4, 1.9, -0.4, 0, 0, 0, 0.08, 0, 0, 0, -0.45, 0.5, -0.4, 0.5)
SPREAD = (0.10, 0.10, 1.0, 0.07, 0.03, 0.3, 0.3, 0.3, 1, 1, 2, 0.02, 1, 1, 1, 0.2, 0.3, 0.3, 0.5)
RESTING_COMMAND = (-0.638, 0.718, -0.410, 0.818)
JOINT_LOG_SD = -2.3
GRIP_LOG_SD = -1.0

DEFAULTS: dict[str, Any] = {
    "n_steps": 128,
    "batch_size": 512,
    "n_epochs": 8,
    "learning_rate": 1e-3,
    "gamma": 0.98,
    "gae_lambda": 0.95,
}
HIDDEN_CELLS = (128, 128)


class ScaledObservation(BaseFeaturesExtractor):
    """The observation less its usual centre, in units of its usual spread."""

    def __init__(self, observation_space: gym.spaces.Box) -> None:
        """Keep the constants as buffers; the observation has 19 columns."""
        super().__init__(observation_space, features_dim=len(CENTRE))
        self.register_buffer("centre", torch.tensor(CENTRE))
        self.register_buffer("spread", torch.tensor(SPREAD))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Scale a batch (n, 19)."""
        scaled: torch.Tensor = (observation - self.centre) / self.spread
        return scaled
