"""A learner taught by its seen error, behind Stable-Baselines3's model interface.

It runs the shared controller with its own feed-forward part, asks the teacher once a reach what was missing, and
changes its synapses between reaches, never inside one (an adaptive loop closed over a delay would be unstable).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import fill, read_checkpoint, read_config, write_checkpoint
from agents.controller import Array, Reach
from agents.error_networks import HIDDEN, is_error_learner, make_feedforward
from agents.feedforward import FeedForward, Plastic
from agents.sensation import Sensation, Senses
from agents.teachers.seen_error import CREDIT_STEP, READING_STEP, Reading, SeenError
from agents.trial_learner import Trial, TrialLearner
from agents.trial_source import random_states, set_random_states

if TYPE_CHECKING:
    from reach.render.inside import Inside

EXPECTATION_TRIALS = 200
HIDDEN_RATE = 4.0
DISPLACEMENTS = "recent_displacements_m"


@dataclass
class ErrorTrial(Trial):
    """One reach, and what the teacher has seen of it."""

    eligible: Any = None
    reading: Reading | None = None
    read: bool = False


class ErrorLearner(TrialLearner[ErrorTrial]):
    """Network x rule with the teacher `seen-error`."""

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
            hidden_rate: the same once the read-out stays as it is, 0..100. Of networks that do not know what their
                hidden synapses do to the posture, which is less than the share they are asked for, it is larger.
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
        self.recent_displacements: deque[Array] = deque(maxlen=EXPECTATION_TRIALS)
        self._expected = np.zeros(2)
        self._latest: ErrorTrial | None = None
        super().__init__(env, seed=seed, config=config, verbose=verbose, tensorboard_log=tensorboard_log)

    def set_env(self, env: gym.Env[Any, Any] | VecEnv, force_reset: bool = True) -> None:
        """Learn and act in another environment; `force_reset` is there for Stable-Baselines3's signature.

        Raises:
            ValueError: observations from which this learner cannot tell where hand and cup are.
        """
        super().set_env(env, force_reset)
        self.teacher = SeenError(self.controller)
        self.teacher.expected = self._expected

    def _require_usable(self, env: gym.Env[Any, Any] | VecEnv, senses: Senses) -> None:
        if self.feedforward.sees == "picture" and not senses.has_pictures:
            raise ValueError("env gives no pictures; one made with observation='retina', retina_colour=True is allowed")

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
        fill(self.feedforward.arrays(), arrays, path)
        self.num_timesteps = int(config["num_timesteps"])
        self.trials = int(config["trials"])
        self._expected = np.asarray(config["expected_displacement_m"], dtype=np.float64)
        self.teacher.expected = self._expected
        self.feedforward.plastic = "hidden" if config["plastic"] == "hidden" else "all"
        self.recent_displacements.clear()
        self.recent_displacements.extend(state[DISPLACEMENTS])
        if resume:
            set_random_states(self.env, config["random_states"])
            self._unseeded = False

    def inside(self) -> Inside:
        """What goes on in the network in the reach that it acts in, for a picture.

        Looking changes nothing. Spikes are kept from the first reach on that begins after the first look.
        """
        state = self.feedforward.begin() if self._latest is None else self._latest.network
        return self.feedforward.inside(state)

    def _begin(self, exploring: bool) -> ErrorTrial:
        return ErrorTrial(Reach(), self.feedforward.begin())

    def _sense(self, trial: ErrorTrial, row: Any) -> Sensation:
        """Take in an observation, and the teacher's reading when it is due."""
        now = super()._sense(trial, row)
        if trial.reach.step == READING_STEP:
            trial.reading = self.teacher.read(trial.reach)
            trial.read = True
        return now

    def _act(self, trial: ErrorTrial, row: Any) -> NDArray[np.float32]:
        self._latest = trial
        now = self._sense(trial, row)
        seen = trial.reach.cup if self.feedforward.sees == "cup" else trial.reach.picture
        assert seen is not None
        posture = self.feedforward.posture(trial.network, seen)
        if trial.reach.step == CREDIT_STEP:
            trial.eligible = self.feedforward.eligibility(trial.network)
        command = self.controller.act(trial.reach, now, posture).astype(np.float32)
        trial.command = command
        return command

    def _finish(self, trial: ErrorTrial, last: Any, earned: float) -> None:
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

    def _measures(self) -> dict[str, float]:
        return {f"alignment/{layer}_degrees": degrees for layer, degrees in self.feedforward.alignment().items()}
