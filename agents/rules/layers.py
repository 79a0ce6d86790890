"""Linear and convolutional layers whose backward pass follows a learning rule.

The forward pass is that of torch's own layer. In the backward pass, the gradient of the weights is error x input, and
the rule computes the signal for the layer below. Products with transposed weights are computed only if the rule uses
them. `agents.rules.assign.assign_rule` puts the layers of a network under a rule. Without it, they act as torch's own.

Each forward pass of a layer stores a `LayerPass` in autograd's graph. Therefore several forward passes before one
backward pass do not mix, and a layer receives exactly the errors of the heads that it fed. The steps of an update are:

1. `RuledLayer.forward` stores a new `LayerPass` (`RuledLayer.open_pass`) in the graph, by `_RuledPass`.
2. `_RuledPass.backward` calls `LayerPass.receive_error` of each layer, from the head down.
3. At a head, `LayerPass.receive_error` calls `send_error` of the rule, which may reach every earlier layer.
4. At every layer it calls `backward_signal` of the rule, and returns this modulator to the layer below.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional

from agents.rules.links import Conditions, autocast_dtype, change_through, lowered, passes_before
from agents.rules.rule import LayerRule

Tensor = torch.Tensor
# Gradients with respect to weights and bias; None where a gradient is not wanted.
Gradients = tuple[Tensor | None, Tensor | None]
# Lower bound of the divisor when a modulator is scaled to a wanted root mean square; a modulator of 0 stays 0.
SMALLEST_RMS = 1e-12
# Conditions of the modules between a layer and the layer below, by layer and module.
LinkConditions = dict[tuple["RuledLayer", nn.Module], Conditions]


@dataclass(frozen=True, eq=False)
class Place:
    """Position of a layer in its network.

    Attributes:
        network: network of the layer.
        name: name of the layer in the state dictionary.
        head: name of the head, if the layer is an output layer that receives an error; None for a hidden layer.
        feeds: names of the heads that the layer feeds; a head feeds itself.
        below: the layer below; None for the first layer, which takes the network's input.
        link: modules between the layer below and this one, in order.
    """

    network: RuledNetwork
    name: str
    head: str | None
    feeds: tuple[str, ...]
    below: RuledLayer | None
    link: tuple[nn.Module, ...]


@dataclass(eq=False, slots=True)
class LayerPass:
    """Record of one layer in one forward pass.

    Attributes:
        layer: the layer.
        before: passes of the layers of the same network that feed it; empty for a first layer.
        exact: whether the error is back-propagated instead of propagated by the rule.
        weight: weights that the layer used; under autocast, in the lower precision.
        autocast: dtype of autocast; None without autocast.
        input_shape, output_shape: shapes with the batch on the first axis.
        output: output of the layer, if the rule has the route "forward".
        conditions: conditions of the modules in the layer's link that need them.
        heads: only in a pass with an empty `before`: errors and link conditions of the heads that it feeds, in the
            present backward pass.
        received: signals that heads have sent in the present backward pass, each with the name of the head, by the id
            of the head's pass.
    """

    layer: RuledLayer
    before: tuple[LayerPass, ...]
    exact: bool
    weight: Tensor
    autocast: torch.dtype | None = None
    input_shape: torch.Size = field(default_factory=torch.Size)
    output_shape: torch.Size = field(default_factory=torch.Size)
    output: Tensor | None = None
    conditions: LinkConditions = field(default_factory=dict)
    heads: dict[str, tuple[Tensor, LinkConditions]] = field(default_factory=dict)
    received: dict[int, tuple[str, Tensor]] = field(default_factory=dict)

    def upstream(self) -> Iterator[LayerPass]:
        """Yield this pass, then all earlier passes that feed it, directly or through others."""
        known, waiting = {id(self)}, [self]
        while waiting:
            layer_pass = waiting.pop()
            yield layer_pass
            for earlier in layer_pass.before:
                if id(earlier) not in known:
                    known.add(id(earlier))
                    waiting.append(earlier)

    def exact_signal(self, error: Tensor) -> Tensor:
        """Return an error at the output times the weights, in the shape of the input."""
        return self.layer.through(error, self.weight, self.input_shape)

    def input_change(self, below: LayerPass, change: Tensor) -> Tensor:
        """Return the change of this layer's input for a change of the output of the layer below."""
        assert below.output is not None
        link = self.layer.place.link
        conditions = [self.conditions.get((self.layer, module)) for module in link]
        with torch.autocast(change.device.type, self.autocast, enabled=self.autocast is not None):
            return change_through(link, conditions, below.output, change)

    def receive_error(self, error: Tensor, value: Tensor, signal_wanted: bool) -> Tensor | None:
        """Handle the error at the layer's output in a backward pass.

        A head sends its error by the rule. The lowest layer records the errors that reached it in the network.

        Args:
            error: error in the shape of the output.
            value: the layer's input.
            signal_wanted: whether the layer below needs a signal.

        Returns:
            The modulator of the cells that feed the layer, in the shape of its input; None if there is none.
        """
        if self.exact:
            return self.exact_signal(error) if signal_wanted else None
        network = self.layer.place.network
        rule = network.rule
        if self.layer.place.head is not None:
            self._remember_error(error)
            if rule.route != "backward":
                rule.send_error(self, error)
        signal: Tensor | None = rule.backward_signal(self, error) if signal_wanted else None
        if signal is not None and network.modulator_rms is not None:
            signal = signal * (network.modulator_rms / max(_rms(signal), SMALLEST_RMS))
        if not self.before:
            network.record(self, value)
        self.received.clear()
        return signal

    def _remember_error(self, error: Tensor) -> None:
        """Store the error of this head in the lowest passes that feed it."""
        conditions: LinkConditions = {}
        lowest = []
        for layer_pass in self.upstream():
            conditions |= layer_pass.conditions
            if not layer_pass.before:
                lowest.append(layer_pass)
        for layer_pass in lowest:
            layer_pass.heads[self.layer.place.head or ""] = error, conditions


