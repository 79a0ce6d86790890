"""Direct feedback alignment: every hidden cell hears the output error itself, through fixed random weights.

Nokland 2016, NeurIPS, "Direct feedback alignment provides learning in deep neural networks", equation 7.
"""

from __future__ import annotations

import numpy as np

from agents.networks.mlp import MLP, Activity, Array


class DirectFeedbackAlignment:
    """m_l = B_l e with B_l drawn once, SD 1/sqrt(number of outputs)."""

    def __init__(self, network: MLP, rng: np.random.Generator) -> None:
        """Draw one feedback matrix (cells, outputs) for each hidden layer."""
        outputs = network.weights[-1].shape[0]
        self.feedback = [
            rng.normal(0.0, 1.0 / np.sqrt(outputs), (weight.shape[0], outputs)) for weight in network.weights[:-1]
        ]

    def modulators(self, network: MLP, activity: Activity, error: Array) -> list[Array]:
        """One modulator vector a layer, first to last, for an output error (3,) rad."""
        return [*(matrix @ error for matrix in self.feedback), error]
