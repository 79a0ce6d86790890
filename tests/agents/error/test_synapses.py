"""Two-state synapses follow the two-state model of motor memory, in every network that can have them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.error.synapses import STATES, TwoStateSynapses
from agents.learner import load_learner, make_learner, train_trials
from agents.registry import find
from reach import HideHand, Rotation

changes = st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=40)


@given(initial=st.floats(-2.0, 2.0), changes=changes)
def test_the_weight_is_the_sum_of_the_two_states_of_the_model(initial: float, changes: list[float]) -> None:
    weight = np.array([initial])
    synapses = TwoStateSynapses({"w": weight})
    synapses.start({"w": weight})
    for change in changes:
        weight += change
        synapses.end_reach({"w": weight})
    # The solution of the recursion: each change decays by the retention of its state with every later reach.
    ages = np.arange(len(changes))[::-1]
    expected = initial + sum(share * retention**ages @ changes for retention, share in STATES.values())
    assert weight[0] == pytest.approx(expected, abs=1e-12)


def test_nothing_is_forgotten_before_the_start() -> None:
    weight = np.ones(3)
    synapses = TwoStateSynapses({"w": weight})
    weight += 1.0
    synapses.end_reach({"w": weight})
    np.testing.assert_array_equal(weight, 2.0)


def test_clipping_restores_the_sign_of_each_cell_and_leaves_valid_weights_alone() -> None:
    model = make_learner("error-snn-stdp", gym.make("reach/CupReach-v1"), seed=0)
    train_trials(model, 5)
    weights = model.weights()["posture"]
    learned = weights.copy()
    model.feedforward.clip_synapses()
    np.testing.assert_array_equal(weights, learned)
    weights *= -1.0
    model.feedforward.clip_synapses()
    np.testing.assert_array_equal(weights, 0.0)
    assert np.any(learned)


def test_a_copy_of_a_learner_forgets_as_the_learner_does() -> None:
    model = make_learner("error-mlp-dfa", gym.make("reach/CupReach-v1"), seed=0, synapse="two-state")
    train_trials(model, 3)
    model.end_baseline()
    copied = deepcopy(model)
    train_trials(model, 3)
    train_trials(copied, 3)
    for layer, weight in model.weights().items():
        np.testing.assert_array_equal(copied.weights()[layer], weight)


def adaptation(model: Any, before: dict[str, Any]) -> float:
    """Distance of the weights from those at the end of unperturbed training."""
    return float(np.sqrt(sum(np.sum((weight - before[name]) ** 2) for name, weight in model.weights().items())))


@pytest.mark.parametrize(
    "name", ["error-mlp-dfa", "error-cnn-bp", "error-lstm-bp", "error-snn-stdp", "error-brain-stdp"]
)
def test_only_two_state_synapses_forget_in_reaches_without_vision(name: str, tmp_path: Path) -> None:
    left = {}
    for synapse in ("plain", "two-state"):
        options = find(name).env_options
        env = gym.make("reach/CupReach-v1", **options)
        model = make_learner(name, env, seed=0, synapse=synapse)
        train_trials(model, 12)
        model.end_baseline()
        before = {layer: weight.copy() for layer, weight in model.weights().items()}
        model.set_env(gym.make("reach/CupReach-v1", perturbation=Rotation(30.0), **options))
        train_trials(model, 8)
        learned = adaptation(model, before)
        model.set_env(gym.make("reach/CupReach-v1", perturbation=HideHand(), **options))
        train_trials(model, 10)
        left[synapse] = adaptation(model, before) / learned
        model.save(tmp_path / synapse)
        assert load_learner(tmp_path / synapse, env).config["synapse"] == synapse
    assert left["plain"] == 1.0
    assert 0.2 < left["two-state"] < 0.8


@pytest.mark.parametrize("name", ["none", "error-memory-bp", "error-structural-stdp"])
def test_learners_that_cannot_have_two_states_say_so(name: str) -> None:
    with pytest.raises(ValueError, match=r"synapse: expected 'plain' for learner '.*', got 'two-state'"):
        make_learner(name, gym.make("reach/CupReach-v1"), seed=0, synapse="two-state")


def test_an_unknown_kind_of_synapse_is_refused() -> None:
    with pytest.raises(ValueError, match=r"synapse: expected .*'two-state'.*, got 'three-state'"):
        make_learner("error-mlp-bp", gym.make("reach/CupReach-v1"), seed=0, synapse="three-state")
