"""Synaptic scaling holds a rate; structural plasticity moves idle synapses and keeps their number."""

from __future__ import annotations

import numpy as np
import pytest

from agents.networks.lif import LIFCells
from agents.networks.projections import Projection
from agents.networks.spiking_circuit import SpikingCircuit
from agents.rules.structural_plasticity import StructuralPlasticity
from agents.rules.synaptic_scaling import SynapticScaling

RATES_HZ = np.full(30, 20.0)


@pytest.mark.parametrize("weight", [0.05, 1.0])
def test_scaling_brings_every_cell_to_its_rate_and_keeps_the_ratios(weight: float) -> None:
    projection = Projection(
        "input",
        "cells",
        weight_mean=weight,
        weight_sd=0.2 * weight,
        largest_weight=50.0,
        scaling=SynapticScaling(target_hz=15.0, time_constant_s=1.0),
    )
    circuit = SpikingCircuit(
        30, {"cells": LIFCells(10, readout_ms=500.0)}, [projection], np.random.default_rng(0), coding="poisson"
    )
    before = circuit.weight("input-cells").copy()
    state = circuit.begin()
    for k in range(2500):
        if k == 1000:
            spikes = state.spikes.copy()
        circuit.run(state, RATES_HZ, 20)
        circuit.maintain(state, 20.0)
    np.testing.assert_allclose((state.spikes - spikes)[30:] / 30.0, 15.0, rtol=0.05)
    ratio = circuit.weight("input-cells") / before
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-9)


def rewiring(turnover_per_s: float, patience_s: float = 0.1) -> SpikingCircuit:
    structure = StructuralPlasticity(
        near_zero=0.05, patience_s=patience_s, turnover_per_s=turnover_per_s, new_weight=0.2
    )
    projection = Projection("input", "cells", weight_sd=0.5, probability=0.4, structure=structure)
    return SpikingCircuit(30, {"cells": LIFCells(20)}, [projection], np.random.default_rng(3))


def test_idle_synapses_move_at_the_set_rate_and_their_number_stays() -> None:
    circuit = rewiring(turnover_per_s=0.1)
    state = circuit.begin()
    connected, weight = circuit.connected("input-cells"), circuit.weight("input-cells")
    first, number = connected.copy(), int(np.count_nonzero(connected))
    weight[:] = np.where(connected != 0, 0.01, 0.0)
    weight[:5] *= 50.0
    for _ in range(50):
        circuit.maintain(state, 20.0)
        assert np.count_nonzero(connected) == number
        assert np.all(weight[connected == 0] == 0.0)
    # One second has passed, so a tenth of the synapses has moved; a new one may stand where an old one went.
    assert abs(np.count_nonzero(np.abs(weight) == 0.2) - 0.1 * number) <= 1
    assert np.all(connected[:5][first[:5] != 0] != 0)
    np.testing.assert_array_equal(np.abs(weight[(first == 0) & (connected != 0)]), 0.2)


def test_a_synapse_stays_while_it_is_used_or_has_been_idle_for_a_short_time() -> None:
    circuit = rewiring(turnover_per_s=100.0, patience_s=0.5)
    state = circuit.begin()
    weight, connected = circuit.weight("input-cells"), circuit.connected("input-cells")
    first = connected.copy()
    weight[:] = np.where(first != 0, 0.01, 0.0)
    for _ in range(20):
        circuit.maintain(state, 20.0)
    weight[first != 0] = 0.3
    circuit.maintain(state, 20.0)
    weight[first != 0] = 0.01
    for _ in range(20):
        circuit.maintain(state, 20.0)
    np.testing.assert_array_equal(connected, first)
    for _ in range(10):
        circuit.maintain(state, 20.0)
    assert np.any(connected != first)


def test_a_synapse_that_moves_takes_no_eligibility_along() -> None:
    circuit = rewiring(turnover_per_s=10.0, patience_s=0.0)
    state = circuit.begin()
    state.terms[:] = 1.0
    before = circuit.connected("input-cells").copy()
    circuit.weight("input-cells")[:] = 0.0
    circuit.maintain(state, 100.0)
    changed = (circuit.connected("input-cells") != before).ravel()
    assert np.any(changed)
    np.testing.assert_array_equal(state.terms, np.where(changed, 0.0, 1.0))


def test_without_settings_nothing_slow_happens() -> None:
    circuit = SpikingCircuit(
        5, {"cells": LIFCells(5)}, [Projection("input", "cells", weight_sd=1.0)], np.random.default_rng(0)
    )
    before = circuit.weight("input-cells").copy()
    circuit.maintain(circuit.begin(), 1000.0)
    np.testing.assert_array_equal(circuit.weight("input-cells"), before)
    assert circuit.turnovers == {}


@pytest.mark.parametrize("elapsed_ms", [-1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_pass_is_refused(elapsed_ms: float) -> None:
    circuit = rewiring(0.1)
    with pytest.raises(ValueError, match="elapsed_ms"):
        circuit.maintain(circuit.begin(), elapsed_ms)
