"""Make, load, train and evaluate a learner by its name; `agents.registry` defines the names.

`load_zip` loads models of Stable-Baselines3 itself.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any
from zipfile import ZipFile

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import CheckpointError, parsing, read_config, require_stored
from agents.networks.registry import NETWORKS, SIZE_OPTIONS
from agents.registry import NONE, POSTURE, Learner, Spec, find, is_learner, tuned_settings
from agents.settings import check_settings, short
from agents.trial_learner import TrialLearner, make_logger
from agents.vec_env import copies_of, saved_env_options
from reach import ENVIRONMENTS, OWN_PREFIX
from reach.arguments import is_whole
from reach.play import act_through_trial, can_play

LONGEST_TRIAL_STEPS = 150
# Smallest seed of evaluation trials; training uses smaller seeds.
JUDGED_SEED = 1_000_000


def preload() -> None:
    """Import, before workers are forked, the modules that torch would import in its first optimiser or FLOP count."""
    import_module("torch._dynamo")


def make_learner(learner: str | Spec, env: Any, *, seed: int = 0, **settings: Any) -> Any:
    """Make an untrained learner.

    Args:
        learner: a name that `agents.registry.find` knows, with settings or without, or a `Spec`.
        env: a `CupEnv`, wrapped or not, or a VecEnv of them.
        seed: seed of weights, feedback matrices and trials.
        settings: `rate`, `hidden_rate`, `practice_rate`, `plastic`, `body_map` and `synapse` of an error learner;
            `rate`, `critic_rate` and `exploration_rad` of a spiking learner from reward; settings of
            Stable-Baselines3's PPO, SAC, TD3 or TQC for the other learners; `verbose` and `tensorboard_log` of all.
            They replace tuned settings.

    Returns:
        A model with Stable-Baselines3's interface.

    Raises:
        ValueError: the name or a setting is unknown, the seed or a setting is invalid, or the learner cannot learn in
            the environment.
    """
    text = str(learner)
    known = find(text, **settings)
    values = {**known.defaults, **tuned_settings(known.spec), **checked_settings(known, seed=seed)}
    name = known.spec.name if "plastic" in settings else text
    return known.model_class(name, env, **values)


def checked_settings(learner: Learner, seed: int = 0) -> dict[str, Any]:
    """Validate and return the settings in a learner's name and the seed, as Python scalars.

    Settings of a registered class without `known_settings` are returned unchecked.

    Raises:
        ValueError: a setting is unknown to the learner or its network, or a value is invalid.
    """
    given = {
        setting: os.fspath(value) if isinstance(value, os.PathLike) else value
        for setting, value in learner.spec.settings.items()
    }
    if not hasattr(learner.model_class, "known_settings"):
        return {"seed": seed, **given}
    network = NETWORKS.get(learner.spec.network)
    absent = set(SIZE_OPTIONS).difference(() if network is None else network.options)
    known = {name: setting for name, setting in learner.model_class.known_settings().items() if name not in absent}
    checked_seed = known.pop("seed").check("seed", seed)
    return {"seed": checked_seed, **check_settings(given, known)}


def learner_of(path: str | Path, model: type[Any] | None = None) -> str:
    """Return the name of the learner in a checkpoint folder.

    Args:
        path: the folder.
        model: the required class of the learner; None for any.

    Raises:
        NoCheckpointError: there is no checkpoint.
        CheckpointError: the folder names no known learner, or one of another class.
    """
    name: Any = read_config(Path(path)).get("learner")
    if not is_learner(name):
        raise CheckpointError(f"checkpoint {path}: expected the name of a learner, got {short(name)}")
    if model is not None and find(name).model_class is not model:
        raise CheckpointError(f"checkpoint {path}: expected a learner made by {model.__name__}, got {short(name)}")
    return str(name)


def load_learner(path: str | Path, env: Any, **settings: Any) -> Any:
    """Load a learner from a checkpoint folder without running code from it.

    Args:
        path: the folder.
        env: as for `make_learner`.
        settings: `verbose`, `tensorboard_log`, and `resume`: True restores the saved random states, so that `learn`
            continues with the trials that would have followed.

    Raises:
        CheckpointError: the checkpoint is missing or damaged, or does not fit `env`.
    """
    return find(learner_of(path)).model_class.load(path, env, **settings)


def env_named_in(path: str | Path) -> str:
    """Return the stored id of the environment in which the learner of a checkpoint folder was trained.

    If that environment was made without an id, return the environment for which the learner is meant. Do not pass the
    result to `gym.make` unchecked: an id may name a module to import. `trained_in` returns only ids of this project.

    Raises:
        CheckpointError: the stored id is not text.
    """
    stored = read_config(Path(path)).get("env")
    if stored is not None and not isinstance(stored, str):
        raise CheckpointError(f"checkpoint {path}: expected env to be the id of an environment, got {short(stored)}")
    return stored or find(learner_of(path)).env_id


def trained_in(path: str | Path) -> str:
    """Return the id of the environment of this project in which the learner of a checkpoint folder was trained.

    Raises:
        CheckpointError: the environment is not one of this project.
    """
    stored = env_named_in(path)
    env_id = stored.removeprefix(OWN_PREFIX)
    if env_id not in ENVIRONMENTS:
        raise CheckpointError(
            f"checkpoint {path}: expected an environment of {list(ENVIRONMENTS)}, got {short(stored)}, which is not "
            "loaded from a file"
        )
    return env_id


def make_env(env_id: str, options: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """Make an environment by its id.

    Raises:
        ValueError: the environment does not take the options of a `CupEnv`.
    """
    try:
        return gym.make(env_id, **options)
    except TypeError as error:
        raise ValueError(f"expected the id of a CupEnv, which takes {options}, got {env_id!r}: {error}") from None


def env_for(path: str | Path, env_id: str | None = None) -> gym.Env[Any, Any]:
    """Make an environment like the one in which the learner of a checkpoint folder was trained.

    Args:
        path: the folder.
        env_id: id of another environment with the same control and observations, from a trusted source: it may name a
            module to import. None for the stored id, which may not.

    Raises:
        CheckpointError: the stored environment is not one of this project, or the stored options are invalid.
        ValueError: the environment does not take the options.
    """
    options = saved_env_options({"env_options": {}, **read_config(Path(path))}, path)
    return make_env(env_id or trained_in(path), options)


def prepare(
    learner: str,
    seed: int,
    folder: Path,
    on_progress: Callable[[float], object] | None = None,
    *,
    control: str = POSTURE,
    context: int = 0,
) -> Any:
    """Return a learner after unperturbed training: load its checkpoint, or train it and save one.

    Args:
        learner: name of the learner.
        seed: seed of the learner and its training trials.
        folder: folder of the checkpoint.
        on_progress: called with the share of the training that is done, 0..1.
        control: control of the joints: "posture", "torque" or "muscle".
        context: number of lamps on the table.
    """
    if (folder / "config.json").exists():
        return load_learner(folder, env_for(folder))
    known = find(learner)
    env = gym.make(known.env_id, **known.env_options, control=control, context=context)
    model = make_learner(learner, env, seed=seed)
    if known.steps:
        model.learn(known.steps, callback=_Progress(known.steps, on_progress, by="steps"))
    elif known.spec.teacher != NONE:
        train_trials(model, known.trials, on_progress=on_progress)
        model.end_baseline()
    model.save(folder)
    return model


prepare_torque, prepare_muscle = partial(prepare, control="torque"), partial(prepare, control="muscle")


def train_trials(
    model: Any,
    trials: int,
    *,
    on_progress: Callable[[float], object] | None = None,
    callbacks: Sequence[BaseCallback] = (),
    progress_bar: bool = False,
) -> None:
    """Let a model learn for a number of trials, or until a callback stops it.

    Raises:
        ValueError: `trials` is not a whole number of 1 or more.
    """
    _require_trials(trials)
    env = model.get_env()
    most = trials * LONGEST_TRIAL_STEPS * (env.num_envs if env is not None else 1)
    counting = _Progress(trials, on_progress, by="trials")
    model.learn(most, callback=[counting, *callbacks], reset_num_timesteps=False, progress_bar=progress_bar)


def evaluate(model: Any, env_id: str, *, trials: int = 500, seed: int = 0) -> float:
    """Return the success rate of a model, 0..1, in trials whose seeds training never uses.

    The environment has the same control and observations as the model's own.

    Raises:
        ValueError: `trials` is not a whole number of 1 or more.
    """
    _require_trials(trials)
    env = gym.make(env_id, **getattr(model, "env_options", {}))
    first = JUDGED_SEED + 100_000 * seed
    if isinstance(model, BaseAlgorithm):
        return _evaluate_at_once(model, copies_of(env, first, trials))
    successes = 0
    for k in range(trials):
        if getattr(model, "can_play", False) and can_play(env):
            observation, _ = env.reset(seed=first + k)
            successes += model.play_trial(env, observation).is_success
        else:
            *_, (_, info) = act_through_trial(model, env, seed=first + k)
            successes += info["is_success"]
    return successes / trials


def _evaluate_at_once(model: BaseAlgorithm, envs: VecEnv) -> float:
    """Return the success rate, 0..1, over the first trial of each environment; the environments step together."""
    observations: Any = envs.reset()
    state: Any = None
    over, success = np.ones(envs.num_envs, dtype=bool), np.zeros(envs.num_envs, dtype=bool)
    running = over.copy()
    while running.any():
        actions, state = model.predict(observations, state=state, episode_start=over, deterministic=True)
        observations, _, over, infos = envs.step(actions)
        for index in np.flatnonzero(over & running):
            success[index] = infos[index]["is_success"]
        running &= ~over
    return float(success.mean())


def _require_trials(trials: Any) -> None:
    if not is_whole(trials) or trials < 1:
        raise ValueError(f"trials: expected a whole number of 1 or more, got {trials!r}")


class _Progress(BaseCallback):
    """Report the share of the training that is done, counted in "trials" or "steps", and stop training at 1."""

    def __init__(self, total: int, report: Callable[[float], object] | None, by: str) -> None:
        super().__init__()
        self._total = total
        self._report = report
        self._done = 0
        self.per_trial = by == "trials"

    def _on_step(self) -> bool:
        dones = self.locals["dones"]
        new = int(np.count_nonzero(dones)) if self.per_trial else len(dones)
        self._done += new
        if new and self._report is not None:
            self._report(min(1.0, self._done / self._total))
        return self._done < self._total


class PeriodicCheckpoint(BaseCallback):
    """Save the learner at intervals; on SIGINT or SIGTERM save once more and stop learning.

    A checkpoint is written only where resuming is exact: between trials for a `TrialLearner`, between rollouts for a
    learner from reward.

    Attributes:
        per_trial: True: the callback needs to be called once per trial only.
        stopped_by: the signal that stopped learning; None if none did.
    """

    per_trial = True

    def __init__(self, folder: Path, every_s: float = 20.0) -> None:
        """Save the learner in `folder`, every `every_s` seconds."""
        super().__init__()
        self._folder = folder
        self._every_s = every_s
        self._last = monotonic()
        self._signal: int | None = None
        self.stopped_by: int | None = None

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Stop learning at SIGINT or SIGTERM, in the `with` block."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def _on_rollout_start(self) -> None:
        model: Any = self.model
        if not isinstance(model, TrialLearner):
            self.save_when_due(model)

    def _on_step(self) -> bool:
        model: Any = self.model
        if isinstance(model, TrialLearner) and bool(np.any(self.locals["dones"])):
            self.save_when_due(model)
        return self.stopped_by is None

    def save_when_due(self, model: Any) -> None:
        """Save a model if the interval has passed or a signal has arrived. Call this where resuming is exact."""
        if self.stopped_by is None and (self._signal is not None or monotonic() - self._last > self._every_s):
            model.save(self._folder)
            self._last = monotonic()
            self.stopped_by = self._signal


NOT_A_MODEL = "is not a model of Stable-Baselines3"


def load_zip(path: str | Path, env: Any, *, trust: bool = False) -> Any:
    """Load a model of Stable-Baselines3's PPO, SAC or TD3 with an "MlpPolicy".

    Its zip file contains pickles, which can run any code when they are loaded. By default only its tensors are read
    (`weights_only`). The network is rebuilt from their shapes and filled by `set_parameters`, so settings that shapes
    do not show, such as custom activations, are lost. With `trust`, Stable-Baselines3 loads the file including pickles.

    Args:
        path: path of the zip file.
        env: environment with the observation and action spaces of the model.
        trust: whether to load pickles, which can run any code.

    Raises:
        CheckpointError: the file is missing or damaged, or its network cannot be rebuilt from shapes.
    """
    path = Path(path)
    with parsing(path, NOT_A_MODEL):
        _require_plain(path)
        _, parameters, variables = load_from_zip_file(path, load_data=False, device="cpu")
        policy = _policy_of(parameters, path)
    kind: Any = PPO
    prefix = "mlp_extractor.policy_net"
    if "actor.optimizer" in parameters:
        is_soft = isinstance(variables, dict) and variables.get("log_ent_coef") is not None
        kind, prefix = (SAC, "actor.latent_pi") if is_soft else (TD3, "actor.mu")
    if trust:
        with parsing(path, NOT_A_MODEL):
            return kind.load(path, env=env, device="cpu")
    shapes = {name: tuple(value.shape) for name, value in policy.items()}
    sizes = [math.prod(space.shape or ()) for space in (env.observation_space, env.action_space)]
    hidden = _cells(shapes, prefix, sizes[0])
    if kind is TD3:
        # The last layer of this actor is the output, not a hidden layer.
        hidden = hidden[:-1]
    if kind is PPO:
        arch = {"pi": hidden, "vf": _cells(shapes, "mlp_extractor.value_net", sizes[0])}
    else:
        arch = {"pi": hidden, "qf": _cells(shapes, "critic.qf0", sum(sizes))[:-1]}
    model = kind("MlpPolicy", env, policy_kwargs={"net_arch": arch}, device="cpu")
    expected = {name: tuple(value.shape) for name, value in model.policy.state_dict().items()}
    if expected != shapes:
        raise CheckpointError(
            f"{path}: expected an MlpPolicy for this environment with shapes {short(expected)}, got {short(shapes)}. "
            "If you trust the file, load it with trust=True"
        )
    with parsing(path, NOT_A_MODEL):
        model.set_parameters(parameters, device="cpu")
    model.set_logger(make_logger(0, None))
    return model


def _require_plain(path: Path) -> None:
    """Check that the file and the archives of tensors inside it are not compressed."""
    with ZipFile(path) as whole:
        require_stored(whole.infolist(), path.stat().st_size, path)
        for member in whole.infolist():
            if member.filename.endswith(".pth"):
                with whole.open(member) as opened, ZipFile(opened) as tensors:
                    require_stored(tensors.infolist(), member.file_size, path)


def _policy_of(parameters: Any, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the policy after checking that they are plain and finite."""
    policy = parameters.get("policy")
    if not isinstance(policy, dict):
        raise CheckpointError(f"{path}: expected a model with a policy, got {short(sorted(parameters))}")
    for name, value in policy.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            raise CheckpointError(f"{path}: {short(name)}: expected a plain tensor, got {type(value).__name__}")
        # An expanded view can be larger than the file.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            shape = tuple(value.shape)
            raise CheckpointError(f"{path}: {short(name)}: expected no more numbers than are stored, got shape {shape}")
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {short(name)}: expected finite numbers, got NaN or infinity")
    return policy


def _cells(shapes: dict[str, tuple[int, ...]], prefix: str, inputs: int) -> list[int]:
    """Return the number of cells of each layer of a chain, up to one whose inputs do not match the previous layer."""
    layers = {
        int(place): shape
        for name, shape in shapes.items()
        if name.startswith(f"{prefix}.") and name.endswith(".weight") and len(shape) == 2
        if (place := name.removeprefix(f"{prefix}.").split(".")[0]).isdecimal()
    }
    sizes: list[int] = []
    for _, (cells, layer_inputs) in sorted(layers.items()):
        if cells < 1 or layer_inputs != (sizes[-1] if sizes else inputs):
            break
        sizes.append(cells)
    return sizes
