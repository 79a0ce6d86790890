"""SAC, TD3, and TQC with hindsight, taught by reward from a replay buffer."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import TQC
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import Setting
from agents.teachers.actor_inside import chain_of
from agents.teachers.averaged_policy import AveragedTQCPolicy
from agents.teachers.falling_rate import FallingRate
from agents.teachers.held_commands import DECISION_STEPS, HeldCommands, followed
from agents.teachers.held_noise import HeldNoise
from agents.teachers.hindsight import ReadyHindsight
from agents.teachers.replay import end_trials
from agents.teachers.reward import GRIP_LOG_SD, RESTING_COMMAND, RewardLearner
from agents.teachers.ruled_policies import RuledSACPolicy, RuledTD3Policy
from agents.teachers.scaled_observation import ScaledGoal
from agents.teachers.usual_commands import ANY_GRIP, OPEN_GRIP, within_usual_commands
from reach.sim.layout import ACTION_SIZE

# The small exploration of the joints at the start, in units of the usual commands.
USUAL_LOG_SD = -1.2
# Too little to keep a hand from resting.
STILL_LOG_SD = -3.0
# Of the commands of TD3, in units of half the range of the usual ones; the last is the grip's.
NOISE_SD = (0.2, 0.2, 0.2, 0.5)
# How much of its first weights the last layer of an actor keeps: it starts nearly the same everywhere.
FIRST_STEEPNESS = 0.1
QUANTILES = 10
# Twice Stable-Baselines3's default; transitions of this world take less than 1 kB each.
LARGEST_BUFFER = 2 * 10**6
SETTINGS = {
    "learning_rate": Setting(0.0),
    "buffer_size": Setting(2, LARGEST_BUFFER, whole=True),
    "learning_starts": Setting(0, 2**30, whole=True),
    "batch_size": Setting(1, 2**20, whole=True),
    "tau": Setting(0.0, 1.0),
    "gamma": Setting(0.0, 1.0),
    "train_freq": Setting(1, 2**30, whole=True),
    "gradient_steps": Setting(-1, 2**30, whole=True),
    "n_steps": Setting(1, 2**10, whole=True),
    "action_noise": Setting(also=(None,)),
    "stats_window_size": Setting(1, 2**20, whole=True),
}
# Of those whose actor learns how far it strays. A temperature that is learned begins at the number after "auto_".
SOFT_SETTINGS = {
    "ent_coef": Setting(0.0, also=("auto",), pattern=r"auto_(?=[\d.]*[1-9])\d*\.?\d+(e[+-]?\d\d?)?"),
    "target_update_interval": Setting(1, 2**30, whole=True),
    "target_entropy": Setting(-1e6, 1e6, also=("auto",)),
}


class _OffPolicy(RewardLearner):
    """What SAC, TD3 and TQC share: they explore around their own policy, from the first step on.

    Commands from all over the range, with which Stable-Baselines3 begins, only tip cups.
    """

    PARALLEL_ENVS = 1
    SETTINGS = SETTINGS
    # Control steps of a transition.
    TRANSITION_STEPS = 1
    GRIP = ANY_GRIP

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """As the other learners; `action_noise` is the learner's own without a word."""
        super().__init__(name, env, seed=seed, **settings)
        if "action_noise" not in settings:
            self.action_noise = self._own_noise()

    def _own_noise(self) -> ActionNoise | None:
        """What it explores by besides the spread of its policy."""
        return None

    def _start_at_rest(self) -> None:
        model: Any = self
        last = model.actor.mu if isinstance(model.actor.mu, torch.nn.Linear) else model.actor.mu[-2]
        # The command is the hyperbolic tangent of what the last layer gives, between the lowest and the highest.
        squashed = model.policy.scale_action(np.array(RESTING_COMMAND))
        last.bias.copy_(torch.as_tensor(np.arctanh(squashed)))
        last.weight.mul_(FIRST_STEEPNESS)
        if hasattr(model, "critic_target"):
            model.critic_target.load_state_dict(model.critic.state_dict())
        if hasattr(model, "actor_target"):
            model.actor_target.load_state_dict(model.actor.state_dict())

    def _actors(self) -> list[list[Any]]:
        model: Any = self
        return [_chain_of_actor(model.actor)]

    def _wrap_env(self, env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        return within_usual_commands(super()._wrap_env(env, verbose, monitor_wrapper), self.GRIP)

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
        made: Any = super()
        return made._sample_action(0, action_noise, n_envs)

    def _end_stretch(self) -> None:
        model: Any = self
        # A learner that has enough to replay goes on learning at once, from wherever its steps are counted.
        if model.replay_buffer.size() * model.n_envs * self.TRANSITION_STEPS >= model.learning_starts:
            model.learning_starts = 0
        end_trials(model.replay_buffer)
        if model.action_noise is not None:
            model.action_noise.reset()

    def _under_way(self) -> dict[str, Any]:
        model: Any = self
        return {**super()._under_way(), "learning_starts": np.array(model.learning_starts)}

    def _continue(self, kept: dict[str, Any]) -> None:
        super()._continue(kept)
        model: Any = self
        model.learning_starts = int(kept["learning_starts"])


class _Soft(_OffPolicy):
    """What SAC and TQC share: an actor that learns how far it strays from its mean."""

    LOG_SD: tuple[float, float, float, float]
    SETTINGS = SETTINGS | SOFT_SETTINGS

    def _start_at_rest(self) -> None:
        super()._start_at_rest()
        model: Any = self
        model.actor.log_std.weight.mul_(FIRST_STEEPNESS)
        model.actor.log_std.bias.copy_(torch.tensor(self.LOG_SD))


class RewardSAC(_Soft, SAC):  # type: ignore[misc]
    """SAC (Haarnoja et al. 2018) as Stable-Baselines3 has it, set for the cup."""

    KIND = "sac-mlp"
    STEPS = 150_000
    POLICY = RuledSACPolicy
    LOG_SD = (USUAL_LOG_SD, USUAL_LOG_SD, USUAL_LOG_SD, GRIP_LOG_SD)
    DEFAULTS = {  # noqa: RUF012
        "learning_rate": 1e-3, "gamma": 0.97, "n_steps": 5, "tau": 0.02, "batch_size": 256, "buffer_size": 200_000,
        "learning_starts": 2_400, "train_freq": 16, "gradient_steps": 2, "ent_coef": "auto_0.01",
        "target_entropy": -3.0,
    }  # fmt: skip


class RewardTD3(_OffPolicy, TD3):  # type: ignore[misc]
    """TD3 (Fujimoto et al. 2018) as Stable-Baselines3 has it, set for the cup."""

    KIND = "td3-mlp"
    STEPS = 150_000
    POLICY = RuledTD3Policy
    SETTINGS = SETTINGS | {
        "policy_delay": Setting(1, 2**30, whole=True),
        "target_policy_noise": Setting(0.0),
        "target_noise_clip": Setting(0.0),
    }
    DEFAULTS = {  # noqa: RUF012
        "learning_rate": 1e-3, "gamma": 0.97, "n_steps": 5, "tau": 0.02, "batch_size": 256, "buffer_size": 200_000,
        "learning_starts": 2_400, "train_freq": 16, "gradient_steps": 2,
    }  # fmt: skip

    def _updates_of(self, optimiser: str) -> int:
        # The actor is changed at every so many updates of the critic.
        return super()._updates_of(optimiser) // (self.policy_delay if optimiser == "actor.optimizer" else 1)

    def _own_noise(self) -> ActionNoise:
        return NormalActionNoise(np.zeros(len(NOISE_SD)), np.array(NOISE_SD))


class RewardTQC(FallingRate, _Soft, TQC):  # type: ignore[misc]
    """TQC (Kuznetsov et al. 2020) with HER (Andrychowicz et al. 2017) as sb3-contrib and Stable-Baselines3 have them.

    It reaches by sparse reward, whose sums bound the values that its critic learns from. It decides every 0.16 s and
    its commands follow by and by what it decided (`HeldCommands`); it explores by deviations that last (`HeldNoise`),
    since a reach asks for a hand at rest. Without exploration it acts by the average of its weights.
    """

    KIND = "tqc-mlp"
    STEPS = 50_000
    TRANSITION_STEPS = DECISION_STEPS
    RULES = ("bp",)
    POLICY = AveragedTQCPolicy
    SETTINGS = _Soft.SETTINGS | {"top_quantiles_to_drop_per_net": Setting(0, QUANTILES - 1, whole=True)}
    FEATURES = ScaledGoal
    ENV = "reach/CupReach-v0"
    ENV_OPTIONS = {"observation": "goal"}  # noqa: RUF012
    LOG_SD = (STILL_LOG_SD,) * 4
    GRIP = OPEN_GRIP
    # Frequencies are of decisions, `learning_starts` of control steps.
    DEFAULTS = {  # noqa: RUF012
        "learning_rate": 1e-3, "gamma": 0.95, "tau": 0.005, "batch_size": 256, "buffer_size": 200_000,
        "learning_starts": 2_400, "train_freq": 2, "gradient_steps": 8, "ent_coef": 0.001,
        "top_quantiles_to_drop_per_net": 2, "replay_buffer_class": ReadyHindsight,
        "replay_buffer_kwargs": {"n_sampled_goal": 4, "goal_selection_strategy": "future"},
    }  # fmt: skip

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """As the other learners from a replay buffer."""
        super().__init__(name, env, seed=seed, **settings)
        buffer: Any = self.replay_buffer
        policy: Any = self.policy
        # All that can be lost by taking time.
        worst = -1.0 / (1.0 - self.gamma) if self.gamma < 1.0 else -np.inf
        buffer.least_reward = worst
        if not isinstance(self.ent_coef, str):
            # With a temperature that is learned, entropy counts for much beside reward.
            policy.critic_target.register_forward_hook(partial(_possible, worst))

    def _own_noise(self) -> ActionNoise:
        return HeldNoise()

    def _under_way(self) -> dict[str, Any]:
        noise = self.action_noise
        return {**super()._under_way(), **({"noise": noise.state()} if isinstance(noise, HeldNoise) else {})}

    def _continue(self, kept: dict[str, Any]) -> None:
        super()._continue(kept)
        env: Any = self.env
        env.observe(self._last_obs)
        if isinstance(self.action_noise, HeldNoise):
            self.action_noise.set_state(kept["noise"])

    def _of_policy(self, rule: str) -> dict[str, Any]:
        return {"n_quantiles": QUANTILES, "n_critics": 2}

    def _start_at_rest(self) -> None:
        super()._start_at_rest()
        policy: Any = self.policy
        policy.begin_average()

    def _actors(self) -> list[list[Any]]:
        policy: Any = self.policy
        return [*super()._actors(), _chain_of_actor(policy.averaged_actor)]

    def _wrap_env(  # type: ignore[override]
        self, env: Any, verbose: int = 0, monitor_wrapper: bool = True
    ) -> VecEnv:
        made: Any = super()._wrap_env(env, verbose, monitor_wrapper)
        return made if isinstance(made, HeldCommands) else HeldCommands(made)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """As sb3-contrib's, and average the weights."""
        super().train(gradient_steps, batch_size)
        policy: Any = self.policy
        policy.average(gradient_steps)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        """Commands that follow what the policy wants, and what to hand over at the next step.

        Args:
            observation: dictionary of goals, of one environment or of n.
            state: (n, 5) what was handed over: what is wanted, and for how many steps it still holds. Without it the
                policy decides now, which it was not trained to do at every step.
            episode_start: (n,) whether a trial begins, with which a decision is due.
            deterministic: whether to act without exploration.
        """
        shape = np.shape(observation["observation"])[:-1]
        held = np.zeros((*(shape or (1,)), ACTION_SIZE + 1), dtype=np.float32) if state is None else state.copy()
        due = held[:, ACTION_SIZE] == 0
        if episode_start is not None:
            due |= np.asarray(episode_start, dtype=bool)
        if due.any():
            wanted, _ = super().predict(observation, deterministic=deterministic)
            held[due, :ACTION_SIZE] = np.atleast_2d(wanted)[due]
            held[due, ACTION_SIZE] = DECISION_STEPS
        held[:, ACTION_SIZE] -= 1
        wanted_now = held[:, :ACTION_SIZE].reshape(*shape, ACTION_SIZE)
        return followed(wanted_now, observation), held

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
        """What to want next and the same between -1 and 1, which is what is learned from; both (n_envs, 4)."""
        observation: Any = self._last_obs
        wanted, _ = self.policy.predict(observation, deterministic=False)
        scaled = self.policy.scale_action(wanted)
        if action_noise is not None:
            scaled = np.clip(scaled + action_noise(), -1.0, 1.0)
        return self.policy.unscale_action(scaled), scaled

    def _store_transition(self, *given: Any, **named: Any) -> None:
        made: Any = super()
        made._store_transition(*given, **named)
        env: Any = self.env
        # Stable-Baselines3 has counted one.
        self.num_timesteps += env.steps - 1


def _possible(worst: float, critic: Any, given: Any, values: torch.Tensor) -> torch.Tensor:
    """Values within what steps that cost 1 can add up to, as Andrychowicz et al. bound what a critic learns from.

    Entropy is left out, of which a thousandth counts in the usual settings.
    """
    return values.clamp(worst, 0.0)


def _chain_of_actor(actor: Any) -> list[Any]:
    """The modules of an actor in the order in which they act: TD3's has its hidden layers and its last one in one."""
    return chain_of(*([actor.latent_pi] if hasattr(actor, "latent_pi") else []), actor.mu)
