"""The reward teacher: Stable-Baselines3's PPO, SAC and TD3 with the rule swapped, and sb3-contrib's recurrent PPO.

Everything else is theirs but where they start and how they are kept: a policy begins at the resting command, sees its
observations scaled by fixed constants, and is kept without pickles. A stretch of learning (`learn`) begins with new
trials, so that one that follows on a load is the one that would have followed without it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import read_checkpoint, write_checkpoint
from agents.rules.feedback import FEEDBACK_RULES
from agents.teachers.recurrent_policy import SequencePolicy
from agents.teachers.ruled_policies import RuledActorCriticPolicy, RuledSACPolicy, RuledTD3Policy
from agents.trial_source import env_options_of, random_states, set_random_states

DEFAULT_ENV = "reach/CupGrab-v0"
# Where observations lie in a reach, and how far they spread; columns as in the environment's observation table.
CENTRE = (0.10, 0.45, 1.0, 0.13, 0.55, 0.4, 1.9, -0.4, 0, 0, 0, 0.08, 0, 0, 0, -0.45, 0.5, -0.4, 0.5)
SPREAD = (0.10, 0.10, 1.0, 0.07, 0.03, 0.3, 0.3, 0.3, 1, 1, 2, 0.02, 1, 1, 1, 0.2, 0.3, 0.3, 0.5)
RESTING_COMMAND = (-0.638, 0.718, -0.410, 0.818)
# Exploration at the start: small in the joints, larger in the grip.
JOINT_LOG_SD = -2.0
GRIP_LOG_SD = -0.5
HIDDEN_CELLS = (128, 128)
LSTM_CELLS = 64
CELLS_AFTER_LSTM = (64,)
# What of a replay buffer is kept.
BUFFER_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class ScaledObservation(BaseFeaturesExtractor):
    """The observation less its usual centre, in units of its usual spread."""

    def __init__(self, observation_space: gym.spaces.Box) -> None:
        """Keep the constants as buffers; the observation has 19 columns."""
        super().__init__(observation_space, features_dim=len(CENTRE))
        self.centre: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("centre", torch.tensor(CENTRE))
        self.register_buffer("spread", torch.tensor(SPREAD))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Scale a batch (n, 19)."""
        return (observation - self.centre) / self.spread


