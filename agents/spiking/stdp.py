"""Pair-based spike-timing-dependent plasticity, by one trace for each axon and one for each target.

A spike that arrives before the cell fires adds A+ exp(-D / pre_trace_ms), one that arrives after it takes
A- exp(-D / post_trace_ms) away (Bi and Poo 1998; Song, Miller and Abbott 2000); the traces make each spike's work that
of one row or column (Morrison, Diesmann and Gerstner 2008, Biological Cybernetics 98:459). The terms gather in an
eligibility that decays within a second (Izhikevich 2007, Cerebral Cortex 17:2443) and waits for a third factor; without
one they change the weight at once.

The eligibility is stored as e exp(+t / eligibility_ms): its decay is one number for the whole projection, folded in
when the third factor arrives, and only spikes touch it. Traces are stored in the same way. Within a step the
presynaptic part comes before the postsynaptic, so a coincidence counts as pre before post. An axon's delay moves its
whole presynaptic part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.jit import SMALLEST, inlined, kernel
from agents.spiking.checks import SHORTEST_MS, require_choice, require_number
from agents.spiking.lif import fade

FIXED, ELIGIBLE, UNGATED = 0, 1, 2
# Stored eligibilities and traces are brought back to their true sizes when they have grown by e^30, far inside single
# precision; what is left of a trace that is then below 1e-20 goes, so that no product of the two falls out of it.
LARGEST_GROWTH = 30.0
FAINTEST_TRACE = 1e-20


@dataclass(frozen=True)
class PairSTDP:
    """Settings of the plasticity of one projection.

    Attributes:
        rate: weight change for a unit of modulator x eligibility, 0 or more.
        potentiation: A+, 0 or more.
        depression: A- / A+, 0 or more. Learning from a signed error needs potentiation to dominate (below 1): the
            textbook's slight excess of depression makes the mean eligibility of uncorrelated cells negative, and the
            error pushes the wrong way.
        pre_trace_ms, post_trace_ms: tau+ and tau-, ms.
        pairs: "all" counts every pair of spikes, "nearest" for each spike only the last one of the other cell.
        eligibility_ms: time constant of the eligibility, ms. None: no eligibility, pairs change the weight at once, as
            with a modulator of 1.
        modulator_ms: None where the third factor is an impulse, dw = rate m e at the moment it arrives. Otherwise it
            is a concentration that decays with this time constant, and dw/dt = rate m e; every step then touches every
            synapse, which costs some ten times more.
        bounds: "hard" clips a weight at its bounds; "soft" scales a change by the share of the range that is left in
            its direction (van Rossum, Bi and Turrigiano 2000, J. Neurosci. 20:8812) and clips what still goes beyond.
    """

    rate: float = 1.0
    potentiation: float = 1.0
    depression: float = 0.0
    pre_trace_ms: float = 20.0
    post_trace_ms: float = 20.0
    pairs: Literal["all", "nearest"] = "all"
    eligibility_ms: float | None = 500.0
    modulator_ms: float | None = None
    bounds: Literal["hard", "soft"] = "hard"

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: a setting outside what its line allows.
        """
        for name in ("rate", "potentiation", "depression"):
            require_number(self, name, 0.0)
        for name in ("pre_trace_ms", "post_trace_ms"):
            require_number(self, name, SHORTEST_MS)
        for name in ("eligibility_ms", "modulator_ms"):
            if getattr(self, name) is not None:
                require_number(self, name, SHORTEST_MS)
        if self.eligibility_ms is None and self.modulator_ms is not None:
            raise ValueError(
                f"PairSTDP modulator_ms is {self.modulator_ms!r}; only None is allowed where eligibility_ms is None"
            )
        require_choice(self, "pairs", ("all", "nearest"))
        require_choice(self, "bounds", ("hard", "soft"))

    @property
    def largest_change(self) -> float:
        """Change by one pair of spikes for a modulator of 1."""
        return max(1.0, self.rate) * self.potentiation * max(1.0, self.depression)


class Plasticity(NamedTuple):
    """The settings of all projections, for the kernels; arrays (projections,).

    Attributes:
        kind: FIXED, ELIGIBLE or UNGATED.
        rate: as in `PairSTDP`.
        potentiation, depression: A+ and A-, the latter with its sign positive.
        keep: 1 where every pair counts, 0 where a trace starts anew with each spike.
        pre_per_step, post_per_step, decay_per_step: step over pre_trace_ms, post_trace_ms and eligibility_ms; the last
            is 0 where there is no eligibility.
        modulator_decay: factor of a step, 0 for impulses.
        modulator_gain: integral over one step of the product of eligibility and modulator, each 1 at its start, ms.
        soft: 1 for soft bounds, 0 for hard ones.
    """

    kind: NDArray[np.int8]
    rate: NDArray[Any]
    potentiation: NDArray[Any]
    depression: NDArray[Any]
    keep: NDArray[Any]
    pre_per_step: NDArray[np.float64]
    post_per_step: NDArray[np.float64]
    decay_per_step: NDArray[np.float64]
    modulator_decay: NDArray[Any]
    modulator_gain: NDArray[np.float64]
    soft: NDArray[np.int8]


