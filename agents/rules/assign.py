"""Put the layers of a network under a rule.

A network is one or more chains of modules, each from the first layer to a head. Chains may share their first layers, as
an actor and a critic share a trunk. A layer receives the errors of the heads that it feeds.

`alignment_degrees` computes the angle between a rule's step of a layer's weights and the gradient. Below 90 degrees, a
small step by the rule reduces the error (Lillicrap et al. 2016, Nature Communications 7:13276).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from agents.rules.layers import (
    BackwardRecord,
    Place,
    RuledConv2d,
    RuledLayer,
    RuledLinear,
    RuledNetwork,
    layers_of,
)
from agents.rules.links import conditions_of, keep_random_states, needs_conditions, passes_before, recompute
from agents.rules.registry import RULES, rule_for
from agents.rules.rule import LayerRule

Modules = Sequence[nn.Module]
# From torch's layers to their classes under a rule.
KINDS: dict[type[nn.Module], type[RuledLayer]] = {nn.Linear: RuledLinear, nn.Conv2d: RuledConv2d}


def assign_rule(
    root: nn.Module,
    rule: str | LayerRule,
    chains: Mapping[str, Modules],
    *,
    generator: torch.Generator | None = None,
    example: torch.Tensor | None = None,
    updates_feedback: bool = False,
) -> list[RuledNetwork]:
    """Put the layers of `chains` under a rule, in place.

    Linear and convolutional layers stay the same objects, with their weights, hooks and modes; only their class changes
    to the corresponding one of `agents.rules.layers`. Feedback weights are stored as their buffers, `feedback` or
    `feedback_<head>`. They are therefore part of the state dictionary, and have the device and precision of the
    weights.

    Args:
        root: the module that holds all layers.
        rule: a rule for layers, or its name in `agents.rules.RULES`.
        chains: by name of head, the modules from input to head in forward order; an `nn.Sequential` is replaced by its
            modules. The last layer of a chain is the head.
        generator: generator of the feedback; None for torch's default one.
        example: an input (1, ...) of the chains, needed where a convolution follows a layer. The forward pass with it
            leaves random generators and buffers unchanged.
        updates_feedback: whether the caller changes weights inside `RuledNetwork.updating_feedback`, or calls
            `RuledNetwork.follow` with its optimiser. A rule that modifies feedback needs this.

    Returns:
        The networks. Chains with the same first layer belong to the same network.

    Raises:
        ValueError: the rule is unknown, or its feedback is not updated by the caller; `chains` is not a mapping; a
            chain has no layers, a layer twice, or modules that no rule covers; a head feeds further layers; chains meet
            after different first layers; or the example is missing.
    """
    rule = cast(LayerRule, rule_for(rule, "layers") if isinstance(rule, str) else rule)
    if "feedback" in rule.modifies and not updates_feedback:
        fixed = [other.name for other in RULES.values() if other.cells == "layers" and "feedback" not in other.modifies]
        raise ValueError(
            f"updates_feedback: expected True for rule {rule.name!r}, which changes its feedback with the weights, got "
            f"False; call RuledNetwork.follow with the optimiser, or use one of {fixed}"
        )
    if not isinstance(chains, Mapping):
        raise ValueError(f'chains: expected a mapping such as {{"head": network}}, got {type(chains).__name__}')
    generator = generator or torch.default_generator
    flat = {head: tuple(chain_of(chain)) for head, chain in chains.items()}
    names = {id(module): name for name, module in root.named_modules()}
    for head, chain in flat.items():
        _require_covered(head, chain, names)
    for chain in flat.values():
        for module in chain:
            if type(module) in KINDS:
                # Changing the class keeps the object with its hooks, references and shared parameters.
                module.__class__ = KINDS[type(module)]
    feeds: dict[int, list[str]] = {}
    for head, chain in flat.items():
        for layer in layers_of(chain):
            feeds.setdefault(id(layer), []).append(head)
    networks: dict[int, RuledNetwork] = {}
    for head, chain in flat.items():
        layers = layers_of(chain)
        network = networks.setdefault(id(layers[0]), RuledNetwork(rule, {}))
        network.chains[head] = chain
        below: RuledLayer | None = None
        for layer, link in layers_with_links(chain):
            is_head = layer is layers[-1]
            if is_head and len(feeds[id(layer)]) > 1:
                raise ValueError(f"head {head!r}: expected to feed no other head, got {feeds[id(layer)]}")
            place = Place(network, names[id(layer)], head if is_head else None, tuple(feeds[id(layer)]), below, link)
            if layer.placed is not None and layer.placed.network is not network:
                raise ValueError(f"layer {place.name}: expected one first layer for all its chains, got several")
            layer.placed = place
            below = layer
    for network in networks.values():
        _record_conditions(network)
        for layer in network.layers.values():
            rule.prepare(layer)
        _draw_feedback(network, generator, example)
    return list(networks.values())


def chain_of(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Return modules in forward order, with each `nn.Sequential` replaced by its modules."""
    return [
        inner
        for module in modules
        for inner in (chain_of(list(module)) if isinstance(module, nn.Sequential) else [module])
    ]


