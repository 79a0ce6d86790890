"""Each rule is what its paper says: agreement with autograd, with its own definition, and with closed forms of STDP."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agents.networks.mlp import MLP
from agents.networks.spiking import (
    ELIGIBILITY_MS,
    PAIR_TRACE_MS,
    SpikingNetwork,
)
from agents.rules.backprop import Backprop
from agents.rules.direct_feedback_alignment import DirectFeedbackAlignment
from agents.rules.stdp import ErrorGatedSTDP

CUP = np.array([0.12, 0.55])
ERROR = np.array([0.1, -0.2, 0.05])


def network(seed: int = 0) -> MLP:
    rng = np.random.default_rng(seed)
    made = MLP((20, 15, 10), rng)
    made.weights[-1][:] = rng.normal(0, 0.3, made.weights[-1].shape)
    return made


def test_backprop_is_autograd_s_gradient() -> None:
    net = network()
    activity = net.forward(CUP)
    weights = [torch.tensor(w, requires_grad=True) for w in net.weights]
    signal = torch.tensor(net.cells.activity(CUP))
    for k, weight in enumerate(weights):
        drive = weight @ torch.cat([signal, torch.ones(1, dtype=signal.dtype)])
        signal = drive if k == len(weights) - 1 else torch.tanh(drive)
    np.testing.assert_allclose(signal.detach().numpy(), activity.output, rtol=1e-12)
    # Half the squared error to a target that is ERROR away has the gradient -ERROR at the output.
    (0.5 * torch.sum((signal.detach() + torch.tensor(ERROR) - signal) ** 2)).backward()
    for weight, before, slope, modulator in zip(
        weights, activity.before, activity.slope, Backprop().modulators(net, activity, ERROR), strict=True
    ):
        assert weight.grad is not None
        np.testing.assert_allclose(np.outer(modulator * slope, before), -weight.grad.numpy(), rtol=1e-9, atol=1e-15)


def test_dfa_sends_the_output_error_itself_to_every_layer() -> None:
    net = network()
    rule = DirectFeedbackAlignment(net, np.random.default_rng(1))
    modulators = rule.modulators(net, net.forward(CUP), ERROR)
    assert len(modulators) == len(net.weights)
    for matrix, modulator in zip(rule.feedback, modulators, strict=False):
        np.testing.assert_array_equal(modulator, matrix @ ERROR)
    np.testing.assert_array_equal(modulators[-1], ERROR)


def test_dfa_with_the_true_products_is_backprop_at_unit_slopes() -> None:
    net = network()
    activity = net.forward(CUP)
    linear = type(activity)(activity.before, tuple(np.ones_like(s) for s in activity.slope), activity.output)
    rule = DirectFeedbackAlignment(net, np.random.default_rng(1))
    product = np.eye(3)
    for k in range(len(net.weights) - 1, 0, -1):
        product = product @ net.weights[k][:, :-1]
        rule.feedback[k - 1] = product.T
    for ours, exact in zip(rule.modulators(net, linear, ERROR), Backprop().modulators(net, linear, ERROR), strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-12)


@pytest.mark.parametrize("rule_name", ["bp", "dfa"])
def test_repeated_steps_bring_the_output_to_its_target(rule_name: str) -> None:
    net = network()
    rule = Backprop() if rule_name == "bp" else DirectFeedbackAlignment(net, np.random.default_rng(1))
    target = net.forward(CUP).output + ERROR
    for _ in range(40):
        activity = net.forward(CUP)
        net.change(activity, rule.modulators(net, activity, target - activity.output), 0.5)
    assert np.linalg.norm(net.forward(CUP).output - target) < 0.15 * np.linalg.norm(ERROR)


def spiking(depression: float = 0.0) -> SpikingNetwork:
    """One input cell that drives one hidden cell hard enough to make it fire at once."""
    net = SpikingNetwork(1, 1, depression, np.random.default_rng(0))
    net.input_weight[:] = 0.0
    net.output_weight[:] = 0.0
    net.first_phase[:] = 0.0
    return net


def test_a_pair_of_spikes_leaves_the_eligibility_of_its_interval() -> None:
    net = spiking()
    state = net.begin()
    # One input spike now; the hidden cell is brought to threshold ten milliseconds later from outside.
    state.phase[0] = 1.0
    silent = np.array([9.0, 9.0])
    net.run(state, silent, 1)
    net.run(state, silent, 9)
    state.hidden_voltage[0] = 5.0
    net.run(state, silent, 1)
    expected = math.exp(-10.0 / PAIR_TRACE_MS)
    assert net.eligibility(state).hidden[0, 0] == pytest.approx(expected, rel=1e-9)
    net.run(state, silent, 100)
    late = net.eligibility(state).hidden[0, 0]
    assert late == pytest.approx(expected * math.exp(-100.0 / ELIGIBILITY_MS), rel=1e-9)


def test_the_other_order_takes_away_in_proportion_to_depression() -> None:
    net = spiking(depression=0.4)
    state = net.begin()
    silent = np.array([9.0, 9.0])
    state.hidden_voltage[0] = 5.0
    net.run(state, silent, 1)
    net.run(state, silent, 9)
    state.phase[0] = 1.0
    net.run(state, silent, 1)
    assert net.eligibility(state).hidden[0, 0] == pytest.approx(-0.4 * math.exp(-10.0 / PAIR_TRACE_MS), rel=1e-9)


def test_a_coincidence_counts_as_pre_before_post() -> None:
    net = spiking(depression=1.0)
    state = net.begin()
    state.phase[0] = 1.0
    state.hidden_voltage[0] = 5.0
    net.run(state, np.array([9.0, 9.0]), 1)
    assert net.eligibility(state).hidden[0, 0] == pytest.approx(1.0)


def test_presynaptic_activity_alone_is_not_eligible() -> None:
    net = spiking()
    state = net.begin()
    net.run(state, CUP, 300)
    assert np.sum(state.input_count) > 0
    assert np.sum(state.hidden_count) == 0
    np.testing.assert_array_equal(net.eligibility(state).hidden, 0.0)


def test_a_cell_with_constant_drive_fires_at_the_rate_of_the_closed_form() -> None:
    net = SpikingNetwork(1, 1, 0.0, np.random.default_rng(0))
    state = net.begin()
    spikes = np.zeros(state.output_rate.size)
    for _ in range(1000):
        before = state.output_rate.copy()
        net.run(state, np.array([9.0, 9.0]), 1)
        spikes += state.output_rate > before
    drive, tau_ms, refractory_ms = 1.2, 20.0, 1
    interval_ms = math.ceil(tau_ms * math.log(drive / (drive - 1.0))) + refractory_ms
    assert np.all(np.abs(spikes - 1000.0 / interval_ms) <= 1.0)


def test_the_gated_change_moves_each_joint_towards_its_error() -> None:
    rng = np.random.default_rng(3)
    net = SpikingNetwork(200, 10, 0.3, rng)
    rule = ErrorGatedSTDP(net, rng)

    def answer() -> np.ndarray:
        state = net.begin()
        for _ in range(30):
            posture = net.run(state, CUP, 20)
        answer.eligible = net.eligibility(state)  # type: ignore[attr-defined]
        return posture

    before = answer()
    for _ in range(8):
        hidden, output = rule.modulators(ERROR)
        net.change(answer.eligible, hidden, output, 0.3)  # type: ignore[attr-defined]
        after = answer()
    moved = after - before
    assert np.all(np.sign(moved) == np.sign(ERROR))
    assert moved @ ERROR / (np.linalg.norm(moved) * np.linalg.norm(ERROR)) > 0.8


def test_without_an_error_nothing_changes() -> None:
    rng = np.random.default_rng(3)
    net = SpikingNetwork(50, 5, 0.3, rng)
    rule = ErrorGatedSTDP(net, rng)
    state = net.begin()
    net.run(state, CUP, 300)
    weights = net.input_weight.copy(), net.output_weight.copy()
    net.change(net.eligibility(state), *rule.modulators(np.zeros(3)), 1.0)
    np.testing.assert_array_equal(net.input_weight, weights[0])
    np.testing.assert_array_equal(net.output_weight, weights[1])
