"""The work of pair STDP on synapses, along rows of memory: one row for each axon.

A spike that arrives along an axon changes that axon's row. A spike of a target changes a column, the synapses of all
its axons, which costs a fetch from far memory for each. What it adds is x_i a_n, the trace of the axon times a number
of the spike; traces are stored in a frame that grows as they decay, so x_i is constant from one spike of the axon to
the next. Spikes of targets therefore wait in a backlog, and an axon takes in at once all that it has not seen yet: when
a spike arrives along it, or when its synapses change. Most axons have seen none of it, and take in the sums by target
instead, which a processor does many at a time. Where pairs change weights at once, bounds lie between one change and
the next, and each is taken in by itself. Nothing here allocates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.networks.compiled import inlined, kernel

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