def layers_with_links(chain: Modules) -> Iterator[tuple[RuledLayer, tuple[nn.Module, ...]]]:
    """Yield each layer with the modules that lie between the layer below, or the input, and this layer."""
    link: list[nn.Module] = []
    for module in chain:
        if isinstance(module, RuledLayer):
            yield module, tuple(link)
            link = []
        else:
            link.append(module)


def _require_covered(head: str, chain: Modules, names: dict[int, str]) -> None:
    """Check that the rules cover the modules of a chain."""
    layers = [module for module in chain if isinstance(module, nn.Linear | nn.Conv2d)]
    if not layers:
        raise ValueError(f"chain {head!r}: expected an nn.Linear or nn.Conv2d, got none")
    for module in chain:
        name, kind = names.get(id(module), ""), type(module)
        parameters = sorted(parameter for parameter, _ in module.named_parameters())
        padding = getattr(module, "padding_mode", "zeros"), getattr(module, "padding", 0)
        checks: list[tuple[bool, str, object]] = [
            (
                not parameters,
                "nn.Linear, nn.Conv2d or a module without parameters",
                f"{kind.__name__} with {parameters}",
            )
        ]
        if module in layers:
            checks = [
                (bool(name), "a layer that the root module holds", module),
                (layers.count(module) == 1, "each layer once", f"it {layers.count(module)} times"),
                # Under a rule, a layer has a forward pass of its own, so parametrised layers are not covered.
                (
                    kind in KINDS or isinstance(module, RuledLayer),
                    "nn.Linear or nn.Conv2d itself, without parametrizations",
                    kind.__name__,
                ),
                ("forward" not in vars(module), "the forward method of its class", "one set on the object"),
                (
                    parameters in (["weight"], ["bias", "weight"]),
                    "parameters weight and bias, without weight normalisation, spectral normalisation or pruning",
                    parameters,
                ),
                (padding[0] == "zeros" and not isinstance(padding[1], str), "padding by a number of zeros", module),
            ]
        for is_valid, expected, got in checks:
            if not is_valid:
                raise ValueError(f"layer {name} in chain {head!r}: expected {expected}, got {got}")


def _record_conditions(network: RuledNetwork) -> None:
    """Register hooks that record the conditions of each forward pass, on modules between layers that need it."""
    between = {module for layer in network.layers.values() for module in layer.place.link}
    for module in between:
        if needs_conditions(module):
            module.register_forward_pre_hook(partial(_record, network))


def _record(network: RuledNetwork, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    if torch.is_grad_enabled():
        network.conditions[module] = conditions_of(module, inputs[0])


def _draw_feedback(network: RuledNetwork, generator: torch.Generator, example: torch.Tensor | None) -> None:
    """Draw the feedback of every layer and register it as buffers, the lower layers of each chain first.

    The SD is 1/sqrt(n), where n is the number of values that a cell receives through a feedback matrix.
    """
    inputs = _input_sizes(network, example)
    outputs: dict[str, int] = {}
    for head, chain in network.chains.items():
        last = layers_of(chain)[-1]
        if not isinstance(last, RuledLinear):
            raise ValueError(f"head {head!r}: expected a linear layer, got {type(last).__name__}")
        outputs[head] = last.out_features
    feedback = network.rule.feedback
    for name, layer in network.layers.items():
        below = layer.place.below
        if below is None or feedback == "none" or (feedback == "second" and below.place.below is not None):
            continue
        if feedback == "layers":
            _draw(layer, "feedback", tuple(layer.weight.shape), layer.fan_back(), generator)
        else:
            for head in layer.place.feeds:
                _draw(layer, f"feedback_{head}", (outputs[head], inputs[name]), outputs[head], generator)


def _draw(layer: RuledLayer, name: str, shape: tuple[int, ...], fan_in: int, generator: torch.Generator) -> None:
    dtype = layer.weight.dtype
    matrix = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device) / fan_in**0.5
    layer.register_buffer(name, matrix.to(layer.weight.device))


