"""A circuit of spiking populations: LIF populations with plastic or constant projections between them.

    circuit = SpikingCircuit(
        inputs=100,
        cells={"hidden": LIFCells(500, inhibitory=100), "output": LIFCells(40)},
        projections=[
            Projection("input", "hidden", weight_sd=0.9, plasticity=PairSTDP()),
            Projection("hidden", "hidden", weight_sd=0.1, delay_steps=(1, 5), probability=0.1),
            Projection("hidden", "output", plasticity=PairSTDP()),
        ],
        rng=np.random.default_rng(0),
    )
    state = circuit.begin()
    circuit.run(state, rate_hz, 20)
    circuit.teach(state, modulators)

The circuit holds the arrays that learning changes, the state those that a run changes. `kernels.simulate` runs the
steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.settings import Setting, largest_in
from agents.spiking.kernels import CircuitState, all_within, first_state, simulate, write_poisson, write_regular
from agents.spiking.lif import STEP_MS, LIFCells, draw_cells
from agents.spiking.projections import INPUT, Projection, Synapses, Turnover, draw_synapses, rewire
from agents.spiking.stdp import (
    add_pending,
    apply_third_factors,
    change_weights,
    plasticity_of,
    read_eligibility,
)
from reach.jit import compiled_for
from reach.snapshot import Population

# Largest rate of a source, which fires at most once per step.
FASTEST_HZ = 1000.0 / STEP_MS
# Fields of `LIFCells` and `Projection` whose values must not overflow in the dtype of a circuit.
CELL_FIELDS = ("threshold", "reset", "bias", "first_voltage")
PROJECTION_FIELDS = ("weight_mean", "weight_sd", "largest_weight")
RULE_FIELDS = ("rate", "potentiation", "depression", "largest_change")
# Number of steps of input spikes that are generated at a time.
TRAIN_STEPS = 64
# Spikes for the display: bin width, and number of bins in the displayed window.
BIN_MS, WINDOW_BINS = 2, 500


class ProjectionArrays(NamedTuple):
    """The part of one projection in the arrays of a circuit.

    Attributes:
        p: index of the projection.
        shape: (axons, targets).
        targets, weights: slices of the projection in arrays over all targets and over all weights.
        weight, connected: (axons, targets) views.
        lowest, highest, delay_steps: (axons,) views.
    """

    p: int
    shape: tuple[int, int]
    targets: slice
    weights: slice
    weight: NDArray[Any]
    connected: NDArray[np.uint8]
    lowest: NDArray[Any]
    highest: NDArray[Any]
    delay_steps: NDArray[np.int32]

    @classmethod
    def of(cls, synapses: Synapses, p: int) -> ProjectionArrays:
        """Return the arrays of projection p."""
        axons, targets, weights = (
            slice(int(start[p]), int(start[p + 1]))
            for start in (synapses.axon_start, synapses.target_start, synapses.weight_start)
        )
        shape = axons.stop - axons.start, targets.stop - targets.start
        weight, connected = (values[weights].reshape(shape) for values in (synapses.weight, synapses.connected))
        by_axon = (values[axons] for values in (synapses.lowest, synapses.highest, synapses.delay_steps))
        return cls(p, shape, targets, weights, weight, connected, *by_axon)


class SpikingCircuit:
    """Sources, LIF populations and projections.

    Methods that take the name of a population or projection raise a ValueError if the name is unknown.

    Attributes:
        inputs: number of sources.
        populations: settings of the cells, by name of the population.
        projections: settings of the synapses, by name of the projection.
        cells, synapses, rules: the arrays of `Cells`, `Synapses` and `Plasticity`.
        turnovers: the memory of structural plasticity, by name of the projection.
    """

    def __init__(
        self,
        inputs: int,
        cells: Mapping[str, LIFCells],
        projections: Sequence[Projection],
        rng: np.random.Generator,
        *,
        coding: Literal["regular", "poisson"] = "regular",
        dtype: Any = np.float64,
    ) -> None:
        """Draw cells, then synapses, then the phases of the sources.

        Args:
            inputs: number of sources, 1 or more.
            cells: one or more populations by name; the name "input" is reserved for the sources.
            projections: projections between the populations, or from "input".
            rng: random generator.
            coding: spike trains of the sources, "regular" or "poisson".
            dtype: numpy.float64 or numpy.float32.

        Raises:
            ValueError: an argument is out of range.
        """
        if inputs < 1:
            raise ValueError(f"inputs: expected 1 or more, got {inputs}")
        if not cells or INPUT in cells:
            raise ValueError(f"cells: expected one or more names other than {INPUT!r}, got {list(cells)}")
        if coding not in ("regular", "poisson"):
            raise ValueError(f"coding: expected 'regular' or 'poisson', got {coding!r}")
        if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype: expected numpy.float32 or numpy.float64, got {dtype!r}")
        for population in cells.values():
            _require_fits(population, CELL_FIELDS, dtype)
        for projection in projections:
            _require_fits(projection, PROJECTION_FIELDS, dtype)
            if projection.plasticity is not None:
                _require_fits(projection.plasticity, RULE_FIELDS, dtype)
        self.inputs = inputs
        self.coding = coding
        self.dtype = np.dtype(dtype)
        self._largest = largest_in(self.dtype)
        self.populations = dict(cells)
        self.projections = {projection.name: projection for projection in projections}
        self.cells = draw_cells(list(cells.values()), rng, self.dtype)
        self.synapses = draw_synapses(inputs, cells, projections, rng, self.dtype)
        self.rules = plasticity_of([projection.plasticity for projection in projections], self.dtype)
        self.first_phase = rng.uniform(0.0, 1.0, inputs)
        self.seed = rng.integers(2**62, size=1)
        starts = (self.synapses.unit_start[1:] - inputs).tolist()
        self._parts = {name: slice(*limits) for name, limits in zip(cells, pairwise(starts), strict=True)}
        self._set_views()
        self.turnovers = {
            name: Turnover.new(self._projection_arrays[name].shape)
            for name, projection in self.projections.items()
            if projection.structure is not None
        }
        # The dtype determines the types of all arguments of the kernels.
        self._dtype_code = self.dtype.char
        self._train = np.zeros((TRAIN_STEPS, inputs), dtype=np.uint8)
        self._has_modulator = np.zeros(len(self.projections), dtype=np.uint8)
        self._modulators = np.zeros(int(self.synapses.target_start[-1]))

    def _set_views(self) -> None:
        """Make the arrays of all projections, which are views of the synapses."""
        self._projection_arrays = {
            name: ProjectionArrays.of(self.synapses, p) for p, name in enumerate(self.projections)
        }
        self._plastic = {
            name: arrays for name, arrays in self._projection_arrays.items() if self.rules.plastic[arrays.p]
        }

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """Restore the attributes of a copy or pickle, and make its views refer to its own arrays."""
        self.__dict__.update(attributes)
        self._set_views()

    def begin(self) -> CircuitState:
        """Return the state of the circuit at rest.

        Raises:
            ValueError: a weight is not finite, or too large for the circuit's dtype.
        """
        for name, arrays in self._projection_arrays.items():
            self._require_within(f"weight of {name!r}", arrays.weight)
        return first_state(self.cells, self.synapses, self.first_phase)

    def run(
        self, state: CircuitState, rate_hz: NDArray[np.float64], steps: int, train: NDArray[np.uint8] | None = None
    ) -> None:
        """Run a number of steps while the sources fire at the given rates.

        Args:
            state: state of the circuit, changed in place.
            rate_hz: (inputs,) Hz, from 0 to one spike per step.
            steps: number of steps, 0 or more.
            train: (steps, inputs), to which the spikes of the sources are written; None to discard them.

        Raises:
            ValueError: the rates have another shape or are out of range, or `steps` is negative.
        """
        rates = np.ascontiguousarray(rate_hz, np.float64)
        if rates.shape != (self.inputs,) or not all_within(rates, 0.0, FASTEST_HZ):
            raise ValueError(f"rate_hz: expected ({self.inputs},) rates of 0 to {FASTEST_HZ:g} Hz, got {rate_hz!r}")
        if steps < 0:
            raise ValueError(f"steps: expected 0 or more, got {steps}")
        for first in range(0, steps, TRAIN_STEPS):
            last = min(first + TRAIN_STEPS, steps)
            part = self._train[: last - first] if train is None else train[first:last]
            if self.coding == "poisson":
                write_poisson(rates, int(self.seed[0]), int(state.clock[0]), part)
            else:
                write_regular(rates, state.phase, part)
            _call(simulate, self._dtype_code, self.cells, self.synapses, self.rules, state, part)

    def replay(self, state: CircuitState, train: NDArray[np.uint8]) -> None:
        """Run the circuit with given spikes of the sources: one step per row of `train`.

        Args:
            state: state of the circuit, changed in place.
            train: (steps, inputs), not 0 where a source fires.

        Raises:
            ValueError: `train` has another shape or dtype.
        """
        if train.ndim != 2 or train.shape[1] != self.inputs or train.dtype != np.uint8:
            raise ValueError(
                f"train: expected shape (steps, {self.inputs}) and dtype uint8, got {train.shape} and {train.dtype}"
            )
        simulate(self.cells, self.synapses, self.rules, state, train)

    def by_projection(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return views (axons, targets) of an array over all weights, by name of each plastic projection."""
        return {name: values[arrays.weights].reshape(arrays.shape) for name, arrays in self._plastic.items()}

    def weight(self, name: str) -> NDArray[Any]:
        """Return the weights (axons, targets) of a projection, a writable view."""
        return self._arrays_of(name).weight

    def clip_weights(self, name: str) -> None:
        """Clip the weights of a projection to the bounds of their axons."""
        arrays = self._arrays_of(name)
        np.clip(arrays.weight, arrays.lowest[:, None], arrays.highest[:, None], out=arrays.weight)

    def connected(self, name: str) -> NDArray[np.uint8]:
        """Return the mask of existing synapses (axons, targets) of a projection, a view."""
        return self._arrays_of(name).connected

    def delay_steps(self, name: str) -> NDArray[np.int32]:
        """Return the delays (axons,) of a projection, steps, a view; changes apply to runs that begin later."""
        return self._arrays_of(name).delay_steps

    def part(self, values: NDArray[Any], population: str) -> NDArray[Any]:
        """Return the view of one population in an array over all cells, for example in `state.cells.rate_hz`."""
        if population not in self._parts:
            raise ValueError(f"population: expected one of {list(self.populations)}, got {population!r}")
        return values[self._parts[population]]

    def rate_hz(self, state: CircuitState, population: str) -> NDArray[Any]:
        """Return the filtered rates (cells,) of a population, Hz, a view."""
        return self.part(state.cells.rate_hz, population)

    def mean_rate_hz(self, state: CircuitState, population: str) -> NDArray[np.float64]:
        """Return the mean rates (cells,), Hz, of a population or the sources ("input") since the start of the run."""
        seconds = max(int(state.clock[0]), 1) * STEP_MS / 1000.0
        if population == INPUT:
            return state.spikes[: self.inputs] / seconds
        rate_hz: NDArray[np.float64] = self.part(state.spikes[self.inputs :], population) / seconds
        return rate_hz

    def eligibility(self, state: CircuitState, name: str) -> NDArray[Any]:
        """Return the present eligibilities (axons, targets) of a plastic projection."""
        arrays = self._plastic_arrays_of(name)
        eligibility: NDArray[Any] = np.empty(arrays.shape, self.dtype)
        _call(read_eligibility, self._dtype_code, self.synapses, state, arrays.p, eligibility)
        return eligibility

    def teach(self, state: CircuitState, modulators: Mapping[str, NDArray[np.float64] | float]) -> None:
        """Change weights by rate x modulator_j x present eligibility_ij.

        Args:
            state: state with the eligibilities, which are not changed.
            modulators: modulators (targets,) by name of projection, or one number for all targets, such as a reward.

        Raises:
            ValueError: a name is not that of a plastic projection, or a modulator has another shape, is not finite or
                is too large for the circuit's dtype; no weight is changed in this case.
        """
        self._has_modulator.fill(0)
        for name, modulator in modulators.items():
            arrays = self._plastic_arrays_of(name)
            try:
                self._modulators[arrays.targets] = modulator
            except (TypeError, ValueError) as error:
                raise self._modulator_error(name, modulator) from error
            self._has_modulator[arrays.p] = 1
        arguments = self.synapses, self.rules, state, self._has_modulator, self._modulators, self._largest
        if not _call(apply_third_factors, self._dtype_code, *arguments):
            for name, modulator in modulators.items():
                if not np.all(np.abs(self._modulators[self._projection_arrays[name].targets]) <= self._largest):
                    raise self._modulator_error(name, modulator)

    def change(
        self, name: str, eligibility: NDArray[Any], modulator: NDArray[np.float64], rate: float | None = None
    ) -> None:
        """Change weights by rate x modulator_j x eligibility_ij, for an eligibility that was read earlier.

        Args:
            name: name of the projection.
            eligibility: (axons, targets), read by `eligibility` at the time to which the modulator refers.
            modulator: (targets,).
            rate: learning rate; None for the projection's own.

        Raises:
            ValueError: the name is not that of a plastic projection, an array has another shape, or a number is not
                finite or too large for the circuit's dtype.
        """
        arrays = self._plastic_arrays_of(name)
        if np.shape(modulator) != arrays.shape[1:] or not np.all(np.abs(modulator) <= self._largest):
            raise self._modulator_error(name, modulator)
        if eligibility.shape != arrays.shape:
            raise ValueError(f"eligibility of {name!r}: expected shape {arrays.shape}, got {eligibility.shape}")
        self._require_within(f"eligibility of {name!r}", eligibility)
        rate = float(self.rules.rate[arrays.p]) if rate is None else rate
        self._require_within("rate", np.array([rate], np.float64))
        gain = (modulator * rate).astype(self.dtype)
        eligible = np.ascontiguousarray(eligibility, self.dtype)
        change_weights(arrays.weight, arrays.connected, arrays.lowest, arrays.highest, eligible, gain)

    def maintain(self, state: CircuitState, elapsed_ms: float) -> None:
        """Apply structural plasticity to the projections that have it.

        Args:
            state: state of the circuit; the eligibilities of the removed and the formed synapses are set to 0.
            elapsed_ms: time since the last call, ms, 0 or more.

        Raises:
            ValueError: the time is negative or not finite.
        """
        longest_ms = largest_in(np.float64)
        if not 0.0 <= elapsed_ms <= longest_ms:
            raise ValueError(f"elapsed_ms: expected 0 to {longest_ms:.3g}, got {elapsed_ms}")
        for name, turnover in self.turnovers.items():
            arrays, structure = self._projection_arrays[name], self.projections[name].structure
            assert structure is not None
            if self.rules.plastic[arrays.p]:
                add_pending(self.synapses, state, arrays.p)
            seed = (int(self.seed[0]) + arrays.p) % 2**62
            bounds = arrays.lowest, arrays.highest
            removed, formed = rewire(
                arrays.weight, arrays.connected, bounds, structure, turnover, elapsed_ms / 1000.0, seed
            )
            eligibility = state.traces.eligibility[arrays.weights]
            eligibility[removed] = 0.0
            eligibility[formed] = 0.0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return views of every array that a checkpoint must hold, by name; they can be filled in place."""
        arrays: dict[str, NDArray[Any]] = {f"cells.{k}": v for k, v in self.cells._asdict().items()}
        for name in ("weight", "connected", "delay_steps"):
            arrays[f"synapses.{name}"] = getattr(self.synapses, name)
        arrays |= {"first_phase": self.first_phase, "seed": self.seed}
        for name, turnover in self.turnovers.items():
            arrays |= {f"turnover.{name}.{k}": v for k, v in vars(turnover).items()}
        return arrays

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and highest value of each bounded array, by name.

        Kernels do not check delays, masks and seeds, so loaded arrays must be within these limits.
        """
        longest_delay = max((projection.delay_range[1] for projection in self.projections.values()), default=0)
        limits: dict[str, tuple[float, float]] = {
            **{f"cells.{part}": (0.0, 1.0) for part in ("leak", "drive_decay", "readout_decay")},
            "cells.refractory_steps": (1, max(cells.refractory_steps for cells in self.populations.values())),
            "synapses.connected": (0, 1),
            "synapses.delay_steps": (0, longest_delay),
            "first_phase": (0.0, 1.0),
            "seed": (0, 2**62 - 1),
        }
        for name in self.turnovers:
            limits |= {f"turnover.{name}.{part}": (0, np.inf) for part in ("near_zero_s", "allowance", "calls")}
        return limits

    def _arrays_of(self, name: str) -> ProjectionArrays:
        """Return the arrays of a projection."""
        if name not in self._projection_arrays:
            raise ValueError(f"projection: expected one of {list(self._projection_arrays)}, got {name!r}")
        return self._projection_arrays[name]

    def _plastic_arrays_of(self, name: str) -> ProjectionArrays:
        """Return the arrays of a plastic projection."""
        if name not in self._plastic:
            raise ValueError(f"projection: expected a plastic one of {list(self._plastic)}, got {name!r}")
        return self._plastic[name]

    def _range(self) -> str:
        """Return, as text, the range of numbers that the circuit's dtype allows."""
        return f"{-self._largest:.3g} to {self._largest:.3g} in a circuit of {self.dtype}"

    def _require_within(self, what: str, values: NDArray[Any]) -> None:
        """Check that all values lie in the range that the circuit's dtype allows."""
        flat = np.ascontiguousarray(values).ravel()
        if not all_within(flat, -self._largest, self._largest):
            raise ValueError(f"{what}: expected {self._range()}, got {flat[~(np.abs(flat) <= self._largest)][0]}")

    def _modulator_error(self, name: str, modulator: Any) -> ValueError:
        numbers = f"a finite number or ({self._projection_arrays[name].shape[1]},) finite numbers of {self._range()}"
        return ValueError(f"modulator of {name!r}: expected {numbers}, got {modulator!r}")


