"""What one layer keeps of one forward pass until the error comes back.

The passes of a network hang together as its layers do, in autograd's own graph: so two forward passes before one
backward pass do not mix, and a layer hears exactly the heads that it fed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from agents.rules.layers import RuledLayer


@dataclass(eq=False, slots=True)
class LayerPass:
    """One layer in one forward pass.

    Attributes:
        layer: whose pass it is.
        before: passes of the layers that feed it, of the same network; none for a first layer.
        exact: whether the error is to travel exactly as by back-propagation, whatever the rule.
        input_shape: of the layer's input, the batch first.
        output: what the layer gave, where the rule asks for it.
        told: what heads have told this layer in the present backward pass: the head's name and a signal, by the head's
            pass.
    """

    layer: RuledLayer
    before: tuple[LayerPass, ...]
    exact: bool
    input_shape: torch.Size = field(default_factory=torch.Size)
    output: torch.Tensor | None = None
    told: dict[int, tuple[str, torch.Tensor]] = field(default_factory=dict)

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
