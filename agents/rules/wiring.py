"""Putting a network of layers under a rule, and the network as the rule sees it.

A network is one or more chains of modules, each from the first layer to a head; chains may share their beginning, as
an actor and a critic share a trunk. A layer hears the heads that it feeds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from agents.rules.feedback import FEEDBACK_RULES, FeedbackRule, feedback_rule
from agents.rules.layer_pass import LayerPass, LinkConditions
from agents.rules.layers import RuledConv2d, RuledLayer, RuledLinear, Wiring
from agents.rules.links import Conditions, conditions_of, needs_conditions, random_states_kept

Modules = Sequence[nn.Module]
# What torch's layers become under a rule.
KINDS: dict[type[nn.Module], type[RuledLayer]] = {nn.Linear: RuledLinear, nn.Conv2d: RuledConv2d}


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where the recorded part of a network began in a backward pass by the rule, and which errors came back to it.

    Attributes:
        layer: the lowest one; the first, unless layers below it are frozen.
        value: its input.
        autocast: dtype of autocast, None without it.
        heads: by head, the error at its output, and the conditions of modules on the way to it.
    """

    layer: RuledLayer
    value: torch.Tensor
    autocast: torch.dtype | None
    heads: dict[str, tuple[torch.Tensor, LinkConditions]]


