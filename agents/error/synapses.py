"""Synapses with two states, a fast one that forgets and a slow one that retains.

The weight of a synapse is its weight at the end of unperturbed training plus a fast and a slow change. After each
reach, each state keeps its retention of what it was, and takes its share of the change that the learning rule made:

    fast <- .85 fast + .20 change        slow <- .995 slow + .05 change        weight = initial + fast + slow

This puts the two states of motor memory (Smith, Ghazizadeh and Shadmehr 2006, PLoS Biol 4:e179, eq. 2) into every
synapse. A synapse with a chain of such states is that of Benna and Fusi (2016, Nat Neurosci 19:1697).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class State(NamedTuple):
    """One state of a synapse.

    Attributes:
        retention: share of the state that is left after a reach, 0..1.
        share: share of a change by the learning rule that the state takes, 0..1.
    """

    retention: float
    share: float


STATES = {"fast": State(0.85, 0.20), "slow": State(0.995, 0.05)}


class TwoStateSynapses:
    """The states of all plastic weights of a network. Weights are passed by name, always those of the same network."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Make states for weights; they begin to act with `start`."""
        self._initial = {name: np.zeros_like(weight) for name, weight in weights.items()}
        self._states = {state: {name: np.zeros_like(weight) for name, weight in weights.items()} for state in STATES}
        self._has_started = np.zeros(1, dtype=bool)

    def start(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Take the present weights as the initial ones, with both states at 0."""
        for name, weight in weights.items():
            self._initial[name][...] = weight
            for values in self._states.values():
                values[name][...] = 0.0
        self._has_started[0] = True

    def end_reach(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Divide what the rule has changed in `weights` since the last call between the states, and let both forget.

        The weights are overwritten in place.
        """
        if not self._has_started[0]:
            return
        for name, weight in weights.items():
            values = {state: self._states[state][name] for state in STATES}
            change = weight - self._initial[name] - sum(values.values())
            for state, (retention, share) in STATES.items():
                values[state] *= retention
                values[state] += share * change
            weight[...] = self._initial[name] + sum(values.values())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array that a checkpoint must hold, by name, as views that can be filled in place."""
        arrays = {f"synapses.initial.{name}": values for name, values in self._initial.items()}
        for state, by_name in self._states.items():
            arrays |= {f"synapses.{state}.{name}": values for name, values in by_name.items()}
        return arrays | {"synapses.has_started": self._has_started}
