"""A learner taught by its seen error, behind Stable-Baselines3's model interface.

It runs the shared controller with its own feed-forward part, asks the teacher once a reach what was missing, and
changes its synapses between reaches, never inside one (an adaptive loop closed over a delay would be unstable).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.checkpoint import read_checkpoint, read_config, write_checkpoint
from agents.controller import Array, Controller, Reach
from agents.error_networks import HIDDEN, is_error_learner, make_feedforward
from agents.feedforward import FeedForward, Plastic
from agents.sensation import Sensation, Senses
from agents.teachers.seen_error import CREDIT_STEP, READING_STEP, Reading, SeenError
from agents.trial_source import (
    TrialSource,
    env_attribute,
    env_options_of,
    is_one,
    random_states,
    rows_of,
    set_random_states,
)

EXPECTATION_TRIALS = 200
HIDDEN_RATE = 4.0
DISPLACEMENTS = "recent_displacements_m"
# After a command has been sent, the next observation of the same trial repeats it; float32 keeps seven digits.
SAME_COMMAND = 1e-5


@dataclass
class Trial:
    """One reach of one environment, as the learner lives it."""

    reach: Reach
    network: Any
    command: NDArray[np.float32] | None = None
    eligible: Any = None
    reading: Reading | None = None
    read: bool = False


class ErrorLearner:
    """Network x rule with the teacher `seen-error`.

    Attributes:
        num_timesteps: control steps learned from.
        trials: reaches learned from.
        logger: where `learn` writes.
    """

    def __init__(
        self,
        feedforward: FeedForward,
        env: gym.Env[Any, Any] | VecEnv,
        *,
        rate: float,
        hidden_rate: float = HIDDEN_RATE,
        seed: int | None = None,
        config: dict[str, Any] | None = None,
        verbose: int = 0,
        tensorboard_log: str | None = None,
    ) -> None:
        """Join a feed-forward part to an environment.

        Args:
            feedforward: network and rule.
            env: a `CupEnv`, wrapped or not, or a Stable-Baselines3 VecEnv of them.
            rate: share of the error to correct after each reach, 0..2.
            hidden_rate: the same once the read-out stays as it is, 0..100. Hidden synapses alone move the posture less
                than the share they are asked for, so it is larger.
            seed: of the trials drawn in `learn`.
            config: what `save` writes so that the learner can be built again.
            verbose, tensorboard_log: as in Stable-Baselines3.

        Raises:
            ValueError: a rate outside its range.
        """
        for name, value, largest in (("rate", rate, 2.0), ("hidden_rate", hidden_rate, 100.0)):
            if not 0.0 <= value <= largest:
                raise ValueError(f"{name} is {value}; 0 to {largest:g} is allowed")
        self.feedforward = feedforward
        self.rate = rate
        self.hidden_rate = hidden_rate
        self.seed = seed
        self.config = dict(config or {})
        self.verbose = verbose
        self.tensorboard_log = tensorboard_log
        self.num_timesteps = 0
        self.trials = 0
        self.recent_displacements: deque[Array] = deque(maxlen=EXPECTATION_TRIALS)
        self._expected = np.zeros(2)
        self._unseeded = True
        self._own_trials: list[Trial] = []
        self._logger: Logger | None = None
        self.set_env(env)

    @property
    def logger(self) -> Logger:
        """The logger in use."""
        if self._logger is None:
            self._logger = configure_logger(self.verbose, self.tensorboard_log, "run", True)
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Write to another logger."""
        self._logger = logger

    def set_env(self, env: gym.Env[Any, Any] | VecEnv, force_reset: bool = True) -> None:
        """Learn and act in another environment; `force_reset` is there for Stable-Baselines3's signature.

        Raises:
            ValueError: observations from which this learner cannot tell where hand and cup are.
        """
        arm, task, control = (env_attribute(env, name) for name in ("arm", "task", "control"))
        senses = Senses(arm, env_options_of(env))
        if self.feedforward.sees == "picture" and not senses.has_pictures:
            raise ValueError("env gives no pictures; one made with observation='retina', retina_colour=True is allowed")
        self.env = env
        self._vec_env: VecEnv | None = env if isinstance(env, VecEnv) else None
        self.controller = Controller(arm, grab=task == "grab", control=control)
        self.senses = senses
        self.teacher = SeenError(self.controller)
        self.teacher.expected = self._expected

    def get_env(self) -> VecEnv:
        """The environment, as a VecEnv."""
        if self._vec_env is None:
            env: Any = self.env
            self._vec_env = DummyVecEnv([lambda: env])
        return self._vec_env

    def get_vec_normalize_env(self) -> None:
        """None: observations are never normalised (Stable-Baselines3's callbacks ask)."""

    @property
    def observation_space(self) -> gym.Space[Any]:
        """The environment's."""
        return self.env.observation_space

    @property
    def action_space(self) -> gym.Space[Any]:
        """The environment's."""
        return self.env.action_space

    @property
    def n_envs(self) -> int:
        """How many environments it learns in at once."""
        return self.env.num_envs if isinstance(self.env, VecEnv) else 1

    @property
    def env_options(self) -> dict[str, Any]:
        """What `gym.make` must be told for an environment like the one it learns in."""
        return env_options_of(self.env)

    @property
    def plastic(self) -> Plastic:
        """Which synapses learn."""
        return self.feedforward.plastic

    def settle_baseline(self) -> None:
        """End unperturbed training: what was displaced of late is normal, and a learner `-hidden` keeps its read-out.

        Before EXPECTATION_TRIALS reaches nothing is known to be normal, and no displacement is taken for it.
        """
        if str(self.config.get("learner", "")).endswith(HIDDEN):
            self.feedforward.plastic = "hidden"
        if len(self.recent_displacements) == EXPECTATION_TRIALS:
            self._expected = np.mean(np.array(self.recent_displacements), axis=0)
            self.teacher.expected = self._expected

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], list[Trial]]:
        """Commands for one observation or a batch of n.

        Args:
            observation: from the environment.
            state: what the call before returned. Without it the learner goes on with the reach of its own last call,
                and begins a new one where the observation does not repeat the command it gave.
            episode_start: (n,) where a trial has just begun.
            deterministic: without effect; the learner explores nothing.

        Returns:
            Commands (4,) or (n, 4) in [-1, 1], and the state for the next call.

        Raises:
            ValueError: an observation of another shape.
        """
        alone = is_one(observation, self.observation_space)
        batch = [observation] if alone else rows_of(observation)
        given: list[Trial] = self._own_trials if state is None else state
        trials = [
            self._begin()
            if len(given) != len(batch)
            or (episode_start is not None and episode_start[k])
            or (state is None and not self._continues(given[k], row))
            else given[k]
            for k, row in enumerate(batch)
        ]
        commands = np.stack([self._act(trial, row) for trial, row in zip(trials, batch, strict=True)])
        if state is None:
            self._own_trials = trials
        return (commands[0] if alone else commands), trials

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> ErrorLearner:
        """Reach, and learn after each reach, for at least `total_timesteps` control steps; ends between trials.

        Args:
            total_timesteps: control steps, summed over environments.
            callback: Stable-Baselines3 callback, list of them or function; one that returns False ends the learning.
            log_interval: trials between two entries in the log; None for none.
            tb_log_name: name of the run in TensorBoard.
            reset_num_timesteps: count from zero.
            progress_bar: show one.
        """
        if reset_num_timesteps:
            self.num_timesteps = 0
        self._logger = self._logger or configure_logger(
            self.verbose, self.tensorboard_log, tb_log_name, reset_num_timesteps
        )
        # Stable-Baselines3's progress bar reads the local of this name, and counts from zero.
        total = total_timesteps = self.num_timesteps + total_timesteps
        self._total_timesteps = total
        hook = self._callback(callback, progress_bar)
        hook.on_training_start(locals(), globals())
        hook.on_rollout_start()
        source = TrialSource(self.env, self.seed if self._unseeded else None)
        self._unseeded = False
        trials = [self._begin() for _ in range(source.num_envs)]
        recent: deque[tuple[float, int, bool]] = deque(maxlen=100)
        earned = np.zeros(source.num_envs)
        steps = np.zeros(source.num_envs, dtype=int)
        running = True
        while running:
            commands = np.stack([self._act(trial, row) for trial, row in zip(trials, source.rows, strict=True)])
            rewards, dones, infos = source.step(commands)
            self.num_timesteps += source.num_envs
            earned += rewards
            steps += 1
            for k in np.flatnonzero(dones).tolist():
                self._finish(trials[k], source.last_row(k, infos))
                trials[k] = self._begin()
                recent.append((float(earned[k]), int(steps[k]), bool(infos[k].get("is_success", False))))
                earned[k], steps[k] = 0.0, 0
                if log_interval is not None and self.trials % log_interval == 0:
                    self._log(recent)
            hook.update_locals(locals())
            running = hook.on_step() and not (self.num_timesteps >= total and bool(np.any(dones)))
            if running:
                source.restart(dones)
        hook.on_rollout_end()
        hook.on_training_end()
        return self

    def save(self, path: str | Path) -> None:
        """Write a checkpoint folder, whole or not at all.

        A learner that is loaded with `resume` goes on, between trials, as this one would: the same trials, the same
        bits.
        """
        config = self.config | {
            "num_timesteps": self.num_timesteps,
            "trials": self.trials,
            "expected_displacement_m": self._expected.tolist(),
            "plastic": self.plastic,
            "env_options": self.env_options,
            "hidden_rate": self.hidden_rate,
            "random_states": random_states(self.env),
        }
        recent = np.array(self.recent_displacements).reshape(-1, 2)
        write_checkpoint(Path(path), config, self.feedforward.arrays(), {DISPLACEMENTS: recent})

    @classmethod
    def load(cls, path: str | Path, env: Any, *, resume: bool = False, **settings: Any) -> ErrorLearner:
        """The learner of a checkpoint folder; no code of the checkpoint is run.

        Args:
            path: the folder.
            env: as for the constructor.
            resume: give `env` the random state of the learner's own when it was kept, so that `learn` goes on with the
                trial that would have followed there.
            settings: `verbose` and `tensorboard_log`.

        Raises:
            ValueError: the checkpoint is of another learner, or its arrays do not fit.
        """
        config = read_config(Path(path))
        name, seed, rate = str(config.get("learner")), int(config.get("seed", 0)), float(config.get("rate", 0.0))
        if not is_error_learner(name):
            raise ValueError(f"checkpoint {path} names learner {name!r}; one taught by its seen error is allowed")
        feedforward = make_feedforward(name, np.random.default_rng(seed))
        known = {"learner": name, "seed": seed, "rate": rate}
        hidden_rate = float(config.get("hidden_rate", HIDDEN_RATE))
        learner = cls(feedforward, env, rate=rate, hidden_rate=hidden_rate, seed=seed, config=known, **settings)
        learner.restore(path, resume=resume)
        return learner

    def restore(self, path: str | Path, *, resume: bool = False) -> None:
        """Fill this learner with what `save` wrote.

        Args:
            path: the folder.
            resume: as for `load`.

        Raises:
            ValueError: the checkpoint holds other arrays than this learner, or, with `resume`, the random state of
                another number of environments.
        """
        config, arrays, state = read_checkpoint(Path(path))
        own = self.feedforward.arrays()
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in arrays.items()}:
            raise ValueError(
                f"checkpoint {path} holds {sorted(arrays)}; {sorted(own)} of the learner's shapes are allowed"
            )
        for name, array in own.items():
            array[...] = arrays[name]
        self.num_timesteps = int(config["num_timesteps"])
        self.trials = int(config["trials"])
        self._expected = np.asarray(config["expected_displacement_m"], dtype=np.float64)
        self.feedforward.plastic = "hidden" if config["plastic"] == "hidden" else "all"
        self.recent_displacements.clear()
        self.recent_displacements.extend(state[DISPLACEMENTS])
        if resume:
            set_random_states(self.env, config["random_states"])
            self._unseeded = False

    def _begin(self) -> Trial:
        return Trial(Reach(), self.feedforward.begin())

    def _continues(self, trial: Trial, row: Any) -> bool:
        if trial.command is None:
            return False
        return bool(np.max(np.abs(self.senses.latest_command(row) - trial.command)) < SAME_COMMAND)

    def _sense(self, trial: Trial, row: Any) -> Sensation:
        """Take in an observation, and the teacher's reading when it is due."""
        now = self.senses.read(row, trial.reach.past_angles)
        self.controller.sense(trial.reach, now)
        if trial.reach.step == READING_STEP:
            trial.reading = self.teacher.read(trial.reach)
            trial.read = True
        return now

    def _act(self, trial: Trial, row: Any) -> NDArray[np.float32]:
        now = self._sense(trial, row)
        seen = trial.reach.cup if self.feedforward.sees == "cup" else trial.reach.picture
        assert seen is not None
        posture = self.feedforward.posture(trial.network, seen)
        if trial.reach.step == CREDIT_STEP:
            trial.eligible = self.feedforward.eligibility(trial.network)
        command = self.controller.act(trial.reach, now, posture).astype(np.float32)
        trial.command = command
        return command

    def _finish(self, trial: Trial, last: Any) -> None:
        """Learn from a reach that is over."""
        self.trials += 1
        if not trial.read:
            self._sense(trial, last)
            trial.reading = trial.reading if trial.read else self.teacher.read(trial.reach)
        if trial.reading is None:
            return
        self.recent_displacements.append(trial.reading.displacement)
        if trial.eligible is None:
            trial.eligible = self.feedforward.eligibility(trial.network)
        rate = self.hidden_rate if self.plastic == "hidden" else self.rate
        self.feedforward.change(trial.eligible, trial.reading.error, rate)
        self.logger.record_mean("train/motor_error_rad", float(np.linalg.norm(trial.reading.error)))

    def _log(self, recent: deque[tuple[float, int, bool]]) -> None:
        reward, length, success = np.mean(np.array(recent, dtype=np.float64), axis=0)
        self.logger.record("rollout/ep_rew_mean", float(reward))
        self.logger.record("rollout/ep_len_mean", float(length))
        self.logger.record("rollout/success_rate", float(success))
        for layer, degrees in self.feedforward.alignment().items():
            self.logger.record(f"alignment/{layer}_degrees", degrees)
        self.logger.record("time/trials", self.trials)
        self.logger.dump(self.num_timesteps)

    def _callback(self, callback: Any, progress_bar: bool) -> BaseCallback:
        if isinstance(callback, list):
            hook: BaseCallback = CallbackList(callback)
        elif isinstance(callback, BaseCallback):
            hook = callback
        else:
            hook = ConvertCallback(callback)
        if progress_bar:
            hook = CallbackList([hook, ProgressBarCallback()])
        hook.init_callback(self)  # type: ignore[arg-type]
        return hook
