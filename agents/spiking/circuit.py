"""A circuit of spiking populations: any number of LIF populations and plastic projections between them.

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

The circuit holds what learning changes, the state what a run changes; both are plain arrays. How a step goes is written
in `kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.jit import call
from agents.spiking.checks import largest_in, require_fits
from agents.spiking.kernels import CircuitState, first_state, simulate, within, write_poisson, write_regular
from agents.spiking.lif import LIFCells, draw_cells
from agents.spiking.projections import INPUT, Projection, draw_synapses
from agents.spiking.stdp import ELIGIBLE, catch_up, change_weights, plasticity_of, read_eligibility, teach
from agents.spiking.structural_plasticity import Turnover, rewire

# Settings that must fit into the dtype of a circuit.
CELL_FIELDS = ("threshold", "reset", "bias", "first_voltage", "threshold_adaptation", "current_adaptation")
PROJECTION_FIELDS = ("weight_mean", "weight_sd", "largest_weight")
# Steps whose input spikes are drawn at a time.
TRAIN_STEPS = 64


class SpikingCircuit:
    """Sources, LIF populations and projections.

    Attributes:
        cells, synapses, rules: the arrays of `Cells`, `Synapses` and `Plasticity`.
        projections: settings by name.
        turnovers: what structural plasticity remembers, by name of the projections that have it.
    """

    def __init__(
        self,
        inputs: int,
        cells: Mapping[str, LIFCells],
        projections: Sequence[Projection],
        rng: np.random.Generator,
        *,
        coding: Literal["regular", "poisson"] = "regular",
        step_ms: float = 1.0,
        dtype: Any = np.float64,
    ) -> None:
        """Draw cells, then synapses, then the phases of the sources.

        Args:
            inputs: sources, 1 or more.
            cells: populations by name, "input" excepted, 1 or more.
            projections: see there.
            rng: source of all that is drawn.
            coding: how sources turn rates into spikes.
            step_ms: ms, above 0.
            dtype: numpy.float64 or numpy.float32.

        Raises:
            ValueError: an argument outside these.
        """
        if inputs < 1:
            raise ValueError(f"inputs is {inputs}; 1 or more is allowed")
        if not cells or INPUT in cells:
            raise ValueError(f"cells names {list(cells)}; one or more names other than {INPUT!r} are allowed")
        if coding not in ("regular", "poisson"):
            raise ValueError(f"coding is {coding!r}; 'regular' or 'poisson' is allowed")
        if not 0.0 < step_ms < math.inf:
            raise ValueError(f"step_ms is {step_ms}; a finite number above 0 is allowed")
        if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype is {dtype!r}; numpy.float32 or numpy.float64 is allowed")
        for population in cells.values():
            require_fits(population, CELL_FIELDS, dtype)
        for one in projections:
            require_fits(one, PROJECTION_FIELDS, dtype)
            if one.plasticity is not None:
                require_fits(one.plasticity, ("rate", "potentiation", "depression", "largest_change"), dtype)
        self.inputs = inputs
        self.coding = coding
        self.step_ms = step_ms
        self.dtype = np.dtype(dtype)
        self._largest = largest_in(self.dtype)
        self.populations = dict(cells)
        self.projections = {one.name: one for one in projections}
        self.cells = draw_cells(list(cells.values()), step_ms, rng, self.dtype)
        self.synapses = draw_synapses(inputs, cells, projections, rng, self.dtype)
        self.rules = plasticity_of([one.plasticity for one in projections], step_ms, self.dtype)
        self.first_phase = rng.uniform(0.0, 1.0, inputs)
        self.seed = rng.integers(2**62, size=1)
        self._index = {name: p for p, name in enumerate(self.projections)}
        self._with_eligibility = {name: p for name, p in self._index.items() if self.rules.kind[p] == ELIGIBLE}
        axon, target, weight = (
            getattr(self.synapses, f"{what}_start").tolist() for what in ("axon", "target", "weight")
        )
        self._targets = {name: (target[p], target[p + 1]) for name, p in self._index.items()}
        self._weights = {name: (weight[p], weight[p + 1]) for name, p in self._index.items()}
        self._shapes = {name: (axon[p + 1] - axon[p], target[p + 1] - target[p]) for name, p in self._index.items()}
        self._blocks = {
            name: (
                self._block(self.synapses.weight, name),
                self._block(self.synapses.connected, name),
                self.synapses.lowest[axon[p] : axon[p + 1]],
                self.synapses.highest[axon[p] : axon[p + 1]],
            )
            for name, p in self._index.items()
        }
        self.turnovers = {
            name: Turnover.new(self.shape(name)) for name, one in self.projections.items() if one.structure is not None
        }
        # What the types of all arrays follow from.
        self._kind = self.dtype.char
        self._train = np.zeros((TRAIN_STEPS, inputs), dtype=np.uint8)
        self._told = np.zeros(len(self.projections), dtype=np.uint8)
        self._modulators = np.zeros(int(self.synapses.target_start[-1]))

    def begin(self) -> CircuitState:
        """Return the state of the circuit at rest.

        Raises:
            ValueError: a weight that is not finite, or too large for the circuit's dtype.
        """
        if not within(self.synapses.weight, -self._largest, self._largest):
            for name in self.projections:
                weight = self.weight(name)
                wrong = weight[~(np.abs(weight) <= self._largest)]
                if wrong.size:
                    raise ValueError(f"weight of {name!r} is {wrong[0]}; {self._allowed()} is allowed")
        return first_state(self.cells, self.synapses, self.first_phase)

    def run(self, state: CircuitState, rate_hz: NDArray[np.float64], steps: int) -> None:
        """Run for a number of steps with sources firing at the given rates.

        Args:
            state: changed in place.
            rate_hz: (inputs,) Hz, 0 up to one spike a step.
            steps: 0 or more.

        Raises:
            ValueError: rates of another shape or outside the range, or a negative number of steps.
        """
        fastest_hz = 1000.0 / self.step_ms
        given = np.ascontiguousarray(rate_hz, np.float64)
        if given.shape != (self.inputs,) or not within(given, 0.0, fastest_hz):
            raise ValueError(f"rate_hz is {rate_hz!r}; ({self.inputs},) rates of 0 to {fastest_hz:g} Hz are allowed")
        if steps < 0:
            raise ValueError(f"steps is {steps}; 0 or more is allowed")
        while steps > 0:
            train = self._train[: min(steps, TRAIN_STEPS)]
            if self.coding == "poisson":
                write_poisson(given, int(self.seed[0]), int(state.clock[0]), self.step_ms, train)
            else:
                write_regular(given, state.phase, self.step_ms, train)
            call(simulate, self._kind, self.cells, self.synapses, self.rules, state, train)
            steps -= len(train)

    def replay(self, state: CircuitState, train: NDArray[np.uint8]) -> None:
        """Run for as many steps as `train` (steps, inputs) has rows, a source firing where it is not 0.

        Raises:
            ValueError: another shape or dtype.
        """
        if train.ndim != 2 or train.shape[1] != self.inputs or train.dtype != np.uint8:
            raise ValueError(
                f"train has shape {train.shape} and dtype {train.dtype}; (steps, {self.inputs}) and uint8 are allowed"
            )
        simulate(self.cells, self.synapses, self.rules, state, train)

    def shape(self, name: str) -> tuple[int, int]:
        """(axons, targets) of a projection.

        Raises:
            ValueError: there is no projection of this name.
        """
        self._place(name)
        return self._shapes[name]

    def weight(self, name: str) -> NDArray[Any]:
        """Weights (axons, targets) of a projection, a view to read and write.

        Raises:
            ValueError: there is no projection of this name.
        """
        self._place(name)
        return self._blocks[name][0]

    def connected(self, name: str) -> NDArray[np.uint8]:
        """Which synapses of a projection are there, (axons, targets), a view.

        Raises:
            ValueError: there is no projection of this name.
        """
        self._place(name)
        return self._blocks[name][1]

    def delay_steps(self, name: str) -> NDArray[np.int32]:
        """Delays (axons,) of a projection in steps, a view; what is written counts for runs that begin after it.

        Raises:
            ValueError: there is no projection of this name.
        """
        p = self._place(name)
        first, last = self.synapses.axon_start[p : p + 2]
        return self.synapses.delay_steps[first:last]

    def part(self, values: NDArray[Any], population: str) -> NDArray[Any]:
        """The part of one population in an array over all cells, a view; for example of `state.cells.rate_hz`.

        Raises:
            ValueError: there is no population of this name.
        """
        if population not in self.populations:
            raise ValueError(f"population is {population!r}; {list(self.populations)} are allowed")
        q = 1 + list(self.populations).index(population)
        first, last = self.synapses.unit_start[q : q + 2] - self.inputs
        return values[first:last]

    def rate_hz(self, state: CircuitState, population: str) -> NDArray[Any]:
        """Filtered rates (cells,) Hz of a population, a view.

        Raises:
            ValueError: there is no population of this name.
        """
        return self.part(state.cells.rate_hz, population)

    def mean_rate_hz(self, state: CircuitState, population: str) -> NDArray[np.float64]:
        """Spikes so far over time so far, (cells,) Hz; population "input" gives the sources'.

        Raises:
            ValueError: there is no population of this name.
        """
        seconds = max(int(state.clock[0]), 1) * self.step_ms / 1000.0
        if population == INPUT:
            return state.spikes[: self.inputs] / seconds
        found: NDArray[np.float64] = self.part(state.spikes[self.inputs :], population) / seconds
        return found

    def eligibility(self, state: CircuitState, name: str) -> NDArray[Any]:
        """Eligibilities (axons, targets) of a projection at this moment.

        Raises:
            ValueError: there is no projection of this name, or it has no eligibility.
        """
        p = self._eligible(name)
        found: NDArray[Any] = np.empty(self._shapes[name], self.dtype)
        call(read_eligibility, self._kind, self.synapses, self.rules, state, p, found)
        return found

    def teach(self, state: CircuitState, modulators: Mapping[str, NDArray[np.float64] | float]) -> None:
        """The third factor arrives: at once where it is an impulse, as a rise in concentration where it decays.

        Args:
            state: whose eligibilities turn into weight.
            modulators: by projection, (targets,), or one number for all of its targets, as a reward is.

        Raises:
            ValueError: a projection that is not there or has no eligibility, modulators of another shape, or one that
                is not finite or too large for the circuit's dtype; nothing has changed then.
        """
        told = self._told
        told.fill(0)
        for name, modulator in modulators.items():
            p = self._eligible(name)
            first, last = self._targets[name]
            self._modulators[first:last] = (
                modulator if isinstance(modulator, float) else _numbers(name, modulator, last - first)
            )
            told[p] = 1
        if not call(teach, self._kind, self.synapses, self.rules, state, told, self._modulators, self._largest):
            for name, modulator in modulators.items():
                if not np.all(np.abs(np.asarray(modulator, np.float64)) <= self._largest):
                    raise ValueError(f"{_refused(name, modulator, self._shapes[name][1])}, {self._allowed()}")

    def change(
        self, name: str, eligible: NDArray[Any], modulator: NDArray[np.float64], rate: float | None = None
    ) -> None:
        """Change the weights of a projection by rate x modulator_j x eligible_ij, for a teacher that speaks later.

        Args:
            name: of the projection.
            eligible: (axons, targets), what `eligibility` gave at the time to which the change is credited.
            modulator: (targets,).
            rate: instead of the projection's own.

        Raises:
            ValueError: a projection that is not there or has no eligibility, an array of another shape, or a number
                that is not finite or too large for the circuit's dtype.
        """
        p = self._checked(name, modulator)
        if rate is not None and not abs(rate) <= self._largest:
            raise ValueError(f"rate is {rate!r}; {self._allowed()} is allowed")
        if eligible.shape != self.shape(name):
            raise ValueError(f"eligible has shape {eligible.shape}; {self.shape(name)} is allowed")
        if not within(np.ascontiguousarray(eligible).ravel(), -self._largest, self._largest):
            raise ValueError(f"eligible of {name!r} has a number out of range; {self._allowed()} is allowed")
        pull = modulator * (float(self.rules.rate[p]) if rate is None else rate)
        terms = np.ascontiguousarray(eligible, self.dtype)
        change_weights(*self._blocks[name], self.rules.soft[p], terms, pull.astype(self.dtype))

    def maintain(self, state: CircuitState, elapsed_ms: float) -> None:
        """Let structural plasticity act on the projections that have it.

        Args:
            state: a synapse that is replaced loses its eligibility in it.
            elapsed_ms: time since the last call, ms, 0 or more.

        Raises:
            ValueError: a negative time, or one that is no finite number.
        """
        most_ms = largest_in(np.float64)
        if not 0.0 <= elapsed_ms <= most_ms:
            raise ValueError(f"elapsed_ms is {elapsed_ms}; 0 to {most_ms:.3g} is allowed")
        elapsed_s = elapsed_ms / 1000.0
        for name, one in self.projections.items():
            p = self._index[name]
            weight, connected, lowest, highest = self._blocks[name]
            if one.structure is not None:
                seed = (int(self.seed[0]) + p) % 2**62
                memory = self.turnovers[name]
                if self.rules.kind[p] == ELIGIBLE:
                    catch_up(self.synapses, self.rules, state, p)
                gone, formed = rewire(weight, connected, (lowest, highest), one.structure, memory, elapsed_s, seed)
                terms = self._block(state.terms, name)
                terms.flat[gone] = 0.0
                terms.flat[formed] = 0.0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array that a checkpoint must hold beside the settings, by name; to be filled in place."""
        found: dict[str, NDArray[Any]] = {f"cells.{k}": v for k, v in self.cells._asdict().items()}
        for name in ("weight", "connected", "delay_steps"):
            found[f"synapses.{name}"] = getattr(self.synapses, name)
        found |= {"first_phase": self.first_phase, "seed": self.seed}
        for name, memory in self.turnovers.items():
            found |= {f"turnover.{name}.{k}": v for k, v in vars(memory).items()}
        return found

    def limits(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of those arrays that have such limits, by name.

        Kernels take delays, masks and seeds as they are, so arrays from elsewhere must keep to them.
        """
        longest = max((one.delay_range[1] for one in self.projections.values()), default=0)
        found: dict[str, tuple[float, float]] = {
            **{f"cells.{part}": (0.0, 1.0) for part in ("leak", "drive_decay", "adaptation_decay", "readout_decay")},
            "cells.refractory_steps": (1, max(one.refractory_steps for one in self.populations.values())),
            "synapses.connected": (0, 1),
            "synapses.delay_steps": (0, longest),
            "first_phase": (0.0, 1.0),
            "seed": (0, 2**62 - 1),
        }
        for name in self.turnovers:
            found |= {f"turnover.{name}.{part}": (0, np.inf) for part in ("near_zero_s", "allowance", "calls")}
        return found

    def _place(self, name: str) -> int:
        if name not in self._index:
            raise ValueError(f"projection is {name!r}; {list(self._index)} are allowed")
        return self._index[name]

    def _eligible(self, name: str) -> int:
        p = self._with_eligibility.get(name)
        if p is None:
            self._place(name)
            raise ValueError(f"projection {name!r} has no eligibility; {list(self._with_eligibility)} are allowed")
        return p

    def _checked(self, name: str, modulator: NDArray[np.float64]) -> int:
        p = self._eligible(name)
        targets = self._shapes[name][1]
        if np.shape(modulator) != (targets,) or not np.all(np.abs(modulator) <= self._largest):
            raise ValueError(
                f"modulator of {name!r} is {modulator!r}; ({targets},) finite numbers are allowed, {self._allowed()}"
            )
        return p

    def _allowed(self) -> str:
        """Return which numbers the circuit's dtype allows, in words."""
        return f"{-self._largest:.3g} to {self._largest:.3g} in a circuit of {self.dtype}"

    def _block(self, values: NDArray[Any], name: str) -> NDArray[Any]:
        """The part (axons, targets) of one projection in an array over all weights."""
        first, last = self._weights[name]
        return values[first:last].reshape(self._shapes[name])


def _numbers(name: str, modulator: Any, targets: int) -> NDArray[np.float64]:
    """A third factor as () or (targets,) numbers.

    Raises:
        ValueError: it is not that.
    """
    try:
        given = np.asarray(modulator, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(_refused(name, modulator, targets)) from error
    if given.shape not in ((), (targets,)):
        raise ValueError(_refused(name, modulator, targets))
    return given


def _refused(name: str, modulator: Any, targets: int) -> str:
    """What is said of a third factor that cannot be taught."""
    return f"modulator of {name!r} is {modulator!r}; a finite number or ({targets},) finite numbers are allowed"