def plasticity_of(rules: list[PairSTDP | None], step_ms: float, dtype: Any) -> Plasticity:
    """Arrays of the settings of each projection; None is one that does not change."""
    rows = []
    for rule in rules:
        one = rule or PairSTDP()
        decay = 0.0 if one.eligibility_ms is None else 1.0 / one.eligibility_ms
        together = decay + (0.0 if one.modulator_ms is None else 1.0 / one.modulator_ms)
        rows.append(
            (
                FIXED if rule is None else UNGATED if one.eligibility_ms is None else ELIGIBLE,
                one.rate,
                one.potentiation,
                one.potentiation * one.depression,
                float(one.pairs == "all"),
                step_ms / one.pre_trace_ms,
                step_ms / one.post_trace_ms,
                step_ms * decay,
                0.0 if one.modulator_ms is None else math.exp(-step_ms / one.modulator_ms),
                0.0 if one.modulator_ms is None else -math.expm1(-step_ms * together) / together,
                int(one.bounds == "soft"),
            )
        )
    kinds: dict[str, Any] = {"kind": np.int8, "soft": np.int8, "modulator_gain": np.float64}
    kinds |= dict.fromkeys(("pre_per_step", "post_per_step", "decay_per_step"), np.float64)
    columns = zip(*rows, strict=True) if rows else [()] * len(Plasticity._fields)
    return Plasticity(
        *(np.array(c, dtype=kinds.get(n, dtype)) for n, c in zip(Plasticity._fields, columns, strict=True))
    )


# The work of pair STDP on synapses, along rows of memory: one row for each axon.
# A spike that arrives along an axon changes that axon's row. A spike of a target changes a column, the synapses of all
# its axons, which costs a fetch from far memory for each. What it adds is x_i a_n, the trace of the axon times a number
# of the spike; traces are stored in a frame that grows as they decay, so x_i is constant from one spike of the axon to
# the next. Spikes of targets therefore wait in a backlog, and an axon takes in at once all that it has not seen yet:
# when a spike arrives along it, or when its synapses change. Most axons have seen none of it, and take in the sums by
# target instead, which a processor does many at a time. Where pairs change weights at once, bounds lie between one
# change and the next, and each is taken in by itself. Nothing here allocates.

# Spikes that may wait in a projection, or as many as it has targets: few enough for the nearest cache.
BACKLOG = 512


class Backlog(NamedTuple):
    """Spikes of targets that some axon of their projection has not taken in yet.

    Attributes:
        target: (projections, length) which target fired, in order of time.
        amount: (projections, length) what the trace of an axon is multiplied by.
        number: (projections,) spikes that wait.
        seen: (axons,) how many of them an axon has taken in.
        total: (targets,) sum of the amounts of a target's spikes that wait; 0 where pairs change weights at once.
    """

    target: NDArray[np.uint32]
    amount: NDArray[Any]
    number: NDArray[np.int64]
    seen: NDArray[np.int64]
    total: NDArray[Any]


def empty_backlog(projections: int, axons: int, targets: int, most_targets: int, dtype: Any) -> Backlog:
    """No spike waits; the spikes of one step of `most_targets` cells always find room."""
    length = max(BACKLOG, most_targets)
    return Backlog(
        target=np.zeros((projections, length), dtype=np.uint32),
        amount=np.zeros((projections, length), dtype),
        number=np.zeros(projections, dtype=np.int64),
        seen=np.zeros(axons, dtype=np.int64),
        total=np.zeros(targets, dtype),
    )


@inlined
def bounded(weight, change, low, high, soft):  # type: ignore[no-untyped-def]
    """The weight after a change, within [low, high]."""
    if soft:
        span = high - low
        left = (high - weight) if change > 0 else (weight - low)
        # Nothing is left for a change that is infinite either.
        change = (change * left / span if left != 0 else left - left) if span > 0 else change
    return min(max(weight + change, low), high)


