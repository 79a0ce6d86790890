"""Pair-based spike-timing-dependent plasticity (STDP) with an eligibility trace and a third factor.

For a synapse from axon i to cell j, with presynaptic trace x_i, postsynaptic trace y_j and eligibility e_ij:

    presynaptic spike of i arrives:   e_ij -= A- y_j,   then x_i += 1
    postsynaptic spike of j:          e_ij += A+ x_i,   then y_j += 1
    between spikes:                   x, y and e decay with tau+, tau- and tau_e
    third factor m_j:                 w_ij += rate m_j e_ij, clipped to the bounds of axon i

A pair of spikes with time difference D thus adds A+ exp(-D / tau+) or -A- exp(-D / tau-) to e_ij (Bi and Poo 1998;
Song, Miller and Abbott 2000; traces: Morrison, Diesmann and Gerstner 2008, Biological Cybernetics 98:459; eligibility:
Izhikevich 2007, Cerebral Cortex 17:2443). All pairs of spikes count. Within a step presynaptic spikes are processed
first, so a coincidence counts as pre before post. An axonal delay postpones the presynaptic spike at the synapse.

Two optimisations change the order of the computation, not the equations.

1. A trace or eligibility is stored divided by a scale, exp(-t / tau). Only the scale decays, so a stored value changes
   only with a spike.
2. Eligibilities are stored row by row, one row for each axon. A postsynaptic spike potentiates a column, which is slow
   to access. The spike is therefore appended to a list, `PendingPotentiation`. Its potentiation is added to the row of
   an axon when the next spike of the axon arrives or when weights change. The result is the same, because the stored
   trace of an axon is constant between the axon's spikes.

Kernels allocate nothing. `state` is a `kernels.CircuitState`, `synapses` a `projections.Synapses`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.settings import Setting, check_fields, largest_in
from agents.spiking.lif import SMALLEST, STEP_MS, TIME_CONSTANT
from reach.jit import inlined, kernel

# When a scale falls below SMALLEST_SCALE, stored values are multiplied by it and the scale is reset to 1. Single
# precision can represent the inverse of SMALLEST_SCALE. Traces below SMALLEST_TRACE are then set to 0, so that single
# precision can represent products of two traces as well.
SMALLEST_SCALE = 1e-13
SMALLEST_TRACE = 1e-20
# Capacity of the list of pending spikes of a projection, or the size of the largest population if that is larger. The
# list fits into the L1 cache.
MOST_PENDING = 512
# Number of pending spikes per row of `PendingPotentiation.sums`.
GROUP = 64
# Initial root mean square of reward prediction errors, and the smallest one used as a divisor.
FIRST_RMS = 0.1
SMALLEST_RMS = 1e-3
# Largest reward prediction error whose square is finite.
LARGEST_ERROR = largest_in(np.float64)


@dataclass(frozen=True)
class PairSTDP:
    """Settings of the plasticity of one projection.

    Attributes:
        rate: weight change for a modulator of 1 and an eligibility of 1, 0 or more.
        potentiation: A+, 0 or more.
        depression: A- / A+, 0 or more. With a signed error as third factor, use a ratio below 1. With the usual ratio
            just above 1, uncorrelated cells have a negative mean eligibility, so the error changes their weights in the
            wrong direction.
        pre_trace_ms, post_trace_ms: tau+ and tau-, ms.
        eligibility_ms: tau_e, ms.

    Raises:
        ValueError: a setting outside its range.
    """

    rate: float = 1.0
    potentiation: float = 1.0
    depression: float = 0.0
    pre_trace_ms: float = 20.0
    post_trace_ms: float = 20.0
    eligibility_ms: float = 500.0

    def __post_init__(self) -> None:
        """Validate the settings."""
        check_fields(self, rate=Setting(0.0), potentiation=Setting(0.0), depression=Setting(0.0))
        check_fields(self, pre_trace_ms=TIME_CONSTANT, post_trace_ms=TIME_CONSTANT, eligibility_ms=TIME_CONSTANT)

    @property
    def largest_change(self) -> float:
        """Return an upper bound for the eligibility of a spike pair and for its weight change at a modulator of 1."""
        return max(1.0, self.rate) * self.potentiation * max(1.0, self.depression)


# Third factors that are computed from reward.


class NormalisedRewardPredictionError:
    """Normalise a reward prediction error d to d / s, clipped to [-1, 1], with s the running rms of d.

    This models the responses of dopamine cells, which adapt to the size of recent rewards (Tobler, Fiorillo and Schultz
    2005, Science 307:1642) and saturate. Small improvements early in training thus change weights as much as later
    successes do, and a rare failure changes weights no more than one success does.

    Attributes:
        mean_square: (1,) s^2; part of a checkpoint.
    """

    def __init__(self, rate: float) -> None:
        """Initialise s; `rate` is the update rate of the running mean square, in (0, 1]."""
        self.mean_square = np.full(1, FIRST_RMS**2)
        self.rate = rate

    def update(self, prediction_error: float) -> float:
        """Update the mean square with a reward prediction error and return the normalised error.

        Raises:
            ValueError: the error or its square is not finite; the mean square is unchanged.
        """
        if not abs(prediction_error) <= LARGEST_ERROR:
            raise ValueError(
                f"prediction_error: expected {-LARGEST_ERROR:.3g} to {LARGEST_ERROR:.3g}, got {prediction_error!r}"
            )
        self.mean_square += self.rate * (prediction_error * prediction_error - self.mean_square)
        normalised = prediction_error / max(float(np.sqrt(self.mean_square[0])), SMALLEST_RMS)
        return min(1.0, max(-1.0, normalised))


class ExpectedEligibility:
    """The expected eligibility of one projection, x_i h_ij, for the activity x_i of the axon.

    Learning from reward needs the covariance of reward and eligibility (Fremaux, Sprekeler and Gerstner 2010, J.
    Neurosci. 30:13326). The mean of the eligibility is large, because a cell is active in a similar way in every reach.
    Multiplied by a fluctuating reward prediction error, this mean masks the deviations of the present reach. Therefore
    each synapse learns h_ij, and only the deviation e_ij - x_i h_ij is reinforced. The rule needs only variables that
    are local to the synapse.

    Attributes:
        per_activity: h, (axons, targets), the expected eligibility for an activity of 1; part of a checkpoint.
    """

    def __init__(self, shape: tuple[int, int], rate: float) -> None:
        """Start with an expectation of 0.

        Args:
            shape: (axons, targets) of the projection.
            rate: update rate of h for an activity of 1, in (0, 1].
        """
        self.per_activity = np.zeros(shape)
        self.rate = rate

    def unexpected(self, eligibility: NDArray[np.floating], activity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return e_ij - x_i h_ij for eligibilities (axons, targets) and activities (axons,) of 0 to 1."""
        difference: NDArray[np.float64] = eligibility - activity[:, None] * self.per_activity
        return difference

    def update(self, eligibility: NDArray[np.floating], activity: NDArray[np.float64]) -> None:
        """Move h towards an eligibility (axons, targets), for activities (axons,) of 0 to 1."""
        self.per_activity += self.rate * self.unexpected(eligibility, activity)


