"""The reward teacher: Stable-Baselines3's PPO, SAC and TD3 with the rule swapped; recurrent PPO; TQC with HER.

Everything else is theirs but where they start and how they are kept: a policy begins at the resting command, sees its
observations scaled by fixed constants, and is kept without pickles. A stretch of learning (`learn`) begins with new
trials, so that one that follows on a load is the one that would have followed without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import TQC, RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import read_checkpoint, write_checkpoint
from agents.rules.feedback import FEEDBACK_RULES
from agents.teachers.held_noise import HeldNoise
from agents.teachers.hindsight import ReadyHindsight
from agents.teachers.recurrent_policy import SequencePolicy
from agents.teachers.replay import end_trials, fill, kept_arrays, kept_place
from agents.teachers.ruled_policies import RuledActorCriticPolicy, RuledSACPolicy, RuledTD3Policy
from agents.teachers.scaled_observation import ScaledGoal, ScaledObservation
from agents.teachers.usual_commands import ANY_GRIP, OPEN_GRIP, within_usual_commands
from agents.trial_source import env_options_of, random_states, set_random_states

DEFAULT_ENV = "reach/CupGrab-v0"
# Of the arm before it is moved.
RESTING_COMMAND = (-0.638, 0.718, -0.410, 0.818)
# Exploration at the start: small in the joints, larger in the grip.
JOINT_LOG_SD = -2.0
GRIP_LOG_SD = -0.5
# The same small exploration in the joints, in units of the usual commands.
USUAL_LOG_SD = -1.2
# Too little to keep a hand from resting.
STILL_LOG_SD = -3.5
# How much of its first weights the last layer of an actor keeps that explores: it starts nearly the same everywhere.
FIRST_STEEPNESS = 0.1
QUANTILES = 10
HIDDEN_CELLS = (128, 128)
LSTM_CELLS = 64
CELLS_AFTER_LSTM = (64,)


class _Reward:
    """What the three algorithms share: how they are made, kept and loaded."""

    POLICY: Any
    DEFAULTS: dict[str, Any]
    PARALLEL_ENVS: int
    FEATURES: Any = ScaledObservation
    # The environment it is made for, and what `gym.make` must be told for it.
    ENV = DEFAULT_ENV
    ENV_OPTIONS: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """Make an untrained learner.

        Args:
            name: of the learner, in full or in short; the rule stands at the end of the full one.
            env: an environment id or a `CupEnv` made by `gym.make` (copies of it are learned in), or a VecEnv.
            seed: of weights, feedback and trials.
            settings: anything that Stable-Baselines3's algorithm takes, instead of the defaults here.

        Raises:
            ValueError: an environment of other observations than it is made for.
        """
        self.name = name
        # Where its networks are computed is no part of a learner.
        self.given = {"seed": seed, **{name: value for name, value in settings.items() if name != "device"}}
        if not isinstance(env, VecEnv):
            env = _copies(env, self.ENV_OPTIONS, seed, self.PARALLEL_ENVS)
        observed, wanted = (one.get("observation", "vector") for one in (env_options_of(env), self.ENV_OPTIONS))
        if observed != wanted:
            raise ValueError(f"env has observation={observed!r}; learner {name!r} takes observation={wanted!r}")
        policy_kwargs = {
            "features_extractor_class": self.FEATURES,
            "net_arch": list(HIDDEN_CELLS),
            **self._of_policy(ALIASES.get(name, name).rpartition("-")[2]),
        }
        made: Any = super()
        made.__init__(self.POLICY, env, seed=seed, policy_kwargs=policy_kwargs, **{**self.DEFAULTS, **settings})
        with torch.no_grad():
            self._start_at_rest()

    def _of_policy(self, rule: str) -> dict[str, Any]:
        """What else the policy is told."""
        return {"rule": rule}

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
        self._end_stretch()
        made: Any = super()
        return made.learn(total_timesteps, *given, **settings)

    def _end_stretch(self) -> None:
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
            "updates": model._n_updates,
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
            ValueError: the folder holds no such learner, or arrays of other shapes.
        """
        config, policy, state = read_checkpoint(Path(path))
        name = str(config.get("learner"))
        if ALGORITHMS.get(ALIASES.get(name, name)) is not cls:
            raise ValueError(f"checkpoint {path} names learner {name!r}; one of {cls.__name__} is allowed")
        model: Any = cls(name, cls.ENV if env is None else env, **{**config["settings"], **settings})
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
        buffer = getattr(self, "replay_buffer", None)
        if buffer is not None and config["buffer"] is not None:
            kept = {k.removeprefix("buffer/"): value for k, value in state.items() if k.startswith("buffer/")}
            fill(buffer, kept, config["buffer"], path)


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

    def _of_policy(self, rule: str) -> dict[str, Any]:
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
    """What SAC, TD3 and TQC share."""

    PARALLEL_ENVS = 1

    def _start_at_rest(self) -> None:
        model: Any = self
        last = model.actor.mu if isinstance(model.actor.mu, torch.nn.Linear) else model.actor.mu[-2]
        # The command is the hyperbolic tangent of what the last layer gives, between the lowest and the highest.
        squashed = model.policy.scale_action(np.array(RESTING_COMMAND))
        last.bias.copy_(torch.as_tensor(np.arctanh(squashed)))
        if hasattr(model, "critic_target"):
            model.critic_target.load_state_dict(model.critic.state_dict())
        if hasattr(model, "actor_target"):
            model.actor_target.load_state_dict(model.actor.state_dict())

    def _end_stretch(self) -> None:
        model: Any = self
        end_trials(model.replay_buffer)
        if model.action_noise is not None:
            model.action_noise.reset()


