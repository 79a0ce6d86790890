"""Structural plasticity replaces idle synapses and keeps their number."""

from __future__ import annotations

import numpy as np
import pytest

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection, StructuralPlasticity


def rewiring(turnover_per_s: float, patience_s: float = 0.1) -> SpikingCircuit:
    structure = StructuralPlasticity(
        near_zero=0.05, patience_s=patience_s, turnover_per_s=turnover_per_s, new_weight=0.2
    )
    projection = Projection("input", "cells", weight_sd=0.5, probability=0.4, structure=structure)
    return SpikingCircuit(30, {"cells": LIFCells(20)}, [projection], np.random.default_rng(3))


def test_idle_synapses_are_replaced_at_the_set_rate_and_their_number_stays() -> None:
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
    # After one second a tenth of the synapses is replaced; a new one may form where an old one was.
    assert abs(np.count_nonzero(np.abs(weight) == 0.2) - 0.1 * number) <= 1
    assert np.all(connected[:5][first[:5] != 0] != 0)
    np.testing.assert_array_equal(np.abs(weight[(first == 0) & (connected != 0)]), 0.2)


def test_a_synapse_stays_while_it_is_used_or_not_idle_for_long() -> None:
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


def test_a_replaced_synapse_loses_its_eligibility() -> None:
    circuit = rewiring(turnover_per_s=10.0, patience_s=0.0)
    state = circuit.begin()
    state.traces.eligibility[:] = 1.0
    before = circuit.connected("input-cells").copy()
    circuit.weight("input-cells")[:] = 0.0
    circuit.maintain(state, 100.0)
    changed = (circuit.connected("input-cells") != before).ravel()
    assert np.any(changed)
    np.testing.assert_array_equal(state.traces.eligibility, np.where(changed, 0.0, 1.0))


def test_without_structural_plasticity_nothing_changes() -> None:
    circuit = SpikingCircuit(
        5, {"cells": LIFCells(5)}, [Projection("input", "cells", weight_sd=1.0)], np.random.default_rng(0)
    )
    before = circuit.weight("input-cells").copy()
    circuit.maintain(circuit.begin(), 1000.0)
    np.testing.assert_array_equal(circuit.weight("input-cells"), before)
    assert circuit.turnovers == {}


def test_a_wrong_time_is_refused() -> None:
    circuit = rewiring(0.1)
    for elapsed_ms in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="elapsed_ms"):
            circuit.maintain(circuit.begin(), elapsed_ms)
