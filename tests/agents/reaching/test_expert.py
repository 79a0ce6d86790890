"""The scripted expert shows that every task can be done, whatever the body and its control."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from agents.reaching.expert import Expert
from reach.sim.arm import ARMS
from reach.sim.layout import CONTROLS


def success_rate(env: gym.Env[Any, Any], trials: int, seed: int) -> float:
    expert = Expert(env)
    _, info = env.reset(seed=seed)
    won = 0
    for _ in range(trials):
        expert.begin(info["truth"])
        while True:
            _, _, terminated, truncated, info = env.step(expert.act(info["truth"]))
            if terminated or truncated:
                break
        won += info["is_success"]
        _, info = env.reset()
    return won / trials


@pytest.mark.parametrize("env_id", ["reach/CupReach-v1", "reach/CupGrab-v1"])
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("arm", sorted(ARMS))
def test_the_expert_grabs_cups_with_every_body_and_control(env_id: str, control: str, arm: str) -> None:
    assert success_rate(gym.make(env_id, control=control, arm=arm), trials=10, seed=0) == 1.0


def test_difficulty_arguments_make_the_task_harder() -> None:
    """A fragile cup is tipped by the same movements that a sturdy one survives."""
    rates = [
        success_rate(gym.make("reach/CupGrab-v1", cup={"tip_speed_m_s": speed}), trials=10, seed=2)
        for speed in (0.65, 0.01)
    ]
    assert rates[0] == 1.0
    assert rates[1] < 1.0