@inlined
def take_in_later(terms, i, trace, seen, target, amount):  # type: ignore[no-untyped-def]
    """An axon that has seen some of what waits adds the rest to its eligibilities terms[i]; what it has not added yet.

    Returns:
        What the sums by target are to be multiplied by and added: the trace of an axon that has seen nothing, else 0.
    """
    if seen == 0:
        return trace
    # Parts of arrays, since an index that might be negative is looked at each time.
    later, much = target[seen:], amount[seen:]
    for n in range(later.shape[0]):
        terms[i, later[n]] += trace * much[n]
    return terms.dtype.type(0)


@kernel
def take_in_at_once(weight, connected, low, high, soft, trace, target, amount):  # type: ignore[no-untyped-def]
    """Change the weights (targets,) of an axon with a trace by spikes of targets (n,)."""
    for n in range(target.shape[0]):
        j = target[n]
        if connected[j]:
            weight[j] = bounded(weight[j], trace * amount[n], low, high, soft)


@kernel
def add_what_waits(terms, pre_trace, seen, target, amount, total):  # type: ignore[no-untyped-def]
    """All axons add what they have not seen to their eligibilities; terms (axons, targets), the next two (axons,)."""
    for i in range(terms.shape[0]):
        trace = take_in_later(terms, i, pre_trace[i], seen[i], target, amount)
        for j in range(terms.shape[1]):
            terms[i, j] += trace * total[j]


@kernel
def take_in_all_at_once(  # type: ignore[no-untyped-def]
    weight, connected, lowest, highest, soft, pre_trace, seen, target, amount
):
    """All axons whose pairs change weights at once take in what they have not seen, which the caller then empties.

    Args:
        weight, connected: (axons, targets).
        lowest, highest, pre_trace, seen: (axons,).
        soft: 1 for soft bounds, 0 for hard ones.
        target, amount: (n,) what waits.
    """
    for i in range(weight.shape[0]):
        first, low, high = seen[i], lowest[i], highest[i]
        if first < target.shape[0] and pre_trace[i] > 0:
            take_in_at_once(weight[i], connected[i], low, high, soft, pre_trace[i], target[first:], amount[first:])


@inlined
def arrive(  # type: ignore[no-untyped-def]
    drive, weight, terms, pre_trace, post_trace, places, seen, target, amount, total, lost, mark, keep
):
    """Spikes arrive along axons whose eligibilities wait for a third factor.

    Args:
        drive: (targets,), grows by the weights.
        weight, terms: (axons, targets).
        pre_trace: (axons,), post_trace: (targets,), as stored.
        places: (spikes,) the axons.
        seen: (axons,), as in `Backlog`.
        target, amount: (n,), total: (targets,), what waits.
        lost: what the traces of targets are multiplied by and taken away.
        mark: what a spike adds to a trace, as stored.
        keep: 0 where a trace starts anew with each spike, else 1.
    """
    for n in range(places.shape[0]):
        i = places[n]
        trace = take_in_later(terms, i, pre_trace[i], seen[i], target, amount)
        seen[i] = target.shape[0]
        for j in range(drive.shape[0]):
            drive[j] += weight[i, j]
        for j in range(drive.shape[0]):
            terms[i, j] = terms[i, j] + trace * total[j] - lost * post_trace[j]
        pre_trace[i] = keep * pre_trace[i] + mark


@kernel
def arrive_at_once(  # type: ignore[no-untyped-def]
    drive,
    weight,
    connected,
    lowest,
    highest,
    soft,
    pre_trace,
    post_trace,
    places,
    seen,
    target,
    amount,
    lost,
    mark,
    keep,
):
    """Spikes arrive along axons whose pairs change weights at once.

    Args:
        drive: (targets,), grows by the weights as they are before the spike.
        weight, connected: (axons, targets).
        lowest, highest: (axons,) bounds.
        soft: 1 for soft bounds, 0 for hard ones.
        pre_trace, post_trace, places, seen, target, amount, lost, mark, keep: as in `arrive`.
    """
    for n in range(places.shape[0]):
        i = places[n]
        own, there, low, high, first = weight[i], connected[i], lowest[i], highest[i], seen[i]
        if first < target.shape[0] and pre_trace[i] > 0:
            take_in_at_once(own, there, low, high, soft, pre_trace[i], target[first:], amount[first:])
        seen[i] = target.shape[0]
        for j in range(drive.shape[0]):
            drive[j] += own[j]
        if lost > 0:
            for j in range(own.shape[0]):
                if there[j]:
                    own[j] = bounded(own[j], -lost * post_trace[j], low, high, soft)
        pre_trace[i] = keep * pre_trace[i] + mark


