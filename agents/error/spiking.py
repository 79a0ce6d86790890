"""A feed-forward part of spiking cells: sensory cells, a hidden population and antagonist output populations.

Its synapses change by pair STDP gated by a third factor. Cells differ in their time constants and thresholds: output
cells that were alike would hear the same and fire in step, and their mean would waver as a single cell does. Hidden
cells excite or inhibit, never both (Dale's law); they may also speak to each other, through synapses that stay as they
were drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.costs import Costs
from agents.error.feedforward import CONTROL_STEP_MS, Array, Plastic, SensoryCells
from agents.networks.place_cells import PlaceCells
from agents.networks.registry import JOINTS, Sees
from agents.networks.v1 import ComplexCells
from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.readouts import AntagonistReadout, KeptSpikes, muscle_parts, populations_of
from agents.spiking.stdp import PairSTDP
from agents.spiking.structural_plasticity import StructuralPlasticity
from agents.spiking.third_factors import BroadcastError, Hebb

if TYPE_CHECKING:
    from agents.reaching.controller import Controller
    from reach.snapshot import ErrorPath, Population, Snapshot

RULES = ("stdp", "hebb")
HIDDEN_CELLS = 300
# A share of one in five, as in the cortex (Braitenberg and Schuez 1998, "Cortex: Statistics and Geometry").
INHIBITORY_CELLS = 60
CELLS_PER_MUSCLE = 20
INPUT_PEAK_HZ = 100.0
SYNAPSE_MS = 5.0
# Drive without input, in units of the threshold: hidden cells rest just below it, output cells fire at about 25 Hz, so
# that each can be turned up or down.
HIDDEN_DRIVE = 0.85
OUTPUT_DRIVE = 1.2
INPUT_WEIGHT_SD = 0.9
# Of each cell, drawn from these; thresholds in units of the mean one.
MEMBRANE_MS = (10.0, 30.0)
THRESHOLD = (0.9, 1.1)
# Posture change per difference of antagonist rates, rad/Hz, and the slope of a cell's rate by its drive at rest, Hz.
READOUT_RAD_PER_HZ = 0.02
RATE_SLOPE_HZ = 60.0
STDP = PairSTDP(depression=0.3)
TO_HIDDEN, RECURRENT, TO_OUTPUT = "input-hidden", "hidden-hidden", "hidden-output"
# From one step of learning to the next, s.
TRIAL_S = 3.0
# Density of the synapses from sensory to hidden cells of the networks `sparse` and `structural`, and how those of the
# latter vanish and form.
SPARSE_DENSITY = 0.5
TURNOVER = StructuralPlasticity(near_zero=0.1, patience_s=9.0, turnover_per_s=0.001, new_weight=0.3)
# A source fires once a step at most.
FASTEST_HZ = 1000.0


@dataclass(frozen=True)
class Recurrence:
    """Synapses among hidden cells. They do not learn: what they do is spread and balance activity.

    As there are fewer cells that inhibit, each of their synapses is as much stronger, so that a cell gets as much
    inhibition as excitation from its like (van Vreeswijk and Sompolinsky 1996, Science 274:1724).

    Attributes:
        weight_sd: of the variates whose magnitudes excitatory cells' weights are.
        probability: that one cell reaches another.
        delay_ms: shortest and longest time from a spike to its arrival.
    """

    weight_sd: float = 0.1
    probability: float = 0.2
    delay_ms: tuple[int, int] = (1, 8)


@dataclass
class Sight:
    """One reach: the circuit's state, what was seen last, the rates of the sources for it, Hz, and spikes if kept."""

    circuit: CircuitState
    seen: Array | None = None
    counted: NDArray[np.int64] | None = None
    rate_hz: Array = field(default_factory=lambda: np.zeros(0))
    kept: KeptSpikes | None = None


