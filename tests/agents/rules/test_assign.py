"""The angle between a rule's steps and the gradient."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from agents.rules.assign import alignment_degrees, assign_rule
from agents.rules.layers import RuledNetwork

torch.set_num_threads(1)


def regression(rule: str, steps: int) -> tuple[RuledNetwork, dict[str, float]]:
    """A teacher network's answers, learned for a while; the mean angles of the last fifty steps."""
    torch.manual_seed(0)
    sizes = (10, 40, 40)
    modules = [module for a, b in pairwise(sizes) for module in (nn.Linear(a, b), nn.Tanh())]
    net = nn.Sequential(*modules, nn.Linear(40, 4))
    teacher = nn.Sequential(nn.Linear(10, 30), nn.Tanh(), nn.Linear(30, 4))
    (network,) = assign_rule(net, rule, {"output": [net]}, generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    sums: dict[str, float] = {}
    for k in range(steps):
        value = torch.randn(64, 10)
        optimizer.zero_grad()
        ((net(value) - teacher(value).detach()) ** 2).mean().backward()
        if k >= steps - 50:
            for name, angle in alignment_degrees([network]).items():
                sums[name] = sums.get(name, 0.0) + angle / 50.0
        optimizer.step()
    return network, sums


def test_backprop_is_the_gradient_and_shallow_has_no_angle() -> None:
    assert regression("bp", 60)[1] == pytest.approx({"0": 0.0, "2": 0.0}, abs=0.1)
    assert regression("shallow", 60)[1] == {}


def test_what_shapes_the_input_before_the_first_layer_is_no_part_of_the_angle() -> None:
    net = nn.Sequential(
        nn.Unflatten(-1, (1, 6, 6)), nn.Conv2d(1, 2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 2)
    )
    networks = assign_rule(net, "bp", {"output": [net]})
    net(torch.randn(1, 36)).sum().backward()
    assert alignment_degrees(networks) == pytest.approx({"1": 0.0, "4": 0.0}, abs=0.1)


def test_the_angle_leaves_gradients_alone() -> None:
    network, _ = regression("dfa", 55)
    weights = [layer.weight for layer in network.layers.values()]
    before = [weight.grad.clone() for weight in weights if weight.grad is not None]
    first = alignment_degrees([network])
    assert first == alignment_degrees([network])
    for weight, kept in zip(weights, before, strict=True):
        torch.testing.assert_close(weight.grad, kept)


def test_before_a_backward_pass_there_is_no_angle() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    assert alignment_degrees(assign_rule(net, "dfa", {"output": [net]})) == {}


def test_a_network_that_is_no_chain_is_refused() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            below = torch.tanh(self.first(value))
            return self.head(below + torch.tanh(self.second(below)))

    net = Skipping()
    networks = assign_rule(net, "dfa", {"output": [net.first, nn.Tanh(), net.second, nn.Tanh(), net.head]})
    net(torch.randn(5, 3)).sum().backward()
    with pytest.raises(
        ValueError, match=r"expected the input of layer head .* got it from layers \['first', 'second'\]"
    ):
        alignment_degrees(networks)