class _Reward:
    """What the three algorithms share: how they are made, kept and loaded."""

    POLICY: Any
    DEFAULTS: dict[str, Any]
    PARALLEL_ENVS: int

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """Make an untrained learner.

        Args:
            name: of the learner, in full or in short; the rule stands at the end of the full one.
            env: an environment id or a `CupEnv` made by `gym.make` (copies of it are learned in), or a VecEnv.
            seed: of weights, feedback and trials.
            settings: anything that Stable-Baselines3's algorithm takes, instead of the defaults here.
        """
        self.name = name
        self.given = {"seed": seed, **settings}
        if not isinstance(env, VecEnv):
            env = _copies(env, seed, self.PARALLEL_ENVS)
        policy_kwargs = {"features_extractor_class": ScaledObservation, **self._network(ALIASES.get(name, name))}
        made: Any = super()
        made.__init__(self.POLICY, env, seed=seed, policy_kwargs=policy_kwargs, **{**self.DEFAULTS, **settings})
        with torch.no_grad():
            self._start_at_rest()

    def _network(self, name: str) -> dict[str, Any]:
        """What the policy is told of the network of a learner, named in full."""
        return {"net_arch": list(HIDDEN_CELLS), "rule": name.rpartition("-")[2]}

    def _start_at_rest(self) -> None:
        """Let the untrained policy ask for the resting command."""
        raise NotImplementedError

    @property
    def env_options(self) -> dict[str, Any]:
        """What `gym.make` must be told for an environment like the one it learns in."""
        model: Any = self
        return env_options_of(model.env)

    def learn(self, total_timesteps: int, *given: Any, **settings: Any) -> Any:
        """As Stable-Baselines3's `learn`, beginning with new trials."""
        self._last_obs = None
        made: Any = super()
        return made.learn(total_timesteps, *given, **settings)

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write a checkpoint folder, whole or not at all: weights and feedback, optimisers, buffer and random states.

        A learner that is loaded with `resume` learns on, in its next `learn`, as this one would: the same bits.
        """
        model: Any = self
        parameters = model.get_parameters()
        state: dict[str, NDArray[Any]] = {}
        for name, values in parameters.items():
            for k, moments in values.get("state", {}).items() if name != "policy" else ():
                state |= {f"{name}/{k}/{kind}": np.asarray(torch.as_tensor(value)) for kind, value in moments.items()}
        for name in model._get_torch_save_params()[1]:
            state[f"variable/{name}"] = getattr(model, name).numpy(force=True)
        # Stable-Baselines3 draws from NumPy's global generator.
        legacy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
        state |= {"random/torch": torch.get_rng_state().numpy(), "random/numpy": legacy["state"]["key"]}
        buffer = getattr(self, "replay_buffer", None)
        if buffer is not None:
            filled = buffer.buffer_size if buffer.full else buffer.pos
            state |= {f"buffer/{name}": getattr(buffer, name)[:filled] for name in BUFFER_ARRAYS}
        config = {
            "learner": self.name,
            "settings": self.given,
            "num_timesteps": model.num_timesteps,
            "updates": model._n_updates,
            "env_options": self.env_options,
            "random_states": random_states(model.env),
            "numpy_random": {
                "pos": int(legacy["state"]["pos"]),
                "has_gauss": int(legacy["has_gauss"]),
                "gauss": float(legacy["gauss"]),
            },
            "action_space": model.action_space.np_random.bit_generator.state,
            "buffer": None if buffer is None else {"pos": int(buffer.pos), "full": bool(buffer.full)},
        }
        policy = {name: value.numpy(force=True) for name, value in parameters["policy"].items()}
        write_checkpoint(Path(path), config, policy, state)

    @classmethod
    def load(cls, path: Any, env: Any = None, *, resume: bool = False, **settings: Any) -> Any:
        """Read what `save` wrote, without running any code of it.

        Args:
            path: the folder.
            env: to go on in; "reach/CupGrab-v0" without one.
            resume: take up the random states too, those of torch and numpy among them, so that learning goes on as it
                would have.
            settings: instead of the saved ones.

        Raises:
            ValueError: the folder holds no such learner, or arrays of other shapes.
        """
        config, policy, state = read_checkpoint(Path(path))
        name = str(config.get("learner"))
        if ALGORITHMS.get(ALIASES.get(name, name)) is not cls:
            raise ValueError(f"checkpoint {path} names learner {name!r}; one of {cls.__name__} is allowed")
        model: Any = cls(name, DEFAULT_ENV if env is None else env, **{**config["settings"], **settings})
        own = model.policy.state_dict()
        if {k: tuple(v.shape) for k, v in own.items()} != {k: v.shape for k, v in policy.items()}:
            raise ValueError(
                f"checkpoint {path} holds {sorted(policy)}; {sorted(own)} of the policy's shapes are allowed"
            )
        model.policy.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in policy.items()})
        model._fill(path, config, state)
        if resume:
            _set_random_states(model, config, state)
        return model

    def _fill(self, path: Any, config: dict[str, Any], state: dict[str, NDArray[Any]]) -> None:
        """Optimisers, variables and replay buffer."""
        model: Any = self
        model.num_timesteps = int(config["num_timesteps"])
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
        for name in model._get_torch_save_params()[1]:
            with torch.no_grad():
                getattr(model, name).copy_(torch.from_numpy(np.array(state[f"variable/{name}"])))
        buffer: ReplayBuffer | None = getattr(self, "replay_buffer", None)
        if buffer is not None and config["buffer"] is not None:
            for name in BUFFER_ARRAYS:
                kept, own = state[f"buffer/{name}"], getattr(buffer, name)
                if kept.shape[1:] != own.shape[1:] or len(kept) > len(own):
                    raise ValueError(
                        f"checkpoint {path} holds a buffer of {name} {kept.shape}; up to {own.shape} is allowed"
                    )
                own[: len(kept)] = kept
            buffer.pos, buffer.full = int(config["buffer"]["pos"]), bool(config["buffer"]["full"])


class _OnPolicy(_Reward):
    """What PPO with and without memory share."""

    PARALLEL_ENVS = 16
    DEFAULTS = {  # noqa: RUF012
        "n_steps": 64, "batch_size": 256, "n_epochs": 6, "learning_rate": 1e-3, "gamma": 0.98, "gae_lambda": 0.95,
    }  # fmt: skip

    def _start_at_rest(self) -> None:
        model: Any = self
        model.policy.action_net.bias.copy_(torch.tensor(RESTING_COMMAND))
        model.policy.log_std[:3] = JOINT_LOG_SD
        model.policy.log_std[3] = GRIP_LOG_SD

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Learn and act in another environment; it may hold another number of copies than the one before."""
        model: Any = self
        wrapped = model._wrap_env(env, model.verbose)
        if wrapped.num_envs != model.n_envs:
            model.n_envs = wrapped.num_envs
            model.rollout_buffer = type(model.rollout_buffer)(
                model.n_steps,
                model.observation_space,
                model.action_space,
                device=model.device,
                gamma=model.gamma,
                gae_lambda=model.gae_lambda,
                n_envs=model.n_envs,
                **self._remembered(),
            )
        made: Any = super()
        made.set_env(wrapped, force_reset)

    def _remembered(self) -> dict[str, Any]:
        """What a rollout buffer is told of the network's memory."""
        return {}


