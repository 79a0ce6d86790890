"""What every learning rule declares, and what a rule for layers computes.

A synapse changes by rate x modulator x eligibility. The network supplies the eligibility, the teacher the error; a rule
turns the error into a modulator of every cell. Rules are registered in `agents.rules.registry`. This module imports no
torch, so that names and capabilities of rules can be read without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from agents.networks.registry import Cells

Error = Literal["output", "none"]
Modifies = Literal["hidden", "read-out", "feedback"]
Probe = Literal["modulator", "alignment", "eligibility"]
Route = Literal["backward", "broadcast", "forward", "gate"]
Feedback = Literal["none", "layers", "heads", "second"]


class Rule(ABC):
    """A learning rule for one kind of cells, and what it declares.

    A rule holds no state: state belongs to the network. Parameters are the fields of a frozen dataclass. `register`
    validates the declarations.

    Attributes:
        name: in the name of a learner, such as "dfa".
        cells: kind of cells it can change; `agents.networks.registry` says which cells a network has.
        error: the error it takes: "output", at the network's output, or "none".
        modifies: what changes: weights of "hidden" cells, of the "read-out", and "feedback".
        route: how the error reaches hidden cells: "backward" from layer to layer, by "broadcast" to all, "forward" from
            the first layer on, or as a "gate" of what synapses have gathered.
        probes: what can be observed while it learns: the "modulator" of each cell, the "alignment" of its steps with
            the gradient, the "eligibility" of synapses.
        aliases: other names for it, with the same cells.
    """

    name: ClassVar[str]
    cells: ClassVar[Cells]
    error: ClassVar[Error] = "output"
    modifies: ClassVar[tuple[Modifies, ...]] = ("hidden", "read-out")
    route: ClassVar[Route]
    probes: ClassVar[tuple[Probe, ...]] = ("modulator", "alignment")
    aliases: ClassVar[tuple[str, ...]] = ()


class LayerRule(Rule):
    """A rule for the layers of a torch network.

    The eligibility is the same under each rule: the layer's input times the slope of its cells. With e the output
    error, d the modulator of a layer's cells times their slope, W its weights and B fixed random weights:

    | rule | modulator of the cells that feed a layer |
    |---|---|
    | `bp` | d W |
    | `fa` | d B |
    | `dfa` | e B |
    | `ifa` | e B for the first layer; for the others its effect, carried forward through W |
    | `shallow` | none: hidden layers stay as they were drawn |

    B is drawn once from a normal distribution of SD 1/sqrt(numbers that a cell receives through it), so that the
    modulator has the root mean square of the error it is made of.

    Attributes:
        feedback: which layers hold random feedback, as buffers: "none"; "layers", each in the shape of its weights;
            "heads", each one matrix for every head that it feeds; "second", as "heads", but only the layers that a
            first layer feeds.
    """

    cells = "layers"
    feedback: ClassVar[Feedback] = "none"

    def send_error(self, head: Any, error: Any) -> None:
        """Send the error at the network's output to the layers below; called unless `route` is "backward".

        Args:
            head: the `agents.rules.layers.LayerPass` of the output layer.
            error: in the shape of its output.
        """

    @abstractmethod
    def backward_signal(self, layer_pass: Any, error: Any) -> Any:
        """Return the modulator of the cells that feed a layer, in the shape of its input; None for none.

        Args:
            layer_pass: the `agents.rules.layers.LayerPass` of the layer.
            error: d at its output.
        """

    def update_feedback(self, layer: Any, change: Any) -> None:
        """Change a layer's feedback after its weights have changed; called if `modifies` has "feedback".

        Args:
            layer: an `agents.rules.layers.RuledLayer`, under `torch.no_grad`.
            change: of its weights, in their shape.
        """
