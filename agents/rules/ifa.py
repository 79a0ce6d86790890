"""Indirect feedback alignment (Nokland 2016, NeurIPS 29, figure 1d)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.rules.dfa import sum_over_heads
from agents.rules.rule import LayerRule

if TYPE_CHECKING:
    from torch import Tensor

    from agents.rules.layers import LayerPass


class IndirectFeedbackAlignment(LayerRule):
    """The output error reaches the first layer through fixed random weights B, and the layers above from there.

    The modulator of the first layer's cells is e B, with e the output error (batch, outputs) and B (outputs, cells) of
    SD 1/sqrt(outputs). The modulator of every layer above is a forward-propagated change: modulator x slope of the
    layer below, carried through the weights W and the modules in between.
    """

    name = "ifa"
    route = "forward"
    feedback = "second"

    def send_error(self, head: LayerPass, error: Tensor) -> None:
        """Send e B to the cells of the first layer, and to each layer above the change that results there."""
        name = head.layer.place.head or ""
        passes = [head]
        while passes[-1].before:
            passes.extend(passes[-1].before[:1])
        first, *passes_above = reversed(passes)

        def send() -> None:
            # Each pass receives the modulator of the cells that feed it, which are those of the layer below.
            below, change = first, None
            for layer_pass in passes_above:
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
        """Return the modulator of the cells that feed the layer, summed over heads."""
        return sum_over_heads([signal for _, signal in layer_pass.received.values()])
