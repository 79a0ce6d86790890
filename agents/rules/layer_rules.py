"""The rules for layers: `bp`, `fa`, `dfa`, `ifa` and the control `shallow`. `LayerRule` compares their modulators.

In all docstrings, e is the output error (batch, outputs), d the modulator of a layer's cells times their slope, W the
layer's weights, and B fixed random weights.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from agents.rules.rule import LayerRule

if TYPE_CHECKING:
    from torch import Tensor

    from agents.rules.layers import LayerPass


class Backpropagation(LayerRule):
    """The error goes back from layer to layer through the transposed weights, which gives the gradient.

    The modulator of the cells that feed a layer is d W (Rumelhart, Hinton and Williams 1986, Nature 323:533).
    """

    name = "bp"
    route = "backward"

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor:
        """Return d W, in the shape of the layer's input."""
        return layer_pass.exact_signal(error)


class FeedbackAlignment(LayerRule):
    """The error goes back from layer to layer through fixed random weights B in place of the transposed weights.

    The modulator of the cells that feed a layer is d B (Lillicrap, Cownden, Tweed and Akerman 2016, Nature
    Communications 7:13276). B has the shape of the layer's weights, SD 1/sqrt(cells of this layer that one cell below
    feeds).
    """

    name = "fa"
    route = "backward"
    feedback = "layers"

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor:
        """Return d B, in the shape of the layer's input."""
        layer = layer_pass.layer
        return layer.through(error, layer.feedback_matrix().to(error.dtype), layer_pass.input_shape)


class DirectFeedbackAlignment(LayerRule):
    """Every layer receives the output error itself, through fixed random weights B of its own.

    The modulator of the cells that feed a layer is e B, with B (outputs, cells) of SD 1/sqrt(outputs) (Nokland 2016,
    NeurIPS 29, figure 1c and equation 7). A layer that feeds several heads receives the sum of their e B.

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
        layer, shape = layer_pass.layer, layer_pass.input_shape
        return _sum([layer.broadcast(head, sent, shape) for head, sent in layer_pass.received.values()])


class IndirectFeedbackAlignment(LayerRule):
    """The output error reaches the first layer through fixed random weights B, and the layers above from there.

    The modulator of the first layer's cells is e B, with B (outputs, cells) of SD 1/sqrt(outputs). The modulator of
    every layer above is the change that this causes there: modulator x slope of the layer below, carried through the
    modules in between and the weights W (Nokland 2016, NeurIPS 29, figure 1d).
    """

    name = "ifa"
    route = "forward"
    feedback = "second"

    def send_error(self, head: LayerPass, error: Tensor) -> None:
        """Send e B to the cells of the first layer, and to each layer above the change that results there."""
        from agents.rules.links import in_own_backward_pass

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
                    signal = below.layer.output(change.to(below.weight.dtype), below.weight)
                layer_pass.received[id(head)] = (name, signal.reshape(layer_pass.input_shape))
                if layer_pass is not head:
                    change = layer_pass.input_change(below, signal.reshape(below.output_shape))
                    below = layer_pass

        in_own_backward_pass(send, error.device)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor | None:
        """Return the modulator of the cells that feed the layer, summed over heads."""
        return _sum([signal for _, signal in layer_pass.received.values()])


class Shallow(LayerRule):
    """Hidden layers have no modulator and stay as they were drawn; the read-out learns."""

    name = "shallow"
    route = "backward"
    modifies = ("read-out",)
    probes = ("modulator",)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> None:
        """Return no modulator."""


def _sum(signals: list[Tensor]) -> Tensor | None:
    """Return the sum of signals of one shape, one from each head; None of none."""
    return reduce(add, signals) if signals else None
