"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
import torch

import reach  # noqa: F401  (registers the environments)

# More threads make these small networks slower, and other numbers.
torch.set_num_threads(1)


@pytest.fixture
def grab() -> Iterator[gym.Env[Any, Any]]:
    """A grabbing environment."""
    env = gym.make("reach/CupGrab-v0")
    yield env
    env.close()
