"""A spiking actor and critic that learn from reward, with Stable-Baselines3's model interface.

The learner has the same body and the same movement plan as the learners by seen error, but not their visual feedback,
which alone brings the hand to the cup. The spiking actor decides at the launch where the hand goes. After the trial,
the sum of its rewards is compared with the return that the spiking critic expected. There is no seen error and no
gradient. In `reach/CupGrab-v0` the shared reflex closes the fingers on a near cup.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import (
    CheckpointError,
    Entry,
    Setting,
    check_settings,
    entries_of,
    fill,
    generator_state,
    loading,
    mapping_of,
    read_config,
    read_settings,
    short,
)
from agents.environments import env_attribute
from agents.loggers import LOG_SETTINGS
from agents.reaching.controller import PREPARATION_STEPS, Array, Reach
from agents.reaching.senses import ObservationReader
from agents.registry import find, is_learner
from agents.reward.spiking_actor_critic import LARGEST_EXPLORATION_RAD, Decision, SpikingActorCritic
from agents.spiking.readouts import SpikeRecord
from agents.trial_learner import Trial, TrialLearner
from reach.snapshot import Snapshot

DEFAULT_SETTINGS = {"rate": 0.07, "critic_rate": 0.1}
# Settings of a user or a checkpoint.
KNOWN_SETTINGS = {
    "rate": Setting(0.0, 1.0),
    "critic_rate": Setting(0.0, 1.0),
    "exploration_rad": Setting(0.0, LARGEST_EXPLORATION_RAD),
}
SEED = {"seed": Setting(0, whole=True)}


@dataclass
class RewardTrial(Trial):
    """One reach and its decision.

    Attributes:
        exploring: whether the actor explores.
        background_hz: rates of the actor's background in this reach, Hz; None for the mean.
        decision: None before the launch.
        record: recorded spikes; None without a picture.
    """

    exploring: bool = False
    background_hz: Array | None = None
    decision: Decision | None = None
    record: SpikeRecord | None = None


class RewardSpikingLearner(TrialLearner[RewardTrial]):
    """A spiking actor and critic with the teacher `reward`.

    Attributes:
        network: actor and critic.
    """

    FEEDBACK_SHARE: ClassVar[float] = 0.0

    def __init__(
        self,
        name: str,
        env: gym.Env[Any, Any] | VecEnv,
        *,
        seed: int = 0,
        verbose: int = 0,
        tensorboard_log: str | None = None,
        **settings: float,
    ) -> None:
        """Make an untrained learner.

        Args:
            name: "reward-snn-stdp" or "reward-snn-hebb".
            env: a `CupEnv` with dense reward, wrapped or not, or a Stable-Baselines3 VecEnv of them.
            seed: of cells, exploration and trials.
            verbose, tensorboard_log: as in Stable-Baselines3.
            settings: `rate`, `critic_rate` and `exploration_rad` of `SpikingActorCritic`.

        Raises:
            ValueError: an unknown name or setting, a setting outside its range, or an unsuitable environment.
        """
        all_settings = {**DEFAULT_SETTINGS, **check_settings(settings, KNOWN_SETTINGS)}
        self.network = SpikingActorCritic(find(name).spec.rule, np.random.default_rng(seed), **all_settings)
        self._rng = np.random.default_rng([seed, 1])
        self._latest: RewardTrial | None = None
        self._records_spikes = False
        config = {"learner": name, "seed": seed, "settings": all_settings}
        super().__init__(env, seed=seed, config=config, verbose=verbose, tensorboard_log=tensorboard_log)

    @classmethod
    def known_settings(cls) -> dict[str, Setting]:
        """Return the keyword arguments of the constructor, by name."""
        return SEED | KNOWN_SETTINGS | LOG_SETTINGS

    def end_baseline(self) -> None:
        """Do nothing: learning continues as before."""

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self.network.arrays()

    def _memory(self) -> dict[str, NDArray[Any]]:
        return self.network.memory()

    def _restore_memory(self, config: dict[str, Any], memory: dict[str, NDArray[Any]], path: str | Path) -> None:
        generator_state(config["exploration"], "exploration", path)
        fill(self.network.memory(), memory, path, self._limits())

    def _limits(self) -> dict[str, tuple[float, float]]:
        return self.network.limits()

    def _memory_entries(self) -> dict[str, Entry]:
        return entries_of(self.network.memory(), self._limits())

    def _saved_settings(self) -> dict[str, Any]:
        return {"exploration": self._rng.bit_generator.state}

    def _resume(self, config: dict[str, Any]) -> None:
        self._rng.bit_generator.state = config["exploration"]

    @classmethod
    def load(cls, path: str | Path, env: Any, *, resume: bool = False, **settings: Any) -> RewardSpikingLearner:
        """Return the learner of a checkpoint folder; no code of the checkpoint is run.

        Args:
            path: the folder.
            env: as for the constructor.
            resume: restore the random states of environment and exploration, so that `learn` continues with the trial
                that would have followed.
            settings: `verbose` and `tensorboard_log`.

        Raises:
            CheckpointError: the checkpoint is damaged or incomplete, is of another learner, or does not fit `env`.
        """
        config = read_config(Path(path))
        name = config.get("learner")
        if not is_learner(name) or find(str(name)).model_class is not cls:
            raise CheckpointError(f"checkpoint {path}: expected a spiking learner from reward, got {short(name)}")
        seed, saved = read_settings(config, SEED, path)["seed"], mapping_of(config, "settings", path)
        with loading(path):
            check_settings(saved, KNOWN_SETTINGS)
            learner: RewardSpikingLearner = cls(str(name), env, seed=seed, **{**saved, **settings})
        learner.restore(path, resume=resume)
        return learner

    def _require_usable(self, env: gym.Env[Any, Any] | VecEnv, senses: ObservationReader) -> None:
        reward = env_attribute(env, "reward")
        if reward != "dense":
            raise ValueError(f"env: expected reward 'dense', which grades misses by distance, got {reward!r}")

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the network in the present reach, for a picture; it changes no number.

        Spikes are recorded from the first reach that begins after the first call.
        """
        self._records_spikes = True
        if self._latest is None:
            return self.network.snapshot(self.network.begin(), None)
        return self.network.snapshot(self._latest.network, self._latest.record)

    def _begin(self, exploring: bool) -> RewardTrial:
        trial = RewardTrial(Reach(), self.network.begin(), exploring=exploring)
        if self._records_spikes:
            trial.record = SpikeRecord.empty(len(trial.network.spikes))
        return trial

    def _act(self, trial: RewardTrial, row: Any) -> NDArray[np.float32]:
        self._latest = trial
        now = self._sense(trial, row)
        if trial.reach.step == 0 and trial.exploring:
            # Drawn in the first step and not in `_begin`: a checkpoint may be saved in between.
            trial.background_hz = self.network.explore(self._rng)
        if trial.decision is None:
            self.network.run(trial.network, trial.reach.cup, trial.background_hz, trial.record)
            if trial.reach.step == PREPARATION_STEPS:
                trial.decision = self.network.decide(trial.network)
        posture = np.zeros(3) if trial.decision is None else trial.decision.posture
        trial.command = self.controller.act(trial.reach, now, posture)
        return trial.command

    def _finish(self, trial: RewardTrial, last: Any, earned: float) -> None:
        """Learn from the return of a trial, unless it ended before the launch."""
        if trial.decision is None:
            return
        error = self.network.learn(trial.decision, earned)
        self.logger.record_mean("train/expected_return", trial.decision.value)
        self.logger.record_mean("train/surprise", error)
        self.logger.record_mean("train/surprise_size", abs(error))
