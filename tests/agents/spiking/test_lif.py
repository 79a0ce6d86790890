"""Cells follow the closed forms of their equations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import AntagonistReadout, LIFCells, draw_cells
from agents.spiking.projections import Projection, StructuralPlasticity
from agents.spiking.stdp import PairSTDP


def circuit_of(cells: LIFCells) -> SpikingCircuit:
    """A population whose one source has a weight of 1 to each cell."""
    return SpikingCircuit(
        1, {"cells": cells}, [Projection("input", "cells", weight_mean=1.0)], np.random.default_rng(0)
    )


def test_a_constant_drive_gives_the_intervals_of_the_closed_form() -> None:
    circuit = circuit_of(LIFCells(1, bias=1.2, refractory_steps=3))
    state, steps = circuit.begin(), []
    for step in range(500):
        before = int(state.spikes[1])
        circuit.run(state, np.zeros(1), 1)
        if state.spikes[1] > before:
            steps.append(step)
    interval = math.ceil(20.0 * math.log(1.2 / 0.2)) + 2
    assert set(np.diff(steps)) == {interval}


@pytest.mark.parametrize("synapse_ms", [5.0, 20.0, 20.0 + 1e-9, 60.0])
def test_the_response_to_one_spike_is_a_difference_of_exponentials(synapse_ms: float) -> None:
    circuit = circuit_of(LIFCells(1, synapse_ms=synapse_ms, threshold=9.0))
    state = circuit.begin()
    circuit.replay(state, np.ones((1, 1), dtype=np.uint8))
    circuit.replay(state, np.zeros((30, 1), dtype=np.uint8))
    t, tau = 30.0, 20.0
    if abs(synapse_ms - tau) < 1e-6:
        expected = t / tau * math.exp(-t / tau)
    else:
        expected = synapse_ms / (synapse_ms - tau) * (math.exp(-t / synapse_ms) - math.exp(-t / tau))
    assert state.cells.voltage[0] == pytest.approx(expected, rel=1e-7)


def test_a_refractory_cell_holds_its_reset_voltage() -> None:
    circuit = circuit_of(LIFCells(1, bias=5.0, reset=-0.5, refractory_steps=4))
    state = circuit.begin()
    voltages = []
    while state.spikes[1] == 0:
        circuit.run(state, np.zeros(1), 1)
    for _ in range(4):
        voltages.append(float(state.cells.voltage[0]))
        circuit.run(state, np.zeros(1), 1)
    assert voltages == [-0.5] * 4
    assert state.cells.voltage[0] > -0.5


def test_a_range_gives_each_cell_a_value_of_its_own() -> None:
    cells = draw_cells([LIFCells(200, membrane_ms=(10.0, 30.0))], np.random.default_rng(0), np.float64)
    membrane_ms = -1.0 / np.log(cells.leak)
    assert np.all((membrane_ms >= 10.0) & (membrane_ms <= 30.0))
    assert np.std(membrane_ms) == pytest.approx(20.0 / math.sqrt(12.0), rel=0.1)
    assert np.std(cells.threshold) == 0.0


def test_cells_much_faster_than_a_step_follow_their_drive() -> None:
    cells = draw_cells([LIFCells(1, membrane_ms=1e-3, synapse_ms=5.0)], np.random.default_rng(0), np.float64)
    assert cells.coupling[0] == pytest.approx(math.exp(-0.2), rel=1e-3)


def test_settings_outside_their_range_are_refused_by_name() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"size": 0}, "1 or more"),
        ({"size": 2, "inhibitory": 3}, "0 to 2"),
        ({"size": 1, "membrane_ms": -1.0}, "0.001 or more"),
        ({"size": 1, "membrane_ms": (20.0, 10.0)}, "range"),
        ({"size": 1, "bias": math.nan}, "finite number"),
        ({"size": 1, "refractory_steps": 0}, "1 or more"),
        ({"size": 1, "reset": 1.0}, "below the threshold"),
    ]
    for settings, expected in cases:
        with pytest.raises(ValueError, match=expected) as refusal:
            LIFCells(**settings)
        assert list(settings)[-1] in str(refusal.value)


# Settings, arguments that they need, and the types of their fields.
NUMBERS: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (LIFCells, {"size": 3}, {"size": int, "refractory_steps": int, "inhibitory": int, "membrane_ms": float}),
    (LIFCells, {"size": 3}, {"bias": (int, float), "readout_ms": int, "threshold": (float, float)}),
    (PairSTDP, {}, {"rate": float, "depression": int, "pre_trace_ms": float, "eligibility_ms": int}),
    (StructuralPlasticity, {}, {"near_zero": float, "patience_s": int}),
    (Projection, {"before": "a", "after": "b"}, {"weight_mean": float, "largest_weight": int, "delay_steps": int}),
    (Projection, {"before": "a", "after": "b"}, {"probability": float, "delay_steps": (int, int)}),
]
OF_NUMPY: dict[Any, Any] = {int: np.int64(2), float: np.float32(0.7)}


def test_numpy_numbers_are_settings_like_python_numbers() -> None:
    for owner, needed, fields in NUMBERS:
        for name, kind in fields.items():
            is_range = isinstance(kind, tuple)
            value: Any = tuple(sorted(OF_NUMPY[end] for end in kind)) if is_range else OF_NUMPY[kind]
            python = tuple(end.item() for end in value) if is_range else value.item()
            needs = needed | ({"reset": -1.0} if name == "threshold" else {})
            assert repr(owner(**needs | {name: value})) == repr(owner(**needs | {name: python}))


def test_what_is_no_number_is_refused_by_name_and_value() -> None:
    for owner, needed, fields in NUMBERS:
        for name in fields:
            for value in ("1", True, 1j, math.nan, [1.0], np.array([1.0]), np.bool_(True), (1.0, "2")):
                with pytest.raises(ValueError, match=f"{owner.__name__} {name}") as refusal:
                    owner(**needed | {name: value})
                assert repr(value) in str(refusal.value)


def test_flexors_and_extensors_pull_on_their_joint_alone() -> None:
    readout = AntagonistReadout(joints=3, cells_per_muscle=4, per_hz=0.02)
    rates = np.zeros(24)
    rates[8:12] = 10.0  # flexors of the second joint
    rates[20:24] = 5.0  # extensors of the third
    np.testing.assert_allclose(readout.command(rates), [0.0, 0.2, -0.1])
    np.testing.assert_array_equal(readout.sign.sum(axis=0), 0.0)