class SpikingFeedForward:
    """Leaky integrate-and-fire cells under STDP.

    Attributes:
        circuit: the cells and synapses.
        plastic: "all", or "hidden" where the synapses to the output cells stay as they are.
    """

    waits_for_launch = False

    def __init__(
        self,
        rule: str,
        rng: np.random.Generator,
        hidden: int = HIDDEN_CELLS,
        inhibitory: int | None = INHIBITORY_CELLS,
        cells_per_muscle: int = CELLS_PER_MUSCLE,
        plasticity: PairSTDP = STDP,
        *,
        cells: SensoryCells | None = None,
        sees: Sees = "cup",
        recurrence: Recurrence | None = None,
        density: float = 1.0,
        structure: StructuralPlasticity | None = None,
    ) -> None:
        """Make the circuit and its third factor.

        Args:
            rule: "stdp", gated by the broadcast error, or "hebb", which hears no error.
            rng: source of cells, weights and feedback.
            hidden: hidden cells.
            inhibitory: how many of them inhibit; None for cells of either sign.
            cells_per_muscle: output cells of each of the six populations.
            plasticity: of both projections forward.
            cells: the sensory cells before them; place cells of the cup without a word.
            sees: what those cells are given.
            recurrence: among hidden cells; None for none.
            density: share of the synapses from sensory to hidden cells that are there, above 0, up to 1.
            structure: by which those vanish and form between reaches; None for synapses that stay where they are.

        Raises:
            ValueError: another rule, or numbers that are not allowed.
        """
        if rule not in RULES:
            raise ValueError(f"rule is {rule!r}; {list(RULES)} are allowed for a network of spiking cells")
        self.cells = PlaceCells() if cells is None else cells
        self._cells_per_muscle = cells_per_muscle
        self.readout = AntagonistReadout(JOINTS, cells_per_muscle, READOUT_RAD_PER_HZ)
        outputs = len(self.readout.sign)
        self.circuit = SpikingCircuit(
            inputs=self.cells.size,
            cells={
                "hidden": LIFCells(hidden, inhibitory, membrane_ms=MEMBRANE_MS, threshold=THRESHOLD, bias=HIDDEN_DRIVE),
                "output": LIFCells(
                    outputs,
                    membrane_ms=MEMBRANE_MS,
                    threshold=THRESHOLD,
                    bias=OUTPUT_DRIVE,
                    first_voltage=(0.0, 1.0),
                ),
            },
            projections=[
                Projection(
                    "input",
                    "hidden",
                    # Fewer synapses are as much stronger, for the same spread of drives.
                    weight_sd=INPUT_WEIGHT_SD / math.sqrt(density),
                    probability=density,
                    plasticity=plasticity,
                    structure=structure,
                ),
                *_recurrent(recurrence),
                Projection("hidden", "output", plasticity=plasticity),
            ],
            rng=rng,
        )
        if recurrence is not None and inhibitory:
            self.circuit.weight(RECURRENT)[-inhibitory:] *= (hidden - inhibitory) / inhibitory
        self._error = BroadcastError({TO_OUTPUT: self.readout.sign}, {TO_HIDDEN: hidden}, rng)
        self._hebb = Hebb({TO_HIDDEN: hidden, TO_OUTPUT: outputs}) if rule == "hebb" else None
        self.plastic: Plastic = "all"
        self.sees: Sees = sees
        self._structured = structure is not None
        self._costs = Costs()
        self._fan_out, self._pairs = self._fans()
        self._connections = sum(int(np.count_nonzero(self.circuit.connected(one))) for one in self.circuit.projections)
        self._is_looked_into = False
        # What the last error told, and the eligibilities it met; and how many there have been.
        self._told: tuple[Array, dict[str, Array], dict[str, tuple[Array, Array]]] | None = None
        self._errors = 0

    def begin(self) -> Sight:
        """The circuit at rest."""
        state = Sight(self.circuit.begin())
        if self._is_looked_into:
            state.kept = KeptSpikes.none_yet(len(state.circuit.spikes))
        return state

    def posture(self, state: Sight, seen: Array) -> Array:
        """Twenty milliseconds of spikes; the sensory cells are asked anew when something else is seen."""
        if state.seen is not seen:
            state.seen = seen
            state.rate_hz = np.minimum(INPUT_PEAK_HZ * self.cells.activity(seen), FASTEST_HZ)
        if state.kept is None:
            self.circuit.run(state.circuit, state.rate_hz, CONTROL_STEP_MS)
        else:
            state.kept.run(self.circuit, state.circuit, state.rate_hz, CONTROL_STEP_MS)
        self._count(state)
        return self.readout.command(self.circuit.rate_hz(state.circuit, "output"))

    def eligibility(self, state: Sight) -> dict[str, tuple[Array, Array]]:
        """By projection, the pair terms that have gathered in this reach, and the mean rates of the cells before."""
        circuit, now = self.circuit, state.circuit
        return {
            name: (circuit.eligibility(now, name), circuit.mean_rate_hz(now, circuit.projections[name].before))
            for name in (TO_HIDDEN, TO_OUTPUT)
        }

    def change(self, eligible: dict[str, tuple[Array, Array]], error: Array, rate: float) -> None:
        """One step, each projection normalised by its eligible drive; the two share it."""
        modulators = self._hebb.modulators() if self._hebb is not None else self._error.modulators(error)
        self._told = error, modulators, eligible
        self._errors += 1
        plastic = (TO_HIDDEN,) if self.plastic == "hidden" else (TO_HIDDEN, TO_OUTPUT)
        slope = 2.0 * READOUT_RAD_PER_HZ * RATE_SLOPE_HZ
        for name in plastic:
            terms, before_hz = eligible[name]
            drive = float(np.mean(before_hz @ np.abs(terms))) * SYNAPSE_MS / 1000.0
            if drive > 1e-9:
                self.circuit.change(name, terms, modulators[name], rate / (len(plastic) * drive * slope))
                synapses = float(np.count_nonzero(self.circuit.connected(name)))
                self._costs.add(weight_updates=synapses, learning_macs=synapses)
        if self._structured and np.any(error):
            self.circuit.maintain(self.circuit.begin(), 1000.0 * TRIAL_S)
            self._fan_out, self._pairs = self._fans()

    def end_baseline(self, body: Controller, practice_rate: float) -> None:
        """Change nothing: learning goes on as before."""

    def alignment(self) -> dict[str, float]:
        """Spikes have no gradient."""
        return {}

    def cost(self) -> dict[str, float]:
        """Counts so far, by the names of `agents.costs`."""
        return dict(self._costs.counts)

    def _fans(self) -> tuple[Array, Array]:
        """For each unit (sources, then cells): synapses that its spikes reach, and pair terms that they add to."""
        where = {"input": slice(0, self.circuit.inputs)}
        for name, cells in self.circuit.populations.items():
            first = max(one.stop for one in where.values())
            where[name] = slice(first, first + cells.size)
        fan_out, pairs = np.zeros((2, where["output"].stop))
        for name, one in self.circuit.projections.items():
            synapses = self.circuit.connected(name)
            fan_out[where[one.before]] += synapses.sum(axis=1)
            if one.plasticity is not None:
                pairs[where[one.before]] += synapses.sum(axis=1)
                pairs[where[one.after]] += synapses.sum(axis=0)
        return fan_out, pairs

    def _count(self, state: Sight) -> None:
        """The events that the spikes since the last call have brought about."""
        spikes = state.circuit.spikes if state.counted is None else state.circuit.spikes - state.counted
        state.counted = state.circuit.spikes.copy()
        self._costs.add(
            effective_acs=float(self._fan_out @ spikes),
            eligibility_updates=float(self._pairs @ spikes),
            dense_operations=self._connections * CONTROL_STEP_MS,
        )

    def snapshot(self, state: Sight) -> Snapshot:
        """The last second of spikes by population, and how the last error met the pairs.

        Spikes are kept from the first reach on that begins after the first look.
        """
        from reach.snapshot import Snapshot

        self._is_looked_into = True
        return Snapshot(populations=self._populations(state), error_path=self._error_path())

    def _populations(self, state: Sight) -> tuple[Population, ...]:
        inputs, hidden = self.cells.size, self.circuit.populations["hidden"]
        excite, last = inputs + hidden.size - (hidden.inhibitory or 0), inputs + hidden.size
        parts = {"senses": (0, inputs), "hidden": (inputs, excite)}
        if excite < last:
            parts["inhibitory"] = excite, last
        parts |= muscle_parts(last, self._cells_per_muscle)
        return populations_of(state.kept, self.circuit, state.circuit, parts)

    def _error_path(self) -> ErrorPath | None:
        from reach.snapshot import ErrorPath, LayerSignal

        if self._told is None or self._hebb is not None:
            return None
        error, modulators, eligible = self._told
        signals = tuple(
            LayerSignal(name, modulators[projection], np.abs(eligible[projection][0]).sum(axis=0).astype(np.float64))
            for name, projection in (("hidden", TO_HIDDEN), ("output", TO_OUTPUT))
        )
        return ErrorPath("gate", error, signals, self._errors)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Cells, synapses and feedback."""
        return self.circuit.arrays() | {f"feedback.{name}": value for name, value in self._error.feedback.items()}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Those of the circuit."""
        return self.circuit.limits()