def _require_fits(owner: Any, names: tuple[str, ...], dtype: Any) -> None:
    """Check that the fields of `owner`, numbers or ranges, are not too large for a circuit's dtype."""
    fitting = Setting(-largest_in(dtype), largest_in(dtype), allows_range=True)
    for name in names:
        fitting.check(f"{type(owner).__name__} {name} in a circuit of {np.dtype(dtype)}", getattr(owner, name))


class SpikeRecord:
    """The latest spikes of one reach. Recording does not change the results of the circuit.

    Attributes:
        bins: number of spikes (units,) of each source and cell, for up to WINDOW_BINS bins of BIN_MS, oldest first.
        rate_hz: (inputs,) rates of the sources in the latest step, Hz; None before the first step.
    """

    def __init__(self) -> None:
        """Start without spikes."""
        self.bins: deque[NDArray[np.uint8]] = deque(maxlen=WINDOW_BINS)
        self.rate_hz: NDArray[np.float64] | None = None

    def run(
        self,
        circuit: SpikingCircuit,
        state: CircuitState,
        rate_hz: NDArray[np.float64],
        steps_ms: int,
        train: NDArray[np.uint8] | None = None,
    ) -> None:
        """Run a circuit bin by bin and record its spikes; the arguments are those of `SpikingCircuit.run`."""
        self.rate_hz = rate_hz
        for first in range(0, steps_ms, BIN_MS):
            before = state.spikes.copy()
            circuit.run(state, rate_hz, BIN_MS, None if train is None else train[first : first + BIN_MS])
            self.bins.append((state.spikes - before).astype(np.uint8))


