"""SAC, TD3, and TQC with hindsight experience replay, with a learning rule in their networks.

SAC and TD3 use the settings of examples/rl_zoo3, the full range of actions and no action filter. The actions of TQC are
postures within the range of commands that reaches need. Its untrained policy holds the arm at rest. Each decision is
held for several control steps. Exploration adds noise that is held for several decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import TQC
from stable_baselines3 import SAC, TD3, HerReplayBuffer
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agents.reward.learner import FallingRate, RewardLearner
from agents.reward.policies import AveragedTQCPolicy, RuledSACPolicy, RuledTD3Policy, ScaledGoal
from agents.reward.saved_state import end_trials
from agents.rules.assign import chain_of
from agents.settings import Setting
from agents.vec_env import env_attribute
from reach import ACTION_SIZE, GOAL_READY, GOAL_TIP_PENALTY, CommandMap

# Control steps from one decision to the next: 0.16 s.
DECISION_STEPS = 8
# Share of the distance to the wanted command that the command covers per control step; 90 % takes 0.36 s.
APPROACH_SHARE = 0.12
# Lowest and highest absolute action of shoulder, elbow and wrist in learned reaches, with a margin.
LOWEST = (-0.07, -0.465, -0.31)
HIGHEST = (0.36, 0.06, 0.33)
# Grip actions with which the hand is open wide enough for a cup.
OPEN_GRIP = (-0.23, 0.1)
# Command of the unperturbed arm at rest, and the map from absolute actions to commands.
RESTING_COMMAND = np.array([-0.638, 0.718, -0.410, 0.818])
ABSOLUTE = CommandMap(0.0, RESTING_COMMAND, 1.0 + np.abs(RESTING_COMMAND))


def approach(wanted: NDArray[np.float32], observation: Any) -> NDArray[np.float32]:
    """Return the actions (..., 4) that move the command by `APPROACH_SHARE` of the distance to the wanted command.

    Args:
        wanted: (..., 4) actions that stand for the wanted command.
        observation: observation whose last entries are the last command (the efference copy).
    """
    last = np.asarray(observation["observation"])[..., -ACTION_SIZE:]
    command = last + APPROACH_SHARE * (ABSOLUTE.command_after(wanted, last) - last)
    return ABSOLUTE.action_for(command, last).astype(np.float32)


class HeldCommands(VecEnvWrapper):
    """A VecEnv in which one step is a decision, held for `DECISION_STEPS` control steps or until the trial ends.

    People correct a reach by decisions that are a psychological refractory period apart (Gawthrop, Loram, Lakie and
    Gollee 2011). Longer steps also help learning: the difference between the values of two actions vanishes with the
    time step (Tallec, Blier and Ollivier 2019, ICML).

    Attributes:
        steps: number of control steps for which the last decision was held.
    """

    def __init__(self, venv: VecEnv) -> None:
        """Wrap a VecEnv of one environment with `observation="goal"`.

        Raises:
            ValueError: more than one environment, whose trials would end during each other's decisions.
        """
        if venv.num_envs != 1:
            raise ValueError(f"env: expected 1 environment, got {venv.num_envs}")
        super().__init__(venv)
        self.steps = 0
        self._observation: Any = None
        self._wanted = np.zeros((1, ACTION_SIZE), dtype=np.float32)

    def reset(self) -> Any:
        """Reset the environment."""
        self._observation = self.venv.reset()
        return self._observation

    def observe(self, observation: Any) -> None:
        """Set the latest observation after a trial has been restored from a checkpoint."""
        self._observation = observation

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Store the wanted actions (1, 4)."""
        self._wanted = actions

    def step_wait(self) -> Any:
        """Return observation, reward, done and info of the last control step of the decision."""
        self.steps, is_done = 0, False
        while self.steps < DECISION_STEPS and not is_done:
            stepped = self.venv.step(approach(self._wanted, self._observation))
            self._observation, is_done = stepped[0], bool(stepped[2].any())
            self.steps += 1
        return stepped


