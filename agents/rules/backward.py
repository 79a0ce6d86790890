"""Rules whose error goes backward from layer to layer, `bp` and `fa`, and the control `shallow` without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.rules.rule import LayerRule

if TYPE_CHECKING:
    from torch import Tensor

    from agents.rules.layers import LayerPass


class Backpropagation(LayerRule):
    """The error goes back from layer to layer through the transposed weights, which gives the gradient.

    The modulator of the cells that feed a layer is d W, with d the modulator of the layer's cells times their slope and
    W its weights (Rumelhart, Hinton and Williams 1986, Nature 323:533).
    """

    name = "bp"
    route = "backward"

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor:
        """Return d W, in the shape of the layer's input."""
        return layer_pass.exact_signal(error)


class FeedbackAlignment(LayerRule):
    """The error goes back from layer to layer through fixed random weights B in place of the transposed weights.

    The modulator of the cells that feed a layer is d B, with d the modulator of the layer's cells times their slope
    (Lillicrap, Cownden, Tweed and Akerman 2016, Nature Communications 7:13276). B has the shape of the layer's weights,
    SD 1/sqrt(cells of this layer that one cell below feeds).
    """

    name = "fa"
    route = "backward"
    feedback = "layers"

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor:
        """Return d B, in the shape of the layer's input."""
        layer = layer_pass.layer
        return layer.through(error, layer.feedback_matrix().to(error.dtype), layer_pass.input_shape)


class Shallow(LayerRule):
    """Hidden layers have no modulator and stay as they were drawn; the read-out learns."""

    name = "shallow"
    route = "backward"
    modifies = ("read-out",)
    probes = ("modulator",)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> None:
        """Return no modulator."""
