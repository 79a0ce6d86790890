"""The reward teacher: Stable-Baselines3's PPO, untouched but for where it starts and how it is kept.

The policy begins at the resting command with small exploration of the joints and a larger one of the grip, and sees its
observations scaled by fixed constants, so that nothing but weights has to be saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import read_checkpoint, write_checkpoint

PARALLEL_ENVS = 16
# Where observations lie in a reach, and how far they spread; columns as in the environment's observation table.
CENTRE = (0.10, 0.45, 1.0, 0.13, 0.55, 0.4, 1.9, -0.4, 0, 0, 0, 0.08, 0, 0, 0, -0.45, 0.5, -0.4, 0.5)
SPREAD = (0.10, 0.10, 1.0, 0.07, 0.03, 0.3, 0.3, 0.3, 1, 1, 2, 0.02, 1, 1, 1, 0.2, 0.3, 0.3, 0.5)
RESTING_COMMAND = (-0.638, 0.718, -0.410, 0.818)
JOINT_LOG_SD = -2.0
GRIP_LOG_SD = -0.5

DEFAULTS: dict[str, Any] = {
    "n_steps": 64,
    "batch_size": 256,
    "n_epochs": 6,
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
        self.centre: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("centre", torch.tensor(CENTRE))
        self.register_buffer("spread", torch.tensor(SPREAD))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Scale a batch (n, 19)."""
        return (observation - self.centre) / self.spread


class RewardPPO(PPO):
    """PPO (Schulman et al. 2017) as Stable-Baselines3 has it, set for the cup, with checkpoints without pickles."""

    def __init__(self, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """Make an untrained learner.

        Args:
            env: an environment id or a `CupEnv` made by `gym.make` (sixteen copies of it are learned in), or a VecEnv.
            seed: of weights and trials.
            settings: anything Stable-Baselines3's PPO takes, instead of the defaults here.
        """
        self.given = {"seed": seed, **settings}
        if not isinstance(env, VecEnv):
            env = _copies(env, seed)
        super().__init__(
            "MlpPolicy",
            env,
            seed=seed,
            policy_kwargs={"features_extractor_class": ScaledObservation, "net_arch": list(HIDDEN_CELLS)},
            **{**DEFAULTS, **settings},
        )
        first = self.policy.action_net
        assert isinstance(first, torch.nn.Linear)
        with torch.no_grad():
            first.bias.copy_(torch.tensor(RESTING_COMMAND))
            self.policy.log_std[:3] = JOINT_LOG_SD
            self.policy.log_std[3] = GRIP_LOG_SD

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Learn and act in another environment; it may hold another number of copies than the one before."""
        wrapped = self._wrap_env(env, self.verbose)
        if wrapped.num_envs != self.n_envs:
            self.n_envs = wrapped.num_envs
            self.rollout_buffer = type(self.rollout_buffer)(
                self.n_steps,
                self.observation_space,
                self.action_space,
                device=self.device,
                gamma=self.gamma,
                gae_lambda=self.gae_lambda,
                n_envs=self.n_envs,
            )
        super().set_env(wrapped, force_reset)

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write a checkpoint folder: settings as JSON, weights and the optimiser's moments as arrays."""
        arrays = {f"policy/{name}": value.numpy(force=True) for name, value in self.policy.state_dict().items()}
        for k, moments in self.policy.optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer/{k}/{name}": value.numpy(force=True) for name, value in moments.items()}
        config = {"learner": "reward-ppo", "settings": self.given, "num_timesteps": self.num_timesteps}
        write_checkpoint(Path(path), config, arrays)

    @classmethod
    def load(cls, path: Any, env: Any = None, **settings: Any) -> RewardPPO:  # type: ignore[override]
        """Read what `save` wrote, without running any code of it.

        Args:
            path: the folder.
            env: to go on in; "reach/CupGrab-v0" without one.
            settings: instead of the saved ones.

        Raises:
            ValueError: the folder holds no such learner, or arrays of other shapes.
        """
        config, arrays = read_checkpoint(Path(path))
        if config.get("learner") != "reward-ppo":
            raise ValueError(f"checkpoint {path} names learner {config.get('learner')!r}; 'reward-ppo' is allowed")
        model = cls(env if env is not None else "reach/CupGrab-v0", **{**config["settings"], **settings})
        model.num_timesteps = int(config["num_timesteps"])
        model._fill(path, arrays)
        return model

    def _fill(self, path: Any, arrays: dict[str, NDArray[Any]]) -> None:
        own = self.policy.state_dict()
        stored = {
            name.removeprefix("policy/"): torch.from_numpy(np.array(value))
            for name, value in arrays.items()
            if name.startswith("policy/")
        }
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in stored.items()}:
            raise ValueError(
                f"checkpoint {path} holds {sorted(stored)}; {sorted(own)} of the policy's shapes are allowed"
            )
        self.policy.load_state_dict(stored)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in arrays.items():
            if name.startswith("optimizer/"):
                _, k, kind = name.split("/")
                moments.setdefault(int(k), {})[kind] = torch.from_numpy(np.array(value))
        if moments:
            state = self.policy.optimizer.state_dict()
            self.policy.optimizer.load_state_dict({**state, "state": moments})


def _copies(env: gym.Env[Any, Any] | str, seed: int) -> VecEnv:
    """Sixteen environments like the one given."""
    spec = env if isinstance(env, str) else env.spec
    if spec is None:
        raise ValueError("env has no spec; an environment made by gym.make, its id or a VecEnv is allowed")
    return make_vec_env(
        lambda: gym.make(spec, disable_env_checker=True),
        n_envs=PARALLEL_ENVS,
        seed=seed,
        monitor_kwargs={"info_keywords": ("is_success",)},
    )
