"""Learners taught by reward: Stable-Baselines3's algorithms with a learning rule in their networks.

Differences from Stable-Baselines3: observations are standardised by fixed constants, and checkpoints contain no
pickles. Every call of `learn` begins new trials. A checkpoint that is written at the start of a rollout also holds the
unfinished trials, and a resumed `learn` continues them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import (
    CheckpointError,
    Entry,
    entries_of,
    fill,
    generator_state,
    loading,
    mapping_of,
    read_checkpoint,
    read_config,
    read_settings,
    require_entries,
    write_checkpoint,
)
from agents.learner import learner_of
from agents.registry import Learner, find
from agents.reward.policies import ActorInside, MixedIn, ScaledObservation, actor_layers
from agents.reward.saved_state import (
    NUMPY_RANDOM,
    buffer_entries,
    global_entries,
    global_states,
    position_of,
    position_settings,
    set_global_states,
    transitions_of,
)
from agents.rules.assign import alignment_degrees
from agents.rules.layers import RuledLayer
from agents.rules.registry import rule_for
from agents.settings import COUNT, LOG_SETTINGS, Setting, check_settings, short
from agents.trial_learner import make_logger
from agents.vec_env import (
    copies_of,
    env_entries,
    env_options_of,
    logged,
    reset_and_set_random_states,
    saved_env_options,
    saved_random_states,
    trial_log,
)
from reach.snapshot import Snapshot

# Final learning rate as a share of the initial one, reached at the end of the usual training.
LAST_SHARE = 0.1
HIDDEN_CELLS = (128, 128)
# Settings that a checkpoint neither stores nor restores: device and logging.
UNSAVED_SETTINGS = {"device": Setting(pattern=r"auto|cpu|mps|(cuda|xpu)(:\d+)?"), **LOG_SETTINGS}
SEED = {"seed": Setting(0, 2**32 - 1, is_integer=True)}
COUNTS = {"num_timesteps": COUNT, "trials": COUNT, "updates": COUNT}
# Prefix of the arrays of unfinished trials.
UNDER_WAY = "under_way/"
# Upper limit for the control steps of an unfinished trial, far above the time limit of a task.
MOST_STEPS_UNDER_WAY = 10_000


class RewardLearner(ABC, MixedIn):  # type: ignore[misc]
    """Base class of learners from reward: construction, saving and loading.

    Attributes:
        SETTINGS: settings of the Stable-Baselines3 algorithm that a user may set; a checkpoint stores them.
        trials: number of trials that ended during learning.
    """

    # Attributes of Stable-Baselines3's algorithm that this class or a subclass sets.
    _last_obs: Any
    _last_lstm_states: Any
    action_noise: Any
    learning_starts: Any
    n_envs: Any
    rollout_buffer: Any

    POLICY: Any
    DEFAULTS: dict[str, Any]
    SETTINGS: dict[str, Setting]
    PARALLEL_ENVS: int
    FEATURES: Any = ScaledObservation
    # Display name of the input of the first layer.
    INPUT_NAME = "senses"

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """Make an untrained learner.

        Args:
            name: full or short name of the learner.
            env: an environment id, a `CupEnv` made by `gym.make` (the learner trains in copies of it), or a VecEnv.
            seed: seed of weights, feedback weights and trials.
            settings: those of `SETTINGS`, and `device`, `verbose` and `tensorboard_log`, which are not stored.

        Raises:
            ValueError: the seed or a setting is invalid, a setting is unknown, or the environment's observations are
                unsuitable.
        """
        seed = SEED["seed"].check("seed", seed)
        self._known = find(name)
        settings = check_settings(settings, self.SETTINGS | UNSAVED_SETTINGS)
        self.name = name
        self.trials = 0
        # The environments are seeded when `learn` begins.
        self._unseeded = True
        self._inside: ActorInside | None = None
        # Number of steps at the start of the latest `learn` and of its latest rollout.
        self._start = 0
        self._rollout_start: int | None = None
        # Whether the next `learn` continues the one of a loaded checkpoint.
        self._resumed = False
        saved = {setting: value for setting, value in settings.items() if setting not in UNSAVED_SETTINGS}
        self._saved_settings = {"seed": seed, **saved}
        if not isinstance(env, VecEnv):
            env = copies_of(
                gym.make(env, **self._known.env_options) if isinstance(env, str) else env, seed, self.PARALLEL_ENVS
            )
        given, expected = (
            options.get("observation", "vector") for options in (env_options_of(env), self._known.env_options)
        )
        if given != expected:
            raise ValueError(f"env: expected observation={expected!r} for learner {name!r}, got observation={given!r}")
        policy_kwargs = {
            "features_extractor_class": self.FEATURES,
            "net_arch": list(HIDDEN_CELLS),
            **self._policy_arguments(self._known.spec.rule),
        }
        super().__init__(self.POLICY, env, seed=seed, policy_kwargs=policy_kwargs, **{**self.DEFAULTS, **settings})

    @classmethod
    def known_settings(cls) -> dict[str, Setting]:
        """Return the valid values of the constructor's keyword arguments, by name."""
        return SEED | cls.SETTINGS | UNSAVED_SETTINGS

    def _policy_arguments(self, rule: str) -> dict[str, Any]:
        """Return further `policy_kwargs`."""
        return {"rule": rule}

    @abstractmethod
    def _actors(self) -> list[list[Any]]:
        """Return the modules, in forward order, of the actor and of any copies of it that also act."""

    def snapshot(self) -> Snapshot:
        """Return the activities of the actor's latest step and the modulators of its last update, for the display.

        Recording begins with the first call, and does not change the learner's results.
        """
        if self._inside is None:
            rule = rule_for(self._known.spec.rule, "layers")
            self._inside = ActorInside(self._actors(), rule.route, self.INPUT_NAME)
        return self._inside.snapshot(self._n_updates)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the weights of the actor's layers, by name."""
        return {name: layer.weight.numpy(force=True) for name, layer in actor_layers(self._actors()[0]).items()}

    def alignment(self) -> dict[str, float]:
        """Return the angle in degrees between the rule's last step and the gradient, by hidden layer of the actor."""
        names = {layer: name for name, layer in actor_layers(self._actors()[0]).items()}
        parts = self.policy, getattr(self.policy, "actor", None)
        networks = [network for part in parts for network in getattr(part, "rule_networks", ())]
        angles = alignment_degrees(networks)
        layers = {name: layer for network in networks for name, layer in network.layers.items()}
        return {names[layers[place]]: degrees for place, degrees in angles.items() if layers[place] in names}

    @property
    def env_options(self) -> dict[str, Any]:
        """Return the options of `gym.make` for an environment like the learner's own."""
        return env_options_of(self.env)

    @property
    def stretch_start(self) -> int:
        """Return the number of steps at which the `learn` to resume began; without one, the present number of steps."""
        return self._start if self._resumed else int(self.num_timesteps)

    def _wrap_env(self, env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        return logged(super()._wrap_env(env, verbose, monitor_wrapper))

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> Any:
        """Continue the `learn` of a loaded checkpoint, or begin new trials."""
        continues = self._resumed and not reset_num_timesteps and self._last_obs is not None
        self._resumed, self._rollout_start, self._unseeded = False, None, False
        if not continues:
            self._last_obs = None
            self._discard_unfinished_trials()
        if not self._custom_logger and self.tensorboard_log is None:
            self.set_logger(make_logger(self.verbose, None))
        noise = self.action_noise
        noise_state = {} if noise is None else dict(vars(noise))
        prepared = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        if not continues:
            self._start = int(self.num_timesteps)
        elif noise is not None:
            # Stable-Baselines3 has reset the noise; restore its state.
            vars(noise).update(noise_state)
        return prepared

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> Any:
        """Collect a rollout, and record its start, where `save` can store an unfinished `learn`."""
        self._rollout_start = int(self.num_timesteps)
        return super().collect_rollouts(*args, **kwargs)

    def _under_way(self) -> dict[str, NDArray[Any]]:
        """Return the arrays, by name, that are needed to continue a `learn` from the start of a rollout."""
        log = trial_log(self.env)
        assert log is not None
        space = self.observation_space
        parts: dict[str, Any] = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"": space}
        last = {name: np.zeros((self.n_envs, *part.shape), part.dtype) for name, part in parts.items()}
        if self._last_obs is not None:
            last = self._last_obs if isinstance(space, gym.spaces.Dict) else {"": self._last_obs}
        observations = {f"observation.{name}": values for name, values in last.items()}
        return {**log.unfinished_trials(), **observations, "start": np.array(self._start)}

    def _continue(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore the arrays of `_under_way`. Restore the random states of the environments first."""
        log = trial_log(self.env)
        assert log is not None
        log.restore_trials(saved["commands"], saved["ages"])
        parts = _without_prefix("observation.", saved)
        self._last_obs = parts if isinstance(self.observation_space, gym.spaces.Dict) else parts[""]
        self._last_episode_starts = saved["ages"] == 0
        self._start = int(saved["start"])
        self._rollout_start = int(self.num_timesteps)
        self._resumed = True

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: NDArray[np.bool_] | None = None) -> None:
        """Count the trials that ended; Stable-Baselines3 calls this after each step of learning."""
        super()._update_info_buffer(infos, dones)
        self.trials += 0 if dones is None else int(np.count_nonzero(dones))

    def _discard_unfinished_trials(self) -> None:
        """Drop the state of the previous `learn`."""

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write a checkpoint folder atomically: weights, feedback weights, optimisers, replay buffer, random states.

        A learner that is loaded with `resume` continues bit-identically. If `save` is called at the start of a rollout
        (in a callback's `_on_rollout_start`), the rest of the present `learn` can be resumed.
        """
        state = _arrays_of(self._optimised())
        random, numpy_random = global_states(self.device)
        state |= random
        if self._replay_buffer is not None:
            transitions = transitions_of(self._replay_buffer)
            state |= {f"buffer/{name}": values for name, values in transitions.items()}
        if self._rollout_start == self.num_timesteps:
            state |= {f"{UNDER_WAY}{name}": values for name, values in self._under_way().items()}
        config = {
            "learner": self.name,
            "settings": self._saved_settings,
            "num_timesteps": self.num_timesteps,
            "trials": self.trials,
            "updates": self._n_updates,
            **env_entries(self.env, is_seeded=not self._unseeded),
            "numpy_random": numpy_random,
            "action_space": self.action_space.np_random.bit_generator.state,
            "buffer": None if self._replay_buffer is None else position_of(self._replay_buffer),
        }
        write_checkpoint(Path(path), config, _arrays_of(self.policy.state_dict()), state)

    @classmethod
    def load(cls, path: Any, env: Any = None, *, resume: bool = False, **settings: Any) -> Any:
        """Load a learner from a checkpoint folder without running code from it.

        Args:
            path: the checkpoint folder.
            env: the environment to learn in; by default the one that the learner is meant for.
            resume: restore the random states too, including the global ones of torch and NumPy.
            settings: settings that replace the saved ones.

        Raises:
            CheckpointError: the folder holds no such learner, is damaged or does not fit `env`.
        """
        name, config = learner_of(path, cls), read_config(Path(path))
        require_entries(config, ["buffer", "random_states"], path)
        counts = read_settings(config, COUNTS, path)
        numpy_random = read_settings(mapping_of(config, "numpy_random", path), NUMPY_RANDOM, path)
        action_space = generator_state(config, "action_space", path)
        saved, options = mapping_of(config, "settings", path), saved_env_options(config, path)
        with loading(path):
            check_settings(saved, SEED | cls.SETTINGS)
            if env is None:
                known = find(name)
                env = gym.make(known.env_id, **{**known.env_options, **options})
            model: Any = cls(name, env, **{**saved, **settings})
        model.num_timesteps, model.trials, model._n_updates = (counts[count] for count in COUNTS)
        buffer = model._replay_buffer
        if buffer is None and config["buffer"] is not None:
            raise CheckpointError(f"checkpoint {path}: buffer: expected None, got {short(config['buffer'])}")
        if buffer is not None:
            position = read_settings(mapping_of(config, "buffer", path), position_settings(buffer), path)
            buffer.pos, buffer.full = position["pos"], position["full"]
        model._begin_moments()
        weights, optimised = model.policy.state_dict(), model._optimised()
        entries = entries_of(_arrays_of(weights)), model._state_entries()
        _, policy, state = read_checkpoint(Path(path), *entries)
        with torch.no_grad():
            for tensors, saved_arrays in ((weights, policy), (optimised, state)):
                for name, tensor in tensors.items():
                    tensor.copy_(torch.from_numpy(np.array(saved_arrays[name])))
        if buffer is not None:
            fill(transitions_of(buffer), _without_prefix("buffer/", state))
        if resume:
            # Validate everything before changing any state outside the learner.
            states = saved_random_states(config, model.env, path)
            under_way = _without_prefix(UNDER_WAY, state)
            if under_way:
                require_entries(under_way, model._under_way(), path)
            with loading(path):
                if states is not None:
                    reset_and_set_random_states(model.env, states)
                set_global_states(model.device, state, numpy_random, path)
                model._unseeded = states is None
                model.action_space.np_random.bit_generator.state = action_space
                if under_way:
                    model._continue(under_way)
        return model

    def _state_entries(self) -> dict[str, Entry]:
        """Return the expected arrays of a checkpoint's state for the present number of updates and of transitions."""
        optimised = _arrays_of(self._optimised())
        # Adam has counted its steps from 1, and its second moment is a mean of squares.
        lowest = {"step": 1.0, "exp_avg_sq": 0.0}
        limits = {name: (lowest.get(name.rpartition("/")[2], -np.inf), np.inf) for name in optimised}
        entries = global_entries() | entries_of(optimised, limits)
        under_way = entries_of(self._under_way())
        shape = MOST_STEPS_UNDER_WAY, *under_way["commands"].shape[1:]
        under_way["commands"] = replace(under_way["commands"], shape=shape, is_shorter_valid=True)
        entries |= {f"{UNDER_WAY}{name}": replace(entry, is_optional=True) for name, entry in under_way.items()}
        if self._replay_buffer is not None:
            transitions = buffer_entries(self._replay_buffer)
            entries |= {f"buffer/{name}": entry for name, entry in transitions.items()}
        return entries

    @property
    def _replay_buffer(self) -> Any:
        """Return the replay buffer; None for a learner without one."""
        return getattr(self, "replay_buffer", None)

    def _optimised(self) -> dict[str, torch.Tensor]:
        """Return Adam's moments, and learned variables outside the networks, such as SAC's entropy coefficient."""
        tensors: dict[str, torch.Tensor] = {}
        for name in self._optimisers():
            for k, moments in attrgetter(name)(self).state_dict()["state"].items():
                tensors |= {f"{name}/{k}/{kind}": value for kind, value in moments.items()}
        return tensors | {f"variable/{name}": getattr(self, name).detach() for name in self._get_torch_save_params()[1]}

    def _begin_moments(self) -> None:
        """Give every parameter that has been updated Adam's moments, to be filled."""
        for name in self._optimisers():
            if self._updates_of(name) > 0:
                for value in self._updated_parameters(name):
                    attrgetter(name)(self).state[value] = {
                        "step": torch.tensor(0.0),
                        "exp_avg": torch.zeros_like(value),
                        "exp_avg_sq": torch.zeros_like(value),
                    }

    def _optimisers(self) -> list[str]:
        """Return the names of the optimisers, as in `get_parameters`."""
        return [name for name in self._get_torch_save_params()[0] if name != "policy"]

    def _updates_of(self, optimiser: str) -> int:
        """Return the number of updates of an optimiser."""
        return int(self._n_updates)

    def _updated_parameters(self, optimiser: str) -> list[torch.Tensor]:
        """Return the parameters of an optimiser in order, without those that the rule never changes."""
        constant: set[int] = set()
        if self._known.spec.rule == "shallow":
            hidden = [m for m in self.policy.modules() if isinstance(m, RuledLayer) and m.place.head is None]
            constant = {id(value) for layer in hidden for value in layer.parameters()}
        groups = attrgetter(optimiser)(self).param_groups
        return [value for group in groups for value in group["params"] if id(value) not in constant]


def _arrays_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    return {name: value.numpy(force=True) for name, value in tensors.items()}


def _without_prefix(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


class FallingRate(MixedIn):  # type: ignore[misc]
    """Decrease the learning rate of an algorithm linearly to a tenth over the usual training, then keep it constant.

    The rate depends on the number of steps so far. Dividing training into several calls of `learn` does not change it.
    A `learn` that resets the number of steps, as at the start of a protocol, resets the learning rate.
    """

    _known: Learner
    lr_schedule: Any

    def _setup_lr_schedule(self) -> None:
        super()._setup_lr_schedule()
        rate = self.lr_schedule
        self.lr_schedule = lambda left: rate(left) * (LAST_SHARE + (1.0 - LAST_SHARE) * left)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        super()._update_current_progress_remaining(min(num_timesteps, self._known.steps), self._known.steps)
