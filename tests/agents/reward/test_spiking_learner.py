"""The spiking learner from reward: the actor repeats what was rewarded, the critic learns what a place returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.learner import evaluate, load_learner, make_learner, train_trials
from agents.registry import find
from agents.reward.spiking import Decision, SpikingActorCritic
from agents.vec_env import CupVecEnv

REACH = "reach/CupReach-v1"
CUP = np.array([0.10, 0.55])
FAR_CUP = np.array([0.32, 0.45])
STEPS = 11


def network(rule: str = "stdp", **settings: Any) -> SpikingActorCritic:
    return SpikingActorCritic(rule, np.random.default_rng(0), **{"rate": 0.1, "critic_rate": 0.1, **settings})


def decide(actor: SpikingActorCritic, cup: Any = CUP, background_hz: Any = None) -> Decision:
    state = actor.circuit.begin()
    for _ in range(STEPS):
        actor.run(state, cup, background_hz)
    return actor.decide(state)


def practise(actor: SpikingActorCritic, outcome: Any, trials: int, seed: int = 0) -> None:
    """Learn from a number of trials with the same cup, whose return is `outcome(posture)`."""
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        decision = decide(actor, background_hz=actor.explore(rng))
        actor.learn(decision, outcome(decision.posture))


def usual_posture(actor: SpikingActorCritic) -> Any:
    """Return the posture without exploration, a mean over cups a few millimetres apart because single spikes count."""
    return np.mean([decide(actor, CUP + 0.001 * np.array([k, k])).posture for k in range(-4, 5)], axis=0)


def test_an_untrained_network_rests_and_expects_nothing() -> None:
    decision = decide(network())
    np.testing.assert_allclose(decision.posture, 0.0, atol=0.03)
    assert decision.value == pytest.approx(0.0, abs=0.5)


def test_exploration_moves_each_joint_by_the_given_sd() -> None:
    actor, rng = network(exploration_rad=0.1), np.random.default_rng(0)
    usual = decide(actor).posture
    tried = np.array([decide(actor, background_hz=actor.explore(rng)).posture for _ in range(150)])
    np.testing.assert_allclose(tried.std(axis=0), 0.1, rtol=0.25)
    np.testing.assert_allclose(tried.mean(axis=0), usual, atol=0.03)


@pytest.mark.parametrize("pays", [True, False])
def test_a_tried_posture_becomes_more_likely_if_it_pays_and_less_if_it_does_not(pays: bool) -> None:
    actor, rng = network(rate=0.3), np.random.default_rng(1)
    for _ in range(80):
        decision = decide(actor, background_hz=actor.explore(rng))
        # Without a prediction error the expected eligibility forms, and no weight changes.
        actor.learn(decision, decision.value)
    weights, before = actor.circuit.weight("input-actor"), usual_posture(actor)
    first, towards = weights.copy(), []
    np.testing.assert_array_equal(first, network().circuit.weight("input-actor"))
    for _ in range(20):
        tried = decide(actor, background_hz=actor.explore(rng))
        actor.learn(tried, tried.value + (5.0 if pays else -5.0))
        towards.append((usual_posture(actor) - before) @ (tried.posture - before))
        weights[...] = first
    assert np.mean(np.sign(towards)) > 0.8 if pays else np.mean(np.sign(towards)) < -0.8


def test_the_actor_climbs_a_reward_without_direction() -> None:
    actor = network(rate=0.2)
    goal = np.array([0.3, -0.3, 0.1])
    practise(actor, lambda posture: -10.0 * float(np.linalg.norm(posture - goal)), 400)
    assert np.linalg.norm(decide(actor).posture - goal) < 0.35 * np.linalg.norm(goal)


def test_a_reward_independent_of_the_posture_moves_nothing_on_average() -> None:
    moves = []
    for seed in range(6):
        actor, rng = network(rate=0.0), np.random.default_rng(100 + seed)
        practise(actor, lambda posture, rng=rng: 3.0 + rng.normal(), 80, seed=50 + seed)  # the expectations form
        first, actor.rate = usual_posture(actor), 0.1
        practise(actor, lambda posture, rng=rng: 3.0 + rng.normal(), 60, seed=seed)
        moves.append(usual_posture(actor) - first)
    spread = np.std(moves, axis=0, ddof=1) / np.sqrt(len(moves))
    assert np.all(np.abs(np.mean(moves, axis=0)) < 3.5 * spread + 0.01)


def test_the_critic_learns_the_return_of_a_place_and_not_of_another() -> None:
    actor, rng = network(), np.random.default_rng(0)
    first = decide(actor, FAR_CUP).value
    practise(actor, lambda posture: 6.0 + rng.normal(), 150)
    assert decide(actor).value == pytest.approx(6.0, abs=1.0)
    assert decide(actor, FAR_CUP).value == pytest.approx(first, abs=1.0)


def test_a_hebbian_actor_does_not_depend_on_the_reward() -> None:
    postures = []
    for scale in (1.0, -5.0):
        actor = network("hebb")
        practise(actor, lambda posture, scale=scale: scale * float(posture[0]), 20)
        postures.append(decide(actor).posture)
    np.testing.assert_array_equal(*postures)


def test_background_synapses_do_not_learn() -> None:
    actor = network()
    before = actor.circuit.weight("background-actor").copy()
    practise(actor, lambda posture: float(posture[0]), 5)
    np.testing.assert_array_equal(actor.circuit.weight("background-actor"), before)


def test_without_learning_it_never_reaches() -> None:
    assert evaluate(make_learner("reward-snn-stdp", gym.make(REACH)), REACH, trials=20) == 0.0


def test_it_explores_only_if_it_is_not_deterministic() -> None:
    model = make_learner("reward-snn-stdp", gym.make(REACH), seed=3)
    env = gym.make(REACH)

    def last_command(deterministic: bool) -> Any:
        observation, _ = env.reset(seed=5)
        state, start = None, np.ones(1, dtype=bool)
        for _ in range(45):
            action, state = model.predict(observation, state, start, deterministic=deterministic)
            observation, start = env.step(action)[0], np.zeros(1, dtype=bool)
        return observation[-4:]

    np.testing.assert_array_equal(last_command(True), last_command(True))
    assert np.max(np.abs(last_command(False) - last_command(False))) > 1e-3


def test_return_and_prediction_error_are_logged(tmp_path: Path) -> None:
    model = make_learner("reward-snn-stdp", gym.make(REACH), tensorboard_log=str(tmp_path))
    logged: dict[str, Any] = {}
    dump = model.logger.dump
    model.logger.dump = lambda step=0: (logged.update(model.logger.name_to_value), dump(step))
    model.learn(1, log_interval=1)
    assert {
        "rollout/ep_rew_mean",
        "rollout/success_rate",
        "train/reward_prediction_error",
        "train/expected_return",
    } <= set(logged)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_it_is_counted_in_trials() -> None:
    for name in ("reward-snn-stdp", "reward-snn-hebb"):
        assert find(name).trials == 5000
    assert not find("reward-ppo").trials


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make_learner("reward-snn-stdp", gym.make(REACH), rate=1.5),
            r"rate: expected a number of 0 to 1, got 1\.5",
        ),
        (
            lambda: make_learner("reward-snn-stdp", gym.make(REACH), speed=1.0),
            r"unknown setting: expected one of .*'critic_rate', 'exploration_rad', 'rate'.*, got 'speed'",
        ),
        (
            lambda: make_learner("reward-snn-stdp", gym.make(REACH, reward="sparse")),
            "env: expected reward 'dense'.* got 'sparse'",
        ),
        (lambda: make_learner("reward-snn-stdp", gym.make(REACH, observation="goal")), "'vector'"),
        (lambda: network("bp"), "got 'bp'"),
    ],
)
def test_bad_input_is_refused_by_name(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_checkpoint_of_another_learner_is_refused(tmp_path: Path) -> None:
    make_learner("none", gym.make(REACH)).save(tmp_path / "kept")
    model = make_learner("reward-snn-stdp", gym.make(REACH))
    with pytest.raises(ValueError, match="got 'none'"):
        type(model).load(tmp_path / "kept", gym.make(REACH))


def test_a_resumed_learner_learns_like_the_saved_one(tmp_path: Path) -> None:
    model = make_learner("reward-snn-stdp", CupVecEnv(REACH, 3), seed=5)
    train_trials(model, 4)
    model.save(tmp_path / "half")
    again = load_learner(tmp_path / "half", CupVecEnv(REACH, 3), resume=True)
    for learner in (model, again):
        train_trials(learner, 4)
    for own, other in zip(
        model.network.circuit.arrays().values(), again.network.circuit.arrays().values(), strict=True
    ):
        np.testing.assert_array_equal(own, other)