def populations_of(
    record: SpikeRecord | None, circuit: SpikingCircuit, state: CircuitState, parts: dict[str, tuple[int, int]]
) -> tuple[Population, ...]:
    """Return the spikes of the last second and the present rates, by population.

    Args:
        record: record of the reach; None without a record.
        circuit, state: the network's circuit and its state.
        parts: first unit of each population and the unit after its last, by name; sources are the first units.
    """
    record = record or SpikeRecord()
    spikes = np.array(record.bins, np.uint8).reshape(-1, len(state.spikes))
    source_hz = np.zeros(circuit.inputs) if record.rate_hz is None else record.rate_hz
    rates = np.concatenate([source_hz, state.cells.rate_hz])
    return tuple(
        Population(name, spikes[:, first:last], float(np.mean(rates[first:last])))
        for name, (first, last) in parts.items()
    )


_compiled: dict[tuple[Any, str], Any] = {}


def _call(function: Any, kind: str, *arguments: Any) -> Any:
    """Call a kernel compiled for `kind` without inspecting the types of its arguments.

    For tuples of dozens of arrays, inspecting types takes as long as a few steps of a circuit. Calls with the same
    `kind` must therefore have arguments of the same types.

    Args:
        function: a kernel.
        kind: a name for the types of its arguments.
        arguments: its arguments.
    """
    compiled = _compiled.get((function, kind))
    if compiled is None:
        compiled = _compiled[function, kind] = compiled_for(function, *arguments)
    return compiled(*arguments)
