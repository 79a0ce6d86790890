"""Which networks and rules the seen-error teacher knows, and what each pair of them is called.

A learner is named `error-<network>-<rule>`. `agents.networks.register` adds a network, `agents.rules.register` a rule.
"""

from __future__ import annotations

import numpy as np

from agents.error.feedforward import FeedForward, NoFeedForward
from agents.error.lstm import LSTMFeedForward
from agents.error.memory import MemoryFeedForward
from agents.error.rate import RateFeedForward
from agents.error.spiking import SpikingFeedForward
from agents.networks.registry import NETWORKS, Network
from agents.rules.registry import RULES, rules_for

NONE = "none"
# Ends the name of a learner that learns in all synapses at baseline and then keeps its read-out as it is.
HIDDEN = "-hidden"
ERROR_LEARNERS = (NONE, *(f"error-{name}-{rule}" for name, kind in NETWORKS.items() for rule in rules_for(kind)))
ALIASES = {f"error-{rule}": f"error-mlp-{rule}" for rule in rules_for(NETWORKS["mlp"])} | {
    "error-stdp": "error-snn-stdp",
    "error-lstm-dfa": "error-lstm-eprop",
}


def full_name(name: str) -> str:
    """`error-<network>-<rule>` for a name in short; any other name as it is."""
    short = name.removesuffix(HIDDEN)
    return ALIASES.get(short, short) + name[len(short) :]


def is_error_learner(name: str) -> bool:
    """Whether `name` is that of a learner taught by its seen error, in full or in short."""
    return full_name(name).removesuffix(HIDDEN) in ERROR_LEARNERS and name != NONE + HIDDEN


def rule_of(name: str) -> str:
    """The rule in an error learner's name, in full or in short; NONE for one without a network."""
    return full_name(name).removesuffix(HIDDEN).rpartition("-")[2]


def network_of(name: str) -> Network | None:
    """The network of an error learner's name; None for any other name and for one without a network."""
    return NETWORKS[full_name(name).split("-")[1]] if is_error_learner(name) and name != NONE else None


def is_spiking(name: str) -> bool:
    """Whether an error learner's rule is one of spiking cells."""
    return (rule_of(name), "spiking") in RULES


def practises(name: str) -> bool:
    """Whether cells of an error learner practise once its unperturbed training has ended."""
    network = network_of(name)
    return network is not None and network.practises


def make_feedforward(name: str, rng: np.random.Generator) -> FeedForward:
    """Network and rule of a learner's name, untrained.

    Raises:
        ValueError: an unknown name.
    """
    if not is_error_learner(name):
        raise ValueError(f"learner is {name!r}; {[*ERROR_LEARNERS, *ALIASES]} are allowed")
    network = network_of(name)
    if network is None:
        return NoFeedForward()
    rule, aligning = rule_of(name), name.endswith(HIDDEN)
    sensory, cells = network.build(rng)
    if network.cells == "spiking":
        return SpikingFeedForward(rule, rng, cells=sensory, sees=network.sees, **cells)
    if network.cells == "recurrent":
        return LSTMFeedForward(rule, sensory, cells, rng, aligning=aligning, sees=network.sees)
    below = RateFeedForward(rule, sensory, cells, rng, aligning=aligning, sees=network.sees)
    return MemoryFeedForward(rule, below, rng) if network.practises else below