class ReachCommands(VecEnvWrapper):
    """A VecEnv whose action space is limited to the absolute commands that reaches need.

    A policy that is squashed to the action space then stays within these commands. Most postures outside reach no cup,
    and a critic without data there overestimates some of them.
    """

    def __init__(self, venv: VecEnv) -> None:
        """Wrap environments with absolute postures."""
        low, high = (
            np.array([*joints, grip], dtype=np.float32)
            for joints, grip in zip((LOWEST, HIGHEST), OPEN_GRIP, strict=True)
        )
        super().__init__(venv, action_space=spaces.Box(low, high, dtype=np.float32))

    def reset(self) -> Any:
        """Reset the environments."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Step the environments."""
        return self.venv.step_wait()


def limit_to_reach_commands(env: VecEnv) -> VecEnv:
    """Limit the action space by `ReachCommands` if actions are absolute postures; leave other environments as given."""
    meaning = env_attribute(env, "control"), env_attribute(env, "command")
    if isinstance(env, ReachCommands) or meaning != ("posture", "absolute"):
        return env
    return ReachCommands(env)


@dataclass
class HeldNoise(ActionNoise):
    """Normal action noise that is held for a random number of decisions; some of the draws are zero.

    The springs of the arm average out fast changes. Only persistent noise moves the hand to other positions and lets it
    come to rest there, as a reach requires. Compare Eberhard et al. (2023, ICLR) on coloured noise.

    Attributes:
        spread: (4,) SD for each command, in units of half the range of commands.
        least_decisions, most_decisions: range of the number of decisions for which a draw is held.
        nonzero_probability: probability that a draw is not zero.
    """

    spread: tuple[float, ...] = (0.8, 0.8, 0.8, 0.5)
    least_decisions: int = 3
    most_decisions: int = 8
    nonzero_probability: float = 0.35

    def __post_init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Draw new noise at the next decision."""
        self._left = 0
        self._held = np.zeros(len(self.spread), dtype=np.float32)

    def state(self) -> NDArray[np.float64]:
        """Return (5,): the present noise and the number of decisions for which it is still held."""
        return np.append(self._held.astype(np.float64), self._left)

    def set_state(self, state: NDArray[np.float64]) -> None:
        """Set what `state` returned."""
        self._held, self._left = state[:-1].astype(np.float32), int(state[-1])

    def __call__(self) -> NDArray[np.float32]:
        """Return the noise (4,) of one decision, drawn from NumPy's global generator as in Stable-Baselines3."""
        if self._left == 0:
            self._left = int(np.random.randint(self.least_decisions, self.most_decisions + 1))  # noqa: NPY002
            drawn = np.random.normal(0.0, self.spread)  # noqa: NPY002
            is_nonzero = np.random.random() < self.nonzero_probability  # noqa: NPY002
            self._held = (drawn * is_nonzero).astype(np.float32)
        self._left -= 1
        return self._held


# Initial log SD of TQC, small enough for the hand to come to rest.
STILL_LOG_SD = -3.0
# SD of the action noise of TD3.
NOISE_SD = 0.3
# Factor of the initial weights of an actor's last layer. A small one makes the output almost independent of the
# observation.
INITIAL_HEAD_SCALE = 0.1
QUANTILES = 10
# Settings of SAC and TD3. One control step changes the value too little to distinguish actions, so returns are of five
# steps, and the horizon is short.
SHORT_HORIZON = {
    "learning_rate": 1e-3, "gamma": 0.97, "n_steps": 5, "tau": 0.02, "batch_size": 256, "buffer_size": 200_000,
    "learning_starts": 2_400, "train_freq": 16, "gradient_steps": 2,
}  # fmt: skip
# Twice Stable-Baselines3's default. A transition takes less than 1 kB.
LARGEST_BUFFER = 2 * 10**6
SETTINGS = {
    "learning_rate": Setting(0.0),
    "buffer_size": Setting(2, LARGEST_BUFFER, is_integer=True),
    "learning_starts": Setting(0, 2**30, is_integer=True),
    "batch_size": Setting(1, 2**20, is_integer=True),
    "tau": Setting(0.0, 1.0),
    "gamma": Setting(0.0, 1.0),
    "train_freq": Setting(1, 2**30, is_integer=True),
    "gradient_steps": Setting(-1, 2**30, is_integer=True),
    "n_steps": Setting(1, 2**10, is_integer=True),
    "action_noise": Setting(allowed=(None,)),
    "stats_window_size": Setting(1, 2**20, is_integer=True),
}
# Further settings of SAC and TQC. The number after "auto_" is the initial entropy coefficient.
SOFT_SETTINGS = {
    "ent_coef": Setting(0.0, allowed=("auto",), pattern=r"auto_(?=[\d.]*[1-9])\d*\.?\d+(e[+-]?\d\d?)?"),
    "target_update_interval": Setting(1, 2**30, is_integer=True),
    "target_entropy": Setting(-1e6, 1e6, allowed=("auto",)),
}


