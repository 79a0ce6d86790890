"""LSTM cells: torch's own equations, and a forget gate that can be read out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.networks.lstm import GATES, LSTMCells, LSTMState


def drawn(seed: int, inputs: int, cells: int) -> tuple[LSTMCells, np.random.Generator]:
    """Cells with every bias drawn too."""
    rng = np.random.default_rng(seed)
    layer = LSTMCells(inputs, cells, rng)
    layer.bias[:] = rng.normal(0.0, 1.0, 4 * cells)
    return layer, rng


def as_torch(layer: LSTMCells) -> torch.nn.LSTM:
    own = torch.nn.LSTM(layer.inputs, layer.cells, dtype=torch.float64)
    with torch.no_grad():
        own.weight_ih_l0.copy_(torch.from_numpy(layer.weight_ih.copy()))
        own.weight_hh_l0.copy_(torch.from_numpy(layer.weight_hh.copy()))
        own.bias_ih_l0.copy_(torch.from_numpy(layer.bias.copy()))
        own.bias_hh_l0.zero_()
    return own


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 7), st.integers(1, 30))
def test_every_step_is_that_of_torch(seed: int, inputs: int, cells: int, steps: int) -> None:
    layer, rng = drawn(seed, inputs, cells)
    rows = 3.0 * rng.normal(size=(steps, inputs))
    state = layer.begin()
    given_out = np.array([layer.advance(state, row).copy() for row in rows])
    with torch.no_grad():
        outputs, (hidden, memory) = as_torch(layer)(torch.from_numpy(rows))
    np.testing.assert_allclose(given_out, outputs.numpy(), rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(state.hidden, hidden[0].numpy(), rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(state.memory, memory[0].numpy(), rtol=0.0, atol=1e-12)


def holding(forget: float, rng: np.random.Generator) -> tuple[LSTMCells, LSTMState, np.ndarray]:
    """Cells that hold something, whose input gate is shut and whose forget gate is driven by `forget`."""
    layer = LSTMCells(3, 5, rng)
    layer.weights[:] = 0.0
    layer.bias.reshape(4, 5)[GATES.index("input")] = -50.0
    layer.bias.reshape(4, 5)[GATES.index("forget")] = forget
    state = layer.begin()
    state.memory[:] = rng.normal(size=5)
    return layer, state, state.memory.copy()


def test_a_forget_gate_at_one_keeps_the_memory_and_at_zero_loses_it() -> None:
    rng = np.random.default_rng(0)
    for drive, gate in ((50.0, 1.0), (-50.0, 0.0)):
        layer, state, held = holding(drive, rng)
        for _ in range(20):
            layer.advance(state, rng.normal(size=3))
            np.testing.assert_allclose(state.forget_gate, gate, rtol=0.0, atol=1e-20)
        np.testing.assert_allclose(state.memory, gate * held, rtol=1e-15, atol=1e-20)


def test_the_forget_gate_says_what_share_of_the_memory_is_kept() -> None:
    layer, state, _ = holding(0.0, np.random.default_rng(1))
    layer.weight_ih[...] = np.random.default_rng(2).normal(size=layer.weight_ih.shape)
    layer.weight_ih.reshape(4, 5, 3)[GATES.index("input")] = 0.0
    for _ in range(5):
        before = state.memory.copy()
        layer.advance(state, np.array([0.3, -1.0, 2.0]))
        assert np.all((state.forget_gate > 0.0) & (state.forget_gate < 1.0))
        np.testing.assert_allclose(state.memory, state.forget_gate * before, rtol=1e-12)


def test_gates_are_read_by_name_and_reading_changes_nothing() -> None:
    layer, rng = drawn(3, 4, 6)
    state = layer.begin()
    layer.advance(state, rng.normal(size=4))
    for name in GATES:
        gate = state.gate(name)
        assert gate.shape == (6,)
        assert np.all(np.abs(gate) <= 1.0)
        gate[:] = 7.0
    assert np.all(state.gates < 7.0)
    with pytest.raises(ValueError, match=r"gate: expected one of .*'forget'.*got 'memory'"):
        state.gate("memory")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((0, 4), "inputs: expected 1 or more, got 0"), ((4, 0), "cells: expected 1 or more, got 0")],
)
def test_a_layer_without_inputs_or_cells_is_refused(sizes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSTMCells(*sizes, np.random.default_rng(0))
