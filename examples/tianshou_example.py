"""Soft actor-critic of Tianshou's procedural interface, off policy from a replay buffer.

python examples/tianshou_example.py --timesteps 1024
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
import tyro
from tianshou.algorithm import SAC
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
from torch.nn.utils import parameters_to_vector

RANDOM_STEPS = 256


def main(timesteps: int = 1_024, env: str = "reach:reach/CupGrab-v1", num_envs: int = 4, seed: int = 0) -> None:
    """Train, and print a summary.

    Args:
        timesteps: of all environments together, after 256 random ones that fill the replay buffer.
        env: id of an environment; "module:id" imports the module first.
        num_envs: environments side by side.
        seed: of the environments and of the networks.
    """
    np.random.seed(seed)  # noqa: NPY002  (Tianshou draws its batches from NumPy's global stream)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    envs = DummyVectorEnv([lambda: gym.make(env) for _ in range(num_envs)])
    envs.seed(seed)
    observation_space, action_space = envs.observation_space[0], envs.action_space[0]
    observation_shape, action_shape = observation_space.shape, action_space.shape

    body = Net(state_shape=observation_shape, hidden_sizes=[64, 64])
    actor = ContinuousActorProbabilistic(
        preprocess_net=body, action_shape=action_shape, unbounded=True, conditioned_sigma=True
    )
    policy = SACPolicy(actor=actor, action_space=action_space, observation_space=observation_space)
    critic_body = Net(state_shape=observation_shape, action_shape=action_shape, hidden_sizes=[64, 64], concat=True)
    algorithm = SAC(
        policy=policy,
        policy_optim=AdamOptimizerFactory(lr=1e-3),
        critic=ContinuousCritic(preprocess_net=critic_body),
        critic_optim=AdamOptimizerFactory(lr=1e-3),
    )
    collector = Collector(algorithm, envs, VectorReplayBuffer(20_000, num_envs), exploration_noise=True)
    collector.reset()
    collector.collect(n_step=RANDOM_STEPS, random=True)
    weights_before = parameters_to_vector(actor.parameters()).detach()
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=timesteps,
            collection_step_num_env_steps=4 * num_envs,
            update_step_num_gradient_steps_per_sample=0.25,
            batch_size=64,
            show_progress=False,
            verbose=False,
        )
    )
    moved = float((parameters_to_vector(actor.parameters()).detach() - weights_before).norm())
    collector.close()
    print(f"SAC: {result.train_step} steps of {env} in {num_envs} environments, weights moved by {moved:.3f}")
    print(f"{result.update_step} updates, {result.train_episode} episodes")


if __name__ == "__main__":
    tyro.cli(main)
