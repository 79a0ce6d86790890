"""Direct feedback alignment (Nokland 2016, NeurIPS 29, figure 1c and equation 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.rules.rule import LayerRule

if TYPE_CHECKING:
    from torch import Tensor

    from agents.rules.layers import LayerPass


class DirectFeedbackAlignment(LayerRule):
    """Every layer receives the output error itself, through fixed random weights B of its own.

    The modulator of the cells that feed a layer is e B, with e the output error (batch, outputs) and B (outputs, cells)
    of SD 1/sqrt(outputs). A layer that feeds several heads receives the sum of their e B.

    It is known to do badly through convolutions (Bartunov et al. 2018, NeurIPS 31; Launay, Poli and Krzakala 2019,
    arXiv:1906.04554).
    """

    name = "dfa"
    route = "broadcast"
    feedback = "heads"

    def send_error(self, head: LayerPass, error: Tensor) -> None:
        """Give the error e to every layer that led to a head, and to the head itself."""
        for layer_pass in head.upstream():
            layer_pass.received[id(head)] = (head.layer.place.head or "", error)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor | None:
        """Return e B, summed over the heads whose error the layer has received."""
        return sum_over_heads(
            [
                layer_pass.layer.broadcast(head, head_error, layer_pass.input_shape)
                for head, head_error in layer_pass.received.values()
            ]
        )


def sum_over_heads(signals: list[Tensor]) -> Tensor | None:
    """Return the sum of signals of one shape; None of none."""
    if not signals:
        return None
    total = signals[0]
    for signal in signals[1:]:
        total = total + signal
    return total
