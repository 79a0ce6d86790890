"""Single environments train with Gymnasium 0.29.1 in the way of CleanRL's `ppo_continuous_action.py`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from reach import ENVIRONMENTS

GAMMA, GAE_LAMBDA, CLIP = 0.99, 0.95, 0.2
NUM_ENVS, ROLLOUT_STEPS, ROLLOUTS = 2, 256, 2


def make_env(env_id: str) -> gym.Env[Any, Any]:
    """Return an environment in the wrappers that CleanRL's documentation lists for continuous actions."""
    env = gym.wrappers.FlattenObservation(gym.make(env_id))
    env = gym.wrappers.ClipAction(gym.wrappers.RecordEpisodeStatistics(env))
    env = gym.wrappers.NormalizeObservation(env)
    env = gym.wrappers.TransformObservation(env, lambda observation: np.clip(observation, -10, 10))
    env = gym.wrappers.NormalizeReward(env, gamma=GAMMA)
    return gym.wrappers.TransformReward(env, lambda reward: np.clip(reward, -10, 10))


@pytest.mark.integration
@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_ppo_trains(env_id: str) -> None:
    import torch
    from torch import nn
    from torch.nn.utils import parameters_to_vector

    torch.manual_seed(1)
    envs = gym.vector.SyncVectorEnv([lambda: make_env(env_id)] * NUM_ENVS)
    size, actions = envs.single_observation_space.shape[0], envs.single_action_space.shape[0]
    actor, critic = (nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, outputs)) for outputs in (actions, 1))
    log_sd = nn.Parameter(torch.zeros(actions))
    weights = [*actor.parameters(), *critic.parameters(), log_sd]
    optimizer = torch.optim.Adam(weights, lr=3e-4, eps=1e-5)
    before = parameters_to_vector(weights).detach()

    lengths: list[int] = []
    observation = torch.as_tensor(envs.reset(seed=1)[0], dtype=torch.float32)
    done = torch.zeros(NUM_ENVS)
    for _ in range(ROLLOUTS):
        rows = []
        for _ in range(ROLLOUT_STEPS):
            with torch.no_grad():
                chances = torch.distributions.Normal(actor(observation), log_sd.exp())
                action = chances.sample()
                value = critic(observation)[:, 0]
            after, reward, terminated, truncated, infos = envs.step(action.numpy())
            rows.append((observation, action, chances.log_prob(action).sum(1), torch.as_tensor(reward), done, value))
            observation = torch.as_tensor(after, dtype=torch.float32)
            done = torch.as_tensor(terminated | truncated).float()
            for final in infos.get("final_info", ()):
                if final is not None:
                    lengths.append(int(final["episode"]["l"][0]))
                    assert isinstance(final["is_success"], bool)
        observations, taken, log_chances, rewards, dones, values = (
            torch.stack(part) for part in zip(*rows, strict=True)
        )
        with torch.no_grad():
            following = torch.cat([values[1:], critic(observation)[None, :, 0]])
            goes_on = 1.0 - torch.cat([dones[1:], done[None]])
            advantages, last = torch.zeros_like(values), torch.zeros(NUM_ENVS)
            for t in reversed(range(ROLLOUT_STEPS)):
                surprise = rewards[t] + GAMMA * following[t] * goes_on[t] - values[t]
                last = advantages[t] = surprise + GAMMA * GAE_LAMBDA * goes_on[t] * last
        returns = advantages + values
        for _ in range(4):
            now = torch.distributions.Normal(actor(observations), log_sd.exp()).log_prob(taken).sum(2)
            ratio = (now - log_chances).exp()
            gained = torch.min(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages)
            loss = 0.5 * (critic(observations)[..., 0] - returns).pow(2).mean() - gained.mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 0.5)
            optimizer.step()
    assert len(lengths) >= NUM_ENVS
    assert max(lengths) <= 150
    moved = parameters_to_vector(weights).detach() - before
    assert torch.isfinite(moved).all()
    assert moved.norm() > 0.0
    envs.close()


@pytest.mark.integration
def test_the_compiled_vector_says_which_gymnasium_it_needs() -> None:
    with pytest.raises(ImportError, match=r"expected gymnasium 1\.1 or newer, got 0\.29\.1"):
        gym.make_vec("reach/CupGrab-v1", 2, vectorization_mode="custom")
