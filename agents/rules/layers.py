"""Linear and convolutional layers whose backward pass takes its error by a rule.

Such a layer computes forward what torch's own does. Backward, its weights take the product of input and error as ever;
what it hands to the layer below is the rule's affair. No product with transposed weights is computed that a rule does
not ask for. Without wiring (`agents.rules.wiring`) a layer is torch's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional

from agents.rules.feedback import say_nothing, transposed_weights
from agents.rules.layer_pass import LayerPass, passes_before

if TYPE_CHECKING:
    from agents.rules.wiring import RuledNetwork

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Wiring:
    """Where a layer stands.

    Attributes:
        network: to which it belongs.
        name: as in the state dictionary.
        head: its name as a head, where the network's output error arises; None for a hidden layer.
        feeds: names of the heads that it feeds, its own among them.
        below: the layer below; None for the first, which takes the network's input.
        link: modules between the layer below and this one, in order.
    """

    network: RuledNetwork
    name: str
    head: str | None
    feeds: tuple[str, ...]
    below: RuledLayer | None
    link: tuple[nn.Module, ...]

    @property
    def is_first(self) -> bool:
        """Whether it takes the network's input."""
        return self.below is None


class RuledLayer(nn.Module, ABC):
    """What linear and convolutional layers share."""

    weight: Tensor
    placed: Wiring | None = None

    @property
    def wiring(self) -> Wiring:
        """Where the layer stands.

        Raises:
            RuntimeError: it belongs to no network.
        """
        if self.placed is None:
            raise RuntimeError("the layer belongs to no network; assign_rule wires it")
        return self.placed

    def feedback_matrix(self) -> Tensor:
        """Under `fa`, the fixed numbers in the place of the transposed weights."""
        return cast(Tensor, self.feedback)

    def heard(self, head: str, error: Tensor, shape: torch.Size) -> Tensor:
        """What the cells that feed this layer hear of a head's error (batch, ..., outputs), in the given shape."""
        return (error @ cast(Tensor, getattr(self, f"feedback_{head}")).to(error.dtype)).reshape(shape)

    def draw_feedback(self, sizes: dict[str, int], inputs: int, generator: torch.Generator) -> None:
        """Draw the fixed feedback that the rule asks for, as buffers; SD 1/sqrt(numbers that a cell hears).

        Args:
            sizes: outputs of each head that this layer feeds.
            inputs: numbers in one input of this layer.
            generator: source.
        """
        wiring = self.wiring
        matrices = wiring.network.rule.matrices
        fed_by_first = wiring.network.is_fed_by_first(self)
        if wiring.is_first or matrices == "none" or (matrices == "second" and not fed_by_first):
            return
        if matrices == "layers":
            heard = self.numbers_heard()
            self._keep("feedback", tuple(self.weight.shape), heard, generator)
            return
        for head in wiring.feeds:
            self._keep(f"feedback_{head}", (sizes[head], inputs), sizes[head], generator)

    @abstractmethod
    def numbers_heard(self) -> int:
        """How many cells of this layer one cell of the layer below hears through a matrix of the weights' shape."""

    @abstractmethod
    def through(self, error: Tensor, matrix: Tensor, shape: torch.Size) -> Tensor:
        """An error at the output, carried to an input of the given shape through a matrix of the weights' shape."""

    @abstractmethod
    def spread(self, change: Tensor, weight: Tensor) -> Tensor:
        """How a change of the input changes the output, through weights."""

    def open_pass(self, value: Tensor, weight: Tensor) -> LayerPass:
        """Return a pass of this layer for an input, with the weights as they are used.

        Raises:
            ValueError: the rule cannot reach the layers below through what lies in between.
        """
        wiring = self.wiring
        network = wiring.network
        before = () if wiring.is_first else passes_before(value, network)
        if network.exact is not None:
            exact = network.exact
        elif wiring.is_first:
            exact = value.requires_grad
        else:
            exact = any(one.exact for one in before)
        if not exact and not wiring.is_first:
            self._require_reached(value, before)
        one = LayerPass(self, before, exact, weight.detach(), autocast_dtype(value))
        if network.rule.needs_links:
            one.source = value.grad_fn, value.output_nr
        for module in wiring.link:
            if module in network.conditions:
                one.conditions[self, module] = network.conditions[module]
        return one

    def _require_reached(self, value: Tensor, before: tuple[LayerPass, ...]) -> None:
        wiring = self.wiring
        rule = wiring.network.rule
        below = wiring.below
        if not before and value.requires_grad and rule.announce is not say_nothing:
            raise ValueError(
                f"layer {wiring.name} has no recorded layer before it; under rule {rule.name!r} the layers of a "
                "network must be in one graph (torch.utils.checkpoint only with use_reentrant=False)"
            )
        is_chain = len(before) == 1 and before[0].layer is below
        taken = sorted(one.layer.wiring.name for one in before)
        if before and not is_chain:
            wiring.network.off_chain[wiring.name] = taken
        if not rule.needs_links:
            return
        if not is_chain:
            raise ValueError(
                f"layer {wiring.name} takes its input from layers {taken}; under rule {rule.name!r} it must take it "
                f"from layer {below.wiring.name if below else None} alone, with a recorded graph in between"
            )
        if before[0].output_shape.numel() != value.numel():
            between = [type(module).__name__ for module in wiring.link]
            raise ValueError(
                f"layer {wiring.name} takes {tuple(value.shape)} from {tuple(before[0].output_shape)} of the layer "
                f"below, through {between}; under rule {rule.name!r} modules between layers must keep the number of "
                "cells, as activations and nn.Flatten do and pooling does not"
            )

    def _as_computed(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return input, weights and bias in the precision in which torch's own layer would use them."""
        bias = cast("Tensor | None", self.bias)
        dtype = autocast_dtype(value)
        if dtype is None:
            return value, self.weight, bias
        return _lowered(value, dtype), _lowered(self.weight, dtype), None if bias is None else _lowered(bias, dtype)

    def _anchor(self, value: Tensor) -> Tensor | None:
        """Return a tensor that has a frozen first layer recorded, where the rule reaches the others through it."""
        network = self.wiring.network
        if not network.rule.needs_links or not self.wiring.is_first or value.requires_grad:
            return None
        if not any(own.requires_grad for layer in network.layers.values() for own in layer.parameters()):
            return None
        return torch.zeros((), device=value.device, requires_grad=True)

    def _keep(self, name: str, shape: tuple[int, ...], heard: int, generator: torch.Generator) -> None:
        drawn = torch.randn(shape, generator=generator, dtype=self.weight.dtype, device=generator.device) / heard**0.5
        self.register_buffer(name, drawn.to(self.weight.device))


def autocast_dtype(value: Tensor) -> torch.dtype | None:
    """Return the dtype of autocast on the device of a tensor, None where it is off."""
    kind = value.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def _lowered(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor as autocast hands it to a layer; double precision stays."""
    return value.to(dtype) if value.is_floating_point() and value.dtype != torch.float64 else value


class RuledLinear(RuledLayer, nn.Linear):
    """`nn.Linear` under a rule."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        if self.placed is None or not torch.is_grad_enabled():
            return functional.linear(input, self.weight, self.bias)
        return _passed(_LinearPass, self, input)

    def numbers_heard(self) -> int:
        """All outputs."""
        return self.out_features

    def through(self, error: Tensor, matrix: Tensor, shape: torch.Size) -> Tensor:
        """(..., outputs) to (..., inputs)."""
        return error @ matrix

    def spread(self, change: Tensor, weight: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs), without the bias."""
        return functional.linear(change.to(weight.dtype), weight)


class RuledConv2d(RuledLayer, nn.Conv2d):
    """`nn.Conv2d` under a rule, padded with zeros or not at all."""

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, height, width), or without the batch, to the same of other sizes."""
        if self.placed is None or not torch.is_grad_enabled():
            return cast(Tensor, self._conv_forward(input, self.weight, self.bias))
        if input.dim() == 3:
            return _passed(_ConvolutionPass, self, input.unsqueeze(0)).squeeze(0)
        return _passed(_ConvolutionPass, self, input)

    def numbers_heard(self) -> int:
        """Channels of a group times the places of the kernel."""
        return self.out_channels // self.groups * self.weight[0, 0].numel()

    def gradients(
        self, error: Tensor, value: Tensor, matrix: Tensor, wanted: list[bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Those wanted of the gradients by input, weights and bias, from an error at the output and an input."""
        found = torch.ops.aten.convolution_backward(
            error, value, matrix, [self.out_channels], list(self.stride), list(cast(tuple[int, ...], self.padding)),
            list(self.dilation), False, [0, 0], self.groups, wanted,
        )  # fmt: skip
        return cast(tuple[Tensor | None, Tensor | None, Tensor | None], found)

    def through(self, error: Tensor, matrix: Tensor, shape: torch.Size) -> Tensor:
        """(batch, channels, height, width) of the output to the same of the input."""
        carried, _, _ = self.gradients(error, error.new_empty(shape), matrix, [True, False, False])
        assert carried is not None
        return carried

    def spread(self, change: Tensor, weight: Tensor) -> Tensor:
        """As `forward`, without the bias."""
        return cast(Tensor, self._conv_forward(change.to(weight.dtype), weight, None))


def _passed(function: Any, layer: RuledLayer, value: Tensor) -> Tensor:
    """Return the output of a layer, recorded with its pass."""
    value, weight, bias = layer._as_computed(value)
    one = layer.open_pass(value, weight)
    arguments = value, weight, bias, one, layer._anchor(value)
    if one.autocast is None:
        return cast(Tensor, function.apply(*arguments))
    with torch.autocast(value.device.type, enabled=False):
        return cast(Tensor, function.apply(*arguments))


def _handed_down(one: LayerPass, value: Tensor, error: Tensor, wanted: bool) -> Tensor | None:
    """Tell, where the layer is a head, and give the modulator of the layer's input where it is wanted."""
    wiring = one.layer.wiring
    network = wiring.network
    if one.exact:
        return transposed_weights(one, error) if wanted else None
    if wiring.head is not None:
        one.tell_beginnings(error)
        network.rule.announce(one, error)
    signal = network.rule.hand_down(one, error) if wanted else None
    if not one.before:
        network.record(one, value)
    one.told.clear()
    return signal


def _keep_pass(ctx: Any, one: LayerPass, value: Tensor, weight: Tensor, given: Tensor) -> Tensor:
    ctx.save_for_backward(value, weight)
    ctx.set_materialize_grads(False)
    ctx.layer_pass = one
    one.input_shape, one.output_shape = value.shape, given.shape
    return given


class _LinearPass(Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, weight: Tensor, bias: Tensor | None, one: LayerPass, anchor: Tensor | None
    ) -> Tensor:
        return _keep_pass(ctx, one, value, weight, functional.linear(value, weight, bias))

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> tuple[Tensor | None, ...]:
        (error,) = errors
        if error is None:
            return None, None, None, None, None
        value, _ = ctx.saved_tensors
        by_value, by_weight, by_bias, *_ = ctx.needs_input_grad
        one: LayerPass = ctx.layer_pass
        signal = _handed_down(one, value, error, by_value)
        if value.dim() != 2:
            value, error = value.reshape(-1, value.shape[-1]), error.reshape(-1, error.shape[-1])
        return signal, error.t() @ value if by_weight else None, error.sum(0) if by_bias else None, None, None


class _ConvolutionPass(Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, weight: Tensor, bias: Tensor | None, one: LayerPass, anchor: Tensor | None
    ) -> Tensor:
        layer = cast(RuledConv2d, one.layer)
        return _keep_pass(ctx, one, value, weight, layer._conv_forward(value, weight, bias))

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> tuple[Tensor | None, ...]:
        (error,) = errors
        if error is None:
            return None, None, None, None, None
        value, weight = ctx.saved_tensors
        by_value, by_weight, by_bias, *_ = ctx.needs_input_grad
        one: LayerPass = ctx.layer_pass
        signal = _handed_down(one, value, error, by_value)
        layer = cast(RuledConv2d, one.layer)
        _, weights, bias = layer.gradients(error, value, weight, [False, by_weight, by_bias])
        return signal, weights, bias, None, None
