"""The reward teacher: algorithms of Stable-Baselines3 with the rule swapped inside their networks.

Everything else is theirs but where they start and how they are kept: a policy begins at the resting command, sees its
observations scaled by fixed constants, and is kept without pickles. A call of `learn` begins with new trials. A
checkpoint written between two rollouts of a `learn` also holds the trials under way, and learning goes on within them.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents import checkpoint
from agents.checkpoint import (
    COUNT,
    CheckpointError,
    Entries,
    Entry,
    Setting,
    check_settings,
    entries_of,
    generator_state,
    in_brief,
    loading,
    mapping_of,
    read_checkpoint,
    read_config,
    read_settings,
    require_entries,
    short,
    write_checkpoint,
)
from agents.environments import (
    env_id,
    env_options_of,
    kept_env_options,
    kept_random_states,
    num_envs_of,
    random_states,
    set_random_states,
)
from agents.loggers import LOG_SETTINGS, make_logger
from agents.rules.feedback import FEEDBACK_RULES, feedback_rule
from agents.rules.layers import RuledLayer
from agents.teachers.actor_inside import ActorInside
from agents.teachers.held_noise import HeldNoise
from agents.teachers.replay import check_place, entries_of_buffer, fill, kept_arrays, kept_place
from agents.teachers.scaled_observation import ScaledObservation
from agents.trial_log import logged, trial_log
from agents.vec_env import copies_of

if TYPE_CHECKING:
    from reach.snapshot import Inside

# Of the arm before it is moved.
RESTING_COMMAND = (-0.638, 0.718, -0.410, 0.818)
# Exploration of the grip at the start, larger than that of the joints.
GRIP_LOG_SD = -0.5
HIDDEN_CELLS = (128, 128)
# Where a learner computes and what it logs: never stored in a checkpoint or read from one.
UNKEPT_SETTINGS = {"device": Setting(pattern=r"auto|cpu|mps|(cuda|xpu)(:\d+)?"), **LOG_SETTINGS}
SEED = {"seed": Setting(0, 2**32 - 1, whole=True)}
COUNTS = {"num_timesteps": COUNT, "trials": COUNT, "updates": COUNT}
# Of NumPy's global generator, a Mersenne twister.
TWISTER_WORDS = 624
NUMPY_RANDOM = {
    "pos": Setting(0, TWISTER_WORDS, whole=True),
    "has_gauss": Setting(0, 1, whole=True),
    "gauss": Setting(-sys.float_info.max),
}
CUDA_STATE_BYTES = 16
# How the names of the arrays begin that only a checkpoint written within a `learn` holds.
UNDER_WAY = "under_way/"
# Control steps of one trial; far more than a task allows.
MOST_STEPS_UNDER_WAY = 10_000
ALIASES = {"reward-ppo": "reward-mlp-bp"}


def full_name(name: str) -> str:
    """`reward-<algorithm and network>-<rule>` for a name in short; any other name as it is."""
    return ALIASES.get(name, name)


class RewardLearner(ABC):
    """What Stable-Baselines3's algorithms share here: how they are made, kept and loaded.

    Attributes:
        SETTINGS: what may be set of Stable-Baselines3's algorithm, and kept in a checkpoint.
        KIND: what stands between `reward-` and the rule in a learner's name.
        RULES: that its networks take.
        ENV, ENV_OPTIONS: the environment it is made for, and what `gym.make` must be told for it.
        STEPS: of unperturbed training that it is given without a word.
        trials: that have ended while it learned.
    """

    POLICY: Any
    DEFAULTS: dict[str, Any]
    SETTINGS: dict[str, Setting]
    PARALLEL_ENVS: int
    FEATURES: Any = ScaledObservation
    # What the first layer that is looked into hears.
    HEARD = "senses"
    KIND: str
    RULES: tuple[str, ...] = tuple(FEEDBACK_RULES)
    ENV = "reach/CupGrab-v0"
    STEPS: int
    ENV_OPTIONS: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """Make an untrained learner.

        Args:
            name: of the learner, in full or in short; the rule stands at the end of the full one.
            env: an environment id or a `CupEnv` made by `gym.make` (copies of it are learned in), or a VecEnv.
            seed: of weights, feedback and trials.
            settings: those of `SETTINGS`, instead of the defaults here; and `device`, `verbose`, `tensorboard_log`,
                which a checkpoint does not hold.

        Raises:
            ValueError: a seed or setting that is not valid, an unknown setting, or an environment of other observations
                than the learner is made for.
        """
        seed = SEED["seed"].check("seed", seed)
        settings = check_settings(settings, self.SETTINGS | UNKEPT_SETTINGS)
        kept = {setting: value for setting, value in settings.items() if setting not in UNKEPT_SETTINGS}
        self.name = name
        self.trials = 0
        # Until `learn` begins, the environments are not seeded.
        self._unseeded = True
        self._inside: ActorInside | None = None
        # Steps at the start of the latest `learn`, and at the start of its latest rollout.
        self._start = 0
        self._rollout_start: int | None = None
        # Whether a checkpoint was loaded whose `learn` the next one continues.
        self._resumed = False
        self.given = {"seed": seed, **kept}
        if not isinstance(env, VecEnv):
            env = copies_of(
                gym.make(env, **self.ENV_OPTIONS) if isinstance(env, str) else env, seed, self.PARALLEL_ENVS
            )
        observed, wanted = (one.get("observation", "vector") for one in (env_options_of(env), self.ENV_OPTIONS))
        if observed != wanted:
            raise ValueError(f"env has observation={observed!r}; learner {name!r} takes observation={wanted!r}")
        policy_kwargs = {
            "features_extractor_class": self.FEATURES,
            "net_arch": list(HIDDEN_CELLS),
            **self._of_policy(full_name(name).rpartition("-")[2]),
        }
        made: Any = super()
        made.__init__(self.POLICY, env, seed=seed, policy_kwargs=policy_kwargs, **{**self.DEFAULTS, **settings})
        with torch.no_grad():
            self._start_at_rest()

    @classmethod
    def names(cls) -> list[str]:
        """The learners that this class makes, named in full."""
        return [f"reward-{cls.KIND}-{rule}" for rule in cls.RULES]

    def _of_policy(self, rule: str) -> dict[str, Any]:
        """What else the policy is told."""
        return {"rule": rule}

    @abstractmethod
    def _start_at_rest(self) -> None:
        """Let the untrained policy ask for the resting command."""

    @abstractmethod
    def _actors(self) -> list[list[Any]]:
        """The modules of the actor that learns, in the order in which they act; and those of others that act for it."""

    def inside(self) -> Inside:
        """What the actor's layers gave in its latest step, from the first look on, and what its last update told them.

        Looking changes nothing.
        """
        model: Any = self
        if self._inside is None:
            rule = feedback_rule(full_name(self.name).rpartition("-")[2])
            self._inside = ActorInside(self._actors(), rule.way, self.HEARD)
        return self._inside.look(model._n_updates)

    @property
    def env_options(self) -> dict[str, Any]:
        """What `gym.make` must be told for an environment like the one it learns in."""
        model: Any = self
        return env_options_of(model.env)

    @property
    def stretch_start(self) -> int:
        """Steps at which the `learn` began that the next one continues; the steps so far if it begins a new one."""
        model: Any = self
        return self._start if self._resumed else int(model.num_timesteps)

    def _wrap_env(self, env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        made: Any = super()
        return logged(made._wrap_env(env, verbose, monitor_wrapper))

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> Any:
        """Prepare a `learn`: continue one that a loaded checkpoint was written in, or begin with new trials."""
        model: Any = self
        continued = self._resumed and not reset_num_timesteps and model._last_obs is not None
        self._resumed, self._rollout_start, self._unseeded = False, None, False
        if not continued:
            model._last_obs = None
            self._end_stretch()
        if not model._custom_logger and model.tensorboard_log is None:
            model.set_logger(make_logger(model.verbose, None))
        noise = model.action_noise if isinstance(model.action_noise, HeldNoise) else None
        held = None if noise is None else noise.state()
        made: Any = super()
        prepared = made._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        if not continued:
            self._start = int(model.num_timesteps)
        elif noise is not None and held is not None:
            # Stable-Baselines3 has reset it.
            noise.set_state(held)
        return prepared

    def collect_rollouts(self, *given: Any, **named: Any) -> Any:
        """Collect a rollout; at its start all that learning depends on can be saved."""
        model: Any = self
        self._rollout_start = int(model.num_timesteps)
        made: Any = super()
        return made.collect_rollouts(*given, **named)

    def _under_way(self) -> dict[str, NDArray[Any]]:
        """Return what must be kept besides to continue a `learn` from the start of a rollout, as arrays by name."""
        model: Any = self
        log = trial_log(model.env)
        assert log is not None
        space = model.observation_space
        parts: dict[str, Any] = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"": space}
        last = {name: np.zeros((model.n_envs, *part.shape), part.dtype) for name, part in parts.items()}
        if model._last_obs is not None:
            last = model._last_obs if isinstance(space, gym.spaces.Dict) else {"": model._last_obs}
        return {
            **log.under_way(),
            **{f"observation.{name}": values for name, values in last.items()},
            "start": np.array(self._start),
        }

    def _continue(self, kept: dict[str, NDArray[Any]]) -> None:
        """Take up what `_under_way` returned; the environments hold their random states already."""
        model: Any = self
        log = trial_log(model.env)
        assert log is not None
        log.take_up(kept["commands"], kept["ages"])
        parts = {
            name.removeprefix("observation."): values
            for name, values in kept.items()
            if name.startswith("observation.")
        }
        model._last_obs = parts if isinstance(model.observation_space, gym.spaces.Dict) else parts[""]
        model._last_episode_starts = kept["ages"] == 0
        self._start = int(kept["start"])
        self._rollout_start = int(model.num_timesteps)
        self._resumed = True

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: NDArray[np.bool_] | None = None) -> None:
        """What Stable-Baselines3 does after each step of learning."""
        made: Any = super()
        made._update_info_buffer(infos, dones)
        self.trials += 0 if dones is None else int(np.count_nonzero(dones))

    def _end_stretch(self) -> None:  # noqa: B027  (most learners have nothing to leave)
        """Leave what the `learn` before has under way."""

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write a checkpoint folder, whole or not at all: weights and feedback, optimisers, buffer and random states.

        A learner loaded with `resume` ends with the same bits as this one, if it is given the same `learn`; or what is
        left of the present one, if this is called at the start of a rollout (a callback's `_on_rollout_start`).
        """
        model: Any = self
        parameters = model.get_parameters()
        state: dict[str, NDArray[Any]] = {}
        for name, values in parameters.items():
            for k, moments in values.get("state", {}).items() if name != "policy" else ():
                state |= {
                    f"{name}/{k}/{kind}": torch.as_tensor(value).numpy(force=True) for kind, value in moments.items()
                }
        for name in model._get_torch_save_params()[1]:
            state[f"variable/{name}"] = getattr(model, name).numpy(force=True)
        # Stable-Baselines3 draws from NumPy's global generator.
        legacy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
        state |= {"random/torch": torch.get_rng_state().numpy(), "random/numpy": legacy["state"]["key"]}
        if model.device.type == "cuda":
            state["random/cuda"] = torch.cuda.get_rng_state(model.device).numpy()
        buffer = getattr(self, "replay_buffer", None)
        if buffer is not None:
            state |= {f"buffer/{name}": values for name, values in kept_arrays(buffer).items()}
        if self._rollout_start == model.num_timesteps:
            state |= {f"{UNDER_WAY}{name}": values for name, values in self._under_way().items()}
        config = {
            "learner": self.name,
            "settings": self.given,
            "num_timesteps": model.num_timesteps,
            "trials": self.trials,
            "updates": model._n_updates,
            "env": env_id(model.env),
            "env_options": self.env_options,
            # Until the environments are seeded, their generators are in no state that follows from the seed.
            "random_states": [None] * num_envs_of(model.env) if self._unseeded else random_states(model.env),
            "numpy_random": {
                "pos": int(legacy["state"]["pos"]),
                "has_gauss": int(legacy["has_gauss"]),
                "gauss": float(legacy["gauss"]),
            },
            "action_space": model.action_space.np_random.bit_generator.state,
            "buffer": None if buffer is None else kept_place(buffer),
        }
        policy = {name: value.numpy(force=True) for name, value in parameters["policy"].items()}
        write_checkpoint(Path(path), config, policy, state)

    @classmethod
    def load(cls, path: Any, env: Any = None, *, resume: bool = False, **settings: Any) -> Any:
        """Read what `save` wrote, without running any code of it.

        Args:
            path: the folder.
            env: to go on in; the one that the learner is made for without one.
            resume: take up the random states too, those of torch and numpy among them, so that learning goes on as it
                would have.
            settings: instead of the saved ones.

        Raises:
            CheckpointError: the folder holds no such learner, is damaged, or does not fit `env`; the message names what
                is missing or wrong.
        """
        config = read_config(Path(path))
        name = config.get("learner")
        if not isinstance(name, str) or full_name(name) not in cls.names():
            raise CheckpointError(f"checkpoint {path} names learner {short(name)}; one of {cls.names()} is expected")
        require_entries(config, ["buffer", "random_states"], path)
        counts = read_settings(config, COUNTS, path)
        numpy_random = read_settings(mapping_of(config, "numpy_random", path), NUMPY_RANDOM, path)
        action_space = generator_state(mapping_of(config, "action_space", path), "action_space", path)
        kept, options = mapping_of(config, "settings", path), kept_env_options(config, path)
        with loading(path):
            check_settings(kept, SEED | cls.SETTINGS)
            if env is None:
                env = gym.make(cls.ENV, **{**cls.ENV_OPTIONS, **options})
            model: Any = cls(name, env, **{**kept, **settings})
        model.num_timesteps, model.trials, model._n_updates = (counts[count] for count in COUNTS)
        place = model._kept_place(config, path)
        own = {name: value.numpy(force=True) for name, value in model.policy.state_dict().items()}
        _, policy, state = read_checkpoint(Path(path), entries_of(own), model._state_entries(place))
        model.policy.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in policy.items()})
        model._fill(place, state)
        # Known to be valid before any of it is taken up.
        states = kept_random_states(config, model.env, path) if resume else None
        _check_torch_states(model, state, path)
        if resume:
            if states is not None:
                with loading(path):
                    set_random_states(model.env, states)
            model._unseeded = states is None
            _set_global_states(model, numpy_random, state)
            model.action_space.np_random.bit_generator.state = action_space
            under_way = {
                key.removeprefix(UNDER_WAY): array for key, array in state.items() if key.startswith(UNDER_WAY)
            }
            if under_way:
                with loading(path):
                    model._continue(_as_own(model._under_way(), under_way, path))
        return model

    def _kept_place(self, config: dict[str, Any], path: Any) -> dict[str, Any] | None:
        """Where the next transition goes in the replay buffer, out of a checkpoint's config; None without a buffer."""
        buffer = getattr(self, "replay_buffer", None)
        if buffer is not None:
            return check_place(buffer, config["buffer"], path)
        if config["buffer"] is not None:
            raise CheckpointError(f"checkpoint {path}: buffer is {short(config['buffer'])}; None is expected")
        return None

    def _state_entries(self, place: dict[str, Any] | None) -> Entries:
        """What the arrays of a checkpoint's state must be, for the number of updates that have been made."""
        model: Any = self
        found = {
            "random/torch": Entry(np.dtype(np.uint8), tuple(torch.get_rng_state().shape)),
            "random/numpy": Entry(np.dtype(np.uint32), (TWISTER_WORDS,)),
            "random/cuda": Entry(np.dtype(np.uint8), (CUDA_STATE_BYTES,), is_optional=True),
        }
        for name in model._get_torch_save_params()[0]:
            if name != "policy" and self._updates_of(name) > 0:
                for k, value in enumerate(self._moved(name)):
                    if value is not None:
                        found |= {f"{name}/{k}/{kind}": entry for kind, entry in _adam_entries(value).items()}
        variables = {f"variable/{name}": getattr(model, name) for name in model._get_torch_save_params()[1]}
        found |= entries_of({name: value.numpy(force=True) for name, value in variables.items()})
        under_way = entries_of(self._under_way())
        under_way["commands"] = replace(
            under_way["commands"], shape=(MOST_STEPS_UNDER_WAY, *under_way["commands"].shape[1:]), is_shorter_valid=True
        )
        found |= {f"{UNDER_WAY}{k}": replace(entry, is_optional=True) for k, entry in under_way.items()}
        if place is not None:
            found |= {f"buffer/{k}": entry for k, entry in entries_of_buffer(model.replay_buffer, place).items()}
        return found

    def _updates_of(self, optimiser: str) -> int:
        """How many updates an optimiser, named as in `get_parameters`, has made."""
        model: Any = self
        return int(model._n_updates)

    def _moved(self, optimiser: str) -> list[torch.Tensor | None]:
        """The parameters of an optimiser in order, None for those of layers that a rule leaves as they were drawn."""
        model: Any = self
        still: set[int] = set()
        if full_name(self.name).rpartition("-")[2] == "shallow":
            hidden = [m for m in model.policy.modules() if isinstance(m, RuledLayer) and m.wiring.head is None]
            still = {id(value) for layer in hidden for value in layer.parameters()}
        groups = _part(model, optimiser).param_groups
        return [None if id(value) in still else value for group in groups for value in group["params"]]

    def _fill(self, place: dict[str, Any] | None, state: dict[str, NDArray[Any]]) -> None:
        """Optimisers, variables and replay buffer."""
        model: Any = self
        for name, values in model.get_parameters().items():
            if name == "policy":
                continue
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in state.items():
                if key.startswith(f"{name}/"):
                    k, kind = key.removeprefix(f"{name}/").split("/")
                    moments.setdefault(int(k), {})[kind] = torch.from_numpy(np.array(value))
            _part(model, name).load_state_dict({**values, "state": moments})
        for name in model._get_torch_save_params()[1]:
            with torch.no_grad():
                getattr(model, name).copy_(torch.from_numpy(np.array(state[f"variable/{name}"])))
        if place is not None:
            kept = {k.removeprefix("buffer/"): value for k, value in state.items() if k.startswith("buffer/")}
            fill(model.replay_buffer, kept, place)


