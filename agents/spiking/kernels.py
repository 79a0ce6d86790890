"""The clock of a spiking circuit: what happens within a step, and the state it happens to.

Order within a step: decaying modulators, then leak and decay (exact exponentials), thresholds, synapses (the
presynaptic part of all projections, then the postsynaptic), resets. A spike acts on the thresholds of the next step.
Nothing is allocated, and nothing depends on how many steps a call covers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.jit import inlined, kernel
from agents.spiking.lif import Cells, CellState, cross, decay, integrate, note, resting_cells
from agents.spiking.projections import Axons, Synapses, deliver, send, silent_axons
from agents.spiking.stdp import (
    ELIGIBLE,
    FIXED,
    LARGEST_GROWTH,
    UNGATED,
    Backlog,
    act_of_modulators,
    arrive,
    arrive_at_once,
    catch_up,
    empty_backlog,
    largest_of,
    renew_eligibilities,
    renew_traces,
)


class CircuitState(NamedTuple):
    """Everything that changes in a circuit while it runs, apart from its weights.

    Attributes:
        cells: voltages, drives, adaptations, filtered rates.
        axons: spikes under way.
        pre_trace: (axons,), post_trace: (targets,) traces of pair STDP, stored as
            x exp(+(clock - trace_origin) step / trace_ms).
        trace_origin: (projections,) step at which the stored traces were true.
        terms: (weights,) eligibilities, stored as e exp(+(clock - origin) step / eligibility_ms), without what waits.
        origin: (projections,) step at which the stored eligibilities were true.
        backlog: spikes of targets that their axons have not taken in.
        modulator: (targets,) concentrations of decaying third factors.
        pull: (targets,) a place to work in.
        phase: (inputs,) of regular spike trains.
        clock: (1,) steps so far.
        spikes: (units,) spikes so far, of the sources and then of the cells.
        above: (cells,) 1 where a cell reached its threshold in the latest step.
        fired: (units,), number: (populations,) places of the units that fired in the latest step.
    """

    cells: CellState
    axons: Axons
    pre_trace: NDArray[Any]
    post_trace: NDArray[Any]
    trace_origin: NDArray[np.int64]
    terms: NDArray[Any]
    origin: NDArray[np.int64]
    backlog: Backlog
    modulator: NDArray[Any]
    pull: NDArray[Any]
    phase: NDArray[np.float64]
    clock: NDArray[np.int64]
    spikes: NDArray[np.int64]
    above: NDArray[np.uint8]
    fired: NDArray[np.int32]
    number: NDArray[np.int64]


def first_state(cells: Cells, synapses: Synapses, phase: NDArray[np.float64]) -> CircuitState:
    """A circuit at rest, its regular sources at `phase` (inputs,)."""
    dtype = synapses.weight.dtype
    units = int(synapses.unit_start[-1])
    projections, axons, targets = len(synapses.before), len(synapses.delay_steps), int(synapses.target_start[-1])
    return CircuitState(
        cells=resting_cells(cells),
        axons=silent_axons(synapses),
        pre_trace=np.zeros(axons, dtype),
        post_trace=np.zeros(targets, dtype),
        trace_origin=np.zeros(projections, dtype=np.int64),
        terms=np.zeros_like(synapses.weight),
        origin=np.zeros(projections, dtype=np.int64),
        backlog=empty_backlog(projections, axons, targets, int(np.diff(synapses.unit_start).max()), dtype),
        modulator=np.zeros(targets, dtype),
        pull=np.zeros(targets, dtype),
        phase=phase.copy(),
        clock=np.zeros(1, dtype=np.int64),
        spikes=np.zeros(units, dtype=np.int64),
        above=np.zeros(units - int(synapses.unit_start[1]), dtype=np.uint8),
        fired=np.zeros(units, dtype=np.int32),
        number=np.zeros(len(synapses.unit_start) - 1, dtype=np.int64),
    )


@kernel
def simulate(cells, synapses, rules, state, train):  # type: ignore[no-untyped-def]
    """Run as many steps as `train` (steps, inputs) has rows; changes `state`, and the weights of ungated rules.

    Args:
        cells: `Cells`.
        synapses: `Synapses`.
        rules: `Plasticity`.
        state: `CircuitState`.
        train: (steps, inputs), other than 0 where a source fires.
    """
    # Handing a tuple of arrays to a function costs as much as the work of some functions here, so arrays go one by one.
    unit_start, after, axon_start = synapses.unit_start, synapses.after, synapses.axon_start
    target_start, weight_start = synapses.target_start, synapses.weight_start
    weights, connected, lowest, highest = synapses.weight, synapses.connected, synapses.lowest, synapses.highest
    kind, rate, keep, soft, decay_per_step = rules.kind, rules.rate, rules.keep, rules.soft, rules.decay_per_step
    potentiation, depression = rules.potentiation, rules.depression
    pre_per_step, post_per_step = rules.pre_per_step, rules.post_per_step
    voltage, drive, adaptation, rate_hz, rest = state.cells
    arriving, arrivals, delay_steps = state.axons
    above, fired, number, spikes, terms = state.above, state.fired, state.number, state.spikes, state.terms
    pre_trace, post_trace = state.pre_trace, state.post_trace
    waiting, waiting_amount, waits, seen, total = state.backlog
    inputs, projections, populations, ring = train.shape[1], kind.shape[0], number.shape[0], arrivals.shape[0]
    real = weights.dtype.type
    decaying = largest_of(rules.modulator_decay) > 0
    for t in range(train.shape[0]):
        state.clock[0] += 1
        step = state.clock[0]
        if decaying:
            act_of_modulators(synapses, rules, state, step)

        # Leak and decay.
        for p in range(projections):
            if kind[p] != FIXED:
                if (step - state.origin[p]) * decay_per_step[p] > LARGEST_GROWTH:
                    renew_eligibilities(synapses, rules, state, p, step)
                if (step - state.trace_origin[p]) * max(pre_per_step[p], post_per_step[p]) > LARGEST_GROWTH:
                    renew_traces(synapses, rules, state, p, step)
        integrate(voltage, drive, adaptation, rest, cells.bias, cells.leak, cells.coupling, cells.brake)
        decay(drive, cells.drive_decay)
        decay(adaptation, cells.adaptation_decay)
        decay(rate_hz, cells.readout_decay)

        # Thresholds.
        cross(voltage, adaptation, cells.threshold, cells.threshold_adaptation, above)
        number[0] = note(train[t], fired)
        for q in range(1, populations):
            number[q] = note(above[unit_start[q] - inputs : unit_start[q + 1] - inputs], fired[unit_start[q] :])
        for p in range(projections):
            first = unit_start[synapses.before[p]]
            send(
                fired[first : first + number[synapses.before[p]]],
                delay_steps[axon_start[p] : axon_start[p + 1]],
                arriving[:, axon_start[p] : axon_start[p + 1]],
                arrivals[:, p],
                step,
            )

        # Synapses, presynaptic part.
        slot = step % ring
        for p in range(projections):
            count = arrivals[slot, p]
            if count == 0:
                continue
            arrivals[slot, p] = 0
            axons, targets = slice(axon_start[p], axon_start[p + 1]), slice(target_start[p], target_start[p + 1])
            block = slice(weight_start[p], weight_start[p + 1])
            shape = axons.stop - axons.start, targets.stop - targets.start
            cell = unit_start[after[p]] - inputs
            places = arriving[slot, axons][:count]
            weight, current = weights[block].reshape(shape), drive[cell : cell + shape[1]]
            if kind[p] == FIXED:
                deliver(current, weight, places)
                continue
            since, eligible = step - state.trace_origin[p], (step - state.origin[p]) * decay_per_step[p]
            mark = real(math.exp(since * pre_per_step[p]))
            lost = depression[p] * real(math.exp(eligible - since * post_per_step[p]))
            who, amount = waiting[p, : waits[p]], waiting_amount[p, : waits[p]]
            if kind[p] == ELIGIBLE:
                eligibility = terms[block].reshape(shape)
                pre, post = pre_trace[axons], post_trace[targets]
                arrive(
                    current,
                    weight,
                    eligibility,
                    pre,
                    post,
                    places,
                    seen[axons],
                    who,
                    amount,
                    total[targets],
                    lost,
                    mark,
                    keep[p],
                )
            else:
                arrive_at_once(
                    current,
                    weight,
                    connected[block].reshape(shape),
                    lowest[axons],
                    highest[axons],
                    soft[p],
                    pre_trace[axons],
                    post_trace[targets],
                    places,
                    seen[axons],
                    who,
                    amount,
                    rate[p] * lost,
                    mark,
                    keep[p],
                )

        # Synapses, postsynaptic part.
        for p in range(projections):
            count = number[after[p]]
            if count == 0 or kind[p] == FIXED:
                continue
            if waits[p] + count > waiting.shape[1]:
                catch_up(synapses, rules, state, p)
            since, eligible = step - state.trace_origin[p], (step - state.origin[p]) * decay_per_step[p]
            gained = potentiation[p] * real(math.exp(eligible - since * pre_per_step[p]))
            if kind[p] == UNGATED:
                gained *= rate[p]
            mark = real(math.exp(since * post_per_step[p]))
            first = unit_start[after[p]]
            start = target_start[p]
            for n in range(count):
                j = fired[first + n]
                post_trace[start + j] = keep[p] * post_trace[start + j] + mark
                waiting[p, waits[p] + n] = j
                waiting_amount[p, waits[p] + n] = gained
                if kind[p] == ELIGIBLE:
                    total[start + j] += gained
            waits[p] += count

        # Resets.
        for q in range(populations):
            first, count = unit_start[q], number[q]
            for n in range(first, first + count):
                spikes[first + fired[n]] += 1
            if q > 0:
                for n in range(first, first + count):
                    c = first - inputs + fired[n]
                    voltage[c] = cells.reset[c]
                    adaptation[c] += 1
                    rate_hz[c] += cells.readout_step[c]
                    rest[c] = cells.refractory_steps[c] - 1

    # Who reads weights need not know of a backlog.
    for p in range(projections):
        if kind[p] == UNGATED:
            catch_up(synapses, rules, state, p)


# Spike trains of sources: regular, or Poisson, at rates given by a population code.
# A train is a table (steps, sources) of 0 and 1. The Poisson variate of a source in a step is a hash of seed, step and
# source (SplitMix64; Steele, Lea and Flood 2014, OOPSLA), so that a train does not depend on the lengths of the calls
# in which it is asked for and needs no state but the number of the step.

# SplitMix64's increment and multipliers, and the step from 53 random bits to a number in [0, 1).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
SECOND_MULTIPLIER = np.uint64(0x94D049BB133111EB)
SHIFT_30, SHIFT_27, SHIFT_31, SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
UNIT_53 = 2.0**-53


@inlined
def _mixed(x):  # type: ignore[no-untyped-def]
    """SplitMix64's finalising hash of 64 bits."""
    x = (x ^ (x >> SHIFT_30)) * FIRST_MULTIPLIER
    x = (x ^ (x >> SHIFT_27)) * SECOND_MULTIPLIER
    return x ^ (x >> SHIFT_31)


