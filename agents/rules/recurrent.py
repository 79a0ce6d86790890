"""What the rules for recurrent (LSTM) cells share.

A rule turns the signal that reaches each cell, at the step that is taught, into a step of the cells' weights. Under
"backward" the signal is the error times the read-out's weights, under "broadcast" the error times fixed random ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.networks.lstm import LSTMCells, LSTMState
from agents.rules.rule import Rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RecurrentEligible:
    """What may change, as of one step.

    Attributes:
        inputs: (steps, inputs), all inputs so far.
        hidden: (cells,), the output of the cells now.
        eligibility: (sources, 4 x cells) of each synapse, if the rule keeps traces; else None.
    """

    inputs: Array
    hidden: Array
    eligibility: Array | None


class RecurrentRule(Rule):
    """A rule for LSTM cells. This base class changes no hidden synapse."""

    cells = "recurrent"

    def advance_traces(self, state: LSTMState) -> None:
        """Advance eligibility traces by the step that the cells have just made; called after each if it is defined."""

    def eligible(self, state: LSTMState) -> RecurrentEligible:
        """Return what may change as of the latest step, as copies."""
        return RecurrentEligible(np.array(state.inputs), state.hidden.copy(), None)

    def step(self, cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array | None:
        """Return the step of the weights (sources, 4 x cells) for a signal (cells,); None for none."""
        return None

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Count the multiply-accumulates of one step beyond those of the traces."""
        return 0
