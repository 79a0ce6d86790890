"""The control `shallow`: the read-out learns, hidden cells stay as they were drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.rules.recurrent import RecurrentRule
from agents.rules.rule import LayerRule

if TYPE_CHECKING:
    from torch import Tensor

    from agents.rules.layers import LayerPass


class Shallow(LayerRule):
    """Hidden layers have no modulator."""

    name = "shallow"
    route = "backward"
    modifies = ("read-out",)
    probes = ("modulator",)

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> None:
        """Return no modulator."""


class ShallowRecurrent(RecurrentRule):
    """Recurrent cells have no modulator."""

    name = "shallow"
    route = "backward"
    modifies = ("read-out",)
    probes = ("modulator",)
