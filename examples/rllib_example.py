"""Proximal policy optimisation of RLlib, with the environment in a worker process of its own.

python examples/rllib_example.py --timesteps 1024
"""

from __future__ import annotations

import numpy as np
import ray
import tyro
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

STEPS_PER_ITERATION = 512


def main(timesteps: int = 1_024, env: str = "reach:reach/CupGrab-v1", seed: int = 0) -> None:
    """Train, and print a summary.

    Args:
        timesteps: rounded up to a multiple of 512.
        env: id of an environment; "module:id" makes the worker import the module first.
        seed: of the environments and of the networks.
    """
    ray.init(include_dashboard=False, num_cpus=2)
    settings = (
        PPOConfig()
        .environment(env)
        .env_runners(num_env_runners=1, num_envs_per_env_runner=4)
        .training(train_batch_size_per_learner=STEPS_PER_ITERATION, minibatch_size=128, num_epochs=4, lr=3e-4)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh"))
        .debugging(seed=seed)
    )
    algorithm = settings.build_algo()
    weights_before = flat_weights(algorithm)
    steps, mean_return = 0, np.nan
    while steps < timesteps:
        result = algorithm.train()["env_runners"]
        steps, mean_return = int(result["num_env_steps_sampled_lifetime"]), result["episode_return_mean"]
    moved = float(np.linalg.norm(flat_weights(algorithm) - weights_before))
    algorithm.stop()
    ray.shutdown()
    print(f"PPO: {steps} steps of {env} in 4 environments, weights moved by {moved:.3f}")
    print(f"mean return of the last episodes: {mean_return:.2f}")


def flat_weights(algorithm: Algorithm) -> np.ndarray:
    """Return all weights of the policy in one row."""
    weights = algorithm.get_module().get_state()
    return np.concatenate([np.ravel(weights[name]) for name in sorted(weights)])


if __name__ == "__main__":
    tyro.cli(main)
