"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest

import reach  # noqa: F401  (registers the environments)


@pytest.fixture
def grab() -> Iterator[gym.Env[Any, Any]]:
    """A grabbing environment."""
    env = gym.make("reach/CupGrab-v0")
    yield env
    env.close()
