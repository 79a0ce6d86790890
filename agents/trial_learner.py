"""The base class of learners that learn after each trial, with Stable-Baselines3's model interface.

The shared controller acts in a trial. The learner learns only after the trial, because an adaptive loop closed over a
delay would be unstable. Subclasses define the network and the teacher.
"""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.checkpoint import (
    Entry,
    OtherArraysError,
    entries_of,
    fill,
    loading,
    read_checkpoint,
    read_settings,
    require_entries,
    write_checkpoint,
)
from agents.reaching.controller import Controller, Reach
from agents.reaching.senses import ObservationReader, Sensation
from agents.settings import COUNT
from agents.vec_env import (
    TrialSource,
    env_attribute,
    env_entries,
    env_options_of,
    is_single,
    num_envs_of,
    observations_of,
    require_finite,
    reset_and_set_random_states,
    saved_random_states,
)
from reach import CommandMap
from reach.play import UNLIMITED, Played, can_play

# Tolerance for the last command in an observation, which is float32. An observation with another command than the last
# one belongs to another trial.
SAME_COMMAND = 1e-5


@dataclass
class Trial:
    """One reach of one environment.

    Attributes:
        reach: memory of the controller.
        network: state of the learner's network.
        command_map: map from actions to commands; None before the first action.
        initial_command: (4,) command before the first action; None until then.
        command: (4,) command after the last action.
    """

    reach: Reach
    network: Any
    command_map: CommandMap | None = None
    initial_command: NDArray[np.float64] | None = None
    command: NDArray[np.float64] | None = None


T = TypeVar("T", bound=Trial)


