"""Proximal policy optimisation in one file over Gymnasium's vector API, as CleanRL does (Schulman et al. 2017).

Two properties of that API matter. Statistics of episodes are arrays over all environments; only those marked in
`infos["_episode"]` ended in this step. After an episode has ended, the vector environment ignores the action of the
next step and resets (autoreset mode "next step"). That step belongs to no episode and is left out of the advantages and
of the loss.

    python examples/cleanrl_like.py --timesteps 4096
"""

from __future__ import annotations

from typing import Literal

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import nn
from torch.distributions import Normal

DISCOUNT = 0.99
GAE_LAMBDA = 0.95
RATIO_CLIP = 0.2
VALUE_WEIGHT = 0.5
GRADIENT_CLIP = 0.5
STEP_SIZE = 3e-4
EPOCHS = 4
BATCH_SIZE = 64


class ActorCritic(nn.Module):
    """A Gaussian policy and a value function, with two hidden layers each."""

    def __init__(self, observation_size: int, action_size: int) -> None:
        super().__init__()
        self.mean = mlp(observation_size, action_size, gain=0.01)
        self.log_deviation = nn.Parameter(torch.full((action_size,), -0.5))
        self.value = mlp(observation_size, 1, gain=1.0)

    def policy(self, observations: torch.Tensor) -> Normal:
        """Return the distribution of actions, (..., action_size)."""
        return Normal(self.mean(observations), self.log_deviation.exp())


def mlp(inputs: int, outputs: int, gain: float) -> nn.Sequential:
    """Return a network with two hidden layers of 64 cells and orthogonal weights; `gain` is that of the last layer."""
    layers = [nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, outputs)]
    for layer, scale in zip(layers, (2**0.5, 2**0.5, gain), strict=True):
        nn.init.orthogonal_(layer.weight, scale)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])


def advantages_of(
    rewards: torch.Tensor, values: torch.Tensor, terminated: torch.Tensor, over: torch.Tensor
) -> torch.Tensor:
    """Return generalised advantage estimates (Schulman et al. 2016).

    Args:
        rewards, terminated, over: (steps, num_envs).
        values: (steps + 1, num_envs), of every observation and of the one after the last.

    Returns:
        (steps, num_envs). A truncated episode keeps the value of its last observation, a terminated one does not.
    """
    surprise = rewards + DISCOUNT * values[1:] * ~terminated - values[:-1]
    advantages = torch.zeros_like(rewards)
    following = torch.zeros(rewards.shape[1])
    for step in reversed(range(len(rewards))):
        following = surprise[step] + DISCOUNT * GAE_LAMBDA * ~over[step] * following
        advantages[step] = following
    return advantages


def main(
    timesteps: int = 4_096,
    env: str = "reach:reach/CupGrab-v1",
    num_envs: int = 8,
    steps: int = 64,
    vectorization_mode: Literal["vector_entry_point", "sync", "async"] = "vector_entry_point",
    seed: int = 1,
) -> None:
    """Train, and print a summary.

    Args:
        timesteps: of all environments together.
        env: id of an environment; "module:id" imports the module first.
        num_envs: environments side by side.
        steps: of each environment between two updates.
        vectorization_mode: of `gymnasium.make_vec`; "vector_entry_point" is the environment's own, compiled one.
        seed: of the environments and of the network.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    envs = gym.make_vec(env, num_envs=num_envs, vectorization_mode=vectorization_mode)
    envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)
    envs = gym.wrappers.vector.NormalizeObservation(envs)
    envs = gym.wrappers.vector.ClipAction(envs)
    observation_size = gym.spaces.flatdim(envs.single_observation_space)
    action_size = gym.spaces.flatdim(envs.single_action_space)

    network = ActorCritic(observation_size, action_size)
    optimizer = torch.optim.Adam(network.parameters(), lr=STEP_SIZE, eps=1e-5)
    weights_before = nn.utils.parameters_to_vector(network.parameters()).detach()

    observations = torch.zeros(steps + 1, num_envs, observation_size)
    actions = torch.zeros(steps, num_envs, action_size)
    rewards = torch.zeros(steps, num_envs)
    terminated, over, counts = torch.zeros(3, steps, num_envs, dtype=torch.bool)
    returns: list[float] = []

    observation, _ = envs.reset(seed=seed)
    resets_now = np.zeros(num_envs, dtype=np.bool_)
    updates = max(1, timesteps // (num_envs * steps))
    for _ in range(updates):
        for step in range(steps):
            observations[step] = torch.as_tensor(observation)
            with torch.no_grad():
                actions[step] = network.policy(observations[step]).sample()
            observation, reward, ended, truncated, infos = envs.step(actions[step].numpy())
            rewards[step] = torch.as_tensor(reward)
            terminated[step] = torch.as_tensor(ended)
            counts[step] = torch.as_tensor(~resets_now)
            resets_now = ended | truncated
            over[step] = torch.as_tensor(resets_now)
            if "episode" in infos:
                returns.extend(infos["episode"]["r"][infos["_episode"]].tolist())
        observations[steps] = torch.as_tensor(observation)

        with torch.no_grad():
            values = network.value(observations).squeeze(-1)
            old_log_probability = network.policy(observations[:-1]).log_prob(actions).sum(-1)
        advantages = advantages_of(rewards, values, terminated, over)
        targets = advantages + values[:-1]
        batch = [part[counts] for part in (observations[:-1], actions, old_log_probability, advantages, targets)]

        for _ in range(EPOCHS):
            for chosen in torch.randperm(int(counts.sum())).split(BATCH_SIZE):
                seen, taken, old, advantage, target = (part[chosen] for part in batch)
                advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
                ratio = (network.policy(seen).log_prob(taken).sum(-1) - old).exp()
                clipped = ratio.clamp(1 - RATIO_CLIP, 1 + RATIO_CLIP)
                policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
                value_loss = 0.5 * (network.value(seen).squeeze(-1) - target).square().mean()
                optimizer.zero_grad()
                (policy_loss + VALUE_WEIGHT * value_loss).backward()
                nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_CLIP)
                optimizer.step()
    envs.close()

    moved = float((nn.utils.parameters_to_vector(network.parameters()).detach() - weights_before).norm())
    print(f"PPO: {updates * steps * num_envs} steps of {env} in {num_envs} environments, weights moved by {moved:.3f}")
    print(f"{len(returns)} episodes, mean return of the last 20: {np.mean(returns[-20:]) if returns else np.nan:.2f}")


if __name__ == "__main__":
    tyro.cli(main)