@kernel
def write_poisson(rate_hz, seed, first_step, step_ms, train):  # type: ignore[no-untyped-def]
    """Fill `train` (steps, sources): a spike with probability rate x step, at most one a step.

    Args:
        rate_hz: (sources,) Hz.
        seed: whole number of 64 bits.
        first_step: running number of the first step.
        step_ms: ms.
        train: (steps, sources) 0 or 1, written.
    """
    steps, sources = train.shape
    key = _mixed(np.uint64(seed) + GOLDEN)
    for t in range(steps):
        place = np.uint64(first_step + t) * np.uint64(sources)
        for i in range(sources):
            bits = _mixed(key + (place + np.uint64(i)) * GOLDEN)
            train[t, i] = float(bits >> SHIFT_11) * UNIT_53 < rate_hz[i] * step_ms * 0.001


@kernel
def write_regular(rate_hz, phase, step_ms, train):  # type: ignore[no-untyped-def]
    """Fill `train` (steps, sources): a spike whenever a source's phase, which grows by rate x step, passes 1.

    Args:
        rate_hz: (sources,) Hz.
        phase: (sources,) in [0, 1), goes on from call to call.
        step_ms: ms.
        train: (steps, sources) 0 or 1, written.
    """
    steps, sources = train.shape
    for t in range(steps):
        for i in range(sources):
            phase[i] += rate_hz[i] * step_ms * 0.001
            fires = phase[i] >= 1.0
            phase[i] -= 1.0 if fires else 0.0
            train[t, i] = fires


@kernel
def within(values, low, high):  # type: ignore[no-untyped-def]
    """Whether all values (n,) lie in [low, high]; no NaN does."""
    found = True
    for i in range(values.shape[0]):
        found &= low <= values[i] <= high
    return found
