"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
import torch
from hypothesis import settings

import reach  # noqa: F401  (registers the environments)

# More threads make these small networks slower, and other numbers.
torch.set_num_threads(1)
# The first example of a test compiles kernels, and a busy machine is slow: time says nothing about a law.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def grab() -> Iterator[gym.Env[Any, Any]]:
    """A grabbing environment."""
    env = gym.make("reach/CupGrab-v0")
    yield env
    env.close()