def _part(model: Any, name: str) -> Any:
    """A part of a model by the name that `get_parameters` gives it, such as "actor.optimizer"."""
    for part in name.split("."):
        model = getattr(model, part)
    return model


def _adam_entries(value: torch.Tensor) -> dict[str, Entry]:
    """What Adam keeps of a parameter that it has changed."""
    dtype, shape = value.detach().numpy(force=True).dtype, tuple(value.shape)
    return {
        "step": Entry(np.dtype(np.float32), (), low=1.0),
        "exp_avg": Entry(dtype, shape),
        "exp_avg_sq": Entry(dtype, shape, low=0.0),
    }


def _check_torch_states(model: Any, state: dict[str, NDArray[Any]], path: Any) -> None:
    """Refuse what is no state of torch's generators, on those of its own that nothing draws from.

    Raises:
        CheckpointError: torch does not take it.
    """
    devices = {"random/torch": "cpu"} | ({"random/cuda": model.device} if model.device.type == "cuda" else {})
    for name, device in devices.items():
        try:
            if name in state:
                torch.Generator(device).set_state(torch.from_numpy(np.array(state[name])))
        except RuntimeError as error:
            raise CheckpointError(f"checkpoint {path}: {name} is no state of a generator: {in_brief(error)}") from error


def _as_own(own: dict[str, NDArray[Any]], kept: dict[str, NDArray[Any]], path: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of a checkpoint in the types of a learner's own; any number of steps is allowed.

    Raises:
        CheckpointError: arrays of other names or shapes, or that are not finite.
    """
    commands = kept.get("commands", np.zeros(0))
    steps = len(commands) if commands.ndim else 0
    filled = {name: array.copy() for name, array in own.items()}
    filled["commands"] = np.zeros((steps, *own["commands"].shape[1:]), dtype=own["commands"].dtype)
    checkpoint.fill(filled, kept, path)
    return filled


def _set_global_states(model: Any, kept: dict[str, Any], state: dict[str, NDArray[Any]]) -> None:
    torch.set_rng_state(torch.from_numpy(np.array(state["random/torch"])))
    if model.device.type == "cuda" and "random/cuda" in state:
        torch.cuda.set_rng_state(torch.from_numpy(np.array(state["random/cuda"])), model.device)
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": "MT19937",
            "state": {"key": state["random/numpy"], "pos": kept["pos"]},
            "has_gauss": kept["has_gauss"],
            "gauss": kept["gauss"],
        }
    )