@dataclass(eq=False)
class RuledNetwork:
    """Layers under one rule.

    Attributes:
        rule: how the error reaches them.
        chains: modules by the name of the head in which they end, the head the last layer among them.
        exact: True lets errors travel exactly in the passes that begin now, False by the rule; None decides by whether
            the network's input requires a gradient: that gradient is exact.
        beginnings: of the latest backward pass by the rule.
        conditions: of the latest forward pass, by module, where a module needs them.
        off_chain: layers that took their input from other layers than the one before them in their chain, and from
            which.
    """

    rule: FeedbackRule
    chains: dict[str, tuple[nn.Module, ...]]
    exact: bool | None = None
    beginnings: tuple[Beginning, ...] = ()
    conditions: dict[nn.Module, Conditions] = field(default_factory=dict)
    off_chain: dict[str, list[str]] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, RuledLayer]:
        """Layers by name, each chain from first to head."""
        return {one.wiring.name: one for chain in self.chains.values() for one in _layers(chain)}

    def record(self, one: LayerPass, value: torch.Tensor) -> None:
        """Keep the errors that came back to a lowest pass, instead of earlier ones of the same heads or layer."""
        if one.heads:
            others = (
                other
                for other in self.beginnings
                if other.layer is not one.layer and not other.heads.keys() & one.heads
            )
            self.beginnings = (*others, Beginning(one.layer, value.detach(), one.autocast, dict(one.heads)))
            one.heads.clear()

    @contextmanager
    def updating_feedback(self) -> Iterator[None]:
        """Let the feedback follow the weights that change inside, if the rule has feedback that changes."""
        before = self._weights()
        yield
        self._update_feedback(before)

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the feedback follow the weights at every step of an optimiser, if the rule has feedback that changes."""
        if self.rule.update_feedback is None:
            return
        before: dict[RuledLayer, torch.Tensor] = {}
        optimizer.register_step_pre_hook(lambda *_: before.update(self._weights()))
        optimizer.register_step_post_hook(lambda *_: self._update_feedback(before))

    def _weights(self) -> dict[RuledLayer, torch.Tensor]:
        if self.rule.update_feedback is None:
            return {}
        return {layer: layer.weight.detach().clone() for layer in self.layers.values()}

    def _update_feedback(self, before: Mapping[RuledLayer, torch.Tensor]) -> None:
        """Tell the rule how the weights of each layer have changed."""
        with torch.no_grad():
            for layer, weight in before.items():
                change = layer.weight - weight
                if self.rule.update_feedback is not None and bool(change.any()):
                    self.rule.update_feedback(layer, change)

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
    updates_feedback: bool = False,
) -> list[RuledNetwork]:
    """Put the layers of `chains` under a rule, in place.

    Linear and convolutional layers stay the same objects, with their weights, hooks and modes, and change their class
    to their kind in `agents.rules.layers`. Feedback becomes their buffers, `feedback` or `feedback_<head>`, and so part
    of the state dictionary, on the device and in the precision of the weights.

    Args:
        root: the module that holds all layers.
        rule: one of `FEEDBACK_RULES`.
        chains: by name of head, the modules from input to head, in the order in which they act; `nn.Sequential` counts
            as what it holds. The last layer of a chain is the head.
        generator: of the feedback; None draws from torch's own.
        example: an input (1, ...) of the chains, needed where a convolution follows a layer. Nothing is drawn for it
            and no buffer changes.
        updates_feedback: whether the caller changes weights inside `RuledNetwork.updating_feedback` or calls
            `RuledNetwork.follow` with its optimiser, which a rule with changing feedback needs.

    Returns:
        The networks: chains with the same first layer belong to one.

    Raises:
        ValueError: an unknown rule, or one whose feedback the caller does not update; a chain without layers, with a
            layer twice, or with modules that no rule covers; a head that feeds further layers, chains that meet after
            other beginnings, or a missing example.
    """
    known = feedback_rule(rule)
    if known.update_feedback is not None and not updates_feedback:
        fixed = [name for name, other in FEEDBACK_RULES.items() if other.update_feedback is None]
        raise ValueError(
            f"rule {rule!r} changes its feedback with the weights, and updates_feedback is False; let it follow an "
            f"optimiser by RuledNetwork.follow and pass updates_feedback=True, or use one of {fixed}"
        )
    generator = generator or torch.default_generator
    flat = {head: _flat(chain) for head, chain in chains.items()}
    names = {id(module): name for name, module in root.named_modules()}
    for head, chain in flat.items():
        _require_covered(head, chain, names)
    for chain in flat.values():
        for module in chain:
            if type(module) in KINDS:
                # The object stays, so that hooks, references and shared parameters do.
                module.__class__ = KINDS[type(module)]
    feeds: dict[int, list[str]] = {}
    for head, chain in flat.items():
        for layer in _layers(chain):
            feeds.setdefault(id(layer), []).append(head)
    networks: dict[int, RuledNetwork] = {}
    for head, chain in flat.items():
        first = _layers(chain)[0]
        network = networks.setdefault(id(first), RuledNetwork(known, {}))
        network.chains[head] = tuple(chain)
        below: RuledLayer | None = None
        for layer, link in with_links(chain):
            is_head = layer is _layers(chain)[-1]
            if is_head and len(feeds[id(layer)]) > 1:
                raise ValueError(f"head {head!r} also feeds {feeds[id(layer)]}; a layer of its own is allowed")
            wiring = Wiring(network, names[id(layer)], head if is_head else None, tuple(feeds[id(layer)]), below, link)
            if layer.placed is not None and layer.placed.network is not network:
                raise ValueError(f"layer {wiring.name} is in chains with other first layers; one network is allowed")
            layer.placed = wiring
            below = layer
    for network in networks.values():
        _record_conditions(network)
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


def with_links(chain: Modules) -> Iterator[tuple[RuledLayer, tuple[nn.Module, ...]]]:
    link: list[nn.Module] = []
    for module in chain:
        if isinstance(module, RuledLayer):
            yield module, tuple(link)
            link = []
        else:
            link.append(module)


def _require_covered(head: str, chain: Modules, names: dict[int, str]) -> None:
    layers = [module for module in chain if isinstance(module, nn.Linear | nn.Conv2d)]
    if not layers:
        raise ValueError(f"chain {head!r} holds no layer; at least one nn.Linear or nn.Conv2d is allowed")
    for module in chain:
        own = {name for name, _ in module.named_parameters()}
        if module not in layers:
            if own:
                raise ValueError(
                    f"chain {head!r} holds {type(module).__name__} with parameters; nn.Linear, nn.Conv2d, "
                    "nn.Sequential of them, and modules without parameters are allowed"
                )
            continue
        if not names.get(id(module)):
            raise ValueError(f"layer {module} is not held by the root module; layers of the root are allowed")
        name = names[id(module)]
        if layers.count(module) > 1:
            raise ValueError(f"chain {head!r} holds layer {name} {layers.count(module)} times; once is allowed")
        if type(module) not in KINDS and not isinstance(module, RuledLayer):
            raise ValueError(
                f"layer {name} is a {type(module).__name__}; nn.Linear and nn.Conv2d themselves are allowed, without "
                "parametrizations, since a rule has a forward pass of its own"
            )
        if "forward" in vars(module):
            raise ValueError(f"layer {name} has a forward method set on the object; that of its class is allowed")
        if not {"weight"} <= own <= {"weight", "bias"}:
            raise ValueError(
                f"layer {name} has parameters {sorted(own)}; weight and bias are allowed, without weight "
                "normalisation, spectral normalisation or pruning"
            )
        if isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
            raise ValueError(f"chain {head!r} holds {module}; padding by a number of zeros is allowed")


def _record_conditions(network: RuledNetwork) -> None:
    """Have modules between layers record under which conditions they act, where they need it."""
    between = {module for layer in network.layers.values() for module in layer.wiring.link}
    for module in between:
        if needs_conditions(module):
            module.register_forward_pre_hook(partial(_record, network))


def _record(network: RuledNetwork, module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
    if torch.is_grad_enabled():
        network.conditions[module] = conditions_of(module, given[0])


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
        value = None if example is None else example.to(_layers(chain)[0].weight.device)
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
                # A copy, whose buffers and mode are nobody's; `forward` calls no hooks.
                acting = module if isinstance(module, RuledLayer) else copy.deepcopy(module).eval()
                with torch.no_grad(), random_states_kept(value.device):
                    value = acting.forward(value)
    return sizes