class Plasticity(NamedTuple):
    """The `PairSTDP` settings of all projections as arrays (projections,), for the kernels.

    Attributes:
        plastic: 1 if the projection learns, else 0.
        rate: as in `PairSTDP`.
        potentiation, depression: A+ and A- (not the ratio of `PairSTDP`), both 0 or more.
        pre_decay, post_decay, eligibility_decay: factors in a step, exp(-step / tau) for tau+, tau- and tau_e.
    """

    plastic: NDArray[np.int8]
    rate: NDArray[Any]
    potentiation: NDArray[Any]
    depression: NDArray[Any]
    pre_decay: NDArray[np.float64]
    post_decay: NDArray[np.float64]
    eligibility_decay: NDArray[np.float64]


def plasticity_of(rules: list[PairSTDP | None], dtype: Any) -> Plasticity:
    """Return the settings of each projection as arrays; None is a projection that does not learn."""
    settings = [rule or PairSTDP() for rule in rules]
    return Plasticity(
        plastic=np.array([rule is not None for rule in rules], np.int8),
        rate=np.array([rule.rate for rule in settings], dtype),
        potentiation=np.array([rule.potentiation for rule in settings], dtype),
        depression=np.array([rule.potentiation * rule.depression for rule in settings], dtype),
        pre_decay=np.array([math.exp(-STEP_MS / rule.pre_trace_ms) for rule in settings], np.float64),
        post_decay=np.array([math.exp(-STEP_MS / rule.post_trace_ms) for rule in settings], np.float64),
        eligibility_decay=np.array([math.exp(-STEP_MS / rule.eligibility_ms) for rule in settings], np.float64),
    )


