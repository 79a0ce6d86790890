"""Indirect feedback alignment (Nokland 2016, NeurIPS 29, figure 1d)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.rules.dfa import sum_over_heads
from agents.rules.rule import LayerRule

if TYPE_CHECKING:
    from torch import Tensor

    from agents.rules.layers import LayerPass


class IndirectFeedbackAlignment(LayerRule):
    """The output error reaches the first layer through fixed random weights B; its effect travels forward from there.

    The modulator of the first layer's cells is e B, with e the output error (batch, outputs) and B (outputs, cells) of
    SD 1/sqrt(outputs). The modulator of each further layer is the change that the modulator below, times slope, would
    cause through the weights W and the modules between.
    """

    name = "ifa"
    route = "forward"
    feedback = "second"

    def send_error(self, head: LayerPass, error: Tensor) -> None:
        """Give e B to the first layer's cells, and to each layer above the change that it causes there."""
        name = head.layer.place.head or ""
        chain = [head]
        while chain[-1].before:
            chain.extend(chain[-1].before[:1])
        first, *others = reversed(chain)

        def send() -> None:
            below, change = first, None
            for layer_pass in others:
                if change is None:
                    signal = layer_pass.layer.broadcast(name, error, layer_pass.input_shape)
                else:
                    signal = below.layer.spread(change, below.weight)
                layer_pass.received[id(head)] = (name, signal.reshape(layer_pass.input_shape))
                if layer_pass is not head:
                    change = layer_pass.input_change(below, signal.reshape(below.output_shape))
                    below = layer_pass

        head.in_own_backward_pass(send, error.device)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor | None:
        """Return the change that the error causes at the layer's input, summed over heads."""
        return sum_over_heads([signal for _, signal in layer_pass.received.values()])
