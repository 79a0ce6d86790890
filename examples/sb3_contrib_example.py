"""Truncated quantile critics of sb3-contrib (Kuznetsov et al. 2020), off policy from a replay buffer.

python examples/sb3_contrib_example.py --timesteps 600
"""

from __future__ import annotations

import gymnasium as gym
import torch
import tyro
from sb3_contrib import TQC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from torch.nn.utils import parameters_to_vector


def main(timesteps: int = 600, env: str = "reach:reach/CupGrab-v1", seed: int = 0) -> None:
    """Train, evaluate, and print a summary.

    Args:
        timesteps: the first 100 of them act at random and only fill the replay buffer.
        env: id of an environment; "module:id" imports the module first.
        seed: of the environment and of the networks.
    """
    torch.set_num_threads(1)
    world = Monitor(gym.make(env))
    model = TQC(
        "MlpPolicy",
        world,
        learning_starts=100,
        batch_size=64,
        policy_kwargs={"net_arch": [64, 64]},
        seed=seed,
        device="cpu",
    )
    weights_before = parameters_to_vector(model.actor.parameters()).detach()
    model.learn(timesteps)
    moved = float((parameters_to_vector(model.actor.parameters()).detach() - weights_before).norm())
    mean, deviation = evaluate_policy(model, world, n_eval_episodes=8)
    world.close()
    print(f"TQC: {model.num_timesteps} steps of {env}, weights moved by {moved:.3f}")
    print(f"mean return of 8 episodes without exploration: {mean:.2f}, standard deviation {deviation:.2f}")


if __name__ == "__main__":
    tyro.cli(main)
