"""The registry: every name stands for a learner, and every learner has a name, a class and a description."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from agents import registry
from agents.learner import load_learner, make_learner
from agents.registry import Spec, aliases, find, is_learner, learners, register, split_names

GRAB = "reach/CupGrab-v1"


def test_the_registry_imports_no_library_of_the_learners() -> None:
    code = "import sys, agents.registry as r; r.find('error-dfa'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert packages.isdisjoint({"torch", "stable_baselines3", "sb3_contrib", "safetensors"})


def test_every_name_is_read_into_its_parts_and_back() -> None:
    for name, learner in learners().items():
        assert str(find(name).spec) == learner.spec.name == name
        assert callable(learner.model_class)
        assert (learner.trials > 0) != (learner.steps > 0)
    for alias, name in aliases().items():
        assert find(alias) == find(name)
    assert find("error-dfa-hidden,rate=0.5").spec == Spec("error", "mlp", "dfa", "", "hidden", {"rate": 0.5})
    assert find("reward-sac-mlp-bp").spec == Spec("reward", "mlp", "bp", "sac")
    assert str(find("error-bp,plastic=hidden", rate=1).spec) == "error-mlp-bp-hidden,rate=1"


def test_e_prop_is_known_by_its_old_name() -> None:
    assert find("error-lstm-dfa") == find("error-lstm-eprop")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("error-dfaa", r"unknown learner 'error-dfaa'\. Did you mean 'error-dfa'\? See --list\."),
        ("zzzz", r"unknown learner 'zzzz'\. See --list\."),
        ("none-hidden", "unknown learner 'none-hidden'"),
        ("reward-ppo-hidden", "unknown learner 'reward-ppo-hidden'"),
        ("error-snn-fa", "unknown learner 'error-snn-fa'"),
        ("error-bp,rate", "expected settings of learner .* as name=value, got 'rate'"),
        ("error-bp,plastic=some", "plastic: expected 'all' or 'hidden', got 'some'"),
        (
            "error-mlp-bp-hidden,plastic=all",
            "plastic: expected 'hidden', as the name 'error-mlp-bp-hidden' says, got 'all'",
        ),
        ("error-bp,rate=0.5,rate=0.7", "expected each setting .* once, got 'rate' twice"),
        ("", "unknown learner ''"),
        (None, "expected the name of a learner, got None"),
    ],
)
def test_what_names_no_learner_is_refused(name: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find(name)
    assert not is_learner(name)


def test_names_are_split_at_commas_and_keep_their_settings() -> None:
    assert split_names("none, error-bp,rate=0.5,plastic=hidden,error-dfa,") == [
        "none",
        "error-bp,rate=0.5,plastic=hidden",
        "error-dfa",
    ]


def test_settings_in_a_name_are_those_given_as_arguments() -> None:
    named = make_learner("error-bp,rate=0.25,plastic=hidden,hidden_rate=3", gym.make(GRAB), seed=1)
    given = make_learner("error-bp", gym.make(GRAB), seed=1, rate=0.25, plastic="hidden", hidden_rate=3)
    for model in (named, given):
        model.end_baseline()
        assert (model.rate, model.hidden_rate, model.plastic) == (0.25, 3, "hidden")
    assert given.config["learner"] == "error-mlp-bp-hidden"
    for key, array in named.feedforward.arrays().items():
        np.testing.assert_array_equal(array, given.feedforward.arrays()[key])
    with pytest.raises(
        ValueError, match=r"unknown setting: expected one of \['body_map', .*'hidden_rate'.*, got 'synapsis'"
    ):
        make_learner("error-bp,synapsis=two-state", gym.make(GRAB))


class Still:
    """Holds one posture; the least that a user's own learner has."""

    def __init__(self, name: str, env: Any, *, seed: int = 0, value: float = 0.0) -> None:
        self.command = np.full(4, value, dtype=np.float32)


@pytest.fixture
def own_learner() -> Iterator[str]:
    register("still", Still, description="holds still", steps=10)
    yield "still"
    del registry._registered["still"]


def test_a_registered_learner_is_made_by_its_name(own_learner: str) -> None:
    assert is_learner(own_learner)
    assert make_learner("still,value=0.5", None).command[0] == 0.5
    assert find("still").describe() == "holds still; trained in 10 unperturbed control steps"
    for name in ("still", "error-mlp-bp", "a,b", "error-mlp-mine-hidden", ""):
        with pytest.raises(ValueError, match="expected a n"):
            register(name, Still, steps=10)
    with pytest.raises(ValueError, match="expected either trials or steps"):
        register("other", Still)


def test_every_learner_is_described() -> None:
    descriptions = {name: learner.description for name, learner in learners().items()}
    assert all(descriptions.values()), descriptions
    with_pixels = {learners()[name].spec.network for name, line in descriptions.items() if "pixels" in line}
    assert with_pixels == {"retina", "cnn", "brain"}
    assert "gated" in descriptions["error-brain-stdp"]
    assert descriptions["error-mlp-bp"] != descriptions["error-lstm-bp"]
    assert "memory" in descriptions["error-lstm-eprop"]
    assert "SAC" in descriptions["reward-sac-mlp-bp"]
    assert find("error-bp,rate=0.5").describe().endswith("step 0.5; trained in 1,000 unperturbed trials")
    assert find("error-dfa-hidden").describe().endswith("trained in 2,000 unperturbed trials")
    assert "trained" not in find("none").describe()
    assert find("reward-ppo").describe([7, 9]).endswith("200,000 unperturbed control steps, which were 7 to 9 trials")
    assert find("reward-ppo").describe([8], "torque").endswith("which were 8 trials")


class Counting(BaseCallback):
    """Counts the trials that end."""

    over = 0

    def _on_step(self) -> bool:
        self.over += int(self.locals["dones"].sum())
        return True


def test_a_learner_from_reward_counts_its_trials_and_stores_them(tmp_path: Any) -> None:
    model = make_learner("reward-ppo", gym.make(GRAB), seed=0, n_steps=160, n_epochs=1)
    counting = Counting()
    model.learn(160 * model.PARALLEL_ENVS, callback=counting)
    assert model.trials == counting.over > 0
    model.save(tmp_path / "saved")
    assert load_learner(tmp_path / "saved", gym.make(GRAB)).trials == model.trials