@inlined
def moved(weight, change, there, zero, low, high, soft):  # type: ignore[no-untyped-def]
    """The weight after the change of a third factor, within [low, high]; as it is where no synapse is `there`.

    Zero is added then, and zero remains: to choose between two weights, not between two changes, takes four times as
    long. `zero` is of the weight's type.
    """
    change = change if there else zero
    if soft:
        return bounded(weight, change, low, high, 1)
    # Comparisons leave a NaN as it is, which min and max need not.
    after = weight + change
    after = low if after < low else after
    return high if after > high else after


@kernel
def change_weights(weight, connected, lowest, highest, soft, terms, pull):  # type: ignore[no-untyped-def]
    """Third factor: w_ij changes by pull_j x terms_ij, within its axon's bounds.

    Args:
        weight, terms: (axons, targets).
        connected: (axons, targets), 0 where there is no synapse.
        lowest, highest: (axons,) bounds.
        soft: 1 for soft bounds, 0 for hard ones.
        pull: (targets,) rate x modulator, times the decay that stored terms lack.
    """
    zero = weight.dtype.type(0)
    for i in range(weight.shape[0]):
        low, high = lowest[i], highest[i]
        if soft:
            for j in range(weight.shape[1]):
                weight[i, j] = moved(weight[i, j], pull[j] * terms[i, j], connected[i, j], zero, low, high, 1)
        else:
            for j in range(weight.shape[1]):
                weight[i, j] = moved(weight[i, j], pull[j] * terms[i, j], connected[i, j], zero, low, high, 0)


@kernel
def take_in_and_change(  # type: ignore[no-untyped-def]
    weight, connected, lowest, highest, soft, terms, pull, pre_trace, seen, target, amount, total
):
    """`add_what_waits` and `change_weights`, row by row, so that each row is fetched once."""
    zero = weight.dtype.type(0)
    for i in range(weight.shape[0]):
        low, high = lowest[i], highest[i]
        trace = take_in_later(terms, i, pre_trace[i], seen[i], target, amount)
        if soft:
            for j in range(weight.shape[1]):
                eligible = terms[i, j] + trace * total[j]
                terms[i, j] = eligible
                weight[i, j] = moved(weight[i, j], pull[j] * eligible, connected[i, j], zero, low, high, 1)
        else:
            for j in range(weight.shape[1]):
                eligible = terms[i, j] + trace * total[j]
                terms[i, j] = eligible
                weight[i, j] = moved(weight[i, j], pull[j] * eligible, connected[i, j], zero, low, high, 0)


# What spikes have left in the synapses of a circuit: read, kept true, and made weight by a third factor.
# Every function works on one projection of a circuit's state (`kernels.CircuitState`), or on those that are
# told. Nothing here allocates.


@kernel
def catch_up(synapses, rules, state, p):  # type: ignore[no-untyped-def]
    """All axons of projection p take in the spikes that wait, so that none waits."""
    axons, targets, block, shape = _place(synapses, p)
    target, amount, waits, seen, total = state.backlog
    who, much = target[p, : waits[p]], amount[p, : waits[p]]
    if rules.kind[p] == ELIGIBLE:
        add_what_waits(
            state.terms[block].reshape(shape), state.pre_trace[axons], seen[axons], who, much, total[targets]
        )
    else:
        take_in_all_at_once(
            synapses.weight[block].reshape(shape),
            synapses.connected[block].reshape(shape),
            synapses.lowest[axons],
            synapses.highest[axons],
            rules.soft[p],
            state.pre_trace[axons],
            seen[axons],
            who,
            much,
        )
    _empty(state.backlog, p, axons, targets)


