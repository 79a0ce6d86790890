"""A learner taught by its seen error, behind Stable-Baselines3's model interface.

The teacher (`agents.error.teacher`) reads the error once per reach, when the movement should have ended and its end has
been seen. Synapses change between reaches only, because an adaptive loop closed over a delay would be unstable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import Entry, entries_of, fill, loading, read_config, read_settings
from agents.error.feedforward import FeedForward, NoNetwork, run_reach
from agents.error.lstm import LSTMFeedForward
from agents.error.memory import MemoryFeedForward, PacedFeedForward
from agents.error.rate import RateFeedForward
from agents.error.spiking import SpikingFeedForward
from agents.error.synapses import TwoStateSynapses
from agents.error.teacher import BODY_MAPS, Baseline, Reading, SeenError
from agents.learner import learner_of
from agents.networks.registry import JOINTS, NETWORKS
from agents.reaching.controller import (
    PREPARATION_STEPS,
    READING_S,
    READING_STEP,
    Controller,
    Reach,
)
from agents.reaching.senses import COMMAND, ObservationReader, Sensation
from agents.registry import EXACT, NONE, PLAIN, TWO_STATE, Plastic, body_maps, find, synapses
from agents.settings import LOG_SETTINGS, SEED, Setting, check_settings
from agents.trial_learner import Trial, TrialLearner
from agents.vec_env import env_attribute
from reach import ACTION_SIZE, CONTROL_STEP_S, CommandMap
from reach.jit import compiled_for
from reach.play import UNLIMITED, Played, play
from reach.snapshot import Snapshot

Array = NDArray[np.float64]


def make_feedforward(name: str, rng: np.random.Generator, lamps: int = 0, **sizes: int) -> FeedForward:
    """Return the network and rule of an untrained error learner.

    Args:
        name: name of the learner; "none" has no network.
        rng: generator of weights and feedback matrices.
        lamps: number of lamps that a network sees beside the cup.
        sizes: "depth" and "width" of the network; a missing one has the network's default.

    Raises:
        ValueError: the name is unknown or belongs to another kind of learner, or the network lacks an option.
    """
    spec = find(name).spec
    if spec.teacher not in (NONE, "error"):
        raise ValueError(f"expected a learner taught by its seen error, got {name!r}")
    if not spec.network:
        if sizes:
            raise ValueError(f"learner {name!r}: expected no depth or width, since it has no network, got {sizes}")
        return NoNetwork()
    network = NETWORKS[spec.network]
    sees_lamps = lamps > 0 and network.sees == "cup"
    sensory, cells = network.build(rng, **sizes, **({"lamps": lamps} if sees_lamps else {}))
    if network.cells == "spiking":
        return SpikingFeedForward(spec.rule, rng, cells=sensory, sees=network.sees, **cells)
    if network.cells == "recurrent":
        return LSTMFeedForward(spec.rule, sensory, cells, rng, sees=network.sees)
    if network.practises == "rate":
        return PacedFeedForward(spec.rule, sensory, cells, rng)
    part = RateFeedForward(spec.rule, sensory, cells, rng, sees=network.sees)
    return MemoryFeedForward(spec.rule, part, rng) if network.practises else part


# Time from the network's output to the seen error that it causes.
CREDIT_LAG_S = 0.15
CREDIT_STEP = round((READING_S - CREDIT_LAG_S) / CONTROL_STEP_S)
RATES = {"rate": Setting(0.0, 2.0), "hidden_rate": Setting(0.0, 100.0), "practice_rate": Setting(0.0, 1.0)}
# Sizes of the network; None for its default.
SIZES = {
    "depth": Setting(2, 64, is_integer=True, allowed=(None,)),
    "width": Setting(1, 4096, is_integer=True, allowed=(None,)),
}
PLASTIC = {"plastic": Setting(allowed=("all", "hidden"))}
BODY_MAP = {"body_map": Setting(allowed=tuple(BODY_MAPS))}
SYNAPSE = {"synapse": Setting(allowed=(PLAIN, TWO_STATE))}


@dataclass
class ErrorTrial(Trial):
    """One reach of an error learner.

    Attributes:
        posture: (3,) rad, the network's latest output up to `CREDIT_STEP`.
        eligible: eligibility of the network at `CREDIT_STEP`; None before that step.
        reading: the teacher's reading of the error; None if it could not read one.
        is_read: whether the teacher has read the error or tried to.
    """

    posture: Array = field(default_factory=lambda: np.zeros(JOINTS))
    eligible: Any = None
    reading: Reading | None = None
    is_read: bool = False


class ErrorLearner(TrialLearner[ErrorTrial]):
    """A network that learns by a rule from the teacher `SeenError`."""

    def __init__(
        self,
        name: str,
        env: gym.Env[Any, Any] | VecEnv,
        *,
        rate: float,
        hidden_rate: float,
        practice_rate: float,
        body_map: str,
        synapse: str,
        depth: int | None = None,
        width: int | None = None,
        seed: int = 0,
        verbose: int = 0,
        tensorboard_log: str | None = None,
    ) -> None:
        """Make an untrained learner.

        Args:
            name: name of an error learner, or "none".
            env: a `CupEnv`, wrapped or not, or a Stable-Baselines3 VecEnv of them.
            rate: share of the error to correct after each reach, 0..2.
            hidden_rate: replaces `rate` once the read-out is fixed, 0..100: the share of its modulators that each
                hidden layer corrects. The effect on the posture depends on the read-out.
            practice_rate: step size, 0..1, of cells that practise at the end of unperturbed training (`error-memory`).
            body_map: the map from the seen error to a motor error: "exact", "babbled" or "random", see
                `agents.error.teacher`.
            synapse: "plain" or "two-state". Synapses with two states forget between reaches, see
                `agents.error.synapses`.
            depth, width: number of hidden layers of a perceptron, 2..64, and of cells in each, 1..4096; None for 2 and
                128.
            seed: seed of weights, feedback and trials.
            verbose, tensorboard_log: as in Stable-Baselines3.

        Raises:
            ValueError: the name is unknown, a setting is out of range or unknown to the network, or the learner cannot
                use the environment.
        """
        rates = {"rate": rate, "hidden_rate": hidden_rate, "practice_rate": practice_rate}
        self.rate, self.hidden_rate, self.practice_rate = check_settings(rates, RATES).values()
        self._spec = find(name).spec
        sizes = check_settings({"depth": depth, "width": width}, SIZES)
        self._sizes = {name: size for name, size in sizes.items() if size is not None}
        self._lamps: int = env_attribute(env, "context")
        self.feedforward = make_feedforward(name, np.random.default_rng(seed), self._lamps, **self._sizes)
        self._require_possible("body_map", BODY_MAP["body_map"].check("body_map", body_map), body_maps)
        self._require_possible("synapse", SYNAPSE["synapse"].check("synapse", synapse), synapses)
        self._synapses = TwoStateSynapses(self.feedforward.synapses()) if synapse == TWO_STATE else None
        self.body_map = BODY_MAPS[body_map](Controller(env_attribute(env, "arm"), grab=False), seed)
        self.baseline = Baseline()
        self._latest: ErrorTrial | None = None
        # `run_reach` compiled for worlds without (False) and with (True) external forces.
        self._compiled: dict[bool, Any] = {}
        config = {"learner": name, "seed": seed, "rate": self.rate, "body_map": body_map, "synapse": synapse}
        config |= self._sizes
        super().__init__(env, seed=seed, config=config, verbose=verbose, tensorboard_log=tensorboard_log)

    def _require_possible(self, setting: str, value: str, allowed_for: Callable[[str], tuple[str, ...]]) -> None:
        if value not in (allowed := allowed_for(self._spec.network)):
            expected = " or ".join(map(repr, allowed))
            raise ValueError(f"{setting}: expected {expected} for learner {self._spec.name!r}, got {value!r}")

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes to copy or pickle: all except compiled code."""
        return {**self.__dict__, "_compiled": {}}

    @classmethod
    def known_settings(cls) -> dict[str, Setting]:
        """Return the valid values of the constructor's keyword arguments, by name."""
        return SEED | RATES | BODY_MAP | SYNAPSE | SIZES | LOG_SETTINGS

    def set_env(self, env: gym.Env[Any, Any] | VecEnv, force_reset: bool = True) -> None:
        """Learn and act in another environment; `force_reset` only matches Stable-Baselines3's signature.

        Raises:
            ValueError: the observations do not show the positions of hand and cup.
        """
        super().set_env(env, force_reset)
        self.teacher = SeenError(self.controller, self.body_map, self.baseline.expected)

    def _require_usable(self, env: gym.Env[Any, Any] | VecEnv, reader: ObservationReader) -> None:
        lamps = env_attribute(env, "context")
        if self.feedforward.sees == "cup" and self._spec.network and lamps != self._lamps:
            raise ValueError(f"env: expected context={self._lamps}, as the network was made for, got context={lamps}")
        if self.feedforward.sees == "picture" and not reader.has_pictures:
            raise ValueError("env: expected observation='retina', retina_colour=True, got one without pictures")

    @property
    def plastic(self) -> Plastic:
        """Return which synapses learn: "all" or "hidden"."""
        return self.feedforward.plastic

    def end_baseline(self) -> None:
        """End unperturbed training: compute the baseline, fix the body map and, in `-hidden` learners, the read-out."""
        if self._spec.plastic == "hidden":
            self.feedforward.plastic = "hidden"
        self.baseline.end()
        self.body_map.end_baseline()
        self.feedforward.end_baseline(self.controller, self.practice_rate)
        if self._synapses is not None:
            self._synapses.start(self.feedforward.synapses())

    def cost(self) -> dict[str, float]:
        """Return the network's operation counts, by the names in `agents.error.feedforward`."""
        return self.feedforward.cost()

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return views of the weights that a rule may change, by name of layer."""
        return self.feedforward.weights()

    def alignment(self) -> dict[str, float]:
        """Return the angle in degrees between the last step and the gradient, by layer; empty without a gradient."""
        return self.feedforward.alignment()

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the network in the present reach for the display, without changing its results.

        Spikes are recorded in reaches that begin after the first call.
        """
        state = self.feedforward.begin() if self._latest is None else self._latest.network
        return self.feedforward.snapshot(state)

    def _begin(self, exploring: bool) -> ErrorTrial:
        return ErrorTrial(Reach(), self.feedforward.begin())

    def _begin_learning(self, place: int) -> ErrorTrial:
        trial = self._begin(exploring=True)
        trial.reach.memory["babble"] = self.body_map.babble(place)
        return trial

    def _act(self, trial: ErrorTrial, observation: Any) -> NDArray[np.float32]:
        self._latest = trial
        now = self._process_observation(trial, observation)
        step = trial.reach.step
        posture = trial.posture
        if step >= PREPARATION_STEPS or not self.feedforward.waits_for_launch:
            visual_input = trial.reach.picture
            if self.feedforward.sees == "cup":
                visual_input = np.concatenate([trial.reach.cup, now.lamps])
            assert visual_input is not None
            posture = self.feedforward.posture(trial.network, visual_input)
        if step <= CREDIT_STEP:
            trial.posture = posture
        if step == CREDIT_STEP:
            trial.eligible = self.feedforward.eligibility(trial.network)
        return self.controller.act(trial.reach, now, posture)

    def _process_observation(self, trial: ErrorTrial, observation: Any) -> Sensation:
        """Process an observation; at `READING_STEP`, let the teacher read the error."""
        now = super()._process_observation(trial, observation)
        if trial.reach.step == READING_STEP:
            self._read_error(trial)
        return now

    def _read_error(self, trial: ErrorTrial) -> None:
        trial.reading, trial.is_read = self.teacher.read(trial.reach), True

    @property
    def can_play(self) -> bool:
        """Return whether `play_trial` works: with posture control, vector observations and a compiled network."""
        return self.feedforward.is_compiled and self._control == "posture" and not self.reader.has_pictures

    def _play(self, trial: ErrorTrial, env: Any, observation: Any, longest: int) -> Played:
        self._latest = trial
        reach, body = trial.reach, self.controller.body
        now = self._process_observation(trial, observation)
        row = now.row.copy()
        network = self.feedforward.compiled(trial.network, now.lamps)
        posture = np.zeros(JOINTS)
        commands = CommandMap.of(self._command, self._control, self.controller.arm, row[COMMAND:].copy())
        act_on = commands.keep, commands.offset, commands.scale
        buffers = reach.memory, body, act_on, row, np.empty(ACTION_SIZE, dtype=np.float32), posture

        def loop(world: tuple[Any, ...], actions: Array, moments: Array) -> tuple[int, int]:
            step = 0
            # Compile once for each type of `world[0]`; the types of the other arguments do not vary.
            has_forces = world[0] is not None
            if has_forces not in self._compiled:
                self._compiled[has_forces] = compiled_for(
                    run_reach, world, actions, moments, step, 0, *buffers, *network
                )
            for until in (PREPARATION_STEPS, CREDIT_STEP, READING_STEP, UNLIMITED):
                step, wrong, is_running = self._compiled[has_forces](
                    world, actions, moments, step, until, *buffers, *network
                )
                if not is_running:
                    break
                if until == PREPARATION_STEPS:
                    self.controller.launch(reach, posture)
                elif until == CREDIT_STEP:
                    trial.posture = posture.copy()
                    trial.eligible = self.feedforward.eligibility(trial.network)
                else:
                    self._read_error(trial)
            return step, wrong

        played = play(env, loop, longest)
        self.feedforward.end_play(trial.network, len(played.actions))
        if trial.eligible is None:
            trial.posture = posture
        if not trial.is_read:
            self._read_error(trial)
        return played

    def _finish(self, trial: ErrorTrial, last: Any, rewards: float) -> None:
        if not trial.is_read:
            self._process_observation(trial, last)
            if not trial.is_read:
                self._read_error(trial)
        self._learn(trial)
        if self._synapses is not None:
            self._synapses.end_reach(self.feedforward.synapses())
            self.feedforward.clip_synapses()

    def _learn(self, trial: ErrorTrial) -> None:
        self.body_map.learn(trial.reach)
        if trial.reading is None:
            return
        # Babbled reaches are no baseline: their hand does not go where the network sends it.
        if not np.any(trial.reach.babble):
            self.baseline.add(trial.reading.displacement, trial.posture)
        if trial.eligible is None:
            trial.eligible = self.feedforward.eligibility(trial.network)
        error, rate = trial.reading.error, self.rate
        if self.plastic == "hidden":
            error, rate = self.baseline.weight_error(error), self.hidden_rate
        # Reaches in n environments run with the same weights and each takes a step, so each step is 1/n.
        self.feedforward.change(trial.eligible, error, (self.feedforward.practised_rate or rate) / self.n_envs)
        self.logger.record_mean("train/motor_error_rad", float(np.linalg.norm(error)))

    def _measures(self) -> dict[str, float]:
        return {f"alignment/{layer}_degrees": degrees for layer, degrees in self.alignment().items()}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self.feedforward.arrays()

    def _limits(self) -> dict[str, tuple[float, float]]:
        return self.feedforward.limits()

    def _memory(self) -> dict[str, NDArray[Any]]:
        return {**self.baseline.arrays(), **self._filled_memory()}

    def _filled_memory(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of fixed size that a checkpoint fills in place."""
        return self.body_map.arrays() | ({} if self._synapses is None else self._synapses.arrays())

    def _memory_entries(self) -> dict[str, Entry]:
        return {**self.baseline.entries(), **entries_of(self._filled_memory())}

    def _saved_settings(self) -> dict[str, Any]:
        return {"plastic": self.plastic, "hidden_rate": self.hidden_rate, "practice_rate": self.practice_rate}

    def _restore_memory(self, config: dict[str, Any], memory: dict[str, NDArray[Any]], path: str | Path) -> None:
        plastic = read_settings(config, PLASTIC, path)["plastic"]
        self.baseline.restore(memory, path)
        fill(self._filled_memory(), memory)
        self.feedforward.plastic = plastic

    @classmethod
    def load(cls, path: str | Path, env: Any, *, resume: bool = False, **settings: Any) -> ErrorLearner:
        """Load a learner from a checkpoint folder without running code from it.

        Args:
            path: the folder.
            env: as for the constructor.
            resume: restore the saved random state in `env`, so that `learn` continues with the trial that would have
                followed.
            settings: `verbose` and `tensorboard_log`.

        Raises:
            CheckpointError: the checkpoint is damaged or incomplete, is of another learner, or does not fit `env`.
        """
        name = learner_of(path, cls)
        # Older checkpoints lack these entries; they hold the default network, the exact map and plain synapses.
        config = {**dict.fromkeys(SIZES), "body_map": EXACT, "synapse": PLAIN, **read_config(Path(path))}
        saved = read_settings(config, SEED | RATES | BODY_MAP | SYNAPSE | SIZES, path)
        with loading(path):
            learner = cls(name, env, **saved, **settings)
        learner.restore(path, resume=resume)
        return learner
