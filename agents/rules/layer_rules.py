"""The rules for layers. The docstring of `LayerRule` compares their modulators.

In all docstrings, e is the output error (batch, outputs), d the modulator of a layer's cells times their slope, W the
layer's weights, and B random weights, which are fixed unless the docstring says otherwise.

A rule has no state. If it needs random numbers while it learns, it seeds a generator with the bits of a present tensor,
so a learner that is saved and restored draws the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar

from agents.rules.rule import LayerRule
from agents.settings import Setting, check_fields

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from agents.rules.layers import LayerPass, RuledLayer


class Backpropagation(LayerRule):
    """Propagate the error back from layer to layer through the transposed weights, which gives the gradient.

    The modulator of the cells that feed a layer is d W (Rumelhart, Hinton and Williams 1986, Nature 323:533).
    """

    name = "bp"
    route = "backward"

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor:
        """Return d W, in the shape of the layer's input."""
        return layer_pass.exact_signal(error)


SMALLEST_NOISE = 1e-9


@dataclass(frozen=True)
class RecursiveLeastSquares(Backpropagation):
    """Propagate the error by back-propagation; take a second-order step in each layer, by recursive least squares.

    For the input x of a layer, with a 1 for the bias, K = P x / (noise + x P x). The weights change by d K, and P by
    drift - K x P (the Kalman filter of weights that drift at random, decoupled by layer: Puskorius and Feldkamp 1994,
    IEEE Trans. Neural Networks 5:279). All cells of a layer share P (inputs + 1, inputs + 1). Without drift, P is the
    inverse of 1 + sum x x / noise over all inputs so far. The learner multiplies the step of the weights by its rate; P
    changes as for the full step.

    Attributes:
        noise: variance of the drive's noise, above 0, relative to the initial P, which is the identity.
        drift: value added to the diagonal of P with every change, 0 or more.
    """

    name = "rls"
    refused: ClassVar[Mapping[str, str]] = {
        "retina": "P would have 12,800 x 12,800 entries, since the retina gives 12,800 inputs",
        "cnn": "a kernel meets several inputs at once",
        "reward": "the optimiser of the algorithm makes the step",
    }
    noise: float = 1.0
    drift: float = 0.1

    def __post_init__(self) -> None:
        """Validate the parameters."""
        check_fields(self, noise=Setting(SMALLEST_NOISE), drift=Setting(0.0))

    def prepare(self, layer: RuledLayer) -> None:
        """Register P in a layer, as the buffer `covariance`.

        Raises:
            ValueError: the layer is a convolution.
        """
        import torch

        if layer.weight.dim() != 2:
            raise ValueError(f"rule 'rls': expected linear layers, got {type(layer).__name__}: {self.refused['cnn']}")
        size, weight = layer.weight.shape[1] + 1, layer.weight
        layer.register_buffer("covariance", torch.eye(size, dtype=weight.dtype, device=weight.device))

    def normalised_input(self, layer: RuledLayer, value: Tensor) -> tuple[Tensor, float]:
        """Return the parts of K for weights and for biases, and update P."""
        covariance = layer.get_buffer("covariance")
        x = value.new_ones(len(covariance))
        x[:-1] = value
        direction = covariance @ x
        gain = direction / (self.noise + x @ direction)
        covariance.addr_(gain, direction, alpha=-1.0)
        covariance.diagonal().add_(self.drift)
        return gain[:-1], float(gain[-1])

    def weight_direction(self, layer: RuledLayer, weight_step: Tensor, bias_step: Tensor) -> Tensor:
        """Return the part of d (P x) for the weights, with the present P."""
        covariance = layer.get_buffer("covariance")
        return weight_step @ covariance[:-1, :-1] + bias_step[:, None] * covariance[-1, :-1]

    def added_cost(self, layer: RuledLayer) -> dict[str, int]:
        """Return the multiply-accumulates of P x and K x P."""
        return {"learning_macs": 2 * layer.get_buffer("covariance").numel()}


class FeedbackAlignment(LayerRule):
    """Propagate the error back from layer to layer through fixed random weights B in place of the transposed weights.

    The modulator of the cells that feed a layer is d B (Lillicrap, Cownden, Tweed and Akerman 2016, Nature
    Communications 7:13276). B has the shape of the layer's weights and SD 1/sqrt(n), where n is the number of cells of
    this layer that one cell below feeds.
    """

    name = "fa"
    route = "backward"
    feedback = "layers"

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor:
        """Return d B, in the shape of the layer's input."""
        layer = layer_pass.layer
        return layer.through(error, layer.feedback_matrix().to(error.dtype), layer_pass.input_shape)


