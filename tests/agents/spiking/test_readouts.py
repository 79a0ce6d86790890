"""Commands are read from the rates of output cells."""

from __future__ import annotations

import numpy as np

from agents.spiking.readouts import AntagonistReadout


def test_flexors_and_extensors_pull_on_their_joint_alone() -> None:
    readout = AntagonistReadout(joints=3, cells_per_muscle=4, per_hz=0.02)
    rates = np.zeros(24)
    rates[8:12] = 10.0  # flexors of the second joint
    rates[20:24] = 5.0  # extensors of the third
    np.testing.assert_allclose(readout.command(rates), [0.0, 0.2, -0.1])
    np.testing.assert_array_equal(readout.sign.sum(axis=0), 0.0)
