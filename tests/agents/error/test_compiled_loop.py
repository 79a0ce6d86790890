"""Trials in compiled code give what trials step by step give, to the bit."""

from __future__ import annotations

import math
import pickle
import warnings
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.learner import evaluate, make_learner, train_trials
from agents.trial_learner import TrialLearner
from reach import CupJump, CurlField, ForceChannel, Rotation
from reach.play import act_through_trial, can_play
from reach.protocols import BASELINE, PERTURBED, WASHOUT, Block, Protocol, ProtocolWrapper
from reach.study.run import run_measured

PROTOCOL = Protocol(
    "everything",
    (
        Block(BASELINE, 4, probe=(ForceChannel(),), probe_every=2),
        Block(PERTURBED, 5, (Rotation(30.0), CurlField())),
        Block(PERTURBED, 2, (CupJump(0.04, onset_s=0.4),), learning=False),
        Block(WASHOUT, 3),
    ),
    source="none",
    env_id="reach/CupGrab-v1",
)
LEARNERS = ("none", "error-bp", "error-stdp", "error-snn-bp", "error-timed-stdp", "error-dfa,body_map=babbled")


def trained(learner: str, **options: Any) -> Any:
    """Return a learner after a few trials."""
    model = make_learner(learner, gym.make("reach/CupGrab-v1", **options), seed=1)
    train_trials(model, 5)
    model.end_baseline()
    return model


def state_of(model: Any) -> dict[str, Any]:
    """Return all numbers of a learner."""
    return model._arrays() | model._memory()


@pytest.mark.parametrize("options", [{"command": "increment"}, {"command": "absolute", "context": 3}], ids=str)
@pytest.mark.parametrize("learner", LEARNERS)
def test_played_trials_are_those_of_single_steps(
    learner: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = replace(PROTOCOL, context=options.get("context", 0))
    played = trained(learner, **options)
    assert played.can_play
    results = [run_measured(played, protocol, 3)]
    successes = [evaluate(played, "reach/CupGrab-v1", trials=4)]
    monkeypatch.setattr(type(played), "can_play", False)
    stepped = trained(learner, **options)
    results.append(run_measured(stepped, protocol, 3))
    successes.append(evaluate(stepped, "reach/CupGrab-v1", trials=4))
    assert successes[0] == successes[1]
    np.testing.assert_equal(results[0].rows, results[1].rows)
    assert results[0].traces == results[1].traces
    assert results[0].traces
    assert results[0].cost == results[1].cost
    np.testing.assert_equal(state_of(played), state_of(stepped))
    assert played.trials == stepped.trials > 5
    assert any(row["success"] for row in results[0].rows) or learner == "none"


def test_the_path_of_a_played_trial_is_drawn() -> None:
    model = make_learner("none", gym.make("reach/CupGrab-v1", command="absolute"))
    pictures = []
    for is_played in (True, False):
        env = gym.make("reach/CupGrab-v1", command="absolute", render_mode="rgb_array")
        if is_played:
            model.play_trial(env, env.reset(seed=1)[0])
        else:
            list(act_through_trial(model, env, seed=1))
        pictures.append(env.render())
    np.testing.assert_array_equal(*pictures)


class Slower(gym.ActionWrapper[Any, Any, Any]):
    """A wrapper that changes actions."""

    def action(self, action: Any) -> Any:
        return 0.5 * action


def test_trials_that_something_changes_or_shows_are_not_played() -> None:
    env = gym.make("reach/CupGrab-v1")
    assert can_play(env)
    assert can_play(ProtocolWrapper(gym.make("reach/CupGrab-v1"), "rotation30"))
    assert not can_play(Slower(env))
    assert not can_play(ProtocolWrapper(Slower(env), "rotation30"))
    assert not can_play(env.unwrapped)  # without a time limit
    for options in ({"control": "torque"}, {"observation": "retina", "retina_colour": True}):
        assert not make_learner("error-bp", gym.make("reach/CupGrab-v1", **options)).can_play


def test_a_callback_for_single_steps_sees_all_of_them() -> None:
    steps: list[int] = []
    model: TrialLearner[Any] = make_learner("none", gym.make("reach/CupGrab-v1"))
    model.learn(100, callback=lambda *_: steps.append(model.num_timesteps) is None)
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 100


def test_an_action_that_is_not_a_number_is_refused() -> None:
    model = make_learner("error-bp", gym.make("reach/CupGrab-v1"))
    model.feedforward.arrays()["4.bias"][:] = math.nan
    env = gym.make("reach/CupGrab-v1")
    with pytest.raises(ValueError, match="action: expected finite numbers, got"):
        model.play_trial(env, env.reset(seed=1)[0])


def test_an_environment_with_another_meaning_of_actions_is_warned_of() -> None:
    model = make_learner("none", gym.make("reach/CupGrab-v1", command="absolute"))
    env = gym.make("reach/CupGrab-v1", command="increment")
    action, state = model.predict(env.reset(seed=1)[0], episode_start=np.ones(1, dtype=bool))
    # Where actions are absolute, an action of 0.5 does not keep the command.
    observation, *_ = env.step(action + 0.5)
    given: dict[str, Any]
    for given in ({"state": state, "episode_start": np.zeros(1, dtype=bool)}, {}):
        with pytest.warns(UserWarning, match="after the last action, got .*; call set_env") as caught:
            model.predict(observation, **given)
        assert caught[0].filename == __file__


@pytest.mark.parametrize("command", ["absolute", "increment"])
def test_a_new_episode_is_not_warned_of(command: str) -> None:
    env = gym.make("reach/CupGrab-v1", command=command)
    model = make_learner("none", env)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(3):
            observation, _ = env.reset(seed=seed)
            for _ in range(5):
                observation, *_ = env.step(model.predict(observation)[0])
    assert caught == []


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_copy_of_a_learner_that_has_played_learns_and_acts_as_it_does(learner: str) -> None:
    model = trained(learner)
    copied = pickle.loads(pickle.dumps(model))
    actions = []
    for each in (model, copied):
        train_trials(each, 3)
        env = gym.make("reach/CupGrab-v1")
        actions.append(each.play_trial(env, env.reset(seed=5)[0]).actions)
    np.testing.assert_array_equal(*actions)
    np.testing.assert_equal(state_of(copied), state_of(model))
