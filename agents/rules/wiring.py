"""Putting a network of layers under a rule, and the network as the rule sees it.

A network is one or more chains of modules, each from the first layer to a head; chains may share their beginning, as
an actor and a critic share a trunk. A layer hears the heads that it feeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from agents.rules.feedback import FeedbackRule, feedback_rule
from agents.rules.layers import RuledConv2d, RuledLayer, RuledLinear, Wiring

Modules = Sequence[nn.Module]


@dataclass(eq=False)
class RuledNetwork:
    """Layers under one rule.

    Attributes:
        rule: how the error reaches them.
        chains: modules by the name of the head in which they end, the head the last layer among them.
        exact: True lets errors travel exactly in the passes that begin now, False by the rule; None decides by whether
            the network's input requires a gradient: that gradient is exact.
        last_input: of the latest backward pass by the rule.
        last_error: at each head's output in that pass.
    """

    rule: FeedbackRule
    chains: dict[str, tuple[nn.Module, ...]]
    exact: bool | None = None
    last_input: torch.Tensor | None = None
    last_error: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, RuledLayer]:
        """Layers by name, each chain from first to head."""
        return {one.wiring.name: one for chain in self.chains.values() for one in _layers(chain)}

    def layers_of(self, head: str) -> list[RuledLayer]:
        """Layers from the first to a head."""
        return _layers(self.chains[head])

    def is_fed_by_first(self, layer: RuledLayer) -> bool:
        """Whether the layer below is a network's first."""
        chains = (_layers(chain) for chain in self.chains.values())
        return any(above is layer and below is chain[0] for chain in chains for below, above in pairwise(chain))

    @contextmanager
    def errors_travel_exactly(self, exact: bool | None = True) -> Iterator[None]:
        """Set `exact` for the passes that begin inside."""
        before, self.exact = self.exact, exact
        try:
            yield
        finally:
            self.exact = before


def assign_rule(
    root: nn.Module,
    rule: str,
    chains: Mapping[str, Modules],
    *,
    generator: torch.Generator | None = None,
    example: torch.Tensor | None = None,
) -> list[RuledNetwork]:
    """Put the layers of `chains` under a rule, in place; their weights stay the same tensors.

    Linear and convolutional layers of `root` are replaced by their kind in `agents.rules.layers`; fixed feedback
    becomes their buffers, `feedback` or `feedback_<head>`, and so part of the state dictionary.

    Args:
        root: the module that holds all layers.
        rule: one of `FEEDBACK_RULES`.
        chains: by name of head, the modules from input to head, in the order in which they act; `nn.Sequential` counts
            as what it holds. The last layer of a chain is the head.
        generator: of the feedback; None draws from torch's own.
        example: an input (1, ...) of the chains, needed where a convolution follows a layer.

    Returns:
        The networks: chains with the same first layer belong to one.

    Raises:
        ValueError: an unknown rule, a chain without layers, modules with parameters that no rule covers, a head that
            feeds further layers, chains that meet after other beginnings, or a missing example.
    """
    known = feedback_rule(rule)
    generator = generator or torch.default_generator
    flat = {head: _flat(chain) for head, chain in chains.items()}
    for head, chain in flat.items():
        _require_covered(head, chain)
    names = {id(module): name for name, module in root.named_modules()}
    replaced: dict[int, RuledLayer] = {}
    for head, chain in flat.items():
        flat[head] = [_replaced(root, module, names, replaced) for module in chain]
    feeds: dict[int, list[str]] = {}
    for head, chain in flat.items():
        for layer in _layers(chain):
            feeds.setdefault(id(layer), []).append(head)
    networks: dict[int, RuledNetwork] = {}
    for head, chain in flat.items():
        first = _layers(chain)[0]
        network = networks.setdefault(id(first), RuledNetwork(known, {}))
        network.chains[head] = tuple(chain)
        for layer, link in _with_links(chain):
            is_head = layer is _layers(chain)[-1]
            if is_head and len(feeds[id(layer)]) > 1:
                raise ValueError(f"head {head!r} also feeds {feeds[id(layer)]}; a layer of its own is allowed")
            wiring = Wiring(
                network, names[id(layer)], head if is_head else None, tuple(feeds[id(layer)]), layer is first, link
            )
            if layer.placed is not None and layer.placed.network is not network:
                raise ValueError(f"layer {wiring.name} is in chains with other first layers; one network is allowed")
            layer.placed = wiring
    for network in networks.values():
        _draw(network, generator, example)
    return list(networks.values())


