"""A spiking actor and a spiking critic that learn from reward alone, after Fremaux, Sprekeler and Gerstner.

Place cells of the seen cup excite both. The actor's six antagonist populations give the change of posture, the critic's
two the return that is to be expected with a cup there. Every synapse changes by the same law, rate x third factor x
pair-STDP eligibility (J. Neurosci. 30:13326, 2010; PLoS Comput. Biol. 9:e1003024, 2013), and the third factor is one
number for all, the return less what the critic said; the critic's two populations hear it with opposite signs. No error
is computed for any cell of the actor, and nothing is carried back.

The actor explores by its background: an axon to each cell, whose mean rate is drawn anew for each reach, the same for
the cells of a muscle, as a nucleus that injects variability does for song birds (Fiete, Fee and Seung 2007, J.
Neurophysiol. 98:2038). Background synapses do not learn. Without exploration the background fires at its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.error.feedforward import CONTROL_STEP_MS, Array
from agents.networks.place_cells import PlaceCells
from agents.networks.registry import JOINTS
from agents.reaching.controller import PREPARATION_S
from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState
from agents.spiking.lif import LIFCells
from agents.spiking.projections import INPUT, Projection
from agents.spiking.readouts import AntagonistReadout, KeptSpikes, muscle_parts, populations_of
from agents.spiking.stdp import PairSTDP
from agents.spiking.third_factors import BoundedSurprise, ExpectedEligibility, Hebb

if TYPE_CHECKING:
    from reach.snapshot import Snapshot

RULES = ("stdp", "hebb")
CELLS_PER_MUSCLE = 20
CRITIC_CELLS_PER_SIGN = 20
INPUT_PEAK_HZ = 100.0
SYNAPSE_MS = 5.0
# Drive without a cup, in units of the threshold: cells fire at some RESTING_HZ, so that each can be turned up or down.
DRIVE = 1.2
# Cells of one drive would fall into step with each other, and their common rate would follow no small change.
DRIVE_SPREAD = 0.3
RESTING_HZ = 25.0
# The slope of a cell's rate by its drive there.
RATE_SLOPE_HZ = 60.0
# Posture change and expected return per difference of antagonist rates, rad/Hz and 1/Hz.
READOUT_RAD_PER_HZ = 0.025
READOUT_MS = 200.0
RETURN_PER_HZ = 0.5
# Mean rate of the axon that excites one cell of the actor, and the drive that it adds in the mean.
BACKGROUND_HZ = 200.0
BACKGROUND_DRIVE = 0.1
# How far exploration moves a joint's posture, SD.
EXPLORATION_RAD = 0.08
EXPECTATION_RATE = 0.04
# Spikes that a decision is read from: those of the preparation and of the step of the launch.
DECIDED_MS = round(1000.0 * PREPARATION_S) + CONTROL_STEP_MS
STDP = PairSTDP(depression=0.3)
TO_ACTOR, TO_CRITIC, BACKGROUND = "input-actor", "input-critic", "background-actor"


@dataclass(frozen=True)
class Decision:
    """What a network remembers of a decision until its outcome is known.

    Attributes:
        posture: (3,) rad, the change of posture.
        value: the return that the critic expects.
        eligible: by projection, (axons, targets), the pair terms of the spikes that led to it.
        activity: (axons,) of the sources, 0..1.
    """

    posture: Array
    value: float
    eligible: dict[str, Array]
    activity: Array


class SpikingActorCritic:
    """Actor and critic, and how they learn.

    Attributes:
        circuit: the cells and synapses.
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
            rule: "stdp", gated by the surprise, or "hebb", whose actor hears 1 whatever is earned.
            rng: source of the cells.
            rate: share of what a cell did beyond its habit that a full surprise makes a habit, 0..1.
            critic_rate: share of a surprise by which the expected return follows, 0..1.
            exploration_rad: SD of exploration at each joint, 0..0.1 rad; beyond, the background would fall silent.

        Raises:
            ValueError: another rule, or a number outside its range.
        """
        if rule not in RULES:
            raise ValueError(f"rule is {rule!r}; {list(RULES)} are allowed for a spiking actor and critic")
        limits = (("rate", rate, 1.0), ("critic_rate", critic_rate, 1.0), ("exploration_rad", exploration_rad, 0.1))
        for name, value, largest in limits:
            if not 0.0 <= value <= largest:
                raise ValueError(f"{name} is {value}; 0 to {largest:g} is allowed")
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
                Projection(INPUT, "actor", plasticity=STDP),
                Projection(INPUT, "critic", plasticity=STDP),
                Projection(INPUT, "actor", name=BACKGROUND, weight_mean=background_weight),
            ],
            rng=rng,
        )
        self._part_axons()
        self._resting = np.full(actors, BACKGROUND_HZ)
        # A joint moves by the difference of two muscles, whose backgrounds are drawn one by one.
        settled = -np.expm1(-1000.0 * PREPARATION_S / READOUT_MS)
        drive_sd = exploration_rad / (np.sqrt(2.0) * READOUT_RAD_PER_HZ * RATE_SLOPE_HZ * settled)
        self._spread_hz = BACKGROUND_HZ * drive_sd / BACKGROUND_DRIVE
        self._expected = ExpectedEligibility(self.circuit.shape(TO_ACTOR), EXPECTATION_RATE)
        self._surprise = BoundedSurprise({TO_ACTOR: actors})
        # What the last surprise told each cell, and the eligibilities that it met; and how many there have been.
        self._told: tuple[float, dict[str, Array], dict[str, Array]] | None = None
        self._surprises = 0
        self._hebb = Hebb({TO_ACTOR: actors}) if rule == "hebb" else None
        per_hz = self._step_per_hz()
        self._actor_step = per_hz
        # Read-outs tell by how much cells fire otherwise than without a cup.
        self._tone, self._usual = np.zeros(JOINTS), 0.0
        idle = self.begin()
        self.circuit.run(idle, np.concatenate([np.zeros(self.cells.size), self._resting]), DECIDED_MS)
        at_rest = self.decide(idle)
        self._tone, self._usual = at_rest.posture, at_rest.value
        self._critic_step = per_hz / (2.0 * RETURN_PER_HZ * RESTING_HZ)

    def begin(self) -> CircuitState:
        """The circuit at rest."""
        return self.circuit.begin()

    def explore(self, rng: np.random.Generator) -> Array:
        """Rates of the background, Hz, for a reach in which something else is tried."""
        drawn = rng.normal(BACKGROUND_HZ, self._spread_hz, 2 * JOINTS)
        return np.repeat(np.clip(drawn, 0.0, 2.0 * BACKGROUND_HZ), CELLS_PER_MUSCLE)

    def run(
        self, state: CircuitState, cup: Array, background_hz: Array | None = None, kept: KeptSpikes | None = None
    ) -> None:
        """Twenty milliseconds of spikes for a seen cup (2,) m; the background is at its mean unless given.

        Where there is a place to keep the spikes, they are kept.
        """
        background = self._resting if background_hz is None else background_hz
        rates = np.concatenate([INPUT_PEAK_HZ * self.cells.activity(cup), background])
        if kept is None:
            self.circuit.run(state, rates, CONTROL_STEP_MS)
        else:
            kept.run(self.circuit, state, rates, CONTROL_STEP_MS)

    def decide(self, state: CircuitState) -> Decision:
        """What the spikes so far come to."""
        circuit = self.circuit
        return Decision(
            posture=self.readout.command(circuit.rate_hz(state, "actor")) - self._tone,
            value=float(self.critic.command(circuit.rate_hz(state, "critic"))[0]) - self._usual,
            eligible={name: circuit.eligibility(state, name) for name in (TO_ACTOR, TO_CRITIC)},
            activity=circuit.mean_rate_hz(state, INPUT) / INPUT_PEAK_HZ,
        )

    def learn(self, decision: Decision, outcome: float) -> float:
        """Learn from the return that a decision has brought; returns the surprise, what of it was not expected."""
        surprise = outcome - decision.value
        modulators = self._surprise.modulators(surprise)
        heard = modulators[TO_ACTOR] if self._hebb is None else self._hebb.modulators()[TO_ACTOR]
        beyond = self._expected.beyond(decision.eligible[TO_ACTOR], decision.activity)
        self.circuit.change(TO_ACTOR, beyond, heard, self.rate * self._actor_step)
        self._expected.follow(decision.eligible[TO_ACTOR], decision.activity)
        value = surprise * self.critic.sign[:, 0]
        self._told = surprise, {TO_ACTOR: heard, TO_CRITIC: value}, decision.eligible
        self._surprises += 1
        self.circuit.change(TO_CRITIC, decision.eligible[TO_CRITIC], value, self.critic_rate * self._critic_step)
        return surprise

    def snapshot(self, state: CircuitState, kept: KeptSpikes | None) -> Snapshot:
        """Spikes of a reach by population, and how the last surprise met the pairs."""
        from reach.snapshot import ErrorPath, LayerSignal, Snapshot

        places, actors, critics = self.cells.size, len(self.readout.sign), len(self.critic.sign)
        first = places + actors
        parts = {"senses": (0, places), "background": (places, first)} | muscle_parts(first, CELLS_PER_MUSCLE)
        parts["critic"] = first + actors, first + actors + critics
        populations = populations_of(kept, self.circuit, state, parts)
        if self._told is None:
            return Snapshot(populations)
        surprise, told, eligible = self._told
        signals = tuple(
            LayerSignal(name, told[projection], np.abs(eligible[projection]).sum(axis=0).astype(np.float64))
            for name, projection in (("actor", TO_ACTOR), ("critic", TO_CRITIC))
        )
        return Snapshot(
            populations, error_path=ErrorPath("gate", np.array([surprise]), signals, self._surprises, "surprise")
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Cells and synapses, to be filled in place."""
        return self.circuit.arrays()

    def limits(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of those arrays and of that memory that have such limits, by name."""
        return self.circuit.limits() | {"mean_square_surprise": (0.0, np.inf)}

    def memory(self) -> dict[str, NDArray[Any]]:
        """What it needs to learn on, to be filled in place: expected eligibilities and the usual size of a surprise."""
        return {
            "expected_eligibility": self._expected.per_activity,
            "mean_square_surprise": self._surprise.mean_square,
        }

    def _part_axons(self) -> None:
        """Leave each axon the synapses that it has: place cells all plastic ones, background axons one cell."""
        places = self.cells.size
        for name in (TO_ACTOR, TO_CRITIC):
            self.circuit.connected(name)[places:] = 0
        there = self.circuit.connected(BACKGROUND)
        there[:places] = 0
        there[places:] = np.eye(there.shape[1], dtype=np.uint8)
        self.circuit.weight(BACKGROUND)[there == 0] = 0.0

    def _step_per_hz(self) -> float:
        """Weight change for a unit of eligibility that moves a cell's rate by as much as it fired to be eligible.

        A cell that fires `f` Hz in a reach leaves pair terms of x_i f tau+ (A+ - A-) T at the axons of rates x_i; a
        change of weights in proportion moves its drive by the sum of x_i^2 times that, and its rate by the slope.
        """
        middle = np.mean(self.cells.centres, axis=0)
        power = float(np.sum(np.square(INPUT_PEAK_HZ * self.cells.activity(middle))))
        window_s = STDP.pre_trace_ms / 1000.0 * STDP.potentiation * (1.0 - STDP.depression)
        return 1.0 / (power * window_s * PREPARATION_S * SYNAPSE_MS / 1000.0 * RATE_SLOPE_HZ)
