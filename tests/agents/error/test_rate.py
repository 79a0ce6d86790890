"""The length of a layer's step brings its cells nearest to what their modulator asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents.error.learner import make_feedforward
from agents.error.rate import RateFeedForward
from agents.networks.layers import mlp
from agents.networks.registry import NETWORKS
from agents.networks.sensory_cells import PlaceCells
from agents.rules.assign import assign_rule, degrees_between
from agents.rules.layer_rules import Backpropagation, DirectFeedbackAlignment, KolenPollack, RecursiveLeastSquares
from agents.rules.layers import RuledConv2d, RuledLayer, RuledLinear
from agents.rules.registry import rules_for
from agents.rules.rule import LayerRule


def step_of(layer: RuledLayer, value: torch.Tensor, modulator: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weight_step, bias_step = torch.autograd.grad(layer(value), list(layer.parameters()), modulator)
    return weight_step, bias_step


def change_of_drive(
    layer: RuledLayer, value: torch.Tensor, modulator: torch.Tensor, share: float = 1.0
) -> torch.Tensor:
    before, step = layer(value).detach(), step_of(layer, value, modulator)
    with torch.no_grad():
        layer.take_step(value, *step, share)
    return layer(value).detach() - before


def drawn(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).normal(size=shape))


def test_a_linear_layer_changes_by_exactly_its_modulator() -> None:
    network = nn.Sequential(nn.Linear(7, 4, dtype=torch.float64))
    assign_rule(network, "bp", {"head": network})
    value, modulator, layer = drawn(1, 7), drawn(1, 4), network[0]
    assert isinstance(layer, RuledLinear)
    torch.testing.assert_close(change_of_drive(layer, value, modulator), modulator)


def test_no_other_length_brings_a_convolution_nearer() -> None:
    layer = RuledConv2d(2, 3, 3, 2, 1, dtype=torch.float64)
    value, modulator = drawn(1, 2, 9, 9), drawn(1, 3, 5, 5)
    left = {
        share: float((modulator - change_of_drive(layer, value, modulator, share)).norm())
        for share in (0.0, 0.9, 1.0, 1.1)
    }
    assert min(left, key=lambda share: left[share]) == 1.0


def test_a_convolution_with_one_place_is_a_linear_layer() -> None:
    layer, value, modulator = RuledConv2d(2, 3, 4, dtype=torch.float64), drawn(1, 2, 4, 4), drawn(1, 3, 1, 1)
    torch.testing.assert_close(change_of_drive(layer, value, modulator), modulator)


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


@pytest.mark.parametrize("rule", rules_for(NETWORKS["mlp"]))
def test_a_step_without_autograd_s_graph_is_the_same(rule: str) -> None:
    def changed(*between: nn.Module) -> list[Any]:
        rng, cells = np.random.default_rng(0), PlaceCells()
        layers = [layer for layer in mlp(cells.size, (12, 11, 10), 3, rng) if isinstance(layer, nn.Linear)]
        modules = [module for layer in layers for module in (layer, *between)][: -len(between)]
        layers[-1].weight.data.copy_(torch.from_numpy(rng.normal(size=(3, 10))))
        made = RateFeedForward(rule, cells, nn.Sequential(*modules), rng)
        assert made.is_compiled == (len(between) == 1)
        made.change(rng.random(cells.size), rng.normal(size=3), 0.3)
        # An angle near 0 has half the digits of its cosine.
        angles = [round(angle, 4) for angle in made.alignment().values()]
        return [*made.arrays().values(), *angles, *made.cost().values()]

    for with_graph, without in zip(changed(nn.Tanh(), nn.Identity()), changed(nn.Tanh()), strict=True):
        np.testing.assert_allclose(without, with_graph, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", [DirectFeedbackAlignment(), RecursiveLeastSquares(drift=0.0)], ids=["dfa", "rls"])
def test_the_angle_is_that_of_the_change_of_the_weights(rule: LayerRule) -> None:
    def made_with(rule: LayerRule) -> RateFeedForward:
        rng, cells = np.random.default_rng(0), PlaceCells()
        layers = mlp(cells.size, (12, 10), 3, rng)
        layers[-1].weight.data.copy_(torch.from_numpy(rng.normal(size=(3, 10))))
        return RateFeedForward(rule, cells, layers, rng)

    made, exact = made_with(rule), made_with(Backpropagation())
    rng = np.random.default_rng(1)
    for rate in (*[1e-7] * 5, 1e-4):
        activity, error = rng.random(made.cells.size), rng.normal(size=3)
        before = [{name: weight.copy() for name, weight in part.weights().items()} for part in (made, exact)]
        for part in (made, exact):
            part.change(activity, error, rate)
    for layer, angle in made.alignment().items():
        change, gradient = (part.weights()[layer] - old[layer] for part, old in zip((made, exact), before, strict=True))
        assert angle == pytest.approx(degrees_between(change, gradient), abs=0.1)
        assert angle > 20.0


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
