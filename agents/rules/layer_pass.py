"""What one layer keeps of one forward pass until the error comes back.

The passes of a network hang together as its layers do, in autograd's own graph: so two forward passes before one
backward pass do not mix, and a layer hears exactly the heads that it fed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from agents.rules.links import Conditions, Edge

if TYPE_CHECKING:
    from agents.rules.layers import RuledLayer

# The conditions of each module before a layer that needs them, by layer and module.
LinkConditions = dict[tuple["RuledLayer", nn.Module], Conditions]


@dataclass(eq=False, slots=True)
class LayerPass:
    """One layer in one forward pass.

    Attributes:
        layer: whose pass it is.
        before: passes of the layers that feed it, of the same network; none for a first layer.
        exact: whether the error is to travel exactly as by back-propagation, whatever the rule.
        weight: as the layer used it, under autocast in the lower precision.
        autocast: dtype of autocast, None without it.
        input_shape, output_shape: the batch first.
        source: where the input comes from, if the rule asks for it.
        conditions: of the modules before the layer that need them.
        heads: errors and link conditions of the heads that this pass feeds, in the present backward pass; of a pass
            without passes before it.
        told: what heads have told this layer in the present backward pass: the head's name and a signal, by the head's
            pass.
    """

    layer: RuledLayer
    before: tuple[LayerPass, ...]
    exact: bool
    weight: torch.Tensor
    autocast: torch.dtype | None = None
    input_shape: torch.Size = field(default_factory=torch.Size)
    output_shape: torch.Size = field(default_factory=torch.Size)
    source: Edge | None = None
    conditions: LinkConditions = field(default_factory=dict)
    heads: dict[str, tuple[torch.Tensor, LinkConditions]] = field(default_factory=dict)
    told: dict[int, tuple[str, torch.Tensor]] = field(default_factory=dict)

    def tell_beginnings(self, error: torch.Tensor) -> None:
        """Tell the lowest passes that led to this head its error."""
        conditions: LinkConditions = {}
        lowest = []
        for one in self.upstream():
            conditions |= one.conditions
            if not one.before:
                lowest.append(one)
        for one in lowest:
            one.heads[self.layer.wiring.head or ""] = error, conditions

    def upstream(self) -> Iterator[LayerPass]:
        """This pass and all that led to it, the nearest first."""
        found, waiting = {id(self)}, [self]
        while waiting:
            one = waiting.pop()
            yield one
            for earlier in one.before:
                if id(earlier) not in found:
                    found.add(id(earlier))
                    waiting.append(earlier)


def passes_before(value: torch.Tensor, network: object) -> tuple[LayerPass, ...]:
    """Passes of layers of `network` from which a tensor was computed without a further such layer in between."""
    found: list[LayerPass] = []
    seen: set[Any] = set()
    waiting: list[Any] = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        held = getattr(node, "layer_pass", None)
        if held is None:
            waiting.extend(following for following, _ in node.next_functions)
        elif held.layer.wiring.network is network:
            found.append(held)
    return tuple(found)
