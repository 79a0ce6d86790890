"""Rules of recurrent cells against torch's autograd: back-propagation through time, and e-prop's forward traces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.error.lstm import LSTMFeedForward
from agents.networks.lstm import LSTMCells
from agents.networks.sensory_cells import PlaceCells
from agents.rules.recurrent import BackpropagationThroughTime, EProp, RecurrentEligible

BPTT, EPROP = BackpropagationThroughTime(), EProp()
SEED, INPUTS, CELLS, STEPS = st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 6), st.integers(1, 25)


def run(seed: int, inputs: int, cells: int, steps: int) -> tuple[LSTMCells, RecurrentEligible, np.random.Generator]:
    """Cells with random weights after some steps with random inputs, and what is eligible then."""
    rng = np.random.default_rng(seed)
    layer = LSTMCells(inputs, cells, rng)
    layer.bias[:] = rng.normal(0.0, 1.0, 4 * cells)
    state = layer.begin()
    for row in 2.0 * rng.normal(size=(steps, inputs)):
        layer.advance(state, row)
        EPROP.advance_traces(state)
    return layer, EPROP.eligible(state), rng


def autograd(layer: LSTMCells, inputs: np.ndarray, signal: np.ndarray, cut: bool) -> np.ndarray:
    """Gradient of signal x output by the weights; with `cut`, errors do not go from cell to cell."""
    weights = torch.from_numpy(layer.weights.copy()).requires_grad_()
    hidden = memory = torch.zeros(layer.cells, dtype=torch.float64)
    bias = torch.ones(1, dtype=torch.float64)
    for row in torch.from_numpy(inputs):
        sources = torch.cat([row, hidden.detach() if cut else hidden, bias])
        i, f, g, o = (sources @ weights).chunk(4)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(memory)
    (gradient,) = torch.autograd.grad(hidden @ torch.from_numpy(signal), weights)
    return gradient.numpy()


@settings(max_examples=20, deadline=None)
@given(SEED, INPUTS, CELLS, STEPS)
def test_bp_is_autograd_s_gradient_through_time(seed: int, inputs: int, cells: int, steps: int) -> None:
    layer, eligible, rng = run(seed, inputs, cells, steps)
    signal = rng.normal(size=cells)
    expected = autograd(layer, eligible.inputs, signal, cut=False)
    np.testing.assert_allclose(BPTT.step(layer, eligible, signal), expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SEED, INPUTS, CELLS, STEPS)
def test_forward_traces_are_autograd_s_gradient_where_no_error_travels_between_cells(
    seed: int, inputs: int, cells: int, steps: int
) -> None:
    layer, eligible, _ = run(seed, inputs, cells, steps)
    assert eligible.eligibility is not None
    # One cell at a time: its own synapses have the traces, those of the others none.
    by_gate = eligible.eligibility.reshape(-1, 4, cells)
    for cell in range(cells):
        own = np.zeros_like(by_gate)
        own[:, :, cell] = by_gate[:, :, cell]
        expected = autograd(layer, eligible.inputs, np.eye(cells)[cell], cut=True).reshape(by_gate.shape)
        np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-12)


def test_bp_and_eprop_differ_once_a_cell_has_received_from_another() -> None:
    """After one step no cell has received from another, and the two rules give the same step."""
    layer, eligible, rng = run(5, 3, 4, 1)
    signal = rng.normal(size=4)
    step = EPROP.step
    np.testing.assert_allclose(
        step(layer, eligible, signal), BPTT.step(layer, eligible, signal), rtol=1e-12, atol=1e-15
    )
    layer, eligible, _ = run(5, 3, 4, 6)
    assert not np.allclose(step(layer, eligible, signal), BPTT.step(layer, eligible, signal))


def reach(part: LSTMFeedForward, steps: int = 15) -> RecurrentEligible:
    state = part.begin()
    for k in range(steps):
        part.posture(state, np.array([0.12 + 0.01 * k, 0.55]))
    return part.eligibility(state)


def network(rule: str, seed: int, cells: int = 64) -> LSTMFeedForward:
    rng, sensory = np.random.default_rng(seed), PlaceCells()
    return LSTMFeedForward(rule, sensory, LSTMCells(sensory.size, cells, rng), rng)


def with_readout(rule: str) -> LSTMFeedForward:
    part = network(rule, 4, cells=9)
    part.readout[:] = np.random.default_rng(5).normal(size=part.readout.shape)
    return part


def test_with_the_read_out_itself_as_feedback_the_step_of_eprop_is_the_cut_gradient() -> None:
    part = with_readout("eprop")
    assert part.feedback is not None
    part.feedback[:] = part.readout
    eligible, error = reach(part), np.array([0.1, -0.2, 0.05])
    modulator = error @ part.readout
    modulator *= np.sqrt(np.mean(error**2) / np.mean(modulator**2))
    true = autograd(part.lstm, eligible.inputs, modulator, cut=True)
    before = part.lstm.weights.copy()
    part.change(eligible, error, 0.6)
    step = part.lstm.weights - before
    power = 1.0 + np.sum(true[:-1] ** 2) / np.sum(true[-1] ** 2)
    np.testing.assert_allclose(step, 0.3 / power * true, rtol=1e-9, atol=1e-14)


def test_alignment_is_that_of_the_cells_and_is_zero_for_bp() -> None:
    error = np.array([0.1, -0.2, 0.05])
    angles = {}
    for rule in ("bp", "eprop", "shallow"):
        part = with_readout(rule)
        assert part.alignment() == {}
        part.change(reach(part), error, 0.1)
        angles[rule] = part.alignment()
    assert angles["shallow"] == {}
    assert angles["bp"]["lstm"] < 1e-3
    assert 10.0 < angles["eprop"]["lstm"] < 170.0


def test_broadcast_errors_align_with_the_gradient_while_the_network_learns() -> None:
    part = network("eprop", 3)
    rng = np.random.default_rng(0)
    angles = []
    for k in range(800):
        cup = np.array([0.12, 0.55]) + rng.uniform(-0.1, 0.1, 2)
        wanted = np.array([cup[0] - 0.1, 2.0 * (cup[1] - 0.5), 0.3])
        state = part.begin()
        for _ in range(20):
            posture = part.posture(state, cup)
        part.change(part.eligibility(state), wanted - posture, 0.6)
        if k < 100 or k >= 700:
            angles.extend(part.alignment().values())
    assert np.mean(angles[100:]) < min(85.0, np.mean(angles[:100]) - 3.0)


def test_a_rule_without_a_recurrent_form_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"expected a rule for recurrent cells.*'eprop'.*got 'ifa'; it is a rule for layers cells"
    ):
        network("ifa", 0)


def test_a_step_corrects_the_wanted_share_of_the_error() -> None:
    """The read-out alone corrects its half exactly: that is what the normalisation is for."""
    part = with_readout("shallow")
    error = np.array([0.1, -0.2, 0.05])
    eligible = reach(part)
    before = part.readout @ eligible.hidden + part.readout_bias
    part.change(eligible, error, 0.6)
    np.testing.assert_allclose(part.readout @ eligible.hidden + part.readout_bias - before, 0.3 * error, rtol=1e-9)
