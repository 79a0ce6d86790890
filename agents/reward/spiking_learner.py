"""A spiking learner taught by reward alone, behind Stable-Baselines3's model interface.

It reaches with the same body and the same plan as the learners taught by their seen error, but without the shared
visual feedback, which brings the hand to the cup by itself: where the hand goes is what the spiking actor has decided
when the reach is launched. When the trial is over, its summed reward is compared with what the spiking critic expected.
No error is seen, and no gradient exists. In `reach/CupGrab-v0` the fingers close on a near cup by the shared reflex.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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
from agents.reaching.senses import Senses
from agents.registry import find, is_learner
from agents.reward.spiking_actor_critic import Decision, SpikingActorCritic
from agents.spiking.readouts import KeptSpikes
from agents.trial_learner import Trial, TrialLearner

if TYPE_CHECKING:
    from reach.snapshot import Snapshot

SETTINGS = {"rate": 0.07, "critic_rate": 0.1}
# What a user, or a checkpoint, may set.
KNOWN_SETTINGS = {"rate": Setting(0.0, 1.0), "critic_rate": Setting(0.0, 1.0), "exploration_rad": Setting(0.0, 0.1)}
SEED = {"seed": Setting(0, whole=True)}


@dataclass
class RewardTrial(Trial):
    """One reach, and what was decided in it.

    Attributes:
        exploring: whether something else than usual is tried.
        background_hz: what the actor's background fires at in this reach; None at its mean.
        decision: None before the launch.
        kept: spikes so far, for whoever looks; None where nobody does.
    """

    exploring: bool = False
    background_hz: Array | None = None
    decision: Decision | None = None
    kept: KeptSpikes | None = None


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
            ValueError: an unknown name or setting, a setting outside its range, or an environment that it cannot use.
        """
        given = {**SETTINGS, **check_settings(settings, KNOWN_SETTINGS)}
        self.network = SpikingActorCritic(find(name).spec.rule, np.random.default_rng(seed), **given)
        self._rng = np.random.default_rng([seed, 1])
        self._latest: RewardTrial | None = None
        self._is_looked_into = False
        config = {"learner": name, "seed": seed, "settings": given}
        super().__init__(env, seed=seed, config=config, verbose=verbose, tensorboard_log=tensorboard_log)

    @classmethod
    def known_settings(cls) -> dict[str, Setting]:
        """Return the keyword arguments of the constructor, by name."""
        return SEED | KNOWN_SETTINGS | LOG_SETTINGS

    def end_baseline(self) -> None:
        """Nothing changes: it goes on from what it has learned."""

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
        """The learner of a checkpoint folder; no code of the checkpoint is run.

        Args:
            path: the folder.
            env: as for the constructor.
            resume: take up the random states of environment and exploration, so that `learn` goes on with the trial
                that would have followed.
            settings: `verbose` and `tensorboard_log`.

        Raises:
            CheckpointError: the checkpoint is damaged, of another learner, lacks entries, or does not fit `env`.
        """
        config = read_config(Path(path))
        name = config.get("learner")
        if not is_learner(name) or find(str(name)).model_class is not cls:
            raise CheckpointError(f"checkpoint {path}: expected a spiking learner from reward, got {short(name)}")
        seed, kept = read_settings(config, SEED, path)["seed"], mapping_of(config, "settings", path)
        with loading(path):
            check_settings(kept, KNOWN_SETTINGS)
            learner = cls(str(name), env, seed=seed, **{**kept, **settings})
        learner.restore(path, resume=resume)
        return learner

    def _require_usable(self, env: gym.Env[Any, Any] | VecEnv, senses: Senses) -> None:
        reward = env_attribute(env, "reward")
        if reward != "dense":
            raise ValueError(f"env has reward {reward!r}; 'dense' is allowed: a miss has to earn more the nearer it is")

    def snapshot(self) -> Snapshot:
        """What goes on in the network in the reach that it acts in, for a picture.

        Looking changes nothing. Spikes are kept from the first reach on that begins after the first look.
        """
        self._is_looked_into = True
        if self._latest is None:
            return self.network.snapshot(self.network.begin(), None)
        return self.network.snapshot(self._latest.network, self._latest.kept)

    def _begin(self, exploring: bool) -> RewardTrial:
        trial = RewardTrial(Reach(), self.network.begin(), exploring=exploring)
        if self._is_looked_into:
            trial.kept = KeptSpikes.none_yet(len(trial.network.spikes))
        return trial

    def _act(self, trial: RewardTrial, row: Any) -> NDArray[np.float32]:
        self._latest = trial
        now = self._sense(trial, row)
        if trial.reach.step == 0 and trial.exploring:
            # Drawn when the trial has begun, not when it is made ready: a learner is kept in between.
            trial.background_hz = self.network.explore(self._rng)
        if trial.decision is None:
            self.network.run(trial.network, trial.reach.cup, trial.background_hz, trial.kept)
            if trial.reach.step == PREPARATION_STEPS:
                trial.decision = self.network.decide(trial.network)
        wanted = np.zeros(3) if trial.decision is None else trial.decision.posture
        command = self.controller.act(trial.reach, now, wanted)
        trial.command = command
        return command

    def _finish(self, trial: RewardTrial, last: Any, earned: float) -> None:
        """Learn from the return of a trial; one that ended before the launch tells nothing."""
        if trial.decision is None:
            return
        surprise = self.network.learn(trial.decision, earned)
        self.logger.record_mean("train/expected_return", trial.decision.value)
        self.logger.record_mean("train/surprise", surprise)
        self.logger.record_mean("train/surprise_size", abs(surprise))