class SignSymmetry(LayerRule):
    """Propagate the error back through weights with the signs of W and fixed random magnitudes.

    The modulator of the cells that feed a layer is d (|B| sign W), with B as in `fa` (Liao, Leibo and Poggio 2016, AAAI
    30:1837, "fixed random-magnitude sign-concordant feedback").
    """

    name = "sign"
    route = "backward"
    feedback = "layers"

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor:
        """Return d (|B| sign W), in the shape of the layer's input."""
        layer = layer_pass.layer
        matrix = layer.feedback_matrix().abs().to(error.dtype) * layer_pass.weight.sign()
        return layer.through(error, matrix, layer_pass.input_shape)


@dataclass(frozen=True)
class KolenPollack(FeedbackAlignment):
    """Feedback alignment in which B and W receive the same changes and both decay, so that B approaches W.

    After each change of W by dW, B <- (1 - decay) (B + dW) and W <- (1 - decay) W, so that B - W shrinks by the factor
    1 - decay. The two factors of dW, the activity below and the modulator above, are available at both synapses (Kolen
    and Pollack 1994, IEEE Int. Conf. Neural Networks 3:1375; Akrout et al. 2019, NeurIPS 32, equations 16 and 17).

    Attributes:
        decay: share by which every change shrinks B and W, 0..1.
    """

    name = "kp"
    modifies = ("hidden", "read-out", "feedback")
    decay: float = 2e-4

    def __post_init__(self) -> None:
        """Validate the parameters."""
        check_fields(self, decay=Setting(0.0, 1.0))

    def update_feedback(self, layer: RuledLayer, change: Tensor) -> None:
        """Add the change of W to B, then shrink B and W by the decay."""
        if layer.place.below is not None:
            layer.feedback_matrix().add_(change).mul_(1.0 - self.decay)
            layer.weight.mul_(1.0 - self.decay)

    def added_cost(self, layer: RuledLayer) -> dict[str, int]:
        """Return the operations for the change of B, one product per synapse, and for the decay of B and W."""
        if layer.place.below is None:
            return {}
        synapses = layer.weight.numel()
        return {"learning_macs": 3 * synapses, "weight_updates": synapses}


@dataclass(frozen=True)
class WeightMirror(FeedbackAlignment):
    """Feedback alignment in which B learns W from random activity of the cells between two weight changes.

    Noise x (n, inputs) with a variance of 1 in the cells below causes the response W x in the cells of the layer. A
    Hebbian rule moves B towards the correlation of noise and response, whose mean is W:
    B <- (1 - rate) B + rate mean(W x x^T) (Akrout et al. 2019, NeurIPS 32, equations 9 to 14). For a convolution, the
    response is computed at one position of the kernel.

    Attributes:
        rate: share of B that is replaced with every change of W, 0..1.
        samples: n, number of noise samples per change, 1 or more.
    """

    name = "weight-mirror"
    modifies = ("hidden", "read-out", "feedback")
    rate: float = 0.02
    samples: int = 16

    def __post_init__(self) -> None:
        """Validate the parameters."""
        check_fields(self, rate=Setting(0.0, 1.0), samples=Setting(1, is_integer=True))

    def update_feedback(self, layer: RuledLayer, change: Tensor) -> None:
        """Move B towards the correlation of noise and response; `change` is not used."""
        if layer.place.below is None:
            return
        weight = layer.weight.flatten(1)
        noise = _noise((self.samples, weight.shape[1]), weight, _generator(layer.feedback_matrix()))
        response = noise @ weight.T
        matrix = layer.feedback_matrix().view_as(weight)
        matrix.addmm_(response.T, noise, beta=1.0 - self.rate, alpha=self.rate / self.samples)

    def added_cost(self, layer: RuledLayer) -> dict[str, int]:
        """Return the operations for the response of W and the Hebbian change of B per sample, and the decay of B."""
        if layer.place.below is None:
            return {}
        synapses = layer.weight.numel()
        return {"learning_macs": (2 * self.samples + 1) * synapses, "weight_updates": synapses}


class DirectFeedbackAlignment(LayerRule):
    """Send the output error to every layer directly, through fixed random weights B for each layer.

    The modulator of the cells that feed a layer is e B, with B (outputs, cells) of SD 1/sqrt(outputs) (Nokland 2016,
    NeurIPS 29, figure 1c and equation 7). A layer that feeds several heads receives the sum of their e B.

    The rule is known to perform poorly in convolutional networks (Bartunov et al. 2018, NeurIPS 31; Launay, Poli and
    Krzakala 2019, arXiv:1906.04554).
    """

    name = "dfa"
    route = "broadcast"
    feedback = "heads"

    def send_error(self, head: LayerPass, error: Tensor) -> None:
        """Send the error e to a head and to every layer that feeds it."""
        for layer_pass in head.upstream():
            layer_pass.received[id(head)] = (head.layer.place.head or "", error)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor | None:
        """Return e B, summed over the heads that have sent their error."""
        layer, shape = layer_pass.layer, layer_pass.input_shape
        return _sum([layer.broadcast(head, sent, shape) for head, sent in layer_pass.received.values()])


