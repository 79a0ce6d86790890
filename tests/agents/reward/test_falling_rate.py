"""The learning rate of PPO and TQC falls with what is over of the usual training."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from agents.learner import make_learner
from agents.registry import find
from agents.reward.learner import LAST_SHARE

SMALL = {
    "reward-mlp-bp": {"n_steps": 10, "batch_size": 80, "n_epochs": 1, "learning_rate": 1e-3},
    "reward-tqc-mlp-bp": {"learning_starts": 160, "gradient_steps": 1, "learning_rate": 1e-3},
}


def made(name: str) -> Any:
    return make_learner(name, gym.make(find(name).env_id, **find(name).env_options), seed=3, **SMALL[name])


def rate_of(model: Any) -> float:
    rate: float = getattr(model.policy, "actor", model.policy).optimizer.param_groups[0]["lr"]
    return rate


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("stretches", [(320,), (160, 160)])
def test_it_falls_with_the_steps_of_the_usual_training(name: str, stretches: tuple[int, ...]) -> None:
    model = made(name)
    for steps in stretches:
        model.learn(steps, reset_num_timesteps=False)
    over = model.num_timesteps / find(name).steps
    assert rate_of(model) == pytest.approx(1e-3 * (1.0 - (1.0 - LAST_SHARE) * over), rel=1e-9)


def test_it_stays_after_that_and_is_whole_again_where_steps_are_counted_anew() -> None:
    model = made("reward-mlp-bp")
    model.num_timesteps = find("reward-mlp-bp").steps + 10_000
    model.learn(160, reset_num_timesteps=False)
    assert rate_of(model) == pytest.approx(1e-3 * LAST_SHARE)
    model.learn(160)
    assert rate_of(model) == pytest.approx(1e-3, rel=1e-2)