@dataclass(frozen=True, eq=False)
class BackwardRecord:
    """Record of a backward pass by the rule, used by `agents.rules.assign`.

    Attributes:
        layer: lowest layer that the backward pass reached, the first one that is not frozen.
        value: input of this layer.
        autocast: dtype of autocast; None without autocast.
        heads: by head, the error at its output and the conditions of the modules between `layer` and the head.
    """

    layer: RuledLayer
    value: Tensor
    autocast: torch.dtype | None
    heads: dict[str, tuple[Tensor, LinkConditions]]


@dataclass(eq=False)
class RuledNetwork:
    """Network whose layers are under one rule.

    Attributes:
        rule: the learning rule.
        chains: modules from the network's input to each head in forward order, by name of head. The last layer is the
            head.
        exact: treatment of the errors of the next forward passes: True to back-propagate them, False to follow the
            rule, None to back-propagate them if the network's input requires a gradient.
        records: records of the latest backward pass by the rule.
        conditions: conditions of the latest forward pass, for each module that needs them.
        off_chain: names of the layers from which a layer's input came, by layer, for layers whose input did not come
            from the layer below in their chain alone.
        modulator_rms: root mean square to which the modulator of every layer is scaled; None to leave modulators as the
            rule computes them. A modulator of 0 stays 0.
    """

    rule: LayerRule
    chains: dict[str, tuple[nn.Module, ...]]
    exact: bool | None = None
    records: tuple[BackwardRecord, ...] = ()
    conditions: dict[nn.Module, Conditions] = field(default_factory=dict)
    off_chain: dict[str, list[str]] = field(default_factory=dict)
    modulator_rms: float | None = None

    @property
    def layers(self) -> dict[str, RuledLayer]:
        """Return the layers by name, chain by chain, each from first layer to head."""
        return {layer.place.name: layer for chain in self.chains.values() for layer in layers_of(chain)}

    def record(self, lowest: LayerPass, value: Tensor) -> None:
        """Record the errors that reached a lowest pass; replace earlier records of the same layer or heads."""
        if lowest.heads:
            retained = (
                record
                for record in self.records
                if record.layer is not lowest.layer and not record.heads.keys() & lowest.heads
            )
            new_record = BackwardRecord(lowest.layer, value.detach(), lowest.autocast, dict(lowest.heads))
            self.records = (*retained, new_record)
            lowest.heads.clear()

    @contextmanager
    def updating_feedback(self) -> Iterator[None]:
        """Update the feedback by the weight changes made in the `with` block, if the rule modifies feedback."""
        before = self._weights()
        yield
        self._update_feedback(before)

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the feedback after every step of an optimiser, if the rule modifies feedback."""
        if "feedback" in self.rule.modifies:
            before: dict[RuledLayer, Tensor] = {}
            optimizer.register_step_pre_hook(lambda *_: before.update(self._weights()))
            optimizer.register_step_post_hook(lambda *_: self._update_feedback(before))

    def _weights(self) -> dict[RuledLayer, Tensor]:
        if "feedback" not in self.rule.modifies:
            return {}
        return {layer: layer.weight.detach().clone() for layer in self.layers.values()}

    def _update_feedback(self, before: Mapping[RuledLayer, Tensor]) -> None:
        with torch.no_grad():
            for layer, weight in before.items():
                change = layer.weight - weight
                if bool(change.any()):
                    self.rule.update_feedback(layer, change)

    @contextmanager
    def exact_errors(self, exact: bool | None = True) -> Iterator[None]:
        """Set `exact` for the forward passes in the `with` block."""
        before, self.exact = self.exact, exact
        try:
            yield
        finally:
            self.exact = before


class RuledLayer(nn.Module, ABC):
    """Base class of linear and convolutional layers under a rule."""

    weight: Tensor
    placed: Place | None = None

    @property
    def place(self) -> Place:
        """Return the layer's position in its network.

        Raises:
            RuntimeError: the layer belongs to no network.
        """
        if self.placed is None:
            raise RuntimeError(
                "expected a layer of a network under a rule (see assign_rule), got one without a network"
            )
        return self.placed

    def feedback_matrix(self) -> Tensor:
        """Return the feedback matrix in the shape of the weights, under a rule whose `feedback` is "layers"."""
        return cast(Tensor, self.feedback)

    def broadcast(self, head: str, error: Tensor, shape: torch.Size) -> Tensor:
        """Return a head's error (batch, ..., outputs) times the feedback matrix for that head, in the input's shape."""
        return (error @ cast(Tensor, getattr(self, f"feedback_{head}")).to(error.dtype)).reshape(shape)

    @abstractmethod
    def fan_back(self) -> int:
        """Return the number of cells of this layer that one cell below receives feedback from.

        This holds for feedback through a matrix in the shape of the weights.
        """

    @abstractmethod
    def through(self, error: Tensor, matrix: Tensor, shape: torch.Size) -> Tensor:
        """Return an error at the output times a matrix in the weights' shape; `shape` is the shape of the input."""

    @abstractmethod
    def output(self, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the output for an input and weights; without bias, also the change for a change of the input."""

    @abstractmethod
    def take_step(self, value: Tensor, weight_step: Tensor | None, bias_step: Tensor, share: float) -> None:
        """Change weights and biases so that the drive of the cells changes by a share of their modulator times slope.

        Let x be the input of a kernel and d the modulator times slope, at each position of the kernel. The step
        dW = sum d x^T and db = sum d, summed over positions, changes the drives by y = dW x + db. Dividing the step by
        p = |y|^2 / <d, y> = |y|^2 / (|dW|^2 + |db|^2) minimises |d - y / p|^2. A linear layer has one position, with
        y = (1 + |x|^2) d, so that p = 1 + |x|^2 and y / p = d. A kernel cannot satisfy different modulators at
        positions with equal inputs; their common part is counted once.

        Error learners call this method under `torch.no_grad`. Optimisers of other algorithms take their own steps.

        Args:
            value: input (1, ...) of the layer.
            weight_step, bias_step: gradients by the rule, in the shapes of weights and biases, not all 0. A linear
                layer does not need `weight_step`, which is d x^T.
            share: share of the modulators.
        """

    @abstractmethod
    def gradients(self, error: Tensor, value: Tensor, weight: Tensor, wanted: list[bool]) -> Gradients:
        """Return the gradients with respect to weights and bias; None where `wanted` is False."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the output of torch's own layer; with gradients enabled, the backward pass follows the rule."""
        bias = cast("Tensor | None", self.bias)
        if self.placed is None or not torch.is_grad_enabled():
            return self.output(input, self.weight, bias)
        weight, dtype = self.weight, autocast_dtype(input)
        if dtype is not None:
            input, weight = lowered(input, dtype), lowered(weight, dtype)
            bias = None if bias is None else lowered(bias, dtype)
        layer_pass = self.open_pass(input, weight, dtype)
        with nullcontext() if dtype is None else torch.autocast(input.device.type, enabled=False):
            output = _RuledPass.apply(input, weight, bias, layer_pass, self._anchor(input))  # type: ignore[no-untyped-call]
        return cast(Tensor, output)

    def _anchor(self, value: Tensor) -> Tensor | None:
        """Return a dummy input that makes autograd record a frozen first layer, if the rule needs that; else None."""
        network = self.place.network
        if network.rule.route != "forward" or self.place.below is not None or value.requires_grad:
            return None
        if not any(parameter.requires_grad for layer in network.layers.values() for parameter in layer.parameters()):
            return None
        return torch.zeros((), device=value.device, requires_grad=True)

    def open_pass(self, value: Tensor, weight: Tensor, autocast: torch.dtype | None) -> LayerPass:
        """Return a new pass of this layer for an input, the weights in use and the dtype of autocast.

        Raises:
            ValueError: the rule cannot send the error to the layers below.
        """
        place = self.place
        network = place.network
        is_first = place.below is None
        before = () if is_first else passes_before(value, network)
        if network.exact is not None:
            exact = network.exact
        elif is_first:
            exact = value.requires_grad
        else:
            exact = any(earlier.exact for earlier in before)
        if not exact and not is_first:
            self._require_reached(value, before)
        layer_pass = LayerPass(self, before, exact, weight.detach(), autocast)
        for module in place.link:
            if module in network.conditions:
                layer_pass.conditions[self, module] = network.conditions[module]
        return layer_pass

    def _require_reached(self, value: Tensor, before: tuple[LayerPass, ...]) -> None:
        place = self.place
        rule = place.network.rule
        below = place.below
        if not before and value.requires_grad and rule.route != "backward":
            raise ValueError(
                f"expected a recorded layer before layer {place.name}, got none; under rule {rule.name!r} the layers "
                "of a network must be in one graph (torch.utils.checkpoint only with use_reentrant=False)"
            )
        is_chain = len(before) == 1 and before[0].layer is below
        taken = sorted(earlier.layer.place.name for earlier in before)
        if before and not is_chain:
            place.network.off_chain[place.name] = taken
        if rule.route != "forward":
            return
        if not is_chain:
            raise ValueError(
                f"expected the input of layer {place.name} from layer {below.place.name if below else None} alone, "
                f"with a recorded graph in between, as rule {rule.name!r} requires, got it from layers {taken}"
            )
        if before[0].output_shape.numel() != value.numel():
            between = [type(module).__name__ for module in place.link]
            raise ValueError(
                f"expected modules before layer {place.name} that keep the number of cells, as activations and "
                f"nn.Flatten do and rule {rule.name!r} requires, got {between} from {tuple(before[0].output_shape)} to "
                f"{tuple(value.shape)}"
            )


class RuledLinear(RuledLayer, nn.Linear):
    """`nn.Linear` under a rule."""

    def fan_back(self) -> int:
        """Return the number of outputs."""
        return self.out_features

    def through(self, error: Tensor, matrix: Tensor, shape: torch.Size) -> Tensor:
        """Return (..., inputs) for (..., outputs)."""
        return error @ matrix

    def output(self, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return (..., outputs) for (..., inputs)."""
        return functional.linear(value, weight, bias)

    def take_step(self, value: Tensor, weight_step: Tensor | None, bias_step: Tensor, share: float) -> None:
        """Change weights and biases by share x d times the rule's `normalised_input`."""
        normalised, of_bias = self.place.network.rule.normalised_input(self, value[0])
        assert self.bias is not None
        self.weight.addr_(bias_step, normalised, alpha=share)
        self.bias.add_(bias_step, alpha=share * of_bias)

    def gradients(self, error: Tensor, value: Tensor, weight: Tensor, wanted: list[bool]) -> Gradients:
        """Return the gradients with respect to weights and bias, summed over the batch."""
        if value.dim() != 2:
            value, error = value.reshape(-1, value.shape[-1]), error.reshape(-1, error.shape[-1])
        return error.t() @ value if wanted[0] else None, error.sum(0) if wanted[1] else None


class RuledConv2d(RuledLayer, nn.Conv2d):
    """`nn.Conv2d` under a rule, padded with zeros or not at all."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the output for an input, both (batch, channels, height, width); the batch axis may be missing."""
        return super().forward(input[None])[0] if input.dim() == 3 else super().forward(input)

    def fan_back(self) -> int:
        """Return the number of output channels per group times the size of the kernel."""
        return self.out_channels // self.groups * self.weight[0, 0].numel()

    def through(self, error: Tensor, matrix: Tensor, shape: torch.Size) -> Tensor:
        """Return (batch, channels, height, width) at the input for an error of this form at the output."""
        return cast(Tensor, self._convolution_backward(error, error.new_empty(shape), matrix, [True, False, False])[0])

    def output(self, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the convolution."""
        return cast(Tensor, self._conv_forward(value, weight, bias))

    def take_step(self, value: Tensor, weight_step: Tensor | None, bias_step: Tensor, share: float) -> None:
        """Change weights and biases by share x step / p, with p as in `RuledLayer.take_step`."""
        assert weight_step is not None
        assert self.bias is not None
        change = self.output(value, weight_step, bias_step)
        power = float(change.square().sum() / (weight_step.square().sum() + bias_step.square().sum()))
        self.weight.add_(weight_step, alpha=share / power)
        self.bias.add_(bias_step, alpha=share / power)

    def gradients(self, error: Tensor, value: Tensor, weight: Tensor, wanted: list[bool]) -> Gradients:
        """Return the gradients with respect to kernels and bias, summed over batch and positions."""
        _, by_weight, by_bias = self._convolution_backward(error, value, weight, [False, *wanted])
        return by_weight, by_bias

    def _convolution_backward(self, error: Tensor, value: Tensor, weight: Tensor, wanted: list[bool]) -> Any:
        """Return the gradients with respect to input, kernels and bias."""
        return torch.ops.aten.convolution_backward(
            error, value, weight, [self.out_channels], list(self.stride), list(cast(tuple[int, ...], self.padding)),
            list(self.dilation), False, [0, 0], self.groups, wanted,
        )  # fmt: skip


class _RuledPass(Function):
    """A layer's forward and backward pass in autograd's graph; the backward pass follows the rule."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, weight: Tensor, bias: Tensor | None, layer_pass: LayerPass, anchor: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(value, weight)
        ctx.set_materialize_grads(False)
        ctx.layer_pass = layer_pass
        output = layer_pass.layer.output(value, weight, bias)
        layer_pass.input_shape, layer_pass.output_shape = value.shape, output.shape
        if layer_pass.layer.place.network.rule.route == "forward":
            # A copy, because the next module may work in place.
            layer_pass.output = output.detach().clone()
        return output

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> tuple[Tensor | None, ...]:
        (error,) = errors
        if error is None:
            return None, None, None, None, None
        value, weight = ctx.saved_tensors
        by_value, *by_parameters, _, _ = ctx.needs_input_grad
        signal = ctx.layer_pass.receive_error(error, value, by_value)
        return signal, *ctx.layer_pass.layer.gradients(error, value, weight, by_parameters), None, None


def _rms(value: Tensor) -> float:
    """Return the root mean square of a tensor."""
    return float(torch.linalg.vector_norm(value)) / math.sqrt(value.numel())


def layers_of(chain: tuple[nn.Module, ...]) -> list[RuledLayer]:
    """Return those modules of a chain that are layers under a rule."""
    return [module for module in chain if isinstance(module, RuledLayer)]