class TrialLearner(ABC, Generic[T]):
    """A learner that learns after each trial.

    Attributes:
        num_timesteps: number of control steps in `learn` so far.
        trials: number of trials in `learn` so far.
        logger: logger of `learn`.
        env: the environment, or VecEnv, in which it acts and learns; `n_envs` is the number of environments.
        observation_space, action_space: spaces of the environment.
        env_options: arguments of `gym.make` for an environment like the learner's.
    """

    # Gain of the controller's visual feedback, 0..1.
    FEEDBACK_GAIN: ClassVar[float] = 1.0

    def __init__(
        self,
        env: gym.Env[Any, Any] | VecEnv,
        *,
        seed: int | None = None,
        config: dict[str, Any] | None = None,
        verbose: int = 0,
        tensorboard_log: str | None = None,
    ) -> None:
        """Connect a learner to an environment.

        Args:
            env: a `CupEnv`, wrapped or not, or a Stable-Baselines3 VecEnv of them.
            seed: seed of the trials in `learn`.
            config: settings that `save` stores to make the learner again.
            verbose, tensorboard_log: as in Stable-Baselines3.

        Raises:
            ValueError: the learner cannot act in the environment.
        """
        self.seed = seed
        self.config = dict(config or {})
        self.verbose = verbose
        self.tensorboard_log = tensorboard_log
        self.num_timesteps = 0
        self.trials = 0
        self._unseeded = True
        self._predicted_trials: list[T] = []
        self._logger: Logger | None = None
        self.set_env(env)

    @abstractmethod
    def _begin(self, exploring: bool) -> T:
        """Return a new trial; `exploring` is whether the learner may explore."""

    def _begin_learning(self, place: int) -> T:
        """Return a new trial for `learn`; `place` is the index of its environment, from 0."""
        return self._begin(exploring=True)

    @abstractmethod
    def _act(self, trial: T, observation: Any) -> NDArray[np.float32]:
        """Return the wanted command (4,) for an observation."""

    @abstractmethod
    def _finish(self, trial: T, last: Any, rewards: float) -> None:
        """Learn after a trial, from its last observation and the sum of its rewards."""

    def _measures(self) -> dict[str, float]:
        """Return further values for the log, by name."""
        return {}

    def _require_usable(self, env: gym.Env[Any, Any] | VecEnv, reader: ObservationReader) -> None:
        """Check that this learner can learn in an environment.

        Raises:
            ValueError: observations or rewards are unsuitable.
        """

    @abstractmethod
    def end_baseline(self) -> None:
        """End unperturbed training."""

    @abstractmethod
    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return views of every array of the network, by name; they can be filled in place."""

    @abstractmethod
    def _memory(self) -> dict[str, NDArray[Any]]:
        """Return every other array that a checkpoint must hold, by name."""

    def _limits(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and highest value of each bounded array of `_arrays` and `_memory`, by name."""
        return {}

    def _memory_entries(self) -> dict[str, Entry]:
        """Return the expected form of the arrays of `_memory` in a checkpoint."""
        return entries_of(self._memory(), self._limits())

    @abstractmethod
    def _restore_memory(self, config: dict[str, Any], memory: dict[str, NDArray[Any]], path: str | Path) -> None:
        """Restore what `_memory` and `_saved_settings` returned."""

    def _saved_settings(self) -> dict[str, Any]:
        """Return further values that a checkpoint must hold, as JSON values by name."""
        return {}

    def _resume(self, config: dict[str, Any]) -> None:
        """Restore random states other than the environment's."""

    def save(self, path: str | Path) -> None:
        """Write a checkpoint folder atomically.

        If the learner is saved between trials and loaded with `resume`, it continues bit-identically.
        """
        config = {
            **self.config,
            "num_timesteps": self.num_timesteps,
            "trials": self.trials,
            **env_entries(self.env, is_seeded=not self._unseeded),
            **self._saved_settings(),
        }
        write_checkpoint(Path(path), config, self._arrays(), self._memory())

    def restore(self, path: str | Path, *, resume: bool = False) -> None:
        """Restore the learner from a checkpoint folder without running code from it.

        Args:
            path: the folder.
            resume: restore the saved random state in `env`, so that `learn` continues with the trial that would have
                followed.

        Raises:
            CheckpointError: the checkpoint is incomplete, its arrays do not fit this learner, or, with `resume`, its
                random states are of another number of environments.
        """
        network = self._arrays()
        entries = entries_of(network, self._limits())
        try:
            config, arrays, memory = read_checkpoint(Path(path), entries, self._memory_entries())
        except OtherArraysError as error:
            settings = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
            raise OtherArraysError(f"{error}; expected are those of {settings}") from None
        require_entries(config, [*self._saved_settings(), "random_states"], path)
        counts = read_settings(config, {"num_timesteps": COUNT, "trials": COUNT}, path)
        with loading(path):
            fill(network, arrays)
            self._restore_memory(config, memory, path)
            self.num_timesteps, self.trials = counts["num_timesteps"], counts["trials"]
            if resume:
                states = saved_random_states(config, self.env, path)
                self._resume(config)
                if states is not None:
                    reset_and_set_random_states(self.env, states)
                self._unseeded = states is None

    @property
    def logger(self) -> Logger:
        """Return the logger in use."""
        if self._logger is None:
            self._logger = make_logger(self.verbose, self.tensorboard_log)
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Set the logger of `learn`."""
        self._logger = logger

    def set_env(self, env: gym.Env[Any, Any] | VecEnv, force_reset: bool = True) -> None:
        """Learn and act in another environment; `force_reset` only matches Stable-Baselines3's signature.

        Raises:
            ValueError: the learner cannot act or learn in the environment.
        """
        arm, task, control = (env_attribute(env, name) for name in ("arm", "task", "control"))
        self._control, self._command = control, env_attribute(env, "command")
        reader = ObservationReader(arm, env_options_of(env))
        self._require_usable(env, reader)
        self.env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.env_options, self.n_envs = env_options_of(env), num_envs_of(env)
        self._vec_env: VecEnv | None = env if isinstance(env, VecEnv) else None
        self.controller = Controller(arm, grab=task == "grab", control=control, feedback_gain=self.FEEDBACK_GAIN)
        self.reader = reader

    def get_env(self) -> VecEnv:
        """Return the environment as a VecEnv."""
        if self._vec_env is None:
            env: Any = self.env
            self._vec_env = DummyVecEnv([lambda: env])
        return self._vec_env

    def get_vec_normalize_env(self) -> None:
        """Return None, because observations are never normalised; called by callbacks of Stable-Baselines3."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], list[T]]:
        """Return actions for one observation or a batch of n.

        Args:
            observation: one observation or a batch.
            state: state returned by the last call. Without it the learner continues the reach of its last call, or
                begins a new one if the command in the observation is not its last command.
            episode_start: (n,) whether a trial has just begun.
            deterministic: whether trials that begin now are without exploration. Error learners explore only in
                `learn`, as Stable-Baselines3's TD3 does.

        Returns:
            Actions (4,) or (n, 4) in [-1, 1], and the state for the next call.

        Raises:
            ValueError: the observation has another shape or is not finite.
        """
        is_single_observation = is_single(observation, self.observation_space)
        require_finite(observation)
        batch = [observation] if is_single_observation else observations_of(observation)
        previous: list[T] = self._predicted_trials if state is None else state
        trials = []
        # No comprehension: before Python 3.12 it is a frame of its own, and warnings would not point to the caller.
        for k, part in enumerate(batch):
            is_new = (
                len(previous) != len(batch)
                or (episode_start is not None and episode_start[k])
                or (state is None and self._is_new_trial(previous[k], part))
            )
            trials.append(self._begin(exploring=not deterministic) if is_new else previous[k])
        actions = np.array(list(map(self._action, trials, batch)))
        if state is None:
            self._predicted_trials = trials
        return (actions[0] if is_single_observation else actions), trials

    @property
    def can_play(self) -> bool:
        """Return whether `play_trial` works, that is, whether all parts of the learner are compiled."""
        return False

    def play_trial(self, env: gym.Env[Any, Any], observation: Any, longest: int = UNLIMITED) -> Played:
        """Act in a trial as `predict` does, without learning, in compiled code.

        Args:
            env: an environment like that of `set_env`, for which `reach.play.can_play` is true.
            observation: the observation that its `reset` returned.
            longest: largest number of control steps.
        """
        return self._play(self._begin(exploring=False), env, observation, longest)

    def _play(self, trial: T, env: Any, observation: Any, longest: int) -> Played:
        """Play a trial in compiled code, and store in `trial` what `_finish` needs of the last observation."""
        raise NotImplementedError(f"{type(self).__name__} cannot play trials")

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Run trials and learn after each, for at least `total_timesteps` control steps; stop between trials.

        Args:
            total_timesteps: number of control steps, summed over environments.
            callback: Stable-Baselines3 callback, list of callbacks, or function; returning False stops learning. If all
                callbacks have a true attribute `per_trial`, they are called once per trial, and trials run in compiled
                code where learner and environment support it, with identical results.
            log_interval: trials between two entries of the log; None for no entries.
            tb_log_name: name of the run in TensorBoard.
            reset_num_timesteps: whether to reset the number of steps to zero.
            progress_bar: whether to show a progress bar.

        Raises:
            ValueError: `total_timesteps` is negative or NaN.
        """
        if not total_timesteps >= 0:
            raise ValueError(f"total_timesteps: expected 0 or more, got {total_timesteps!r}")
        if reset_num_timesteps:
            self.num_timesteps = 0
        self._logger = self._logger or make_logger(self.verbose, self.tensorboard_log, tb_log_name, reset_num_timesteps)
        # Stable-Baselines3's progress bar reads the local variable `total_timesteps` and counts from zero.
        total = total_timesteps = self.num_timesteps + total_timesteps
        self._total_timesteps = total
        plays = self.can_play and not progress_bar and _is_per_trial(callback)
        hook = BaseAlgorithm._init_callback(self, callback, progress_bar)  # type: ignore[arg-type]
        hook.on_training_start(locals(), globals())
        hook.on_rollout_start()
        source = TrialSource(self.env, self.seed if self._unseeded else None)
        self._unseeded = False
        trials = [self._begin_learning(k) for k in range(source.num_envs)]
        recent: deque[tuple[float, int, bool]] = deque(maxlen=100)
        total_reward = np.zeros(source.num_envs)
        steps = np.zeros(source.num_envs, dtype=int)
        running = True
        while running:
            if plays and steps[0] == 0 and can_play(self.env):
                played = self._play(trials[0], self.env, source.observations[0], UNLIMITED)
                taken, rewards, dones = len(played.actions), np.array([played.reward]), np.array([played.is_over])
                infos: list[dict[str, Any]] = [{"is_success": played.is_success}]
            else:
                actions = np.array(list(map(self._action, trials, source.observations)))
                taken, (rewards, dones, infos) = 1, source.step(actions)
            self.num_timesteps += taken * source.num_envs
            total_reward += rewards
            steps += taken
            over = dones.nonzero()[0].tolist()
            for k in over:
                self.trials += 1
                self._finish(trials[k], source.last_observation(k, infos), float(total_reward[k]))
                trials[k] = self._begin_learning(k)
                recent.append((float(total_reward[k]), int(steps[k]), bool(infos[k].get("is_success", False))))
                total_reward[k], steps[k] = 0.0, 0
                if log_interval is not None and self.trials % log_interval == 0:
                    self._log(recent)
            hook.update_locals(locals())
            running = hook.on_step() and not (self.num_timesteps >= total and over)
            if running and over:
                source.restart()
        hook.on_rollout_end()
        hook.on_training_end()
        return self

    def _action(self, trial: T, observation: Any) -> NDArray[np.float32]:
        """Return the action (4,) that moves the command to the wanted one, clipped to the action range."""
        if trial.command is not None and not self._has_command(observation, trial.command):
            self._warn_of_command(trial.command, observation)
        wanted, last = self._act(trial, observation), self.reader.latest_command(observation).astype(np.float64)
        if trial.command_map is None:
            # A trial starts with the command of rest.
            trial.initial_command = last
            trial.command_map = CommandMap.of(self._command, self._control, self.controller.arm, last)
        action: NDArray[np.float32] = trial.command_map.action_for(wanted, last).astype(np.float32)
        trial.command = trial.command_map.command_after(action, last)
        return action

    def _is_new_trial(self, trial: Trial, observation: Any) -> bool:
        """Return whether an observation belongs to a new trial: its command is not the one after the last action."""
        if trial.command is None or trial.initial_command is None:
            return True
        if self._has_command(observation, trial.command):
            return False
        if not self._has_command(observation, trial.initial_command):
            self._warn_of_command(trial.command, observation)
        return True

    def _has_command(self, observation: Any, command: NDArray[np.float64]) -> bool:
        return bool(np.max(np.abs(self.reader.latest_command(observation) - command)) < SAME_COMMAND)

    def _warn_of_command(self, command: NDArray[np.float64], observation: Any) -> None:
        warnings.warn(
            f"observation: expected the command {command.tolist()} after the last action, got "
            f"{self.reader.latest_command(observation).tolist()}; call set_env if the environment has another "
            "`command` than that of the learner",
            stacklevel=4,
        )

    def _process_observation(self, trial: T, observation: Any) -> Sensation:
        """Read an observation, and let the controller sense it."""
        now = self.reader.read(observation, trial.reach.past_angles)
        self.controller.sense(trial.reach, now)
        return now

    def _log(self, recent: deque[tuple[float, int, bool]]) -> None:
        means = np.mean(np.array(recent, dtype=np.float64), axis=0).tolist()
        names = "rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/success_rate"
        for name, value in (*zip(names, means, strict=True), *self._measures().items()):
            self.logger.record(name, value)
        self.logger.record("time/trials", self.trials)
        self.logger.dump(self.num_timesteps)


def _is_per_trial(callback: Any) -> bool:
    """Return whether all callbacks (one, a list, or None) need to be called once per trial only."""
    callbacks = callback if isinstance(callback, list) else [] if callback is None else [callback]
    return all(getattr(item, "per_trial", False) for item in callbacks)


def make_logger(verbose: int, tensorboard_log: str | None, name: str = "run", new_run: bool = True) -> Logger:
    """Return a logger like Stable-Baselines3's `configure_logger`, without its empty temporary folder.

    Args:
        verbose: 1 or more logs to standard output.
        tensorboard_log: folder for TensorBoard, or None.
        name: name of the run in TensorBoard.
        new_run: whether to begin a new run.
    """
    if tensorboard_log is not None:
        return configure_logger(verbose, tensorboard_log, name, new_run)
    return Logger(folder=None, output_formats=[HumanOutputFormat(sys.stdout)] if verbose else [])
