"""Other libraries take the environments without a workaround; `make integration` runs this where they are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from reach import ENVIRONMENTS, TRIAL_STEPS

pytestmark = [pytest.mark.integration, pytest.mark.parametrize("env_id", ENVIRONMENTS)]

NATIVE = "vector_entry_point"
SETTINGS = Path(__file__).parents[3] / "examples" / "rl_zoo3"


def test_stable_baselines3_alone_trains_on_the_compiled_vector(env_id: str) -> None:
    """Of this project's learners it needs no library, such as safetensors."""
    from importlib.util import find_spec

    from stable_baselines3 import PPO

    from agents.vec_env import CupVecEnv

    assert find_spec("safetensors") is None
    model = PPO("MlpPolicy", CupVecEnv(env_id, 8), n_steps=64, device="cpu").learn(1_024)
    assert model.num_timesteps == 1_024


@pytest.mark.parametrize("mode", ["sync", NATIVE])
def test_torchrl_batches_and_reads_info(mode: str, env_id: str) -> None:
    import torch
    from torchrl.envs import GymWrapper

    def rollout(autoreset: str) -> Any:
        chosen = {"autoreset_mode": autoreset}
        options = chosen if mode == NATIVE else {"vector_kwargs": chosen}
        env = GymWrapper(gym.make_vec(env_id, 4, mode, truth=False, **options))
        # With "SameStep" it reads info by itself.
        env = env.auto_register_info_dict() if autoreset == "Disabled" else env
        env.set_seed(0)
        torch.manual_seed(0)
        return env.rollout(300, break_when_any_done=False)["next"]

    rolled, again = rollout("SameStep"), rollout("Disabled")
    assert rolled.batch_size == (4, 300)
    # The last observation of a trial is that before the reset. TorchRL resets twice where all trials end at once.
    assert rolled["done"][:, TRIAL_STEPS - 1].all()
    for name in ("observation", "reward", "done", "is_success", "reward_progress", "reward_effort"):
        assert torch.equal(rolled[name][:, :TRIAL_STEPS], again[name][:, :TRIAL_STEPS])


@pytest.mark.parametrize("mode", ["sync", NATIVE])
def test_skrl_trains_by_its_defaults(mode: str, env_id: str) -> None:
    """Its models do not clip: a third of the first actions lies outside the action space."""
    import torch
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.memories.torch import RandomMemory
    from skrl.trainers.torch import SequentialTrainer
    from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model
    from torch.nn.utils import parameters_to_vector

    envs = wrap_env(gym.make_vec(env_id, 4, mode))
    spaces = {"observation_space": envs.observation_space, "action_space": envs.action_space}
    network = [{"name": "net", "input": "OBSERVATIONS", "layers": [64, 64], "activations": "elu"}]
    models = {
        "policy": gaussian_model(**spaces, network=network, output="ACTIONS"),
        "value": deterministic_model(**spaces, network=network, output="ONE"),
    }
    settings = PPO_CFG()
    settings.experiment.write_interval = settings.experiment.checkpoint_interval = 0
    memory = RandomMemory(memory_size=settings.rollouts, num_envs=4)
    agent = PPO(models=models, memory=memory, cfg=settings, **spaces)
    for model in models.values():
        model.init_state_dict()
    before = parameters_to_vector(models["policy"].parameters()).detach()
    SequentialTrainer(env=envs, agents=agent, cfg={"timesteps": 200, "headless": True}).train()
    after = parameters_to_vector(models["policy"].parameters()).detach()
    assert memory.get_tensor_by_name("actions").abs().max() > 1.0
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)


