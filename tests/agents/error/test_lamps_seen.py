"""Networks see the lamps on the table, beside the cup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.learner import env_for, load_learner, make_learner, train_trials
from agents.networks import Network
from agents.networks.layers import mlp
from agents.networks.registry import JOINTS
from agents.networks.sensory_cells import PlaceCells
from agents.registry import find

GRAB = "reach/CupGrab-v1"
SEEING = ("error-mlp-bp", "error-lstm-bp", "error-memory-bp", "error-snn-stdp", "error-sparse-stdp", "error-timed-stdp")


@pytest.mark.parametrize("name", SEEING)
def test_what_a_network_answers_depends_on_each_lamp(name: str) -> None:
    model: Any = make_learner(name, gym.make(GRAB, context=2), seed=0)
    train_trials(model, 3)
    part = model.feedforward

    def answer(*lamps: float) -> Any:
        state = part.begin()
        seen = np.array([0.1, 0.55, *lamps])
        return [part.posture(state, seen) for _ in range(20)][-1]

    answers = [answer(first, second) for first in (0.0, 1.0) for second in (0.0, 1.0)]
    assert len({tuple(each) for each in answers}) == 4


def test_every_lamp_has_one_cell_that_is_active() -> None:
    activity = PlaceCells(lamps=3).activity(np.array([0.1, 0.55, 1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(activity[48:], [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(activity[:48], PlaceCells().activity(np.array([0.1, 0.55])))


def test_a_learner_refuses_another_number_of_lamps() -> None:
    model = make_learner("error-bp", gym.make(GRAB, context=2))
    with pytest.raises(ValueError, match=r"env: expected context=2, as the network was made for, got context=0"):
        model.set_env(gym.make(GRAB))
    make_learner("none", gym.make(GRAB, context=2)).set_env(gym.make(GRAB))


@pytest.mark.parametrize("name", ["reward-ppo", "reward-sac-mlp-bp", "reward-tqc-mlp-bp"])
def test_learners_from_reward_see_lamps(name: str) -> None:
    options: dict[str, Any] = dict(find(name).env_options)
    model = make_learner(name, gym.make(find(name).env_id, context=2, **options), seed=0)
    env = gym.make(find(name).env_id, context=2, **options)
    actions = [
        model.predict(env.reset(seed=1, options={"context": lamps})[0], deterministic=True)[0]
        for lamps in ((0, 0), (0, 1))
    ]
    assert not np.array_equal(*actions)


def test_spiking_learners_from_reward_refuse_lamps() -> None:
    with pytest.raises(ValueError, match="env: expected context=0, since actor and critic see no lamps, got context=2"):
        make_learner("reward-snn-stdp", gym.make("reach/CupReach-v1", context=2))


def test_lamps_and_sizes_are_kept_in_a_checkpoint(tmp_path: Path) -> None:
    model: Any = make_learner("error-bp,depth=3,width=16", gym.make(GRAB, context=2), seed=0)
    assert [len(weights) for weights in model.weights().values()] == [16, 16, 16, JOINTS]
    model.save(tmp_path / "kept")
    again: Any = load_learner(tmp_path / "kept", env_for(tmp_path / "kept"))
    for name, weights in model.weights().items():
        np.testing.assert_array_equal(again.weights()[name], weights)


def test_an_option_that_a_network_does_not_have_is_refused() -> None:
    known = r"\['body_map', 'hidden_rate', 'practice_rate', 'rate', 'synapse', 'tensorboard_log', 'verbose'\]"
    for name in ("error-snn-stdp,depth=3", "none,depth=3"):
        with pytest.raises(ValueError, match=rf"unknown setting: expected one of {known}, got 'depth'"):
            make_learner(name, gym.make(GRAB))
    with pytest.raises(ValueError, match=r"depth: expected .* got 1"):
        make_learner("error-bp,depth=1", gym.make(GRAB))

    def own(rng: np.random.Generator) -> tuple[Any, Any]:
        cells = PlaceCells()
        return cells, mlp(cells.size, (8, 8), JOINTS, rng)

    with pytest.raises(ValueError, match=r"lamps: network 'own' expected settings in \[\], got lamps=2"):
        Network("own", "layers", own).build(np.random.default_rng(0), lamps=2)
