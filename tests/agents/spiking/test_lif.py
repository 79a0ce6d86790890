"""Cells follow the closed forms of their equations, whatever the step."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import LIFCells, draw_cells
from agents.spiking.projections import Projection
from agents.spiking.stdp import PairSTDP
from agents.spiking.structural_plasticity import StructuralPlasticity


def alone(cells: LIFCells, step_ms: float = 1.0) -> SpikingCircuit:
    """A population whose one source is tied to its cells by a weight of 1."""
    projection = Projection("input", "cells", weight_mean=1.0)
    return SpikingCircuit(1, {"cells": cells}, [projection], np.random.default_rng(0), step_ms=step_ms)


def spike_steps(circuit: SpikingCircuit, steps: int) -> list[int]:
    """Steps in which the first cell fires without input."""
    state, found = circuit.begin(), []
    for step in range(steps):
        before = int(state.spikes[1])
        circuit.run(state, np.zeros(1), 1)
        if state.spikes[1] > before:
            found.append(step)
    return found


def test_a_constant_drive_gives_the_intervals_of_the_closed_form() -> None:
    steps = spike_steps(alone(LIFCells(1, bias=1.2, refractory_steps=3)), 500)
    interval = math.ceil(20.0 * math.log(1.2 / 0.2)) + 2
    assert set(np.diff(steps)) == {interval}


@pytest.mark.parametrize("synapse_ms", [5.0, 20.0, 20.0 + 1e-9, 60.0])
def test_the_answer_to_one_spike_is_the_difference_of_exponentials(synapse_ms: float) -> None:
    circuit = alone(LIFCells(1, synapse_ms=synapse_ms, threshold=9.0))
    state = circuit.begin()
    circuit.replay(state, np.ones((1, 1), dtype=np.uint8))
    circuit.replay(state, np.zeros((30, 1), dtype=np.uint8))
    t, tau = 30.0, 20.0
    if abs(synapse_ms - tau) < 1e-6:
        expected = t / tau * math.exp(-t / tau)
    else:
        expected = synapse_ms / (synapse_ms - tau) * (math.exp(-t / synapse_ms) - math.exp(-t / tau))
    assert state.cells.voltage[0] == pytest.approx(expected, rel=1e-7)


def test_between_spikes_the_step_does_not_matter() -> None:
    voltages = []
    for step_ms in (2.0, 1.0, 0.25):
        circuit = alone(LIFCells(1, threshold=9.0, bias=0.7, current_adaptation=0.3), step_ms)
        state = circuit.begin()
        state.cells.adaptation[:] = 1.0
        state.cells.drive[:] = 2.0
        circuit.run(state, np.zeros(1), round(40.0 / step_ms))
        voltages.append(float(state.cells.voltage[0]))
    np.testing.assert_allclose(voltages, voltages[0], rtol=1e-12)


def test_a_refractory_cell_holds_its_reset_voltage() -> None:
    circuit = alone(LIFCells(1, bias=5.0, reset=-0.5, refractory_steps=4))
    state = circuit.begin()
    seen = []
    while state.spikes[1] == 0:
        circuit.run(state, np.zeros(1), 1)
    for _ in range(4):
        seen.append(float(state.cells.voltage[0]))
        circuit.run(state, np.zeros(1), 1)
    assert seen == [-0.5] * 4
    assert state.cells.voltage[0] > -0.5


@pytest.mark.parametrize("kind", ["threshold_adaptation", "current_adaptation"])
def test_adaptation_lengthens_the_intervals(kind: str) -> None:
    adapted = np.diff(spike_steps(alone(LIFCells(1, bias=1.5, adaptation_ms=300.0, **{kind: 0.1})), 500))  # type: ignore[arg-type]
    plain = np.diff(spike_steps(alone(LIFCells(1, bias=1.5)), 500))
    assert len(set(plain)) == 1
    assert np.all(np.diff(adapted[:6]) >= 0)
    assert adapted[5] > 1.2 * plain[0]


def test_a_range_gives_each_cell_a_value_of_its_own() -> None:
    cells = draw_cells([LIFCells(200, membrane_ms=(10.0, 30.0))], 1.0, np.random.default_rng(0), np.float64)
    membrane_ms = -1.0 / np.log(cells.leak)
    assert np.all((membrane_ms >= 10.0) & (membrane_ms <= 30.0))
    assert np.std(membrane_ms) == pytest.approx(20.0 / math.sqrt(12.0), rel=0.1)
    assert np.std(cells.threshold) == 0.0


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ({"size": 0}, "1 or more"),
        ({"size": 2, "inhibitory": 3}, "0 to size = 2"),
        ({"size": 1, "membrane_ms": -1.0}, "0.001 or more"),
        ({"size": 1, "membrane_ms": (20.0, 10.0)}, "range"),
        ({"size": 1, "bias": math.nan}, "finite number"),
        ({"size": 1, "refractory_steps": 0}, "1 or more"),
        ({"size": 1, "reset": 1.0}, "below the threshold"),
    ],
)
def test_what_no_cell_can_have_is_refused(setting: dict[str, object], allowed: str) -> None:
    with pytest.raises(ValueError, match=allowed) as refusal:
        LIFCells(**setting)  # type: ignore[arg-type]
    assert list(setting)[-1] in str(refusal.value)


def test_cells_far_faster_than_a_step_follow_what_drives_them() -> None:
    cells = draw_cells([LIFCells(1, membrane_ms=1e-3, synapse_ms=5.0)], 1.0, np.random.default_rng(0), np.float64)
    assert cells.coupling[0] == pytest.approx(math.exp(-0.2), rel=1e-3)


NUMBERS = [
    (LIFCells, {"size": 3}, {"size": int, "refractory_steps": int, "inhibitory": int, "membrane_ms": float}),
    (LIFCells, {"size": 3}, {"bias": (int, float), "readout_ms": int, "threshold": (float, float)}),
    (PairSTDP, {}, {"rate": float, "depression": int, "pre_trace_ms": float, "eligibility_ms": int}),
    (StructuralPlasticity, {}, {"near_zero": float, "patience_s": int}),
    (Projection, {"before": "a", "after": "b"}, {"weight_mean": float, "largest_weight": int, "delay_steps": int}),
    (Projection, {"before": "a", "after": "b"}, {"probability": float, "delay_steps": (int, int)}),
]
OF_NUMPY: dict[Any, Any] = {int: np.int64(2), float: np.float32(0.7)}


@pytest.mark.parametrize(("owner", "needed", "kinds"), NUMBERS)
def test_numbers_of_numpy_are_settings_and_mean_what_those_of_python_mean(
    owner: Any, needed: dict[str, Any], kinds: dict[str, Any]
) -> None:
    for name, kind in kinds.items():
        both = isinstance(kind, tuple)
        given: Any = tuple(sorted(OF_NUMPY[one] for one in kind)) if both else OF_NUMPY[kind]
        plain = tuple(one.item() for one in given) if both else given.item()
        needs = needed | ({"reset": -1.0} if name == "threshold" else {})
        ours, made = owner(**needs | {name: given}), owner(**needs | {name: plain})
        assert repr(ours) == repr(made)


@pytest.mark.parametrize(("owner", "needed", "kinds"), NUMBERS)
@pytest.mark.parametrize("value", ["1", True, 1j, math.nan, [1.0], np.array([1.0]), np.bool_(True), (1.0, "2")])
def test_what_is_no_number_is_refused_by_name_and_value(
    owner: Any, needed: dict[str, Any], kinds: dict[str, Any], value: Any
) -> None:
    for name in kinds:
        with pytest.raises(ValueError, match=rf"^{owner.__name__} {name}\b.*{re.escape(repr(value))}"):
            owner(**needed | {name: value})
