"""What the rules for spiking cells declare; `agents.spiking` computes them."""

from __future__ import annotations

from agents.rules.rule import Rule


class GatedSTDP(Rule):
    """Pairs of spikes leave an eligibility in each synapse; later the broadcast error of its cell gates the change."""

    name = "stdp"
    cells = "spiking"
    route = "gate"
    probes = ("modulator", "eligibility")


class HebbianSTDP(Rule):
    """The control without an error: pairs of spikes change a synapse, whatever the error."""

    name = "hebb"
    cells = "spiking"
    error = "none"
    route = "gate"
    probes = ("modulator", "eligibility")