def _flat(modules: Modules) -> list[nn.Module]:
    return [
        inner
        for module in modules
        for inner in (_flat(list(module)) if isinstance(module, nn.Sequential) else [module])
    ]


def _layers(chain: Modules) -> list[RuledLayer]:
    return [module for module in chain if isinstance(module, RuledLayer)]


def _with_links(chain: Modules) -> Iterator[tuple[RuledLayer, tuple[nn.Module, ...]]]:
    link: list[nn.Module] = []
    for module in chain:
        if isinstance(module, RuledLayer):
            yield module, tuple(link)
            link = []
        else:
            link.append(module)


def _require_covered(head: str, chain: Modules) -> None:
    layers = [module for module in chain if isinstance(module, nn.Linear | nn.Conv2d)]
    if not layers:
        raise ValueError(f"chain {head!r} holds no layer; at least one nn.Linear or nn.Conv2d is allowed")
    for module in chain:
        if isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
            raise ValueError(f"chain {head!r} holds {module}; padding by a number of zeros is allowed")
        if module not in layers and any(True for _ in module.parameters()):
            raise ValueError(
                f"chain {head!r} holds {type(module).__name__} with parameters; nn.Linear, nn.Conv2d, nn.Sequential of "
                "them, and modules without parameters are allowed"
            )


def _replaced(root: nn.Module, module: nn.Module, names: dict[int, str], replaced: dict[int, RuledLayer]) -> nn.Module:
    """The module itself, or in the place of a layer its kind under a rule, with the same parameters."""
    if id(module) in replaced:
        return replaced[id(module)]
    if isinstance(module, RuledLayer) or not isinstance(module, nn.Linear | nn.Conv2d):
        return module
    if id(module) not in names or not names[id(module)]:
        raise ValueError(f"layer {module} is not held by the root module; layers of the root are allowed")
    with_bias = module.bias is not None
    layer: RuledLayer
    # On the meta device nothing is drawn: torch's generator stays where it is.
    if isinstance(module, nn.Linear):
        layer = RuledLinear(module.in_features, module.out_features, with_bias, device="meta")
    else:
        same = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        arguments: dict[str, Any] = {name: getattr(module, name) for name in same}
        layer = RuledConv2d(**arguments, bias=with_bias, device="meta")
    for parameter in ("weight", "bias"):
        setattr(layer, parameter, getattr(module, parameter))
    layer.train(module.training)
    name = names[id(module)]
    owner, _, attribute = name.rpartition(".")
    setattr(root.get_submodule(owner), attribute, layer)
    replaced[id(module)], names[id(layer)] = layer, name
    return layer


def _draw(network: RuledNetwork, generator: torch.Generator, example: torch.Tensor | None) -> None:
    """Draw the feedback of every layer; the lower layers of each chain first."""
    inputs = _input_sizes(network, example)
    sizes = {head: _outputs(_layers(chain)[-1]) for head, chain in network.chains.items()}
    for name, layer in network.layers.items():
        layer.draw_feedback({head: sizes[head] for head in layer.wiring.feeds}, inputs[name], generator)


def _outputs(head: RuledLayer) -> int:
    if not isinstance(head, RuledLinear):
        raise ValueError(f"head {head.wiring.head!r} is {type(head).__name__}; a linear layer is allowed")
    return head.out_features


def _input_sizes(network: RuledNetwork, example: torch.Tensor | None) -> dict[str, int]:
    """Numbers in one input of each layer."""
    sizes: dict[str, int] = {}
    for chain in network.chains.values():
        value = example
        for module in chain:
            if isinstance(module, RuledLinear):
                sizes[module.wiring.name] = module.in_features
            elif isinstance(module, RuledLayer):
                if value is None:
                    if not module.wiring.is_first and network.rule.matrices in ("heads", "second"):
                        raise ValueError(
                            f"example is None; an input (1, ...) is allowed, by which layer {module.wiring.name} knows "
                            "the size of its own"
                        )
                    sizes[module.wiring.name] = 0
                else:
                    sizes[module.wiring.name] = value[0].numel()
            if value is not None:
                with torch.no_grad():
                    value = module(value)
    return sizes
