"""The reward teacher: algorithms of Stable-Baselines3 with the rule swapped inside their networks.

Everything else is theirs but where they start and how they are kept: a policy begins at the resting command, sees its
observations scaled by fixed constants, and is kept without pickles. A stretch of learning (`learn`) begins with new
trials, so that one that follows on a load is the one that would have followed without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import read_checkpoint, require_entries, require_finite, write_checkpoint
from agents.rules.feedback import FEEDBACK_RULES, feedback_rule
from agents.teachers.actor_inside import ActorInside
from agents.teachers.replay import fill, kept_arrays, kept_place
from agents.teachers.scaled_observation import ScaledObservation
from agents.trial_source import env_id, env_options_of, random_states, set_random_states
from agents.vec_env import copies_of

if TYPE_CHECKING:
    from reach.render.inside import Inside

# Of the arm before it is moved.
RESTING_COMMAND = (-0.638, 0.718, -0.410, 0.818)
# Exploration of the grip at the start, larger than that of the joints.
GRIP_LOG_SD = -0.5
HIDDEN_CELLS = (128, 128)
# Entries of a checkpoint that only learning on needs.
RANDOM_STATES = ("random_states", "numpy_random", "action_space")
ALIASES = {"reward-ppo": "reward-mlp-bp"}


def full_name(name: str) -> str:
    """`reward-<algorithm and network>-<rule>` for a name in short; any other name as it is."""
    return ALIASES.get(name, name)


class RewardLearner(ABC):
    """What Stable-Baselines3's algorithms share here: how they are made, kept and loaded.

    Attributes:
        KIND: what stands between `reward-` and the rule in a learner's name.
        RULES: that its networks take.
        ENV, ENV_OPTIONS: the environment it is made for, and what `gym.make` must be told for it.
        STEPS: of unperturbed training that it is given without a word.
        trials: that have ended while it learned.
    """

    POLICY: Any
    DEFAULTS: dict[str, Any]
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
            settings: any number or word that Stable-Baselines3's algorithm takes, instead of the defaults here.

        Raises:
            ValueError: an environment of other observations than it is made for, or a setting that is neither a number
                nor a word.
        """
        for setting, value in settings.items():
            if setting == "policy_kwargs" or not isinstance(value, bool | int | float | str | None):
                raise ValueError(f"{setting} is {value!r}; numbers and words are allowed, which a checkpoint can hold")
        self.name = name
        self.trials = 0
        self._inside: ActorInside | None = None
        # Where its networks are computed is no part of a learner.
        self.given = {"seed": seed, **{name: value for name, value in settings.items() if name != "device"}}
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

    def learn(self, total_timesteps: int, *given: Any, **settings: Any) -> Any:
        """As Stable-Baselines3's `learn`, beginning with new trials."""
        self._last_obs = None
        self._end_stretch()
        made: Any = super()
        return made.learn(total_timesteps, *given, **settings)

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: NDArray[np.bool_] | None = None) -> None:
        """What Stable-Baselines3 does after each step of learning."""
        made: Any = super()
        made._update_info_buffer(infos, dones)
        self.trials += 0 if dones is None else int(np.count_nonzero(dones))

    def _end_stretch(self) -> None:  # noqa: B027  (most have nothing to end)
        """What was under way in the stretch before has ended."""

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write a checkpoint folder, whole or not at all: weights and feedback, optimisers, buffer and random states.

        A learner that is loaded with `resume` learns on, in its next `learn`, as this one would: the same bits.
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
        config = {
            "learner": self.name,
            "settings": self.given,
            "num_timesteps": model.num_timesteps,
            "trials": self.trials,
            "updates": model._n_updates,
            "env": env_id(model.env),
            "env_options": self.env_options,
            "random_states": random_states(model.env),
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
            ValueError: the folder holds no such learner, lacks entries, or holds arrays of other shapes or that are
                not finite.
        """
        config, policy, state = read_checkpoint(Path(path))
        name = str(config.get("learner"))
        if full_name(name) not in cls.names():
            raise ValueError(f"checkpoint {path} names learner {name!r}; {cls.names()} are allowed")
        needed = ["env_options", "settings", "num_timesteps", "trials", "updates", "buffer"]
        require_entries(config, needed + (list(RANDOM_STATES) if resume else []), path)
        if env is None:
            env = gym.make(cls.ENV, **{**cls.ENV_OPTIONS, **config["env_options"]})
        model: Any = cls(name, env, **{**config["settings"], **settings})
        own = model.policy.state_dict()
        if {k: tuple(v.shape) for k, v in own.items()} != {k: v.shape for k, v in policy.items()}:
            raise ValueError(
                f"checkpoint {path} holds {sorted(policy)}; {sorted(own)} of the policy's shapes are allowed"
            )
        require_finite(policy, path)
        model.policy.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in policy.items()})
        model._fill(path, config, state)
        if resume:
            require_entries(state, ("random/torch", "random/numpy"), path)
            _set_random_states(model, config, state)
        return model

    def _fill(self, path: Any, config: dict[str, Any], state: dict[str, NDArray[Any]]) -> None:
        """Optimisers, variables and replay buffer."""
        model: Any = self
        model.num_timesteps = int(config["num_timesteps"])
        self.trials = int(config["trials"])
        model._n_updates = int(config["updates"])
        for name, values in model.get_parameters().items():
            if name == "policy":
                continue
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in state.items():
                if key.startswith(f"{name}/"):
                    k, kind = key.removeprefix(f"{name}/").split("/")
                    moments.setdefault(int(k), {})[kind] = torch.from_numpy(np.array(value))
            optimiser = model
            for part in name.split("."):
                optimiser = getattr(optimiser, part)
            optimiser.load_state_dict({**values, "state": moments})
        variables = model._get_torch_save_params()[1]
        require_entries(state, (f"variable/{name}" for name in variables), path)
        for name in variables:
            with torch.no_grad():
                getattr(model, name).copy_(torch.from_numpy(np.array(state[f"variable/{name}"])))
        buffer = getattr(self, "replay_buffer", None)
        if buffer is not None and config["buffer"] is not None:
            kept = {k.removeprefix("buffer/"): value for k, value in state.items() if k.startswith("buffer/")}
            fill(buffer, kept, config["buffer"], path)


def _set_random_states(model: Any, config: dict[str, Any], state: dict[str, NDArray[Any]]) -> None:
    set_random_states(model.env, config["random_states"])
    torch.set_rng_state(torch.from_numpy(np.array(state["random/torch"])))
    if model.device.type == "cuda" and "random/cuda" in state:
        torch.cuda.set_rng_state(torch.from_numpy(np.array(state["random/cuda"])), model.device)
    kept = config["numpy_random"]
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": "MT19937",
            "state": {"key": state["random/numpy"], "pos": kept["pos"]},
            "has_gauss": kept["has_gauss"],
            "gauss": kept["gauss"],
        }
    )
    model.action_space.np_random.bit_generator.state = config["action_space"]
