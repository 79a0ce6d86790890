"""Proximal policy optimisation of Stable-Baselines3 on four environments.

python examples/stable_baselines3_example.py --timesteps 2048
"""

from __future__ import annotations

import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch.nn.utils import parameters_to_vector


def main(timesteps: int = 2_048, env: str = "reach:reach/CupGrab-v1", seed: int = 0) -> None:
    """Train, evaluate, and print a summary.

    Args:
        timesteps: of all environments together.
        env: id of an environment; "module:id" imports the module first.
        seed: of the environments and of the network.
    """
    torch.set_num_threads(1)
    envs = make_vec_env(env, n_envs=4, seed=seed)
    model = PPO("MlpPolicy", envs, n_steps=128, batch_size=64, n_epochs=4, seed=seed, device="cpu")
    weights_before = parameters_to_vector(model.policy.parameters()).detach()
    model.learn(timesteps)
    moved = float((parameters_to_vector(model.policy.parameters()).detach() - weights_before).norm())
    mean, deviation = evaluate_policy(model, envs, n_eval_episodes=8)
    envs.close()
    print(f"PPO: {model.num_timesteps} steps of {env} in {envs.num_envs} environments, weights moved by {moved:.3f}")
    print(f"mean return of 8 episodes without exploration: {mean:.2f}, standard deviation {deviation:.2f}")


if __name__ == "__main__":
    tyro.cli(main)