def _input_sizes(network: RuledNetwork, example: torch.Tensor | None) -> dict[str, int]:
    """Return the size of one input of each layer, if the feedback needs it or the example shows it."""
    sizes: dict[str, int] = {}
    for chain in network.chains.values():
        value = None if example is None else example.to(layers_of(chain)[0].weight.device)
        for module in chain:
            if isinstance(module, RuledLayer):
                needs_size = module.place.below is not None and network.rule.feedback in ("heads", "second")
                if value is not None:
                    sizes[module.place.name] = value[0].numel()
                elif isinstance(module, RuledConv2d) and needs_size:
                    raise ValueError(
                        f"example: expected an input (1, ...), which shows the size of the input of layer "
                        f"{module.place.name}, got None"
                    )
                if isinstance(module, RuledLinear):
                    sizes[module.place.name] = module.in_features
            if value is not None:
                # Run a copy, so that the module's buffers and mode do not change; `forward` calls no hooks.
                acting = module if isinstance(module, RuledLayer) else copy.deepcopy(module).eval()
                with torch.no_grad(), keep_random_states(value.device):
                    value = acting.forward(value)
    return sizes


def alignment_degrees(networks: Iterable[RuledNetwork]) -> dict[str, float]:
    """Return the angle between the rule's step and the gradient of each layer, for the latest backward pass.

    The forward pass is computed again with the present weights and the input, random numbers and modes of that pass.
    The rule's step and the gradient are both computed from it, for the output errors of that pass. Gradients, buffers
    and generators are not changed.

    Args:
        networks: result of `assign_rule`.

    Returns:
        Degrees, 0..180, by name, for every hidden layer whose weights the rule changed; empty before a backward pass.
        Heads are left out, because every rule gives them the error itself.

    Raises:
        ValueError: the input of a layer did not come from the preceding layer of its chain alone.
    """
    angles: dict[str, float] = {}
    for network in networks:
        hidden = {name: layer for name, layer in network.layers.items() if layer.place.head is None}
        hidden = {name: layer for name, layer in hidden.items() if layer.weight.requires_grad}
        for name, taken in network.off_chain.items():
            raise ValueError(
                f"expected the input of layer {name} from the layer before it in its chain alone, since "
                f"alignment_degrees computes a chain again, got it from layers {taken}"
            )
        records = network.records
        for record in records if hidden else ():
            by_rule, exact = _steps(network, record, list(hidden.values()))
            for (name, layer), step, gradient in zip(hidden.items(), by_rule, exact, strict=True):
                if step[0] is None or gradient[0] is None:
                    continue
                angle = degrees_between(network.rule.weight_direction(layer, *step), gradient[0])
                if angle is not None:
                    angles[name] = angle
        network.records = records
    return angles


def degrees_between(step: Any, gradient: Any) -> float | None:
    """Return the angle in degrees between two arrays or tensors of the same shape; None if one of them is 0."""
    length = math.sqrt(float((step * step).sum()) * float((gradient * gradient).sum()))
    if length == 0.0:
        return None
    # Rounding may put a cosine a little outside -1..1.
    return math.degrees(math.acos(max(-1.0, min(1.0, float((step * gradient).sum()) / length))))


def _steps(
    network: RuledNetwork, record: BackwardRecord, layers: list[RuledLayer]
) -> list[list[tuple[torch.Tensor | None, torch.Tensor | None]]]:
    """Return the gradients of each layer's weights and biases by the rule, then the exact ones; None where none is."""
    parameters = {
        (layer, name): parameter for layer in layers for name, parameter in layer.named_parameters(recurse=False)
    }
    parameters = {key: parameter for key, parameter in parameters.items() if parameter.requires_grad}
    device = record.value.device
    autocast = torch.autocast(device.type, record.autocast, enabled=record.autocast is not None)
    with torch.enable_grad(), network.exact_errors(False), keep_random_states(device), autocast:
        outputs = [_output(network, record, head) for head in record.heads]
    errors = [error for error, _ in record.heads.values()]
    steps: list[list[tuple[torch.Tensor | None, torch.Tensor | None]]] = []
    for exact in (False, True):
        for output in outputs:
            for last in passes_before(output, network):
                for layer_pass in last.upstream():
                    layer_pass.exact = exact
        gradients = torch.autograd.grad(
            outputs, list(parameters.values()), errors, retain_graph=True, allow_unused=True
        )
        by_name = dict(zip(parameters, gradients, strict=True))
        steps.append([(by_name.get((layer, "weight")), by_name.get((layer, "bias"))) for layer in layers])
    return steps


def _output(network: RuledNetwork, record: BackwardRecord, head: str) -> torch.Tensor:
    """Return the output of a head, computed again from the recorded input."""
    value = record.value
    _, conditions = record.heads[head]
    has_begun = False
    for layer, link in layers_with_links(network.chains[head]):
        if has_begun:
            for module in link:
                value = recompute(module, value, conditions.get((layer, module)))
        has_begun = has_begun or layer is record.layer
        if has_begun:
            value = layer(value)
    return value
