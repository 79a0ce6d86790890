"""The steps of a chain of linear layers with tanh between them, for one input and without autograd.

A learner that takes a step after each reach computes small products, for which autograd's overhead exceeds the
arithmetic. The rules are called as in a backward pass, with `ChainPass` objects that compute the slope of the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
from torch import nn

from agents.rules.layers import LayerPass, RuledLayer, RuledLinear, layers_of


class LayerStep(NamedTuple):
    """A layer and the arguments of its `take_step`, except the share."""

    layer: RuledLayer
    value: torch.Tensor
    weight_step: torch.Tensor | None
    bias_step: torch.Tensor


@dataclass(eq=False, slots=True)
class ChainPass(LayerPass):
    """Pass of one layer of a chain.

    Attributes:
        value: (1, inputs), the layer's input, that is, the tanh outputs of the cells below.
    """

    value: torch.Tensor = field(default_factory=lambda: torch.zeros(0))

    def input_change(self, below: LayerPass, change: torch.Tensor) -> torch.Tensor:
        """Return the change of this layer's input for a change of the drive of the cells below."""
        return cast(torch.Tensor, torch.ops.aten.tanh_backward(change, self.value))

    def nest(self, act: Callable[[], None]) -> None:
        """Call the function directly, since there is no graph."""
        act()


def is_chain(network: nn.Sequential) -> bool:
    """Return whether a network consists of linear layers with tanh between them."""
    kinds = [nn.Linear if place % 2 == 0 else nn.Tanh for place in range(len(network))]
    return len(network) % 2 == 1 and all(map(isinstance, network, kinds))


@torch.no_grad()
def chain_steps(network: nn.Sequential, value: torch.Tensor, error: torch.Tensor) -> list[LayerStep]:
    """Return the step of each layer that receives an error, from the head down.

    Args:
        network: a chain (see `is_chain`) under a rule.
        value: (1, inputs), input of the network.
        error: (1, outputs), error at the network's output.
    """
    passes: list[ChainPass] = []
    for layer in layers_of(tuple(network)):
        drive = layer.output(value, layer.weight, cast(RuledLinear, layer).bias)
        layer_pass = ChainPass(layer, tuple(passes[-1:]), exact=False, weight=layer.weight.detach(), value=value)
        layer_pass.input_shape, layer_pass.output_shape = value.shape, drive.shape
        passes.append(layer_pass)
        value = torch.tanh(drive)
    steps = []
    for layer_pass in reversed(passes):
        steps.append(LayerStep(layer_pass.layer, layer_pass.value, None, error[0]))
        modulator = layer_pass.receive_error(error, layer_pass.value, signal_wanted=bool(layer_pass.before))
        if modulator is None:
            break
        error = layer_pass.input_change(layer_pass, modulator)
    return steps
