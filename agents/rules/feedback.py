"""How an error reaches the layers of a torch network: `bp`, `fa`, `dfa`, `ifa`, and the control `shallow`.

Every layer's weights change by rate x modulator x eligibility. The eligibility is the same under each rule: the layer's
input times the slope of its cells. A rule is no more than two small functions: what the head, where the network's
output error arises, tells the layers below, and what a layer hands to the cells that feed it, as their modulator. With
e the output error, d the modulator of a layer's cells times their slope, W its weights and B fixed random numbers:

| rule | modulator of the cells that feed a layer | source |
|---|---|---|
| `bp` | d W | Rumelhart, Hinton and Williams 1986, Nature 323:533 |
| `fa` | d B | Lillicrap, Cownden, Tweed and Akerman 2016, Nature Communications 7:13276 |
| `dfa` | e B | Nokland 2016, NeurIPS 29, figure 1c and equation 7 |
| `ifa` | e B for the first layer; its effect, carried forward through W, for the others | Nokland 2016, figure 1d |
| `shallow` | none: hidden layers stay as they were drawn | |

B is drawn once from a normal distribution of SD 1/sqrt(numbers that a cell hears through it), so that the signal has
the root mean square of the error it is made of. Direct feedback is known to do badly through convolutions (Bartunov et
al. 2018, NeurIPS 31; Launay, Poli and Krzakala 2019, arXiv:1906.04554).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from agents.rules.layer_pass import LayerPass
from agents.rules.links import change_through, in_own_backward_pass

if TYPE_CHECKING:
    from agents.rules.layers import RuledLayer
    from reach.snapshot import Way

Tensor = torch.Tensor


@dataclass(frozen=True)
class FeedbackRule:
    """A rule, and what it needs of the place where it is used.

    Attributes:
        name: in the registry.
        matrices: which layers hold feedback: "none"; "layers", each in the shape of its weights; "heads", each one
            matrix for every head it feeds; or "second", only those that a first layer feeds, as for "heads".
        announce: what a head tells the layers below, from its pass and the error at its output.
        hand_down: the modulator, in the shape of the layer's input, from the layer's pass and d at its output; None for
            none.
        needs_links: whether `announce` carries changes forward, through the modules between layers.
        update_feedback: changes the feedback of a layer, and its weights if the rule says so, after every change of
            the weights (Kolen and Pollack 1994); called with the layer and that change. None for fixed feedback.
            `assign_rule` refuses such a rule where nothing calls it.
        way: on which the error comes to the layers, for a picture.
    """

    name: str
    matrices: Literal["none", "layers", "heads", "second"]
    announce: Callable[[LayerPass, Tensor], None]
    hand_down: Callable[[LayerPass, Tensor], Tensor | None]
    needs_links: bool = False
    update_feedback: Callable[[RuledLayer, Tensor], None] | None = None
    way: Way = "backward"


def say_nothing(head: LayerPass, error: Tensor) -> None:
    """The layers below are told nothing but what is handed down."""


def tell_error(head: LayerPass, error: Tensor) -> None:
    """Every layer below, and the head itself, is told the output error."""
    name = head.layer.wiring.head or ""
    for one in head.upstream():
        one.told[id(head)] = (name, error)


def send_forward(head: LayerPass, error: Tensor) -> None:
    """The output error reaches the first layer's cells, and each layer above is told how that would change it."""
    name = head.layer.wiring.head or ""
    path = [head]
    while path[-1].before:
        path.extend(path[-1].before[:1])
    first, *others = reversed(path)

    def send() -> None:
        below, change = first, None
        for one in others:
            if change is None:
                signal = one.layer.heard(name, error, one.input_shape)
            else:
                signal = below.layer.spread(change, below.weight)
            one.told[id(head)] = (name, signal.reshape(one.input_shape))
            if one is not head:
                assert one.source is not None
                asked = one.weight.new_zeros(one.input_shape)
                change = change_through(one.source, below, asked, signal.reshape(below.output_shape))
                below = one

    in_own_backward_pass(send, error.device)


def transposed_weights(one: LayerPass, error: Tensor) -> Tensor:
    """bp: d W."""
    return one.layer.through(error, one.weight, one.input_shape)


def random_weights(one: LayerPass, error: Tensor) -> Tensor:
    """fa: d B."""
    return one.layer.through(error, one.layer.feedback_matrix().to(error.dtype), one.input_shape)


def broadcast_error(one: LayerPass, error: Tensor) -> Tensor | None:
    """dfa: e B, summed over the heads that have told their error."""
    signals = [one.layer.heard(head, told, one.input_shape) for head, told in one.told.values()]
    return _sum(signals)


def forward_change(one: LayerPass, error: Tensor) -> Tensor | None:
    """ifa: the change that travels forward, summed over heads."""
    return _sum([signal for _, signal in one.told.values()])


def nothing(one: LayerPass, error: Tensor) -> None:
    """shallow: no modulator."""


def _sum(signals: list[Tensor]) -> Tensor | None:
    if not signals:
        return None
    total = signals[0]
    for signal in signals[1:]:
        total = total + signal
    return total


FEEDBACK_RULES: dict[str, FeedbackRule] = {
    rule.name: rule
    for rule in (
        FeedbackRule("bp", "none", say_nothing, transposed_weights),
        FeedbackRule("fa", "layers", say_nothing, random_weights),
        FeedbackRule("dfa", "heads", tell_error, broadcast_error, way="broadcast"),
        FeedbackRule("ifa", "second", send_forward, forward_change, needs_links=True, way="forward"),
        FeedbackRule("shallow", "none", say_nothing, nothing),
    )
}


def feedback_rule(name: str) -> FeedbackRule:
    """The rule of a name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in FEEDBACK_RULES:
        raise ValueError(f"rule is {name!r}; {list(FEEDBACK_RULES)} are allowed")
    return FEEDBACK_RULES[name]
