"""Checkpoints: what is refused of them, without running any of it, and the environment that they name."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from agents.checkpoint import CONFIG, POLICY, STATE
from agents.learner import env_for, env_options, load_learner, make_learner, trained_in

GRAB = "reach/CupGrab-v0"


@pytest.mark.parametrize(
    "name", ["error-dfa", "reward-ppo", "reward-sac-mlp-dfa", "reward-tqc-mlp-bp", "reward-snn-stdp"]
)
@pytest.mark.parametrize("part", [CONFIG, POLICY, STATE])
def test_a_pickle_in_a_checkpoint_is_refused_and_not_run(name: str, part: str, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path(tmp_path / "ran").write_text, ("boom",))

    env = gym.make(GRAB, **env_options(name))
    make_learner(name, env, seed=2).save(tmp_path / "kept")
    (tmp_path / "kept" / part).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=part):
        load_learner(tmp_path / "kept", env)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["error-dfa", "reward-ppo", "reward-tqc-mlp-bp", "reward-snn-stdp"])
def test_a_checkpoint_that_lacks_an_entry_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    env = gym.make(GRAB, **env_options(name))
    make_learner(name, env, seed=2).save(tmp_path / "kept")
    config = json.loads((tmp_path / "kept" / CONFIG).read_text())
    # Without these it is loaded as if it were of the usual environment.
    for entry in set(config) - {"format", "learner", "env", "env_options"}:
        less = {key: value for key, value in config.items() if key != entry}
        (tmp_path / "kept" / CONFIG).write_text(json.dumps(less))
        with pytest.raises(ValueError, match=f"checkpoint .*kept lacks .*'{entry}'"):
            load_learner(tmp_path / "kept", env, resume=True)


@pytest.mark.parametrize("name", ["error-dfa", "error-stdp", "reward-ppo", "reward-snn-stdp"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    env = gym.make(GRAB)
    make_learner(name, env, seed=2).save(tmp_path / "kept")
    policy = load_file(tmp_path / "kept" / POLICY)
    first = next(part for part, array in policy.items() if array.dtype.kind == "f" and array.size)
    policy[first].flat[0] = value
    save_file(policy, tmp_path / "kept" / POLICY)
    with pytest.raises(ValueError, match=r"checkpoint .*kept holds NaN or infinity"):
        load_learner(tmp_path / "kept", env)


@pytest.mark.parametrize("name", ["error-dfa", "reward-ppo", "reward-sac-mlp-dfa", "reward-snn-stdp"])
def test_a_learner_is_loaded_into_the_environment_that_it_was_trained_in(name: str, tmp_path: Path) -> None:
    for env_id in (GRAB, "reach/CupReach-v0"):
        make_learner(name, gym.make(env_id, **env_options(name)), seed=2).save(tmp_path / "kept")
        assert trained_in(tmp_path / "kept") == env_for(tmp_path / "kept").spec.id == env_id


def test_a_folder_without_a_checkpoint_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_learner(tmp_path, gym.make(GRAB))