class IndirectFeedbackAlignment(LayerRule):
    """Send the output error to the first layer through fixed random weights B; carry its effect forward from there.

    The modulator of the first layer's cells is e B, with B (outputs, cells) of SD 1/sqrt(outputs). The modulator of
    every layer above is the change that the layer below would cause: modulator x slope of the layer below, carried
    through the modules in between and the weights W (Nokland 2016, NeurIPS 29, figure 1d).
    """

    name = "ifa"
    route = "forward"
    feedback = "second"

    def send_error(self, head: LayerPass, error: Tensor) -> None:
        """Send e B to the cells of the first layer, and the resulting change to each layer above."""
        name = head.layer.place.head or ""
        below, *passes_above = _passes_to(head)
        change = None
        for layer_pass in passes_above:
            # Each pass receives the modulator of the cells of the layer below, which feed it.
            if change is None:
                signal = layer_pass.layer.broadcast(name, error, layer_pass.input_shape)
            else:
                signal = below.layer.output(change.to(below.weight.dtype), below.weight)
            layer_pass.received[id(head)] = (name, signal.reshape(layer_pass.input_shape))
            if layer_pass is not head:
                change = layer_pass.input_change(below, signal.reshape(below.output_shape))
                below = layer_pass

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor | None:
        """Return the modulator of the cells that feed the layer, summed over heads."""
        return _sum([signal for _, signal in layer_pass.received.values()])


class NodePerturbation(LayerRule):
    """Let hidden cells learn from one number: how much a random change of their activity would have reduced the error.

    Noise x with a variance of 1 in the cells that feed each layer changes the output by y, to first order. This change
    reduces |e|^2 / 2 by e y. The modulator of the cells is x (e y), whose mean over x is the gradient (Williams 1992,
    Mach. Learn. 8:229; Werfel, Xie and Seung 2005, Neural Comput. 17:2699). Its variance grows with the number of
    cells, which makes the rule a lower bound for rules that use the direction of the error. The read-out takes the
    error itself. In error learners, which scale modulators to the size of the error, only the sign of e y has an
    effect.
    """

    name = "node"
    route = "forward"

    def send_error(self, head: LayerPass, error: Tensor) -> None:
        """Draw noise for the cells that feed each layer, and send noise times the reduction of the error."""
        generator = _generator(error)
        below, *passes_above = _passes_to(head)
        noises: list[Tensor] = []
        change = None
        for layer_pass in passes_above:
            noise = _noise(tuple(layer_pass.input_shape), error, generator)
            noises.append(noise)
            value = noise
            if change is not None:
                value = noise + layer_pass.input_change(below, change.reshape(below.output_shape))
            change = layer_pass.layer.output(value.to(layer_pass.weight.dtype), layer_pass.weight)
            below = layer_pass
        if change is not None:
            # One reduction per row of the batch, or one in all without a batch.
            reduction = (error * change.reshape(error.shape)).sum(-1)
            for layer_pass, noise in zip(passes_above, noises, strict=True):
                signal = noise * reduction[(..., *[None] * (noise.dim() - reduction.dim()))]
                layer_pass.received[id(head)] = (head.layer.place.head or "", signal)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor | None:
        """Return the noise times the reduction of the error, summed over heads."""
        return _sum([signal for _, signal in layer_pass.received.values()])


class Shallow(LayerRule):
    """Change the read-out only: hidden layers have no modulator and keep their initial weights."""

    name = "shallow"
    route = "backward"
    modifies = ("read-out",)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> None:
        """Return no modulator."""


def _passes_to(head: LayerPass) -> list[LayerPass]:
    """Return the passes of the layers from the first one to a head."""
    passes = [head]
    while passes[-1].before:
        passes.extend(passes[-1].before[:1])
    return passes[::-1]


def _generator(value: Tensor) -> Generator:
    """Return a random generator that is seeded with the bits of a tensor."""
    import torch

    bits = value.detach().double().contiguous().view(torch.int64)
    # The sum wraps around; its lowest 63 bits are a valid seed.
    return torch.Generator(device=value.device).manual_seed(int(bits.sum()) & (2**63 - 1))


def _noise(shape: tuple[int, ...], like: Tensor, generator: Generator) -> Tensor:
    """Return normal random numbers of a shape, in the dtype and on the device of a tensor."""
    import torch

    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def _sum(signals: list[Tensor]) -> Tensor | None:
    """Return the sum of signals of the same shape, one from each head; None if there are none."""
    return reduce(add, signals) if signals else None