def _recurrent(given: Recurrence | None) -> list[Projection]:
    """The projection among hidden cells; steps are milliseconds."""
    if given is None:
        return []
    return [
        Projection(
            "hidden",
            "hidden",
            weight_sd=given.weight_sd,
            probability=given.probability,
            delay_steps=given.delay_ms,
        )
    ]


def snn(rng: np.random.Generator) -> tuple[SensoryCells, dict[str, Any]]:
    """Return place cells of the cup, and the settings of a circuit with all synapses."""
    return PlaceCells(), {}


def sparse(rng: np.random.Generator) -> tuple[SensoryCells, dict[str, Any]]:
    """Return place cells of the cup, and the settings of a circuit with half of the sensory synapses."""
    return PlaceCells(), {"density": SPARSE_DENSITY}


def structural(rng: np.random.Generator) -> tuple[SensoryCells, dict[str, Any]]:
    """Return place cells of the cup, and the settings of a sparse circuit whose sensory synapses vanish and form."""
    return PlaceCells(), {"density": SPARSE_DENSITY, "structure": TURNOVER}


def brain(rng: np.random.Generator) -> tuple[SensoryCells, dict[str, Any]]:
    """Return complex cells of a picture, and the settings of a circuit with synapses among hidden cells."""
    return ComplexCells(), {"recurrence": Recurrence()}