class ReadyGoalReplayBuffer(HerReplayBuffer):
    """Hindsight experience replay (Andrychowicz et al. 2017) whose goals are positions at which the hand was ready.

    Differences from Stable-Baselines3's `HerReplayBuffer` with the "future" strategy:
    - Goals are drawn from steps at which the hand was ready (see the goals of the environment). A hand that only passes
      through a position does not reach a goal there, so most other achieved states are goals without a solution.
    - A transition that reaches its goal is terminal, as in the environment.
    - A step in which the cup tips keeps its desired goal. The policy sees the goal in place of the cup (`ScaledGoal`),
      so with another goal the tip would have no visible cause.

    Attributes:
        lowest_reward: lower bound to which rewards are clipped. The penalty for a tip has to outweigh the time that the
            tip saves; with discounting, the largest possible cost of time is enough.
    """

    lowest_reward = -np.inf

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """Return Stable-Baselines3's batch with clipped rewards, and transitions that reach their goal as terminal."""
        drawn = super().sample(batch_size, env)
        dones = torch.maximum(drawn.dones, (drawn.rewards == 0.0).to(drawn.dones.dtype))
        return drawn._replace(rewards=drawn.rewards.clamp(min=self.lowest_reward), dones=dones)

    def _sample_goals(self, batch_indices: NDArray[np.int64], env_indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return goals (n, 4), each achieved at a later step of the same trial, at a ready step if there is one.

        Return the desired goal where the cup tipped.
        """
        start = self.ep_start[batch_indices, env_indices]
        length = self.ep_length[batch_indices, env_indices]
        now = (batch_indices - start) % self.buffer_size
        step = np.arange(length.max())
        place = (start[:, None] + step) % self.buffer_size
        achieved = self.next_observations["achieved_goal"]
        ready = achieved[place, env_indices[:, None], GOAL_READY] > 0.0
        allowed = (step >= now[:, None]) & (step < length[:, None])
        # Choose uniformly among the ready steps, or among all steps if none is ready.
        chance = np.random.random(ready.shape)  # noqa: NPY002  (as Stable-Baselines3 draws)
        chosen = np.argmax(np.where(allowed, chance + ready, -1.0), axis=1)
        goals: NDArray[np.float64] = achieved[place[np.arange(len(chosen)), chosen], env_indices]
        tipped = achieved[batch_indices, env_indices, GOAL_TIP_PENALTY] > 0.0
        goals[tipped] = self.next_observations["desired_goal"][batch_indices, env_indices][tipped]
        return goals


class _OffPolicy(RewardLearner):
    """Base class of SAC, TD3 and TQC."""

    PARALLEL_ENVS = 1
    SETTINGS = SETTINGS
    # Control steps per transition.
    TRANSITION_STEPS = 1

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """Make an untrained learner; the default of `action_noise` depends on the algorithm."""
        super().__init__(name, env, seed=seed, **settings)
        if "action_noise" not in settings:
            self.action_noise = self._default_noise()

    def _default_noise(self) -> ActionNoise | None:
        """Return the default action noise."""
        return None

    def _actors(self) -> list[list[Any]]:
        return [_chain_of_actor(self.actor)]

    def _discard_unfinished_trials(self) -> None:
        # If enough transitions are stored, start learning at once, even after a reset of the step counter.
        if self.replay_buffer.size() * self.n_envs * self.TRANSITION_STEPS >= self.learning_starts:
            self.learning_starts = 0
        end_trials(self.replay_buffer)
        if self.action_noise is not None:
            self.action_noise.reset()

    def _under_way(self) -> dict[str, Any]:
        return {**super()._under_way(), "learning_starts": np.array(self.learning_starts)}

    def _continue(self, saved: dict[str, Any]) -> None:
        super()._continue(saved)
        self.learning_starts = int(saved["learning_starts"])


class RewardSAC(_OffPolicy, SAC):  # type: ignore[misc]
    """Stable-Baselines3's SAC (Haarnoja et al. 2018) with settings for this task."""

    POLICY = RuledSACPolicy
    SETTINGS = SETTINGS | SOFT_SETTINGS
    DEFAULTS = SHORT_HORIZON | {"ent_coef": "auto_0.01"}


class RewardTD3(_OffPolicy, TD3):  # type: ignore[misc]
    """Stable-Baselines3's TD3 (Fujimoto et al. 2018) with settings for this task."""

    POLICY = RuledTD3Policy
    SETTINGS = SETTINGS | {
        "policy_delay": Setting(1, 2**30, is_integer=True),
        "target_policy_noise": Setting(0.0),
        "target_noise_clip": Setting(0.0),
    }
    DEFAULTS = SHORT_HORIZON

    def _updates_of(self, optimiser: str) -> int:
        # The actor is updated once per `policy_delay` updates of the critic.
        return super()._updates_of(optimiser) // (self.policy_delay if optimiser == "actor.optimizer" else 1)

    def _default_noise(self) -> ActionNoise:
        return NormalActionNoise(np.zeros(ACTION_SIZE), np.full(ACTION_SIZE, NOISE_SD))


class RewardTQC(FallingRate, _OffPolicy, TQC):  # type: ignore[misc]
    """sb3-contrib's TQC (Kuznetsov et al. 2020) with hindsight experience replay (Andrychowicz et al. 2017).

    The reward is sparse, so the possible sums of rewards bound the target values of the critic. The policy decides once
    per 0.16 s, and commands approach the decision gradually (`HeldCommands`). Exploration uses persistent noise
    (`HeldNoise`), because a reach ends with the hand at rest. Deterministic actions use averaged weights.
    """

    env: Any
    policy: Any
    replay_buffer: Any
    TRANSITION_STEPS = DECISION_STEPS
    POLICY = AveragedTQCPolicy
    SETTINGS = SETTINGS | SOFT_SETTINGS | {"top_quantiles_to_drop_per_net": Setting(0, QUANTILES - 1, is_integer=True)}
    FEATURES = ScaledGoal
    # `train_freq` counts decisions, `learning_starts` control steps.
    DEFAULTS = {  # noqa: RUF012
        "learning_rate": 1e-3, "gamma": 0.95, "tau": 0.005, "batch_size": 256, "buffer_size": 200_000,
        "learning_starts": 2_400, "train_freq": 2, "gradient_steps": 8, "ent_coef": 0.001,
        "top_quantiles_to_drop_per_net": 2, "replay_buffer_class": ReadyGoalReplayBuffer,
        "replay_buffer_kwargs": {"n_sampled_goal": 4, "goal_selection_strategy": "future"},
    }  # fmt: skip

    def __init__(self, name: str, env: gym.Env[Any, Any] | VecEnv | str, *, seed: int = 0, **settings: Any) -> None:
        """Make an untrained learner."""
        super().__init__(name, env, seed=seed, **settings)
        with torch.no_grad():
            self._start_at_rest()
        # Value of an endless trial, the lowest value without tips: -1 / (1 - gamma).
        lowest_value = -1.0 / (1.0 - self.gamma) if self.gamma < 1.0 else -np.inf
        self.replay_buffer.lowest_reward = lowest_value
        if not isinstance(self.ent_coef, str):
            # Only with a fixed coefficient: a learned one can make entropy a large part of the value.
            self.policy.critic_target.register_forward_hook(partial(_clip_values, lowest_value))

    def _default_noise(self) -> ActionNoise:
        return HeldNoise()

    def _under_way(self) -> dict[str, Any]:
        noise = self.action_noise
        return {**super()._under_way(), **({"noise": noise.state()} if isinstance(noise, HeldNoise) else {})}

    def _continue(self, saved: dict[str, Any]) -> None:
        super()._continue(saved)
        self.env.observe(self._last_obs)
        if isinstance(self.action_noise, HeldNoise):
            self.action_noise.set_state(saved["noise"])

    def _policy_arguments(self, rule: str) -> dict[str, Any]:
        return {"n_quantiles": QUANTILES, "n_critics": 2}

    def _start_at_rest(self) -> None:
        """Set the weights so that the untrained policy holds the arm at rest."""
        # The action is the tanh of the last layer's output, scaled to the range of commands; action 0 holds the arm.
        actor = self.policy.actor
        actor.mu.bias.copy_(torch.as_tensor(np.arctanh(self.policy.scale_action(np.zeros(ACTION_SIZE)))))
        actor.log_std.bias.fill_(STILL_LOG_SD)
        for head in (actor.mu, actor.log_std):
            head.weight.mul_(INITIAL_HEAD_SCALE)
        self.policy.begin_average()

    def _actors(self) -> list[list[Any]]:
        return [*super()._actors(), _chain_of_actor(self.policy.averaged_actor)]

    def _wrap_env(  # type: ignore[override]
        self, env: Any, verbose: int = 0, monitor_wrapper: bool = True
    ) -> VecEnv:
        made: Any = limit_to_reach_commands(super()._wrap_env(env, verbose, monitor_wrapper))
        if (command := env_attribute(made, "command")) != "absolute":
            raise ValueError(f"env: expected command='absolute' for learner {self.name!r}, got command={command!r}")
        return made if isinstance(made, HeldCommands) else HeldCommands(made)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update as sb3-contrib does, then update the average of the weights."""
        super().train(gradient_steps, batch_size)
        self.policy.average(gradient_steps)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        """Return the commands of the next control step, and the state to pass to the next call.

        Args:
            observation: dictionary observation of one environment or of n.
            state: (n, 5), the wanted commands and the number of steps for which they are still held. Pass on the state
                of the last call: without it the policy decides at every step, for which it was not trained.
            episode_start: (n,), whether a trial begins, which needs a new decision.
            deterministic: whether to act without exploration.
        """
        shape = np.shape(observation["observation"])[:-1]
        decisions = np.zeros((*(shape or (1,)), ACTION_SIZE + 1), dtype=np.float32) if state is None else state.copy()
        due = decisions[:, ACTION_SIZE] == 0
        if episode_start is not None:
            due |= np.asarray(episode_start, dtype=bool)
        if due.any():
            wanted, _ = super().predict(observation, deterministic=deterministic)
            decisions[due, :ACTION_SIZE] = np.atleast_2d(wanted)[due]
            decisions[due, ACTION_SIZE] = DECISION_STEPS
        decisions[:, ACTION_SIZE] -= 1
        wanted_now = decisions[:, :ACTION_SIZE].reshape(*shape, ACTION_SIZE)
        return approach(wanted_now, observation), decisions

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
        """Return the next decision and its form scaled to -1..1 for the replay buffer; both (n_envs, 4)."""
        observation: Any = self._last_obs
        wanted, _ = self.policy.predict(observation, deterministic=False)
        scaled = self.policy.scale_action(wanted)
        if action_noise is not None:
            scaled = np.clip(scaled + action_noise(), -1.0, 1.0)
        return self.policy.unscale_action(scaled), scaled

    def _store_transition(self, *args: Any, **kwargs: Any) -> None:
        super()._store_transition(*args, **kwargs)
        # Stable-Baselines3 counts a decision as one step.
        self.num_timesteps += self.env.steps - 1


def _clip_values(lowest_value: float, critic: Any, inputs: Any, values: torch.Tensor) -> torch.Tensor:
    """Clip target values to the possible sums of rewards without entropy, as Andrychowicz et al. (2017) do."""
    return values.clamp(lowest_value, 0.0)


def _chain_of_actor(actor: Any) -> list[Any]:
    """Return the modules of an actor in forward order; TD3 has hidden and last layers in one sequence."""
    return chain_of([*([actor.latent_pi] if hasattr(actor, "latent_pi") else []), actor.mu])
