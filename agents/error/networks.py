"""Networks with rules, as the feed-forward parts of error learners."""

from __future__ import annotations

import numpy as np

from agents.error.feedforward import FeedForward, NoFeedForward
from agents.error.lstm import LSTMFeedForward
from agents.error.memory import MemoryFeedForward
from agents.error.rate import RateFeedForward
from agents.error.spiking import SpikingFeedForward
from agents.networks.registry import NETWORKS
from agents.registry import NONE, find


def make_feedforward(name: str, rng: np.random.Generator) -> FeedForward:
    """Return the untrained network and rule of an error learner.

    Args:
        name: of the learner; "none" has no network.
        rng: source of weights and feedback matrices.

    Raises:
        ValueError: an unknown name, or that of another learner.
    """
    spec = find(name).spec
    if spec.teacher not in (NONE, "error"):
        raise ValueError(f"expected a learner taught by its seen error, got {name!r}")
    if not spec.network:
        return NoFeedForward()
    network, is_aligning = NETWORKS[spec.network], spec.plastic == "hidden"
    sensory, cells = network.build(rng)
    if network.cells == "spiking":
        return SpikingFeedForward(spec.rule, rng, cells=sensory, sees=network.sees, **cells)
    if network.cells == "recurrent":
        return LSTMFeedForward(spec.rule, sensory, cells, rng, aligning=is_aligning, sees=network.sees)
    layers = RateFeedForward(spec.rule, sensory, cells, rng, aligning=is_aligning, sees=network.sees)
    return MemoryFeedForward(spec.rule, layers, rng) if network.practises else layers