class Traces(NamedTuple):
    """The traces and eligibilities of all projections, each stored divided by a scale.

    Attributes:
        pre: (axons,) x, post: (targets,) y.
        eligibility: (weights,) e without pending potentiation.
        pre_scale, post_scale, eligibility_scale: (projections,) true value / stored value.
    """

    pre: NDArray[Any]
    post: NDArray[Any]
    eligibility: NDArray[Any]
    pre_scale: NDArray[np.float64]
    post_scale: NDArray[np.float64]
    eligibility_scale: NDArray[np.float64]


class PendingPotentiation(NamedTuple):
    """Postsynaptic spikes whose potentiation is not yet added to the eligibilities of all axons of the projection.

    Attributes:
        target: (projections, length) index of the target that fired, in order of time.
        amount: (projections, length) A+, scaled like the stored eligibility. The potentiation is x_i times the amount.
        number: (projections,) number of pending spikes.
        added: (axons,) number of pending spikes, counted from the first, that are already added to the axon's row.
        sums: (groups, targets). Row k is the sum of the amounts of each target without the first k x GROUP pending
            spikes. Most of the potentiation of an axon is `trace * sums[k]`, which vectorises; fewer than GROUP spikes
            are added one by one.
    """

    target: NDArray[np.uint32]
    amount: NDArray[Any]
    number: NDArray[np.int64]
    added: NDArray[np.int64]
    sums: NDArray[Any]


# Kernels on the arrays of one projection.


@inlined
def add_single_spikes(eligibility, trace, added, target, amount):  # type: ignore[no-untyped-def]
    """Add potentiation to the row of an axon, spike by spike up to the next group.

    Args:
        eligibility: (targets,), row of the axon.
        trace: stored x of the axon.
        added: number of the pending spikes that are already added.
        target, amount: (pending,), as in `PendingPotentiation`.

    Returns:
        Index of the row of `sums` that the caller must add, times `trace`.
    """
    group = (added + GROUP - 1) // GROUP
    end = min(group * GROUP, target.shape[0])
    # Slices make the loop faster: Numba checks every index that may be negative.
    new_target, new_amount = target[added:end], amount[added:end]
    for n in range(new_target.shape[0]):
        eligibility[new_target[n]] += trace * new_amount[n]
    return group


@inlined
def presynaptic_spikes(  # type: ignore[no-untyped-def]
    drive, weight, eligibility, pre, post, axons, added, target, amount, sums, targets, depression, trace_step
):
    """Process spikes that arrive along plastic axons: add weights to the drive, update eligibilities and traces.

    Args:
        drive: (targets,), to which the weights are added.
        weight, eligibility: (axons, targets).
        pre: (axons,), post: (targets,), as in `Traces`.
        axons: (spikes,), index of the axon of each spike.
        added: (axons,), target, amount: (pending,), sums: as in `PendingPotentiation`.
        targets: slice of the targets in `sums`.
        depression: A- per unit of the stored `post`, scaled like the stored eligibility.
        trace_step: increment of the stored `pre` by a spike.
    """
    for n in range(axons.shape[0]):
        i = axons[n]
        trace, weight_row, row = pre[i], weight[i], eligibility[i]
        total = sums[add_single_spikes(row, trace, added[i], target, amount)][targets]
        added[i] = target.shape[0]
        for j in range(drive.shape[0]):
            drive[j] += weight_row[j]
        for j in range(drive.shape[0]):
            row[j] = row[j] + trace * total[j] - depression * post[j]
        pre[i] += trace_step


