"""The angle between a rule's step of a layer's weights and the gradient.

Below 90 degrees a small step by the rule makes the error smaller (Lillicrap et al. 2016, Nature Communications
7:13276).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from agents.rules.assign import layers_with_links
from agents.rules.layers import BackwardRecord, RuledNetwork, passes_before
from agents.rules.links import keep_random_states, recompute


def alignment_degrees(networks: Iterable[RuledNetwork]) -> dict[str, float]:
    """Return the angles at the input and the output errors of the latest backward pass, by name of layer.

    One forward pass is computed again, with the weights of now and the random numbers and modes of then, and serves
    both the rule's step and the gradient. Gradients, buffers and generators are not changed.

    Args:
        networks: from `assign_rule`.

    Returns:
        Degrees, 0..180, for every hidden layer whose weights the rule changed; empty before a backward pass. Heads,
        which take the error itself under every rule, are left out.

    Raises:
        ValueError: a layer took its input from other layers than the one before it in its chain.
    """
    angles: dict[str, float] = {}
    for network in networks:
        hidden = {name: layer.weight for name, layer in network.layers.items() if layer.place.head is None}
        hidden = {name: weight for name, weight in hidden.items() if weight.requires_grad}
        for name, taken in network.off_chain.items():
            raise ValueError(
                f"expected the input of layer {name} from the layer before it in its chain alone, since "
                f"alignment_degrees computes a chain again, got it from layers {taken}"
            )
        records = network.records
        for record in records if hidden else ():
            by_rule, exact = _steps(network, record, list(hidden.values()))
            for name, step, gradient in zip(hidden, by_rule, exact, strict=True):
                if step is None or gradient is None:
                    continue
                length = float(step.norm() * gradient.norm())
                if length > 0.0:
                    angles[name] = degrees_of_cosine(float((step * gradient).sum()) / length)
        network.records = records
    return angles


def degrees_of_cosine(cosine: float) -> float:
    """Return the angle of a cosine that rounding may have put a little outside -1..1."""
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _steps(
    network: RuledNetwork, record: BackwardRecord, weights: list[torch.Tensor]
) -> list[tuple[torch.Tensor | None, ...]]:
    """Return the steps of weights by the rule, then their gradients."""
    device = record.value.device
    autocast = torch.autocast(device.type, record.autocast, enabled=record.autocast is not None)
    with torch.enable_grad(), network.exact_errors(False), keep_random_states(device), autocast:
        outputs = [_output(network, record, head) for head in record.heads]
    errors = [error for error, _ in record.heads.values()]
    steps: list[tuple[torch.Tensor | None, ...]] = []
    for exact in (False, True):
        for output in outputs:
            for last in passes_before(output, network):
                for layer_pass in last.upstream():
                    layer_pass.exact = exact
        steps.append(torch.autograd.grad(outputs, weights, errors, retain_graph=True, allow_unused=True))
    return steps


def _output(network: RuledNetwork, record: BackwardRecord, head: str) -> torch.Tensor:
    """Return the output of a head, computed again from the recorded input on."""
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
