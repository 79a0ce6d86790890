"""A feed-forward part of spiking cells: place cells, a hidden population and antagonist output populations.

Its synapses change by pair STDP gated by a third factor. Hidden cells excite or inhibit, never both (Dale's law), and
differ in their time constants and thresholds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.feedforward import CONTROL_STEP_MS, JOINTS, Array, Plastic, Sees
from agents.networks.circuit_kernel import CircuitState
from agents.networks.lif import LIFCells
from agents.networks.place_cells import PlaceCells
from agents.networks.projections import Projection
from agents.networks.readouts import AntagonistReadout
from agents.networks.spiking_circuit import SpikingCircuit
from agents.rules.pair_stdp import PairSTDP
from agents.rules.third_factor import BroadcastError, Hebb

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
# Posture change per difference of antagonist rates, rad/Hz, and the slope of a cell's rate by its drive at rest, Hz.
READOUT_RAD_PER_HZ = 0.02
RATE_SLOPE_HZ = 60.0
STDP = PairSTDP(depression=0.3)
TO_HIDDEN, TO_OUTPUT = "input-hidden", "hidden-output"


class SpikingFeedForward:
    """Leaky integrate-and-fire cells under STDP.

    Attributes:
        circuit: the cells and synapses.
        plastic: "all", or "hidden" where the synapses to the output cells stay as they are.
    """

    def __init__(
        self,
        rule: str,
        rng: np.random.Generator,
        hidden: int = HIDDEN_CELLS,
        inhibitory: int | None = INHIBITORY_CELLS,
        cells_per_muscle: int = CELLS_PER_MUSCLE,
        plasticity: PairSTDP = STDP,
    ) -> None:
        """Make the circuit and its third factor.

        Args:
            rule: "stdp", gated by the broadcast error, or "hebb", which hears no error.
            rng: source of cells, weights and feedback.
            hidden: hidden cells.
            inhibitory: how many of them inhibit; None for cells of either sign.
            cells_per_muscle: output cells of each of the six populations.
            plasticity: of both projections.

        Raises:
            ValueError: another rule, or numbers that are not allowed.
        """
        if rule not in RULES:
            raise ValueError(f"rule is {rule!r}; {list(RULES)} are allowed for a network of spiking cells")
        self.cells = PlaceCells()
        self.readout = AntagonistReadout(JOINTS, cells_per_muscle, READOUT_RAD_PER_HZ)
        outputs = len(self.readout.sign)
        self.circuit = SpikingCircuit(
            inputs=self.cells.size,
            cells={
                "hidden": LIFCells(
                    hidden, inhibitory, membrane_ms=(10.0, 30.0), threshold=(0.9, 1.1), bias=HIDDEN_DRIVE
                ),
                "output": LIFCells(outputs, bias=OUTPUT_DRIVE, first_voltage=(0.0, 1.0)),
            },
            projections=[
                Projection("input", "hidden", weight_sd=INPUT_WEIGHT_SD, plasticity=plasticity),
                Projection("hidden", "output", plasticity=plasticity),
            ],
            rng=rng,
        )
        self._error = BroadcastError({TO_OUTPUT: self.readout.sign}, {TO_HIDDEN: hidden}, rng)
        self._hebb = Hebb({TO_HIDDEN: hidden, TO_OUTPUT: outputs}) if rule == "hebb" else None
        self.plastic: Plastic = "all"
        self.sees: Sees = "cup"

    def begin(self) -> CircuitState:
        """The circuit at rest."""
        return self.circuit.begin()

    def posture(self, state: CircuitState, seen: Array) -> Array:
        """Twenty milliseconds of spikes."""
        self.circuit.run(state, INPUT_PEAK_HZ * self.cells.activity(seen), CONTROL_STEP_MS)
        return self.readout.command(self.circuit.rate_hz(state, "output"))

    def eligibility(self, state: CircuitState) -> dict[str, tuple[Array, Array]]:
        """By projection, the pair terms that have gathered in this reach, and the mean rates of the cells before."""
        circuit = self.circuit
        return {
            name: (circuit.eligibility(state, name), circuit.mean_rate_hz(state, circuit.projections[name].before))
            for name in (TO_HIDDEN, TO_OUTPUT)
        }

    def change(self, eligible: dict[str, tuple[Array, Array]], error: Array, rate: float) -> None:
        """One step, each projection normalised by its eligible drive; the two share it."""
        modulators = self._hebb.modulators() if self._hebb is not None else self._error.modulators(error)
        plastic = (TO_HIDDEN,) if self.plastic == "hidden" else (TO_HIDDEN, TO_OUTPUT)
        slope = 2.0 * READOUT_RAD_PER_HZ * RATE_SLOPE_HZ
        for name in plastic:
            terms, before_hz = eligible[name]
            drive = float(np.mean(before_hz @ np.abs(terms))) * SYNAPSE_MS / 1000.0
            if drive > 1e-9:
                self.circuit.change(name, terms, modulators[name], rate / (len(plastic) * drive * slope))

    def alignment(self) -> dict[str, float]:
        """Spikes have no gradient."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Cells, synapses and feedback."""
        return self.circuit.arrays() | {f"feedback.{name}": value for name, value in self._error.feedback.items()}