@pytest.mark.parametrize("truth", [True, False])
def test_environments_speak_torch_and_jax(truth: bool, env_id: str) -> None:
    import torch
    from gymnasium.wrappers import JaxToNumpy, JaxToTorch, NumpyToTorch

    for wrapper, array in ((NumpyToTorch, torch.Tensor), (JaxToTorch, torch.Tensor), (JaxToNumpy, np.ndarray)):
        env, plain = wrapper(gym.make(env_id, truth=truth)), gym.make(env_id, truth=truth)
        env.reset(seed=0), plain.reset(seed=0)
        for step in range(100):
            action = np.sin(0.1 * step * np.arange(1, 5), dtype=np.float32)
            given = torch.as_tensor(action) if array is torch.Tensor else action
            observation, reward, terminated, _, info = env.step(given)
            expected = plain.step(action)
            assert isinstance(observation, array)
            np.testing.assert_array_equal(observation, expected[0])
            np.testing.assert_allclose(reward, expected[1], rtol=1e-6)
            assert bool(info["is_success"]) == expected[4]["is_success"]
            if truth:
                assert isinstance(info["truth"]["hand"], array)
                np.testing.assert_allclose(info["truth"]["hand"], expected[4]["truth"]["hand"], rtol=1e-6)
            if terminated:
                break


@pytest.mark.parametrize("mode", ["sync", NATIVE])
def test_vectors_speak_torch_and_jax(mode: str, env_id: str) -> None:
    import torch
    from gymnasium.wrappers.vector import JaxToNumpy, JaxToTorch, NumpyToTorch

    for wrapper, array in ((NumpyToTorch, torch.Tensor), (JaxToTorch, torch.Tensor), (JaxToNumpy, np.ndarray)):
        envs = wrapper(gym.make_vec(env_id, 2, mode, max_episode_steps=60))
        envs.reset(seed=0)
        for step in range(130):
            action = np.sin(0.1 * step * np.arange(1, 9), dtype=np.float32).reshape(2, 4)
            given = torch.as_tensor(action) if array is torch.Tensor else action
            observation, _, _, _, info = envs.step(given)
        assert isinstance(observation, array)
        assert isinstance(info["truth"]["hand"], array)
        assert info["truth"]["hand"].shape == (2, 2)
        envs.close()


@pytest.mark.parametrize(
    ("options", "encoding"),
    [
        ({}, {}),
        ({"observation": "goal"}, {}),
        ({"observation": "retina", "retina_colour": True}, {}),
        ({"observation": "retina"}, {"jpeg_encoding": False}),
    ],
    ids=["vector", "goal", "colour", "grey"],
)
@pytest.mark.filterwarnings("ignore:.*is set to None:UserWarning")
def test_minari_reads_what_it_wrote(
    options: dict[str, Any],
    encoding: dict[str, Any],
    env_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import minari
    from gymnasium.utils.env_checker import data_equivalence

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make(env_id, **options), record_infos=True, **encoding)
    env.action_space.seed(0)
    rows = [env.reset(seed=0)[::-1]]
    for _ in range(100):
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
        rows.append((info, observation))
        if terminated or truncated:
            break
    env.create_dataset("cup/random-v0")
    (trial,) = minari.load_dataset("cup/random-v0").iterate_episodes()
    assert len(trial) == len(rows) - 1
    for key in ("hand", "time_s", "tipped"):
        np.testing.assert_array_equal(trial.infos["truth"][key], [info["truth"][key] for info, _ in rows])
    np.testing.assert_array_equal(trial.infos["is_success"], [info["is_success"] for info, _ in rows])
    observations = [observation for _, observation in rows]
    if not options:
        assert data_equivalence(trial.observations, np.stack(observations), exact=True)
        return
    for name in observations[0]:
        written, read = np.stack([each[name] for each in observations]), trial.observations[name]
        assert (read.shape, read.dtype) == (written.shape, written.dtype)
        # JPEG loses some of a colour picture.
        assert np.array_equal(read, written) or (name == "retina" and not encoding)


@pytest.mark.parametrize(("algorithm", "steps"), [("ppo", 2_048), ("sac", 2_600), ("td3", 2_600)])
def test_rl_zoo3_trains_with_the_shipped_settings(
    algorithm: str, steps: int, env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rl_zoo3.train import train

    arguments = [
        "rl_zoo3", "--algo", algorithm, "--env", env_id, "--gym-packages", "reach",
        "--conf-file", str(SETTINGS / f"{algorithm}.yml"), "--n-timesteps", str(steps), "--eval-freq", "-1",
        "--log-folder", str(tmp_path), "--device", "cpu", "--verbose", "0",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    train()
    # Its plots look for the name of this folder.
    folder = env_id.replace("/", "-")
    assert (tmp_path / algorithm / f"{folder}_1" / f"{folder}.zip").exists()
