"""A learner taught by its seen error, behind Stable-Baselines3's model interface.

It runs the shared controller with its own feed-forward part, asks the teacher once a reach what was missing, and
changes its synapses between reaches, never inside one (an adaptive loop closed over a delay would be unstable).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import (
    CheckpointError,
    Entry,
    Setting,
    check_settings,
    loading,
    read_config,
    read_settings,
    short,
)
from agents.error.baseline import Baseline
from agents.error.feedforward import FeedForward, Plastic
from agents.error.networks import HIDDEN, is_error_learner, make_feedforward
from agents.networks.registry import JOINTS
from agents.reaching.controller import (
    MOVEMENT_S,
    PREPARATION_S,
    PREPARATION_STEPS,
    SIGHT_LAG_S,
    Array,
    Controller,
    Reach,
    minimum_jerk,
)
from agents.reaching.posture_servo import CONTROL_STEP_S
from agents.reaching.senses import Sensation, Senses
from agents.trial_learner import Trial, TrialLearner

if TYPE_CHECKING:
    from reach.snapshot import Inside

HIDDEN_RATE = 4.0
PRACTICE_RATE = 0.004
# What a checkpoint may hold of what a learner is built from.
RATES = {"rate": Setting(0.0, 2.0), "hidden_rate": Setting(0.0, 100.0), "practice_rate": Setting(0.0, 1.0)}
SEED = {"seed": Setting(0, whole=True)}
PLASTIC = {"plastic": Setting(also=("all", "hidden"))}


@dataclass
class ErrorTrial(Trial):
    """One reach, what the network asked for until the step that is taught, and what the teacher has seen of it."""

    posture: Array = field(default_factory=lambda: np.zeros(JOINTS))
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
        practice_rate: float = PRACTICE_RATE,
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
            practice_rate: step size, 0..1, of cells that practise once unperturbed training has ended (`error-memory`).
            seed: of the trials drawn in `learn`.
            config: what `save` writes so that the learner can be built again.
            verbose, tensorboard_log: as in Stable-Baselines3.

        Raises:
            ValueError: a rate outside its range.
        """
        given = {"rate": rate, "hidden_rate": hidden_rate, "practice_rate": practice_rate}
        self.rate, self.hidden_rate, self.practice_rate = check_settings(given, RATES).values()
        self.feedforward = feedforward
        self.baseline = Baseline()
        self._latest: ErrorTrial | None = None
        super().__init__(env, seed=seed, config=config, verbose=verbose, tensorboard_log=tensorboard_log)

    def set_env(self, env: gym.Env[Any, Any] | VecEnv, force_reset: bool = True) -> None:
        """Learn and act in another environment; `force_reset` is there for Stable-Baselines3's signature.

        Raises:
            ValueError: observations from which this learner cannot tell where hand and cup are.
        """
        super().set_env(env, force_reset)
        self.teacher = SeenError(self.controller)
        # The same array, which the baseline fills in place.
        self.teacher.expected = self.baseline.expected

    def _require_usable(self, env: gym.Env[Any, Any] | VecEnv, senses: Senses) -> None:
        if self.feedforward.sees == "picture" and not senses.has_pictures:
            raise ValueError("env gives no pictures; one made with observation='retina', retina_colour=True is allowed")

    @property
    def plastic(self) -> Plastic:
        """Which synapses learn."""
        return self.feedforward.plastic

    def settle_baseline(self) -> None:
        """End unperturbed training: its last reaches are normal, and a learner `-hidden` keeps its read-out."""
        if str(self.config.get("learner", "")).endswith(HIDDEN):
            self.feedforward.plastic = "hidden"
        self.baseline.settle()
        self.feedforward.end_baseline(self.controller, self.practice_rate)

    def cost(self) -> dict[str, float]:
        """What its network has computed and changed since it was made or loaded, by the names of `agents.costs`."""
        return self.feedforward.cost()

    def alignment(self) -> dict[str, float]:
        """Angle, degrees, between the last step and the true gradient, by layer; empty where there is no gradient."""
        return self.feedforward.alignment()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self.feedforward.arrays()

    def _memory(self) -> dict[str, NDArray[Any]]:
        return dict(self.baseline.arrays())

    def _limits(self) -> dict[str, tuple[float, float]]:
        return self.feedforward.limits()

    def _memory_entries(self) -> dict[str, Entry]:
        return self.baseline.entries()

    def _recall(self, config: dict[str, Any], memory: dict[str, NDArray[Any]], path: str | Path) -> None:
        plastic = read_settings(config, PLASTIC, path)["plastic"]
        self.baseline.restore(memory, path)
        self.feedforward.plastic = plastic

    def _kept_settings(self) -> dict[str, Any]:
        return {"plastic": self.plastic, "hidden_rate": self.hidden_rate, "practice_rate": self.practice_rate}

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
            CheckpointError: the checkpoint is damaged, of another learner, lacks entries, or does not fit `env`.
        """
        config = read_config(Path(path))
        name = config.get("learner")
        if not isinstance(name, str) or not is_error_learner(name):
            raise CheckpointError(
                f"checkpoint {path} names learner {short(name)}; one taught by its seen error is expected"
            )
        kept = read_settings(config, SEED | RATES, path)
        seed = kept.pop("seed")
        with loading(path):
            feedforward = make_feedforward(name, np.random.default_rng(seed))
            known = {"learner": name, "seed": seed, "rate": kept["rate"]}
            learner = cls(feedforward, env, seed=seed, config=known, **kept, **settings)
        learner.restore(path, resume=resume)
        return learner

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
        step = trial.reach.step
        posture = trial.posture
        if step >= PREPARATION_STEPS or not self.feedforward.waits_for_launch:
            seen = trial.reach.cup if self.feedforward.sees == "cup" else trial.reach.picture
            assert seen is not None
            posture = self.feedforward.posture(trial.network, seen)
        if step <= CREDIT_STEP:
            trial.posture = posture
        if step == CREDIT_STEP:
            trial.eligible = self.feedforward.eligibility(trial.network)
        command = self.controller.act(trial.reach, now, posture)
        trial.command = command
        return command

    def _finish(self, trial: ErrorTrial, last: Any, earned: float) -> None:
        if not trial.read:
            self._sense(trial, last)
            trial.reading = trial.reading if trial.read else self.teacher.read(trial.reach)
        if trial.reading is None:
            return
        self.baseline.note(trial.reading.displacement, trial.posture)
        if trial.eligible is None:
            trial.eligible = self.feedforward.eligibility(trial.network)
        if self.plastic == "hidden":
            self.feedforward.change(trial.eligible, self.baseline.weighed(trial.reading.error), self.hidden_rate)
        else:
            self.feedforward.change(trial.eligible, trial.reading.error, self.rate)
        self.logger.record_mean("train/motor_error_rad", float(np.linalg.norm(trial.reading.error)))

    def _measures(self) -> dict[str, float]:
        return {f"alignment/{layer}_degrees": degrees for layer, degrees in self.alignment().items()}


READING_S = PREPARATION_S + MOVEMENT_S + SIGHT_LAG_S
READING_STEP = round(READING_S / CONTROL_STEP_S)
# What is read now was caused this much earlier.
CREDIT_LAG_S = 0.15
CREDIT_STEP = round((READING_S - CREDIT_LAG_S) / CONTROL_STEP_S)
LARGEST_ERROR_RAD = 0.6


@dataclass(frozen=True)
class Reading:
    """One reading of a reach.

    Attributes:
        displacement: (2,) m, from the seen hand to where it ought to be by now.
        error: (3,) rad, what the feed-forward posture lacked.
    """

    displacement: Array
    error: Array


class SeenError:
    """Reads the error of a reach from the senses.

    Attributes:
        expected: (2,) m, the displacement that is normal in unperturbed reaches; subtracted from every reading.
    """

    def __init__(self, controller: Controller) -> None:
        """Make a teacher that uses a controller's body map."""
        self._controller = controller
        self.expected = np.zeros(2)

    def read(self, reach: Reach) -> Reading | None:
        """The error of a reach that has been sensed up to now; None when the hand is not seen or has not set out.

        It is asked for at `READING_STEP`, or at the end of a trial that ended before.
        """
        course = minimum_jerk((reach.time_s - PREPARATION_S - SIGHT_LAG_S) / MOVEMENT_S)
        if not reach.visible or course < 0.5:
            return None
        displacement = reach.start + course * (reach.aimed_cup - reach.start) - reach.hand
        turn = course * (reach.axis - float(np.sum(reach.felt)))
        right, forward = (displacement - self.expected).tolist()
        error = reach.feedback + self._controller.motor_error(reach.felt, (right, forward), turn)
        # A glance that is wildly off says in which direction, not how far.
        size = float(np.linalg.norm(error))
        return Reading(displacement, error * min(1.0, LARGEST_ERROR_RAD / max(size, 1e-12)))