class _Soft(_OffPolicy):
    """What SAC and TQC share: they explore by the spread of their own policy, from the first step on.

    Commands from all over the range, with which Stable-Baselines3 begins, only tip cups.
    """

    LOG_SD: tuple[float, float, float, float]
    GRIP = ANY_GRIP

    def _start_at_rest(self) -> None:
        super()._start_at_rest()
        model: Any = self
        for head in (model.actor.mu, model.actor.log_std):
            head.weight.mul_(FIRST_STEEPNESS)
        model.actor.log_std.bias.copy_(torch.tensor(self.LOG_SD))

    def _wrap_env(self, env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        made: Any = super()
        return within_usual_commands(made._wrap_env(env, verbose, monitor_wrapper), self.GRIP)

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
        made: Any = super()
        return made._sample_action(0, action_noise, n_envs)


class RewardSAC(_Soft, SAC):  # type: ignore[misc]
    """SAC (Haarnoja et al. 2018) as Stable-Baselines3 has it, set for the cup."""

    POLICY = RuledSACPolicy
    LOG_SD = (USUAL_LOG_SD, USUAL_LOG_SD, USUAL_LOG_SD, GRIP_LOG_SD)
    DEFAULTS = {  # noqa: RUF012
        "learning_rate": 1e-3, "gamma": 0.97, "n_steps": 5, "tau": 0.02, "batch_size": 256, "buffer_size": 200_000,
        "learning_starts": 2_400, "train_freq": 16, "gradient_steps": 4, "ent_coef": "auto_0.01",
        "target_entropy": -3.0,
    }  # fmt: skip


class RewardTD3(_OffPolicy, TD3):  # type: ignore[misc]
    """TD3 (Fujimoto et al. 2018) as Stable-Baselines3 has it, set for the cup."""

    POLICY = RuledTD3Policy
    DEFAULTS = {  # noqa: RUF012
        "learning_rate": 1e-3, "gamma": 0.98, "tau": 0.005, "batch_size": 256, "buffer_size": 200_000,
        "learning_starts": 1_000, "train_freq": 1, "gradient_steps": 1,
    }  # fmt: skip


class RewardTQC(_Soft, TQC):  # type: ignore[misc]
    """TQC (Kuznetsov et al. 2020) with HER (Andrychowicz et al. 2017) as sb3-contrib and Stable-Baselines3 have them.

    It reaches by sparse reward. A reach asks for a hand at rest, so it explores by deviations that last (`HeldNoise`).
    """

    POLICY = "MultiInputPolicy"
    FEATURES = ScaledGoal
    ENV = "reach/CupReach-v0"
    ENV_OPTIONS = {"observation": "goal"}  # noqa: RUF012
    LOG_SD = (STILL_LOG_SD,) * 4
    GRIP = OPEN_GRIP
    DEFAULTS = {  # noqa: RUF012
        "learning_rate": 1e-3, "gamma": 0.95, "tau": 0.02, "batch_size": 256, "buffer_size": 200_000,
        "learning_starts": 4_000, "train_freq": 8, "gradient_steps": 2, "ent_coef": 0.0003,
        "top_quantiles_to_drop_per_net": 2, "replay_buffer_class": ReadyHindsight,
        "replay_buffer_kwargs": {"n_sampled_goal": 4, "goal_selection_strategy": "future"},
    }  # fmt: skip

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """As the other learners; `action_noise` is a `HeldNoise` without a word."""
        super().__init__(name, env, seed=seed, **settings)
        if "action_noise" not in settings:
            self.action_noise = HeldNoise()

    def _of_policy(self, rule: str) -> dict[str, Any]:
        return {"n_quantiles": QUANTILES, "n_critics": 2}


ALGORITHMS: dict[str, type[_Reward]] = {
    f"reward-{kind}mlp-{rule}": algorithm
    for kind, algorithm in (("", RewardPPO), ("sac-", RewardSAC), ("td3-", RewardTD3))
    for rule in FEEDBACK_RULES
} | {"reward-lstm-bp": RewardLSTM, "reward-tqc-mlp-bp": RewardTQC}
ALIASES = {"reward-ppo": "reward-mlp-bp"}


def _copies(env: gym.Env[Any, Any] | str, options: dict[str, Any], seed: int, number: int) -> VecEnv:
    """So many environments like the one given; `options` are those of one that is given by its id."""
    spec = env if isinstance(env, str) else env.spec
    if spec is None:
        raise ValueError("env has no spec; an environment made by gym.make, its id or a VecEnv is allowed")
    return make_vec_env(
        lambda: gym.make(spec, disable_env_checker=True, **(options if isinstance(env, str) else {})),
        n_envs=number,
        seed=seed,
        monitor_kwargs={"info_keywords": ("is_success",)},
    )


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
