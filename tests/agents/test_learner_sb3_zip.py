"""Models of Stable-Baselines3 are read from their zip files without running what these hold."""

from __future__ import annotations

import base64
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3

import reach  # noqa: F401  (registers the environments)
from agents.checkpoint import CheckpointError
from agents.learner import load_zip

REACH = "reach/CupReach-v1"


@pytest.mark.parametrize(
    ("kind", "net_arch"),
    [(PPO, [24, 16]), (PPO, {"pi": [8], "vf": [9, 10]}), (SAC, [24, 16]), (TD3, {"pi": [8], "qf": [9]})],
)
def test_a_model_acts_as_it_did(kind: Any, net_arch: Any, tmp_path: Path) -> None:
    env = gym.make(REACH)
    model = kind("MlpPolicy", env, seed=1, policy_kwargs={"net_arch": net_arch}, device="cpu")
    model.save(tmp_path / "theirs.zip")
    for trust in (False, True):
        again = load_zip(tmp_path / "theirs.zip", env, trust=trust)
        for seed in range(3):
            observation, _ = env.reset(seed=seed)
            np.testing.assert_array_equal(
                again.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0]
            )


def test_a_pickle_in_it_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path(tmp_path / "ran").write_text, ("boom",))

    PPO("MlpPolicy", gym.make(REACH), device="cpu").save(tmp_path / "theirs.zip")
    with zipfile.ZipFile(tmp_path / "theirs.zip") as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    data = json.loads(parts["data"])
    data["policy_class"] = {":type:": "x", ":serialized:": base64.b64encode(pickle.dumps(Bomb())).decode()}
    for name, content in (("data", json.dumps(data).encode()), ("policy.pth", pickle.dumps(Bomb()))):
        with zipfile.ZipFile(tmp_path / "crafted.zip", "w") as crafted:
            for part, old in parts.items():
                crafted.writestr(part, content if part == name else old)
        if name == "data":
            load_zip(tmp_path / "crafted.zip", gym.make(REACH))
        else:
            with pytest.raises(ValueError, match=r"crafted\.zip is not a model"):
                load_zip(tmp_path / "crafted.zip", gym.make(REACH))
        assert not (tmp_path / "ran").exists()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    PPO("MlpPolicy", gym.make("Reacher-v5"), device="cpu").save(tmp_path / "other.zip")
    with pytest.raises(ValueError, match="an MlpPolicy for this environment"):
        load_zip(tmp_path / "other.zip", gym.make(REACH))
    DQN("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "dqn.zip")
    with pytest.raises(ValueError, match="an MlpPolicy for this environment"):
        load_zip(tmp_path / "dqn.zip", gym.make(REACH))
    with pytest.raises(ValueError, match="is not a model"):
        load_zip(tmp_path / "missing.zip", gym.make(REACH))


def rewritten(path: Path, changes: dict[str, Any], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip file with members that hold other bytes, or, where these are no bytes, other tensors."""
    with zipfile.ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    crafted = path.with_name("crafted.zip")
    with zipfile.ZipFile(crafted, "w", compression) as archive:
        for name, data in (parts | changes).items():
            if isinstance(data, bytes):
                archive.writestr(name, data)
            else:
                with archive.open(name, "w") as opened:
                    torch.save(data, opened)
    return crafted


def test_what_would_take_more_memory_than_the_file_has_bytes_is_refused(tmp_path: Path) -> None:
    env = gym.make(REACH)
    model = PPO("MlpPolicy", env, policy_kwargs={"net_arch": [4]}, device="cpu")
    model.save(tmp_path / "theirs.zip")
    weight = "mlp_extractor.policy_net.0.weight"
    policy = model.policy.state_dict()
    for wide, message in (
        ({weight: torch.zeros(1).expand(10**6, 10**6)}, "expected no more numbers than are stored"),
        ({weight: torch.zeros(10**9, 0)}, "expected an MlpPolicy for this environment"),
        ({"mlp_extractor.policy_net.2.weight": torch.zeros(10**9, 0)}, "expected an MlpPolicy for this environment"),
        ({weight: torch.zeros(4, 19) * torch.nan}, "NaN or infinity"),
        ({weight: "text"}, "expected a plain tensor"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_zip(rewritten(tmp_path / "theirs.zip", {"policy.pth": policy | wide}), env)
    with pytest.raises(CheckpointError, match="compressed"):
        load_zip(rewritten(tmp_path / "theirs.zip", {}, zipfile.ZIP_DEFLATED), env)


def test_whatever_is_done_to_a_file_it_is_loaded_or_refused_with_one_error(tmp_path: Path) -> None:
    env = gym.make(REACH)
    SAC("MlpPolicy", env, policy_kwargs={"net_arch": [4]}, buffer_size=10, device="cpu").save(tmp_path / "theirs.zip")
    whole, rng, refused = (tmp_path / "theirs.zip").read_bytes(), np.random.default_rng(0), 0
    with zipfile.ZipFile(tmp_path / "theirs.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for k in range(80):
        # Of the whole file, or of a member, whose checksum is right then.
        name = list(members)[k // 2 % len(members)] if k % 2 else ""
        data = bytearray(members[name] if name else whole)
        if rng.random() < 0.2:
            del data[rng.integers(len(data)) :]
        else:
            for place in rng.integers(len(data), size=rng.integers(1, 9)):
                data[place] ^= 1 << rng.integers(8)
        path = tmp_path / "mutant.zip"
        if name:
            path = rewritten(tmp_path / "theirs.zip", {name: bytes(data)})
        else:
            path.write_bytes(data)
        try:
            load_zip(path, env)
        except CheckpointError:
            refused += 1
    assert refused > 20
