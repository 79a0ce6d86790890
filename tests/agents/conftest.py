"""A learner that has been trained once for all tests that only look at it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from agents.learner import make_learner, train_trials


@pytest.fixture(scope="session", params=["error-bp", "error-dfa", "error-stdp"])
def trained(request: pytest.FixtureRequest) -> Any:
    """Each error learner after 100 unperturbed trials."""
    model = make_learner(request.param, gym.make("reach/CupGrab-v1"), seed=1)
    train_trials(model, 100)
    model.end_baseline()
    return model
