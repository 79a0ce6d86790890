"""STDP gated by a broadcast error: every spiking cell hears the same few numbers, through fixed weights.

The third factor of three-factor learning (Fremaux and Gerstner 2016): output cells hear the error of the joint they
move, with their own sign; hidden cells hear it through fixed random weights, as in direct feedback alignment.
"""

from __future__ import annotations

import numpy as np

from agents.networks.spiking import JOINTS, Array, SpikingNetwork


class ErrorGatedSTDP:
    """Output modulator: + e_joint for flexors, - e_joint for extensors; hidden modulator: B e."""

    def __init__(self, network: SpikingNetwork, rng: np.random.Generator) -> None:
        """Draw the feedback matrix (hidden, joints), SD 1/sqrt(joints)."""
        self.feedback = rng.normal(0.0, 1.0 / np.sqrt(JOINTS), (network.output_weight.shape[0], JOINTS))
        sign = np.zeros((JOINTS, 2, network.cells_per_muscle, JOINTS))
        for joint in range(JOINTS):
            sign[joint, 0, :, joint] = 1.0
            sign[joint, 1, :, joint] = -1.0
        self.muscle_sign = sign.reshape(network.outputs, JOINTS)

    def modulators(self, error: Array) -> tuple[Array, Array]:
        """Modulators of hidden and output cells for a motor error (3,) rad."""
        return self.feedback @ error, self.muscle_sign @ error