class RewardPPO(_OnPolicy, PPO):  # type: ignore[misc]
    """PPO (Schulman et al. 2017) as Stable-Baselines3 has it, set for the cup."""

    POLICY = RuledActorCriticPolicy


class RewardLSTM(_OnPolicy, RecurrentPPO):  # type: ignore[misc]
    """PPO whose actor and critic have a layer of LSTM cells each: sb3-contrib's RecurrentPPO, set for the cup.

    It learns by back-propagation through time alone: the rules of `agents.rules.feedback` are for layers without
    recurrence, and the LSTM is one kernel of torch's, within which no error can be exchanged. What share of its memory
    it keeps is read by `agents.teachers.recurrent_policy.forget_gate`.
    """

    POLICY = SequencePolicy

    def _network(self, name: str) -> dict[str, Any]:
        return {"net_arch": list(CELLS_AFTER_LSTM), "lstm_hidden_size": LSTM_CELLS}

    def _remembered(self) -> dict[str, Any]:
        return {"hidden_state_shape": (self.n_steps, 1, self.n_envs, LSTM_CELLS)}

    def learn(self, total_timesteps: int, *given: Any, **settings: Any) -> Any:
        """As sb3-contrib's `learn`, beginning with new trials, of which nothing is remembered."""
        model: Any = self
        nothing = torch.zeros(1, self.n_envs, LSTM_CELLS, device=self.device)
        model._last_lstm_states = RNNStates((nothing, nothing), (nothing, nothing))
        return super().learn(total_timesteps, *given, **settings)


class _OffPolicy(_Reward):
    """What SAC and TD3 share."""

    PARALLEL_ENVS = 1

    def _start_at_rest(self) -> None:
        model: Any = self
        last = model.actor.mu if isinstance(model.actor.mu, torch.nn.Linear) else model.actor.mu[-2]
        # The command is the hyperbolic tangent of what the last layer gives.
        last.bias.copy_(torch.tensor([math.atanh(value) for value in RESTING_COMMAND]))
        if hasattr(model, "critic_target"):
            model.critic_target.load_state_dict(model.critic.state_dict())
        if hasattr(model, "actor_target"):
            model.actor_target.load_state_dict(model.actor.state_dict())


class RewardSAC(_OffPolicy, SAC):  # type: ignore[misc]
    """SAC (Haarnoja et al. 2018) as Stable-Baselines3 has it, set for the cup."""

    POLICY = RuledSACPolicy
    DEFAULTS = {  # noqa: RUF012
        "learning_rate": 1e-3, "gamma": 0.98, "tau": 0.01, "batch_size": 256, "buffer_size": 200_000,
        "learning_starts": 1_000, "train_freq": 1, "gradient_steps": 1,
    }  # fmt: skip


class RewardTD3(_OffPolicy, TD3):  # type: ignore[misc]
    """TD3 (Fujimoto et al. 2018) as Stable-Baselines3 has it, set for the cup."""

    POLICY = RuledTD3Policy
    DEFAULTS = {**RewardSAC.DEFAULTS, "tau": 0.005}  # noqa: RUF012


ALGORITHMS: dict[str, type[_Reward]] = {
    f"reward-{kind}mlp-{rule}": algorithm
    for kind, algorithm in (("", RewardPPO), ("sac-", RewardSAC), ("td3-", RewardTD3))
    for rule in FEEDBACK_RULES
} | {"reward-lstm-bp": RewardLSTM}
ALIASES = {"reward-ppo": "reward-mlp-bp"}


def _copies(env: gym.Env[Any, Any] | str, seed: int, number: int) -> VecEnv:
    """So many environments like the one given."""
    spec = env if isinstance(env, str) else env.spec
    if spec is None:
        raise ValueError("env has no spec; an environment made by gym.make, its id or a VecEnv is allowed")
    return make_vec_env(
        lambda: gym.make(spec, disable_env_checker=True),
        n_envs=number,
        seed=seed,
        monitor_kwargs={"info_keywords": ("is_success",)},
    )


def _set_random_states(model: Any, config: dict[str, Any], state: dict[str, NDArray[Any]]) -> None:
    set_random_states(model.env, config["random_states"])
    torch.set_rng_state(torch.from_numpy(np.array(state["random/torch"])))
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