@kernel
def read_eligibility(synapses, rules, state, p, found):  # type: ignore[no-untyped-def]
    """Write the eligibilities of projection p at this moment to `found` (axons, targets); changes nothing else.

    Were what waits taken in by reading, sums would round otherwise after it.
    """
    axons, targets, block, shape = _place(synapses, p)
    target, amount, waits, seen, total = state.backlog
    left = found.dtype.type(math.exp(-(state.clock[0] - state.origin[p]) * rules.decay_per_step[p]))
    terms = state.terms[block].reshape(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            found[i, j] = terms[i, j]
    add_what_waits(
        found, state.pre_trace[axons], seen[axons], target[p, : waits[p]], amount[p, : waits[p]], total[targets]
    )
    for i in range(shape[0]):
        for j in range(shape[1]):
            found[i, j] *= left


@kernel
def change_by_third_factor(synapses, rules, state, p, step, gain, modulator):  # type: ignore[no-untyped-def]
    """Weights of projection p change by gain x rate x modulator (targets,) x the eligibilities of a step."""
    axons, targets, block, shape = _place(synapses, p)
    target, amount, waits, seen, total = state.backlog
    factor = gain * rules.rate[p] * math.exp(-(step - state.origin[p]) * rules.decay_per_step[p])
    pull = state.pull[targets]
    for j in range(pull.shape[0]):
        pull[j] = factor * modulator[j]
    take_in_and_change(
        synapses.weight[block].reshape(shape),
        synapses.connected[block].reshape(shape),
        synapses.lowest[axons],
        synapses.highest[axons],
        rules.soft[p],
        state.terms[block].reshape(shape),
        pull,
        state.pre_trace[axons],
        seen[axons],
        target[p, : waits[p]],
        amount[p, : waits[p]],
        total[targets],
    )
    _empty(state.backlog, p, axons, targets)


@kernel
def _empty(backlog, p, axons, targets):  # type: ignore[no-untyped-def]
    """No spike waits in projection p; zeros, so that circuits which stand at the same point hold the same bits."""
    target, amount, waits, seen, total = backlog
    target[p, : waits[p]] = 0
    amount[p, : waits[p]] = 0
    waits[p] = 0
    seen[axons] = 0
    total[targets] = 0


@kernel
def _place(synapses, p):  # type: ignore[no-untyped-def]
    """Where the axons, targets and weights of projection p are, and the shape of the last."""
    axons = slice(synapses.axon_start[p], synapses.axon_start[p + 1])
    targets = slice(synapses.target_start[p], synapses.target_start[p + 1])
    shape = (axons.stop - axons.start, targets.stop - targets.start)
    return axons, targets, slice(synapses.weight_start[p], synapses.weight_start[p + 1]), shape


@kernel
def teach(synapses, rules, state, told, modulators, largest):  # type: ignore[no-untyped-def]
    """Third factors arrive at the projections that are told of one, and act only if none is too large.

    Args:
        synapses, rules, state: of the circuit.
        told: (projections,) other than 0 where a third factor arrives.
        modulators: (targets,) of all projections, one after another.
        largest: size of a third factor.

    Returns:
        Whether they act.
    """
    for p in range(told.shape[0]):
        if told[p]:
            for j in range(synapses.target_start[p], synapses.target_start[p + 1]):
                if not abs(modulators[j]) <= largest:
                    return False
    for p in range(told.shape[0]):
        if told[p]:
            targets = slice(synapses.target_start[p], synapses.target_start[p + 1])
            if rules.modulator_decay[p] > 0:
                for j in range(targets.start, targets.stop):
                    state.modulator[j] += modulators[j]
            else:
                change_by_third_factor(synapses, rules, state, p, state.clock[0], 1.0, modulators[targets])
    return True


@kernel
def act_of_modulators(synapses, rules, state, step):  # type: ignore[no-untyped-def]
    """Change weights by the concentrations of decaying third factors, over the time since the step before."""
    for p in range(rules.kind.shape[0]):
        if rules.kind[p] == ELIGIBLE and rules.modulator_decay[p] > 0:
            modulator = state.modulator[synapses.target_start[p] : synapses.target_start[p + 1]]
            if largest_of(modulator) > 0:
                change_by_third_factor(synapses, rules, state, p, step - 1, rules.modulator_gain[p], modulator)
                fade(modulator, rules.modulator_decay[p], SMALLEST)


@kernel
def renew_eligibilities(synapses, rules, state, p, step):  # type: ignore[no-untyped-def]
    """Store the eligibilities of projection p as they are true now."""
    catch_up(synapses, rules, state, p)
    age = (step - state.origin[p]) * rules.decay_per_step[p]
    fade(state.terms[synapses.weight_start[p] : synapses.weight_start[p + 1]], math.exp(-age), SMALLEST)
    state.origin[p] = step


@kernel
def renew_traces(synapses, rules, state, p, step):  # type: ignore[no-untyped-def]
    """Store the traces of projection p as they are true now."""
    catch_up(synapses, rules, state, p)
    since = step - state.trace_origin[p]
    pre_trace = state.pre_trace[synapses.axon_start[p] : synapses.axon_start[p + 1]]
    post_trace = state.post_trace[synapses.target_start[p] : synapses.target_start[p + 1]]
    fade(pre_trace, math.exp(-since * rules.pre_per_step[p]), FAINTEST_TRACE)
    fade(post_trace, math.exp(-since * rules.post_per_step[p]), FAINTEST_TRACE)
    state.trace_origin[p] = step


@kernel
def largest_of(values):  # type: ignore[no-untyped-def]
    """Largest |value| of values (n,)."""
    found = 0.0
    for j in range(values.shape[0]):
        found = max(found, abs(values[j]))
    return found
