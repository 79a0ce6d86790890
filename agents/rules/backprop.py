"""Back-propagation: the modulator of a cell is the output error carried back through the transposed weights.

Rumelhart, Hinton and Williams 1986, Nature 323:533.
"""

from __future__ import annotations

from agents.networks.mlp import MLP, Activity, Array


class Backprop:
    """m_L = e; m_(l-1) = W_l^T (m_l * slope_l), without the bias column."""

    def modulators(self, network: MLP, activity: Activity, error: Array) -> list[Array]:
        """One modulator vector a layer, first to last, for an output error (3,) rad."""
        found = [error]
        for weight, slope in zip(network.weights[:0:-1], activity.slope[:0:-1], strict=True):
            found.append(weight[:, :-1].T @ (found[-1] * slope))
        return found[::-1]
