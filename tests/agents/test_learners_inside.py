"""What learners show of their inside, and that looking changes nothing."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.learner import make_learner
from agents.registry import find
from reach.snapshot import Snapshot, snapshot_of

# Three trials or more.
STEPS = 400
LOOKED_INTO = (
    "error-bp",
    "error-fa",
    "error-dfa",
    "error-ifa",
    "error-lstm-dfa",
    "error-memory-bp",
    "error-stdp",
    "error-cnn-dfa",
    "error-brain-stdp",
)


def learner(name: str, **settings: Any) -> Any:
    return make_learner(name, gym.make(find(name).env_id, **find(name).env_options), seed=4, **settings)


def seen_in(model: Any, steps: int) -> list[Snapshot]:
    """What it shows at each step of learning."""
    found: list[Snapshot] = []

    def see(*_: Any) -> bool:
        found.append(model.snapshot())
        return True

    model.learn(steps, callback=see)
    return found


def looked_into(name: str, *, look: bool, steps: int = STEPS, **settings: Any) -> tuple[Any, list[Snapshot]]:
    model = learner(name, **settings)
    if look:
        return model, seen_in(model, steps)
    model.learn(steps, callback=lambda *_: True)
    return model, []


@pytest.mark.parametrize("name", LOOKED_INTO)
def test_looking_changes_no_number(name: str) -> None:
    plain, seen = (looked_into(name, look=look)[0].feedforward for look in (False, True))
    for key, value in plain.arrays().items():
        assert np.array_equal(value, seen.arrays()[key]), key
    assert plain.alignment() == seen.alignment()


def test_looking_into_a_learner_from_reward_changes_no_number() -> None:
    plain, seen = (looked_into("reward-snn-stdp", look=look)[0].network for look in (False, True))
    for key, value in (plain.circuit.arrays() | plain.memory()).items():
        assert np.array_equal(value, (seen.circuit.arrays() | seen.memory())[key]), key


def test_a_reward_gates_every_cell_of_the_actor_alike() -> None:
    model, found = looked_into("reward-snn-stdp", look=True)
    error_path = found[-1].error_path
    assert error_path is not None
    assert (error_path.route, error_path.number) == ("gate", model.trials)
    assert np.unique(error_path.signals[0].modulator).size == 1
    late = next(one for one in reversed(found) if one.populations[0].spikes.shape[0] == 110)
    assert {one.name for one in late.populations} >= {"senses", "background", "wrist extensors", "critic"}
    assert all(one.spikes.any() for one in late.populations)


@pytest.mark.parametrize(
    ("name", "way"),
    [("error-bp", "backward"), ("error-fa", "backward"), ("error-dfa", "broadcast"), ("error-ifa", "forward"),
     ("error-lstm-dfa", "broadcast"), ("error-lstm-bp", "backward"), ("error-stdp", "gate")],
)  # fmt: skip
def test_the_way_of_the_error_is_the_rules(name: str, way: str) -> None:
    _model, found = looked_into(name, look=True)
    error_path = found[-1].error_path
    assert error_path is not None
    assert error_path.route == way
    assert error_path.number == len({one.error_path.number for one in found if one.error_path is not None}) > 1
    # A read-out of zeros hands nothing down in the first steps of back-propagation; the last layer always hears.
    assert np.any(error_path.signals[-1].modulator)
    assert found[0].error_path is None


@pytest.mark.parametrize("name", ["error-bp", "error-dfa"])
def test_the_last_layer_is_what_the_arm_gets(name: str) -> None:
    model, _ = looked_into(name, look=False)
    env = gym.make("reach/CupGrab-v1", command="absolute")
    observation, _ = env.reset(seed=1)
    for _ in range(20):
        observation, *_ = env.step(model.predict(observation)[0])
    inside = model.snapshot()
    assert [len(layer.activation) for layer in inside.layers] == [48, 128, 128, 3]
    np.testing.assert_allclose(inside.layers[-1].activation, model._latest.network.posture, rtol=1e-12)
    assert np.any(inside.layers[-1].activation)


def test_shallow_learning_reaches_the_read_out_alone() -> None:
    _, found = looked_into("error-shallow", look=True)
    error_path = found[-1].error_path
    assert error_path is not None
    assert [bool(np.any(one.modulator)) for one in error_path.signals] == [False, False, True]


def test_the_raster_holds_every_spike_of_the_last_second() -> None:
    model, _ = looked_into("error-stdp", look=True)
    env = gym.make("reach/CupGrab-v1", command="absolute")
    observation, _ = env.reset(seed=1)
    for _ in range(40):
        observation, *_ = env.step(model.predict(observation)[0])
    inside = model.snapshot()
    counted = model._latest.network.circuit.spikes
    spikes = np.concatenate([one.spikes for one in inside.populations], axis=1)
    assert spikes.shape == (400, 48 + 300 + 120)
    assert np.array_equal(spikes.sum(axis=0), counted)
    assert {one.name for one in inside.populations} >= {"senses", "hidden", "inhibitory", "elbow flexors"}
    assert all(0.0 < one.rate_hz < 200.0 for one in inside.populations)


def test_feedback_alone_has_nothing_to_show() -> None:
    inside = snapshot_of(learner("none"))
    assert inside is not None
    assert (inside.layers, inside.populations, inside.error_path) == ((), (), None)


def test_what_was_lacking_reaches_the_cells_that_remember_and_no_synapse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.error.memory.UPDATES", 20)
    model = learner("error-memory-bp")
    model.end_baseline()
    found = seen_in(model, STEPS)
    assert [layer.name for layer in found[-1].layers][-2:] == ["memory", "added"]
    error_path = found[-1].error_path
    assert error_path is not None
    assert error_path.route == "activity"
    assert [signal.name for signal in error_path.signals] == ["memory"]
    assert np.any(error_path.signals[0].modulator != 0.0)


REWARDED: dict[str, tuple[int, str, list[int], dict[str, Any]]] = {
    "reward-mlp-dfa": (128 * 8 * 2, "broadcast", [19, 128, 128, 4], {"n_steps": 8, "n_epochs": 2}),
    "reward-lstm-bp": (16 * 16 * 2, "backward", [64, 64, 4], {"n_steps": 16, "n_epochs": 2}),
    "reward-sac-mlp-fa": (220, "backward", [19, 128, 128, 4], {"learning_starts": 180}),
    "reward-td3-mlp-ifa": (220, "forward", [19, 128, 128, 4], {"learning_starts": 180}),
    "reward-tqc-mlp-bp": (240, "backward", [21, 128, 128, 4], {"learning_starts": 180, "gradient_steps": 1}),
}


@pytest.mark.parametrize("name", REWARDED)
def test_an_actor_is_looked_into_and_changes_no_number(name: str) -> None:
    steps, way, sizes, settings = REWARDED[name]
    (plain, _), (model, found) = (looked_into(name, look=look, steps=steps, **settings) for look in (False, True))
    for key, value in plain.policy.state_dict().items():
        assert torch.equal(value, model.policy.state_dict()[key]), key
    assert found[0].error_path is None
    env = gym.make(find(name).env_id, **find(name).env_options)
    observation, _ = env.reset(seed=2)
    model.predict(observation, deterministic=True)
    inside = model.snapshot()
    assert [len(layer.activation) for layer in inside.layers] == sizes
    assert inside.error_path is not None
    assert inside.error_path.route == way
    assert [len(signal.modulator) for signal in inside.error_path.signals] == sizes[1:]
    assert all(np.any(signal.modulator) for signal in inside.error_path.signals)


def test_the_last_layer_of_an_actor_is_what_is_commanded() -> None:
    model = make_learner("reward-ppo", gym.make("reach/CupGrab-v1"), seed=4)
    observation, _ = gym.make("reach/CupGrab-v1").reset(seed=2)
    assert model.snapshot().layers == ()
    command, _ = model.predict(observation, deterministic=True)
    np.testing.assert_allclose(model.snapshot().layers[-1].activation, command, atol=1e-6)
