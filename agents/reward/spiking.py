"""A spiking actor and a spiking critic that learn from reward alone, after Fremaux, Sprekeler and Gerstner.

Place cells for the seen cup excite both. Six antagonist populations of the actor encode the change of posture, two
populations of the critic the expected return. Every synapse changes by rate x third factor x pair-STDP eligibility (J.
Neurosci. 30:13326, 2010; PLoS Comput. Biol. 9:e1003024, 2013). The third factor is one number for all cells: the reward
prediction error, return - expected return, which the critic's two populations receive with opposite signs. No cell of
the actor receives an error of its own, and nothing is propagated backwards.

The actor explores through background input: one axon excites each cell. The rate of the axons is drawn once per reach
and is the same for all cells of a muscle. In song birds, a nucleus injects variability in a similar way (Fiete, Fee and
Seung 2007, J. Neurophysiol. 98:2038). Background synapses are constant. Without exploration the background fires at its
mean rate.

`RewardSpikingLearner` gives actor and critic Stable-Baselines3's model interface. It uses the body and movement plan of
the error learners without their visual feedback, which would bring the hand to the cup without learning. The actor
decides at launch where the hand goes. After the trial, the sum of the rewards is compared with the critic's expected
return. The learner uses no seen error and no gradient. In `reach/CupGrab-v1` a fixed reflex, shared with the other
learners, closes the fingers near the cup.
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
    fill,
    generator_state,
    loading,
    mapping_of,
    read_config,
    read_settings,
)
from agents.learner import learner_of
from agents.networks.registry import JOINTS
from agents.networks.sensory_cells import PlaceCells
from agents.reaching.controller import CONTROL_STEP_MS, PREPARATION_S, PREPARATION_STEPS, Array, Reach
from agents.reaching.senses import ObservationReader
from agents.registry import find
from agents.rules.registry import rule_from_reward
from agents.rules.spiking import SpikingRule
from agents.settings import LOG_SETTINGS, SEED, Setting, check_settings
from agents.spiking.circuit import SpikeRecord, SpikingCircuit, populations_of
from agents.spiking.kernels import CircuitState
from agents.spiking.lif import AntagonistReadout, LIFCells, muscle_parts
from agents.spiking.projections import INPUT, Projection
from agents.spiking.stdp import ExpectedEligibility, NormalisedRewardPredictionError, PairSTDP
from agents.trial_learner import Trial, TrialLearner
from agents.vec_env import env_attribute
from reach.snapshot import ErrorPath, LayerSignal, Snapshot

CELLS_PER_MUSCLE = 20
CRITIC_CELLS_PER_SIGN = 20
INPUT_PEAK_HZ = 100.0
SYNAPSE_MS = 5.0
# Mean drive without a cup, in units of the threshold. Cells fire at about RESTING_HZ, so that rates can rise and fall.
DRIVE = 1.2
# Half the range of drives. Cells with equal drives would synchronise, and their mean rate would miss small changes.
DRIVE_SPREAD = 0.3
RESTING_HZ = 25.0
# Derivative of a cell's rate by its drive, at rest, Hz.
RATE_SLOPE_HZ = 60.0
# Change of posture, rad/Hz, and expected return, 1/Hz, per difference of antagonist rates.
READOUT_RAD_PER_HZ = 0.025
READOUT_MS = 200.0
RETURN_PER_HZ = 0.5
# Mean rate of the background axon of an actor cell, and the mean drive that it causes.
BACKGROUND_HZ = 200.0
BACKGROUND_DRIVE = 0.1
# SD of exploration of a joint angle, and the upper bound of this setting; above it, background axons would fall silent.
EXPLORATION_RAD = 0.08
LARGEST_EXPLORATION_RAD = 0.1
EXPECTATION_RATE = 0.04
# Update rate of the running mean square of reward prediction errors.
MEAN_SQUARE_RATE = 0.02
# A decision is read from the spikes of the preparation and of the control step of the launch.
DECISION_MS = round(1000.0 * PREPARATION_S) + CONTROL_STEP_MS
# Names of the projections.
TO_ACTOR, TO_CRITIC, BACKGROUND = "input-actor", "input-critic", "background-actor"


@dataclass(frozen=True)
class Decision:
    """Decision of the actor, stored until its return is known.

    Attributes:
        posture: (3,) rad, the change of posture.
        value: the return that the critic expects.
        eligibility: eligibilities (axons, targets) by projection, caused by the spikes of the decision.
        activity: (axons,), mean rate of each input axon as a share of `INPUT_PEAK_HZ`, 0 to 1.
    """

    posture: Array
    value: float
    eligibility: dict[str, Array]
    activity: Array


class SpikingActorCritic:
    """Spiking actor and critic with their learning rules.

    Attributes:
        circuit: cells and synapses.
        rate, critic_rate: learning rates of actor and critic.
    """

    def __init__(
        self,
        rule: str,
        rng: np.random.Generator,
        *,
        rate: float,
        critic_rate: float,
        exploration_rad: float = EXPLORATION_RAD,
    ) -> None:
        """Make the circuit.

        Args:
            rule: name of a rule for spiking cells. It turns the normalised reward prediction error into the actor's
                modulator.
            rng: generator from which biases, initial voltages and weights are drawn.
            rate: learning rate of the actor, 0 to 1. With a modulator of 1, a cell's rate changes by this fraction of
                the difference between its rate in the reach and its expected rate.
            critic_rate: learning rate of the critic, 0 to 1: the fraction of a reward prediction error by which the
                expected return changes.
            exploration_rad: SD of exploration at each joint, 0 to 0.1 rad.

        Raises:
            ValueError: the rule is unknown, cannot learn from reward, or its depression is not below its potentiation.
        """
        self._rule: SpikingRule = rule_from_reward(rule, "spiking")
        stdp = PairSTDP(**self._rule.stdp)
        if stdp.depression >= 1.0:
            raise ValueError(f"depression of rule {rule!r}: expected below 1, got {stdp.depression:g}")
        self.rate, self.critic_rate = rate, critic_rate
        self.cells = PlaceCells()
        self.readout = AntagonistReadout(JOINTS, CELLS_PER_MUSCLE, READOUT_RAD_PER_HZ)
        self.critic = AntagonistReadout(1, CRITIC_CELLS_PER_SIGN, RETURN_PER_HZ)
        actors = len(self.readout.sign)
        background_weight = BACKGROUND_DRIVE / (BACKGROUND_HZ * SYNAPSE_MS / 1000.0)
        self.circuit = SpikingCircuit(
            inputs=self.cells.size + actors,
            cells={
                "actor": LIFCells(
                    actors,
                    bias=(DRIVE - DRIVE_SPREAD - BACKGROUND_DRIVE, DRIVE + DRIVE_SPREAD - BACKGROUND_DRIVE),
                    first_voltage=(0.0, 1.0),
                    readout_ms=READOUT_MS,
                ),
                "critic": LIFCells(
                    len(self.critic.sign),
                    bias=(DRIVE - DRIVE_SPREAD, DRIVE + DRIVE_SPREAD),
                    first_voltage=(0.0, 1.0),
                    readout_ms=READOUT_MS,
                ),
            },
            projections=[
                Projection(INPUT, "actor", plasticity=stdp),
                Projection(INPUT, "critic", plasticity=stdp),
                Projection(INPUT, "actor", name=BACKGROUND, weight_mean=background_weight),
            ],
            rng=rng,
        )
        self._connect_inputs()
        self._background_hz = np.full(actors, BACKGROUND_HZ)
        # A joint follows the difference of two muscles with independent backgrounds, hence the factor sqrt(2). Within
        # the preparation, the low-pass filter of the read-out reaches only the fraction `filter_gain`.
        filter_gain = -np.expm1(-1000.0 * PREPARATION_S / READOUT_MS)
        drive_sd = exploration_rad / (np.sqrt(2.0) * READOUT_RAD_PER_HZ * RATE_SLOPE_HZ * filter_gain)
        self._background_sd_hz = BACKGROUND_HZ * drive_sd / BACKGROUND_DRIVE
        self._expected = ExpectedEligibility(self.circuit.weight(TO_ACTOR).shape, EXPECTATION_RATE)
        self._normalised = NormalisedRewardPredictionError(MEAN_SQUARE_RATE)
        # For the display: last reward prediction error with its modulators and eligibilities; number of errors so far.
        self._last_error: tuple[float, dict[str, Array], dict[str, Array]] | None = None
        self._errors = 0
        self._actor_step = self._weight_per_eligibility(stdp)
        self._critic_step = self._actor_step / (2.0 * RETURN_PER_HZ * RESTING_HZ)
        # Read-outs without a cup, which define a posture change and an expected return of zero.
        self._resting_posture, self._resting_value = np.zeros(JOINTS), 0.0
        rest = self.circuit.begin()
        self.circuit.run(rest, np.concatenate([np.zeros(self.cells.size), self._background_hz]), DECISION_MS)
        decision = self.decide(rest)
        self._resting_posture, self._resting_value = decision.posture, decision.value

    def explore(self, rng: np.random.Generator) -> Array:
        """Draw the background rates (cells,), Hz, for a reach with exploration."""
        muscle_hz = rng.normal(BACKGROUND_HZ, self._background_sd_hz, 2 * JOINTS)
        return np.repeat(np.clip(muscle_hz, 0.0, 2.0 * BACKGROUND_HZ), CELLS_PER_MUSCLE)

    def run(
        self, state: CircuitState, cup: Array, background_hz: Array | None = None, record: SpikeRecord | None = None
    ) -> None:
        """Advance the circuit by one control step, 20 ms.

        Args:
            state: state of the circuit, changed in place.
            cup: (2,), m, position of the seen cup.
            background_hz: (cells,), Hz, background rates; None for their mean.
            record: record to which spikes are added; None to record none.
        """
        background = self._background_hz if background_hz is None else background_hz
        rates = np.concatenate([INPUT_PEAK_HZ * self.cells.activity(cup), background])
        if record is None:
            self.circuit.run(state, rates, CONTROL_STEP_MS)
        else:
            record.run(self.circuit, state, rates, CONTROL_STEP_MS)

    def decide(self, state: CircuitState) -> Decision:
        """Read the decision from the spikes so far."""
        circuit = self.circuit
        return Decision(
            posture=self.readout.command(circuit.rate_hz(state, "actor")) - self._resting_posture,
            value=float(self.critic.command(circuit.rate_hz(state, "critic"))[0]) - self._resting_value,
            eligibility={name: circuit.eligibility(state, name) for name in (TO_ACTOR, TO_CRITIC)},
            activity=circuit.mean_rate_hz(state, INPUT) / INPUT_PEAK_HZ,
        )

    def learn(self, decision: Decision, earned: float) -> float:
        """Learn from the return `earned` by a decision; return the reward prediction error."""
        error = earned - decision.value
        normalised = np.array([self._normalised.update(error)])
        actor = self._rule.modulator(np.ones((len(self.readout.sign), 1)), normalised)
        eligibility = decision.eligibility[TO_ACTOR]
        unexpected = self._expected.unexpected(eligibility, decision.activity)
        self.circuit.change(TO_ACTOR, unexpected, actor, self.rate * self._actor_step)
        self._expected.update(eligibility, decision.activity)
        critic = error * self.critic.sign[:, 0]
        self.circuit.change(TO_CRITIC, decision.eligibility[TO_CRITIC], critic, self.critic_rate * self._critic_step)
        self._last_error = error, {TO_ACTOR: actor, TO_CRITIC: critic}, decision.eligibility
        self._errors += 1
        return error

    def snapshot(self, state: CircuitState, record: SpikeRecord | None) -> Snapshot:
        """Return the spikes of a reach by population, and the last reward prediction error with the eligibilities."""
        places, actors, critics = self.cells.size, len(self.readout.sign), len(self.critic.sign)
        inputs = places + actors
        parts = {"senses": (0, places), "background": (places, inputs)} | muscle_parts(inputs, CELLS_PER_MUSCLE)
        parts["critic"] = inputs + actors, inputs + actors + critics
        populations = populations_of(record, self.circuit, state, parts)
        if self._last_error is None:
            return Snapshot(populations)
        error, modulators, eligibility = self._last_error
        signals = tuple(
            LayerSignal(name, modulators[projection], np.abs(eligibility[projection]).sum(axis=0).astype(np.float64))
            for name, projection in (("actor", TO_ACTOR), ("critic", TO_CRITIC))
        )
        return Snapshot(
            populations,
            error_path=ErrorPath("gate", np.array([error]), signals, self._errors, "reward prediction error"),
        )

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return views of the arrays of the learning rules, by name; they can be filled in place."""
        return {
            "expected_eligibility": self._expected.per_activity,
            "mean_square_surprise": self._normalised.mean_square,
        }

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and highest value of every bounded array of `circuit.arrays` and `memory`, by name."""
        return self.circuit.limits() | {"mean_square_surprise": (0.0, np.inf)}

    def _connect_inputs(self) -> None:
        """Remove the plastic synapses of background axons, and all background synapses except one per cell."""
        places = self.cells.size
        for name in (TO_ACTOR, TO_CRITIC):
            self.circuit.connected(name)[places:] = 0
        background = self.circuit.connected(BACKGROUND)
        background[:places] = 0
        background[places:] = np.eye(background.shape[1], dtype=np.uint8)
        self.circuit.weight(BACKGROUND)[background == 0] = 0.0

    def _weight_per_eligibility(self, stdp: PairSTDP) -> float:
        """Return the factor s such that weight changes of s x eligibility change a cell's rate by its present rate f.

        In a preparation of duration T, a cell that fires at f Hz has the eligibility e_i = x_i f tau+ (A+ - A-) T at
        axon i, whose rate is x_i. Weight changes of e_i change the cell's drive by the sum of x_i e_i times the time
        constant of the synapses, and its rate by RATE_SLOPE_HZ times that. s is f divided by this change of the rate.
        """
        middle = np.mean(self.cells.centres, axis=0)
        power = float(np.sum(np.square(INPUT_PEAK_HZ * self.cells.activity(middle))))
        window_s = stdp.pre_trace_ms / 1000.0 * stdp.potentiation * (1.0 - stdp.depression)
        return 1.0 / (power * window_s * PREPARATION_S * SYNAPSE_MS / 1000.0 * RATE_SLOPE_HZ)


DEFAULT_SETTINGS = {"rate": 0.07, "critic_rate": 0.1}
# Valid values of the settings.
KNOWN_SETTINGS = {
    "rate": Setting(0.0, 1.0),
    "critic_rate": Setting(0.0, 1.0),
    "exploration_rad": Setting(0.0, LARGEST_EXPLORATION_RAD),
}


@dataclass
class RewardTrial(Trial):
    """One reach and its decision.

    Attributes:
        exploring: whether the actor explores.
        background_hz: (cells,) Hz, background rates of this reach; None for their mean.
        decision: the actor's decision; None before the launch.
        record: spikes recorded for the display; None if none are recorded.
    """

    exploring: bool = False
    background_hz: Array | None = None
    decision: Decision | None = None
    record: SpikeRecord | None = None


class RewardSpikingLearner(TrialLearner[RewardTrial]):
    """A spiking actor and critic that learn from reward.

    Attributes:
        network: actor and critic.
    """

    FEEDBACK_GAIN: ClassVar[float] = 0.0

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
            name: name of the learner, such as "reward-snn-stdp".
            env: a `CupEnv` with dense reward, wrapped or not, or a Stable-Baselines3 VecEnv of them.
            seed: seed of cells, exploration and trials.
            verbose, tensorboard_log: as in Stable-Baselines3.
            settings: `rate`, `critic_rate` and `exploration_rad` of `SpikingActorCritic`.

        Raises:
            ValueError: the name or a setting is unknown, a setting is out of range, or the environment is unsuitable.
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
        """Return the valid values of the constructor's keyword arguments, by name."""
        return SEED | KNOWN_SETTINGS | LOG_SETTINGS

    def end_baseline(self) -> None:
        """Do nothing: learning continues in the same way."""

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self.network.circuit.arrays()

    def _memory(self) -> dict[str, NDArray[Any]]:
        return self.network.memory()

    def _restore_memory(self, config: dict[str, Any], memory: dict[str, NDArray[Any]], path: str | Path) -> None:
        generator_state(config, "exploration", path)
        fill(self.network.memory(), memory)

    def _limits(self) -> dict[str, tuple[float, float]]:
        return self.network.limits()

    def _saved_settings(self) -> dict[str, Any]:
        return {"exploration": self._rng.bit_generator.state}

    def _resume(self, config: dict[str, Any]) -> None:
        self._rng.bit_generator.state = config["exploration"]

    @classmethod
    def load(cls, path: str | Path, env: Any, *, resume: bool = False, **settings: Any) -> RewardSpikingLearner:
        """Load a learner from a checkpoint folder without running code from it.

        Args:
            path: the folder.
            env: as for the constructor.
            resume: restore the random states of environment and exploration, so that `learn` continues with the trial
                that would have followed.
            settings: `verbose` and `tensorboard_log`.

        Raises:
            CheckpointError: the checkpoint is damaged or incomplete, is of another learner, or does not fit `env`.
        """
        name, config = learner_of(path, cls), read_config(Path(path))
        seed, saved = read_settings(config, SEED, path)["seed"], mapping_of(config, "settings", path)
        with loading(path):
            check_settings(saved, KNOWN_SETTINGS)
            learner: RewardSpikingLearner = cls(name, env, seed=seed, **{**saved, **settings})
        learner.restore(path, resume=resume)
        return learner

    def _require_usable(self, env: gym.Env[Any, Any] | VecEnv, reader: ObservationReader) -> None:
        reward, lamps = env_attribute(env, "reward"), env_attribute(env, "context")
        if lamps:
            raise ValueError(f"env: expected context=0, since actor and critic see no lamps, got context={lamps}")
        if reward != "dense":
            raise ValueError(f"env: expected reward 'dense', which grades misses by distance, got {reward!r}")

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return views of the weights of the plastic synapses of actor and critic."""
        circuit = self.network.circuit
        return {"actor": circuit.weight(TO_ACTOR), "critic": circuit.weight(TO_CRITIC)}

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the network in the present reach for the display, without changing its results.

        Spikes are recorded from the first reach that begins after the first call.
        """
        self._records_spikes = True
        if self._latest is None:
            return self.network.snapshot(self.network.circuit.begin(), None)
        return self.network.snapshot(self._latest.network, self._latest.record)

    def _begin(self, exploring: bool) -> RewardTrial:
        record = SpikeRecord() if self._records_spikes else None
        return RewardTrial(Reach(), self.network.circuit.begin(), exploring=exploring, record=record)

    def _act(self, trial: RewardTrial, row: Any) -> NDArray[np.float32]:
        self._latest = trial
        now = self._process_observation(trial, row)
        if trial.reach.step == 0 and trial.exploring:
            # Drawn in the first step, not in `_begin`, because a checkpoint may be saved in between.
            trial.background_hz = self.network.explore(self._rng)
        if trial.decision is None:
            self.network.run(trial.network, trial.reach.cup, trial.background_hz, trial.record)
            if trial.reach.step == PREPARATION_STEPS:
                trial.decision = self.network.decide(trial.network)
        posture = np.zeros(3) if trial.decision is None else trial.decision.posture
        return self.controller.act(trial.reach, now, posture)

    def _finish(self, trial: RewardTrial, last: Any, earned: float) -> None:
        """Learn from the return of a trial, unless it ended before the launch."""
        if trial.decision is None:
            return
        error = self.network.learn(trial.decision, earned)
        self.logger.record_mean("train/expected_return", trial.decision.value)
        self.logger.record_mean("train/reward_prediction_error", error)
        self.logger.record_mean("train/reward_prediction_error_size", abs(error))
