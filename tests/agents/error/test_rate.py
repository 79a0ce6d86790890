"""The length of a layer's step brings its cells nearest to what their modulator asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from agents.error.learner import make_feedforward
from agents.error.rate import RateFeedForward
from agents.networks.layers import mlp
from agents.networks.registry import NETWORKS
from agents.networks.sensory_cells import PlaceCells
from agents.rules.layer_rules import KolenPollack
from agents.rules.layers import RuledConv2d, RuledLayer, RuledLinear
from agents.rules.registry import rules_for


def step_of(layer: RuledLayer, value: torch.Tensor, modulator: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weight_step, bias_step = torch.autograd.grad(layer(value), list(layer.parameters()), modulator)
    return weight_step, bias_step


def drawn(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).normal(size=shape))


def test_a_linear_layer_changes_by_exactly_its_modulator() -> None:
    layer, value, modulator = RuledLinear(7, 4, dtype=torch.float64), drawn(1, 7), drawn(1, 4)
    weight_step, bias_step = step_of(layer, value, modulator)
    length = 1.0 / layer.step_power(value, weight_step, bias_step)
    change = functional_call(layer, {"weight": weight_step, "bias": bias_step}, (value,))
    torch.testing.assert_close(length * change, modulator)


def test_no_other_length_brings_a_convolution_nearer() -> None:
    layer = RuledConv2d(2, 3, 3, 2, 1, dtype=torch.float64)
    value = drawn(1, 2, 9, 9)
    modulator = drawn(1, 3, 5, 5)
    weight_step, bias_step = step_of(layer, value, modulator)
    length = 1.0 / layer.step_power(value, weight_step, bias_step)
    change = functional_call(layer, {"weight": weight_step, "bias": bias_step}, (value,))
    left = {factor: float((modulator - factor * length * change).norm()) for factor in (0.0, 0.9, 1.0, 1.1)}
    assert min(left, key=lambda factor: left[factor]) == 1.0


def test_a_convolution_with_one_place_is_a_linear_layer() -> None:
    convolution, linear = RuledConv2d(2, 3, 4, dtype=torch.float64), RuledLinear(32, 3, dtype=torch.float64)
    value, modulator = drawn(1, 2, 4, 4), drawn(1, 3)
    once = convolution.step_power(value, *step_of(convolution, value, modulator[..., None, None]))
    flat = value.reshape(1, 32)
    assert abs(once / linear.step_power(flat, *step_of(linear, flat, modulator)) - 1.0) < 1e-12


def test_the_posture_is_the_output_of_the_torch_network_also_after_a_step() -> None:
    feedforward: Any = make_feedforward("error-mlp-dfa", np.random.default_rng(3))
    for _ in range(3):
        state = feedforward.begin()
        posture = feedforward.posture(state, np.array([0.05, 0.5]))
        with torch.no_grad():
            output = feedforward.network(torch.tensor(state.activity)).numpy()
        np.testing.assert_allclose(posture, output, rtol=1e-12, atol=1e-15)
        feedforward.change(feedforward.eligibility(state), np.array([0.1, -0.2, 0.05]), 0.5)
    assert np.any(posture != 0.0)


def test_kolen_pollack_feedback_approaches_the_weights_by_the_decay_with_every_step() -> None:
    rng, cells = np.random.default_rng(0), PlaceCells()
    made = RateFeedForward(KolenPollack(decay=0.1), cells, mlp(cells.size, (12, 10), 3, rng), rng)
    layers = [layer for layer in made.network if isinstance(layer, RuledLayer)][1:]
    before = [layer.feedback_matrix() - layer.weight.detach() for layer in layers]
    for _ in range(5):
        made.change(rng.random(cells.size), rng.normal(size=3), 0.3)
    for layer, difference in zip(layers, before, strict=True):
        torch.testing.assert_close(layer.feedback_matrix() - layer.weight.detach(), 0.9**5 * difference)


@pytest.mark.parametrize("rule", [rule for rule in rules_for(NETWORKS["mlp"]) if rule != "shallow"])
def test_modulators_of_every_layer_have_the_root_mean_square_of_the_error(rule: str) -> None:
    rng, cells = np.random.default_rng(0), PlaceCells()
    # Without slopes, the step of a bias is the modulator.
    linear = nn.Sequential(*[module for module in mlp(cells.size, (12, 10), 3, rng) if isinstance(module, nn.Linear)])
    made = RateFeedForward(rule, cells, linear, rng)
    made.snapshot(made.begin())
    for _ in range(2):
        error = rng.normal(size=3)
        made.change(rng.random(cells.size), error, 0.3)
    path = made.snapshot(made.begin()).error_path
    assert path is not None
    for signal in path.signals:
        assert np.sqrt(np.mean(signal.modulator**2)) == pytest.approx(np.sqrt(np.mean(error**2))), signal.name


@pytest.mark.parametrize("name", ["error-dfa", "error-ifa", "error-cnn-dfa"])
def test_torch_s_default_device_is_no_part_of_a_learner(name: str) -> None:
    def taught() -> Any:
        made: Any = make_feedforward(name, np.random.default_rng(0))
        rng = np.random.default_rng(1)
        made.change(rng.random(made.cells.size), rng.normal(size=3), 0.3)
        return made.arrays(), made.alignment()

    arrays, angles = taught()
    with torch.device("meta"):
        other, others_angles = taught()
    assert angles == others_angles
    for key, value in arrays.items():
        np.testing.assert_array_equal(other[key], value)
