"""The spiking learner from reward: an actor that repeats what paid, a critic that knows what a place brings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.learner import evaluate, load_learner, make_learner, train_trials
from agents.registry import find
from agents.reward.spiking_actor_critic import Decision, SpikingActorCritic
from agents.vec_env import CupVecEnv

REACH = "reach/CupReach-v0"
CUP = np.array([0.10, 0.55])
FAR_CUP = np.array([0.32, 0.45])
STEPS = 11


def network(rule: str = "stdp", **settings: Any) -> SpikingActorCritic:
    given = {"rate": 0.1, "critic_rate": 0.1, **settings}
    return SpikingActorCritic(rule, np.random.default_rng(0), **given)


def decision(one: SpikingActorCritic, cup: Any = CUP, background_hz: Any = None) -> Decision:
    state = one.begin()
    for _ in range(STEPS):
        one.run(state, cup, background_hz)
    return one.decide(state)


def lived(one: SpikingActorCritic, outcome: Any, trials: int, seed: int = 0) -> None:
    """So many trials with the cup at its place, whose return is `outcome` of the posture."""
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        found = decision(one, background_hz=one.explore(rng))
        one.learn(found, outcome(found.posture))


def habit(one: SpikingActorCritic) -> Any:
    """The posture without exploration; single spikes average out over cups a few millimetres apart."""
    return np.mean([decision(one, CUP + 0.001 * np.array([k, k])).posture for k in range(-4, 5)], axis=0)


def test_an_untrained_network_rests_and_expects_nothing() -> None:
    found = decision(network())
    np.testing.assert_allclose(found.posture, 0.0, atol=0.03)
    assert found.value == pytest.approx(0.0, abs=0.5)


def test_exploration_moves_each_joint_as_far_as_asked() -> None:
    one, rng = network(exploration_rad=0.1), np.random.default_rng(0)
    usual = decision(one).posture
    tried = np.array([decision(one, background_hz=one.explore(rng)).posture for _ in range(150)])
    np.testing.assert_allclose(tried.std(axis=0), 0.1, rtol=0.25)
    np.testing.assert_allclose(tried.mean(axis=0), usual, atol=0.03)


@pytest.mark.parametrize("pays", [True, False])
def test_what_was_tried_becomes_more_likely_if_it_pays_and_less_if_it_does_not(pays: bool) -> None:
    one, rng = network(rate=0.3), np.random.default_rng(1)
    for _ in range(80):
        found = decision(one, background_hz=one.explore(rng))
        one.learn(found, found.value)  # as expected: a habit forms, and nothing is changed
    weights, before = one.circuit.weight("input-actor"), habit(one)
    first, towards = weights.copy(), []
    np.testing.assert_array_equal(first, network().circuit.weight("input-actor"))
    for _ in range(20):
        tried = decision(one, background_hz=one.explore(rng))
        one.learn(tried, tried.value + (5.0 if pays else -5.0))
        towards.append((habit(one) - before) @ (tried.posture - before))
        weights[...] = first
    assert np.mean(np.sign(towards)) > 0.8 if pays else np.mean(np.sign(towards)) < -0.8


def test_the_actor_climbs_a_reward_that_names_no_direction() -> None:
    one = network(rate=0.2)
    goal = np.array([0.3, -0.3, 0.1])
    lived(one, lambda posture: -10.0 * float(np.linalg.norm(posture - goal)), 400)
    assert np.linalg.norm(decision(one).posture - goal) < 0.35 * np.linalg.norm(goal)


def test_reward_that_does_not_depend_on_what_is_done_moves_nothing_on_average() -> None:
    moves = []
    for seed in range(6):
        one, rng = network(rate=0.0), np.random.default_rng(100 + seed)
        lived(one, lambda posture, rng=rng: 3.0 + rng.normal(), 80, seed=50 + seed)  # expectations settle
        first, one.rate = habit(one), 0.1
        lived(one, lambda posture, rng=rng: 3.0 + rng.normal(), 60, seed=seed)
        moves.append(habit(one) - first)
    spread = np.std(moves, axis=0, ddof=1) / np.sqrt(len(moves))
    assert np.all(np.abs(np.mean(moves, axis=0)) < 3.5 * spread + 0.01)


def test_the_critic_comes_to_expect_what_a_place_brings_and_nothing_of_another() -> None:
    one, rng = network(), np.random.default_rng(0)
    first = decision(one, FAR_CUP).value
    lived(one, lambda posture: 6.0 + rng.normal(), 150)
    assert decision(one).value == pytest.approx(6.0, abs=1.0)
    assert decision(one, FAR_CUP).value == pytest.approx(first, abs=1.0)


def test_a_hebbian_actor_hears_nothing_of_the_reward() -> None:
    postures = []
    for scale in (1.0, -5.0):
        one = network("hebb")
        lived(one, lambda posture, scale=scale: scale * float(posture[0]), 20)
        postures.append(decision(one).posture)
    np.testing.assert_array_equal(*postures)


def test_background_synapses_do_not_learn() -> None:
    one = network()
    before = one.circuit.weight("background-actor").copy()
    lived(one, lambda posture: float(posture[0]), 5)
    np.testing.assert_array_equal(one.circuit.weight("background-actor"), before)


def test_nothing_of_it_knows_of_gradients() -> None:
    """Network and rules are imported in a fresh process, where torch must not appear."""
    code = "import sys, agents.reward.spiking_actor_critic; assert 'torch' not in sys.modules, 'torch is imported'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_learning_it_never_reaches_because_no_feedback_helps_it() -> None:
    assert evaluate(make_learner("reward-snn-stdp", gym.make(REACH)), REACH, trials=20) == 0.0


def test_it_explores_only_where_it_is_let_to() -> None:
    model = make_learner("reward-snn-stdp", gym.make(REACH), seed=3)
    env = gym.make(REACH)

    def last_command(deterministic: bool) -> Any:
        observation, _ = env.reset(seed=5)
        state, start = None, np.ones(1, dtype=bool)
        for _ in range(45):
            action, state = model.predict(observation, state, start, deterministic=deterministic)
            observation, start = env.step(action)[0], np.zeros(1, dtype=bool)
        return action

    np.testing.assert_array_equal(last_command(True), last_command(True))
    assert np.max(np.abs(last_command(False) - last_command(False))) > 1e-3


def test_return_and_surprise_are_logged(tmp_path: Path) -> None:
    model = make_learner("reward-snn-stdp", gym.make(REACH), tensorboard_log=str(tmp_path))
    logged: dict[str, Any] = {}
    dump = model.logger.dump
    model.logger.dump = lambda step=0: (logged.update(model.logger.name_to_value), dump(step))
    model.learn(1, log_interval=1)
    assert {"rollout/ep_rew_mean", "rollout/success_rate", "train/surprise", "train/expected_return"} <= set(logged)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_it_is_counted_in_trials() -> None:
    for name in ("reward-snn-stdp", "reward-snn-hebb"):
        assert find(name).trials
        assert find(name).trials == 5000
    assert not find("reward-ppo").trials


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make_learner("reward-snn-stdp", gym.make(REACH), rate=1.5),
            "rate is 1.5; expected a number of 0 to 1",
        ),
        (
            lambda: make_learner("reward-snn-stdp", gym.make(REACH), speed=1.0),
            r"unknown setting 'speed'; known are .*'critic_rate', 'exploration_rad', 'rate'",
        ),
        (lambda: make_learner("reward-snn-stdp", gym.make(REACH, reward="sparse")), "reward 'sparse'; 'dense'"),
        (lambda: make_learner("reward-snn-stdp", gym.make(REACH, observation="goal")), "'vector'"),
        (lambda: network("bp"), "rule is 'bp'"),
    ],
)
def test_bad_input_is_refused_by_name(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_checkpoint_of_another_learner_is_refused(tmp_path: Path) -> None:
    make_learner("none", gym.make(REACH)).save(tmp_path / "kept")
    model = make_learner("reward-snn-stdp", gym.make(REACH))
    with pytest.raises(ValueError, match="names learner 'none'"):
        type(model).load(tmp_path / "kept", gym.make(REACH))


def test_it_learns_alike_in_the_same_trials_however_the_environments_are_made(tmp_path: Path) -> None:
    model = make_learner("reward-snn-stdp", CupVecEnv(REACH, 3), seed=5)
    train_trials(model, 4)
    model.save(tmp_path / "half")
    again = load_learner(tmp_path / "half", CupVecEnv(REACH, 3), resume=True)
    for one in (model, again):
        train_trials(one, 4)
    for own, other in zip(model.network.arrays().values(), again.network.arrays().values(), strict=True):
        np.testing.assert_array_equal(own, other)
