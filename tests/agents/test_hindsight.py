"""Hindsight asks for places where the hand was ready, exploration dwells, and a goal stands where the cup stood."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch

import reach  # noqa: F401  (registers the environments)
from agents.learner import make_learner
from agents.teachers.held_noise import HeldNoise
from agents.teachers.scaled_observation import ScaledGoal
from reach.goals import READY

GOALS: dict[str, Any] = {"observation": "goal"}


def test_hindsight_asks_for_later_steps_at_which_the_hand_was_ready() -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v0", **GOALS), seed=3, gradient_steps=0)
    model.learn(700)
    buffer = model.replay_buffer
    achieved = buffer.next_observations["achieved_goal"][:, 0]
    over = np.flatnonzero(buffer.ep_length[:, 0] > 0)
    goals = buffer._sample_goals(over, np.zeros_like(over))
    assert 0 < np.count_nonzero(achieved[over, READY]) < len(over)
    for index, goal in zip(over, goals, strict=True):
        later = achieved[index : buffer.ep_start[index, 0] + buffer.ep_length[index, 0]]
        assert (later == goal).all(axis=1).any(), "a goal is what was achieved from then on"
        assert goal[READY] == later[:, READY].max()


def test_a_deviation_is_held_and_then_another() -> None:
    noise = HeldNoise(spread=(0.2, 0.2, 0.2, 0.1), least_steps=3, most_steps=5, share=0.6)
    np.random.seed(0)  # noqa: NPY002  (Stable-Baselines3's noise draws from it)
    drawn = np.array([noise() for _ in range(4_000)])
    changes = np.flatnonzero(np.any(np.diff(drawn, axis=0) != 0.0, axis=1))
    assert np.diff(changes).min() >= 3
    shares = np.mean(np.any(drawn != 0.0, axis=1))
    assert 0.5 < shares < 0.7
    np.testing.assert_allclose(drawn[drawn[:, 0] != 0.0].std(axis=0), noise.spread, rtol=0.15)


def test_a_policy_sees_the_goal_where_the_cup_stood() -> None:
    env = gym.make("reach/CupReach-v0", **GOALS)
    space: Any = env.observation_space
    seen = {name: torch.as_tensor(part, dtype=torch.float32)[None] for name, part in env.reset(seed=1)[0].items()}
    features = ScaledGoal(space)
    first = features(seen)
    seen["observation"][:, 3:5] += 0.1
    seen["desired_goal"][:, 2:] += 1.0
    assert torch.equal(features(seen), first), "neither the cup itself nor what a goal asks for besides its place"
    seen["desired_goal"][:, 0] += 0.01
    assert (features(seen) != first).sum() == 2


def test_commands_follow_what_the_policy_wants_alike_in_learning_and_in_acting() -> None:
    model = make_learner(
        "reward-tqc-mlp-bp", gym.make("reach/CupReach-v0", **GOALS), seed=3, gradient_steps=0, action_noise=None
    )
    env = gym.make("reach/CupReach-v0", **GOALS)
    observation, _ = env.reset(seed=1)
    # A target far from the command at rest, and no spread around it.
    with torch.no_grad():
        model.actor.mu.weight.zero_()
        model.actor.mu.bias.fill_(0.5)
        model.actor.log_std.weight.zero_()
        model.actor.log_std.bias.fill_(-20.0)
    wanted = model.policy.predict(observation, deterministic=True)[0]
    far = np.abs(wanted - observation["observation"][-4:])
    for _ in range(30):
        command, _ = model.predict(observation, deterministic=True)
        observation, *_ = env.step(command)
        left = np.abs(wanted - observation["observation"][-4:])
        assert (left < far + 1e-6).all()
        far = left
    assert (far < 0.05).all()
    model.learn(40)
    kept = model.replay_buffer
    np.testing.assert_allclose(kept.actions[:40, 0], model.policy.scale_action(np.tile(wanted, (40, 1))), atol=1e-5)
    commands = kept.next_observations["observation"][:40, 0, -4:]
    assert (np.abs(np.diff(commands, axis=0)) <= np.abs(wanted - commands[:-1]) * 0.2 + 1e-6).all()
