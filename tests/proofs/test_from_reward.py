"""README's figures of learners that learn from reward, measured anew: `make proofs` prints each."""

from __future__ import annotations

import gymnasium as gym
import pytest

from agents.learner import evaluate, make_learner, train_trials
from agents.registry import find

pytestmark = pytest.mark.slow

REWARDED_REACHES = 4000


@pytest.mark.long
def test_ppo_grabs_the_cup_from_reward() -> None:
    model = make_learner("reward-ppo", gym.make("reach/CupGrab-v1"), seed=0)
    model.learn(find("reward-ppo").steps)
    share = evaluate(model, "reach/CupGrab-v1", trials=500)
    print(f"\nCupGrab-v1 reward-ppo: {100 * share:.1f} % of 500 fresh trials after {model.num_timesteps:,} steps")
    assert share >= 0.95


@pytest.mark.long
@pytest.mark.parametrize("seed", [0])
def test_a_spiking_actor_and_critic_learn_to_reach_from_reward(seed: int) -> None:
    env_id = "reach/CupReach-v1"
    model = make_learner("reward-snn-stdp", gym.make(env_id), seed=seed)
    train_trials(model, REWARDED_REACHES)
    share = evaluate(model, env_id, trials=300, seed=seed)
    print(f"\nCupReach-v1 reward-snn-stdp: {100 * share:.1f} % of 300 fresh trials after {model.trials:,} trials")
    assert share >= 0.8


def test_a_spiking_actor_that_does_not_hear_of_reward_does_not_learn_to_reach() -> None:
    env_id = "reach/CupReach-v1"
    model = make_learner("reward-snn-hebb", gym.make(env_id), seed=0)
    train_trials(model, 1000)
    share = evaluate(model, env_id, trials=100)
    print(f"\nCupReach-v1 reward-snn-hebb: {100 * share:.1f} % of 100 fresh trials after {model.trials:,} trials")
    assert share < 0.2