@inlined
def postsynaptic_spikes(  # type: ignore[no-untyped-def]
    post, fired, target, amount, sums, targets, pending, potentiation, trace_step
):
    """Process spikes of the targets: append them to the pending spikes, and update the traces.

    Args:
        post: (targets,), as in `Traces`.
        fired: (spikes,), index of the target of each spike.
        target, amount: (length,), sums: as in `PendingPotentiation`.
        targets: slice of the targets in `sums`.
        pending: number of pending spikes so far.
        potentiation: A+ per unit of the stored `pre`, scaled like the stored eligibility.
        trace_step: increment of the stored `post` by a spike.
    """
    for n in range(fired.shape[0]):
        j = fired[n]
        post[j] += trace_step
        target[pending + n] = j
        amount[pending + n] = potentiation
        for group in range((pending + n) // GROUP + 1):
            sums[group, targets.start + j] += potentiation


@inlined
def changed_weight(weight, change, is_connected, zero, low, high):  # type: ignore[no-untyped-def]
    """Return a weight after a change, clipped to [low, high]; unchanged where no synapse exists.

    `zero` is 0 in the type of the weight. Selecting between `change` and `zero` is four times as fast as selecting
    between two weights. Clipping uses comparisons, because min and max may drop a NaN.
    """
    change = change if is_connected else zero
    changed = weight + change
    changed = low if changed < low else changed
    return high if changed > high else changed


@kernel
def change_weights(weight, connected, lowest, highest, eligibility, gain):  # type: ignore[no-untyped-def]
    """Add gain_j x eligibility_ij to the weights, clipped to the bounds.

    Args:
        weight, eligibility: (axons, targets).
        connected: (axons, targets), 0 where no synapse exists.
        lowest, highest: (axons,), bounds of the weights of each axon.
        gain: (targets,) rate x modulator.
    """
    zero = weight.dtype.type(0)
    for i in range(weight.shape[0]):
        low, high = lowest[i], highest[i]
        for j in range(weight.shape[1]):
            weight[i, j] = changed_weight(weight[i, j], gain[j] * eligibility[i, j], connected[i, j], zero, low, high)


# Kernels on projection p of a circuit.


@kernel
def add_pending(synapses, state, p):  # type: ignore[no-untyped-def]
    """Add all pending potentiation of projection p to its eligibilities."""
    axons, targets, block, shape = _slices(synapses, p)
    _add_pending_to(state.traces.eligibility[block].reshape(shape), synapses, state, p)
    _clear_pending(state.pending, p, axons, targets)


@kernel
def read_eligibility(synapses, state, p, eligibility):  # type: ignore[no-untyped-def]
    """Write the true eligibilities of projection p to `eligibility` (axons, targets); `state` is unchanged.

    Pending potentiation is included but stays pending in `state`, because adding it early would change the rounding.
    """
    _, _, block, shape = _slices(synapses, p)
    scale = eligibility.dtype.type(state.traces.eligibility_scale[p])
    stored = state.traces.eligibility[block].reshape(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            eligibility[i, j] = stored[i, j]
    _add_pending_to(eligibility, synapses, state, p)
    for i in range(shape[0]):
        for j in range(shape[1]):
            eligibility[i, j] *= scale


@kernel
def _add_pending_to(eligibility, synapses, state, p):  # type: ignore[no-untyped-def]
    """Add the pending potentiation of projection p to eligibilities (axons, targets)."""
    axons, targets, _, _ = _slices(synapses, p)
    target, amount, number, added, sums = state.pending
    pre, added, target, amount = state.traces.pre[axons], added[axons], target[p, : number[p]], amount[p, : number[p]]
    for i in range(eligibility.shape[0]):
        row, trace = eligibility[i], pre[i]
        total = sums[add_single_spikes(row, trace, added[i], target, amount)][targets]
        for j in range(row.shape[0]):
            row[j] += trace * total[j]


@kernel
def apply_third_factors(synapses, rules, state, has_modulator, modulators, largest):  # type: ignore[no-untyped-def]
    """Change weights by rate x modulator x eligibility; change nothing if a modulator is too large or NaN.

    Args:
        synapses, rules, state: `Synapses`, `Plasticity` and `CircuitState` of the circuit.
        has_modulator: (projections,), not 0 if the projection receives a third factor.
        modulators: (targets,), of the targets of all projections in order.
        largest: largest allowed absolute value of a modulator.

    Returns:
        Whether the third factors were applied.
    """
    for p in range(has_modulator.shape[0]):
        if has_modulator[p]:
            for j in range(synapses.target_start[p], synapses.target_start[p + 1]):
                if not abs(modulators[j]) <= largest:
                    return False
    for p in range(has_modulator.shape[0]):
        if has_modulator[p]:
            _apply_third_factor(synapses, rules, state, p, modulators)
    return True


@kernel
def _apply_third_factor(synapses, rules, state, p, modulators):  # type: ignore[no-untyped-def]
    """Add pending potentiation and change weights in one loop, so that each row is read from memory once."""
    axons, targets, block, shape = _slices(synapses, p)
    target, amount, number, added, sums = state.pending
    pre, added, target, amount = state.traces.pre[axons], added[axons], target[p, : number[p]], amount[p, : number[p]]
    weight, connected = synapses.weight[block].reshape(shape), synapses.connected[block].reshape(shape)
    lowest, highest = synapses.lowest[axons], synapses.highest[axons]
    eligibility = state.traces.eligibility[block].reshape(shape)
    factor = rules.rate[p] * state.traces.eligibility_scale[p]
    gain, modulator = state.gain[targets], modulators[targets]
    for j in range(gain.shape[0]):
        gain[j] = factor * modulator[j]
    zero = weight.dtype.type(0)
    for i in range(weight.shape[0]):
        low, high, trace, row = lowest[i], highest[i], pre[i], eligibility[i]
        total = sums[add_single_spikes(row, trace, added[i], target, amount)][targets]
        for j in range(weight.shape[1]):
            updated = row[j] + trace * total[j]
            row[j] = updated
            weight[i, j] = changed_weight(weight[i, j], gain[j] * updated, connected[i, j], zero, low, high)
    _clear_pending(state.pending, p, axons, targets)


@kernel
def rescale(synapses, state, p):  # type: ignore[no-untyped-def]
    """Reset the scales of projection p below `SMALLEST_SCALE` to 1, and multiply the stored values by them."""
    add_pending(synapses, state, p)
    traces = state.traces
    axons, targets, block, _ = _slices(synapses, p)
    if traces.pre_scale[p] < SMALLEST_SCALE:
        _multiply(traces.pre[axons], traces.pre_scale[p], SMALLEST_TRACE)
        traces.pre_scale[p] = 1.0
    if traces.post_scale[p] < SMALLEST_SCALE:
        _multiply(traces.post[targets], traces.post_scale[p], SMALLEST_TRACE)
        traces.post_scale[p] = 1.0
    if traces.eligibility_scale[p] < SMALLEST_SCALE:
        _multiply(traces.eligibility[block], traces.eligibility_scale[p], SMALLEST)
        traces.eligibility_scale[p] = 1.0


@kernel
def _multiply(values, factor, smallest):  # type: ignore[no-untyped-def]
    """Multiply values (n,) by a factor in place; set products to 0 whose absolute value is `smallest` or less."""
    for c in range(values.shape[0]):
        product = values[c] * factor
        values[c] = product if abs(product) > smallest else 0


@kernel
def _clear_pending(pending, p, axons, targets):  # type: ignore[no-untyped-def]
    """Empty the list of projection p and set its entries to 0, so that circuits in equal states have equal arrays."""
    target, amount, number, added, sums = pending
    target[p, : number[p]] = 0
    amount[p, : number[p]] = 0
    sums[: number[p] // GROUP + 1, targets] = 0
    number[p] = 0
    added[axons] = 0


@kernel
def _slices(synapses, p):  # type: ignore[no-untyped-def]
    """Return the slices of the axons, targets and weights of projection p, and the shape of its weights."""
    axons = slice(synapses.axon_start[p], synapses.axon_start[p + 1])
    targets = slice(synapses.target_start[p], synapses.target_start[p + 1])
    shape = (axons.stop - axons.start, targets.stop - targets.start)
    return axons, targets, slice(synapses.weight_start[p], synapses.weight_start[p + 1]), shape
