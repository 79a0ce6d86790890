"""Stable-Baselines3 trains on the native vector environment unchanged, and meets what its own vector would show it."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.learner import make_learner
from agents.vec_env import CupVecEnv


def test_it_shows_what_stable_baselines_own_vector_shows() -> None:
    ours = CupVecEnv("reach/CupGrab-v1", 5, max_episode_steps=40)
    theirs = DummyVecEnv([lambda: Monitor(gym.make("reach/CupGrab-v1", max_episode_steps=40))] * 5)
    ours.seed(3)
    theirs.seed(3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    ended = 0
    for k in range(130):
        if k % 10 == 0:
            actions = rng.uniform(-1, 1, (5, 4)).astype(np.float32)
        a, b = ours.step(actions), theirs.step(actions)
        for one, other in zip(a[:3], b[:3], strict=True):
            np.testing.assert_array_equal(one, other)
        for index in np.flatnonzero(a[2]):
            mine, other_info = a[3][index], b[3][index]
            np.testing.assert_array_equal(mine["terminal_observation"], other_info["terminal_observation"])
            assert mine["TimeLimit.truncated"] == other_info["TimeLimit.truncated"]
            assert mine["is_success"] == other_info["is_success"]
            assert mine["episode"]["l"] == other_info["episode"]["l"]
            assert mine["episode"]["r"] == pytest.approx(other_info["episode"]["r"], abs=1e-5)
            ended += 1
    assert ended > 10


@pytest.mark.parametrize(
    "make",
    [
        lambda env: PPO("MlpPolicy", env, n_steps=16, batch_size=32, seed=0),
        lambda env: SAC("MlpPolicy", env, learning_starts=40, train_freq=8, gradient_steps=1, seed=0),
    ],
)
def test_learners_train_on_it(make: Any) -> None:
    env = VecNormalize(CupVecEnv("reach/CupGrab-v1", 8, control="muscle"))
    model = make(env)
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(160)
    assert any(bool((a != b).any()) for a, b in zip(before, model.policy.parameters(), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, _ = evaluate_policy(model, env, n_eval_episodes=2)
    assert np.isfinite(mean)


def test_error_learners_take_its_body_and_task() -> None:
    env = CupVecEnv("reach/CupReach-v1", 1, height_m=1.6)
    model = make_learner("error-bp", env)
    assert model.controller.arm == env.get_attr("arm")[0]
    assert env.get_attr("task", 0) == ["reach"]


def test_attributes_belong_to_all_environments() -> None:
    env = CupVecEnv("reach/CupReach-v1", 3)
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [False] * 3
    assert env.get_attr("perturbation", [0, 2]) == [(), ()]
    with pytest.raises(ValueError, match="indices: expected None"):
        env.set_attr("render_mode", None, indices=[0])


def test_options_are_for_the_next_reset() -> None:
    env = CupVecEnv("reach/CupReach-v1", 2, senses={"cup_noise_m": 0.0})
    env.set_options({"cup": (0.2, 0.5)})
    np.testing.assert_allclose(env.reset()[:, 3:5], [[0.2, 0.5]] * 2, atol=1e-7)
    assert not np.allclose(env.reset()[:, 3:5], [[0.2, 0.5]] * 2)
