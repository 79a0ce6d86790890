"""The convolutional network and the receptors before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.networks.cnn import cnn
from agents.networks.receptors import Receptors
from reach.sim.retina import TABLE


def test_an_untrained_network_rests_whatever_it_sees() -> None:
    network = cnn(32, 3, np.random.default_rng(0))
    seen = torch.from_numpy(np.random.default_rng(1).uniform(size=(2, 3 * 32 * 32)))
    np.testing.assert_array_equal(network(seen).detach().numpy(), np.zeros((2, 3)))


def test_one_picture_gives_what_it_gives_in_a_batch() -> None:
    network = cnn(64, 3, np.random.default_rng(0))
    seen = torch.from_numpy(np.random.default_rng(1).uniform(size=(2, 3 * 64 * 64)))
    with torch.no_grad():
        network[-1].bias.fill_(0.1)  # type: ignore[union-attr, operator]
        network[-1].weight.fill_(0.1)  # type: ignore[union-attr, operator]
        np.testing.assert_allclose(network(seen)[1].numpy(), network(seen[1]).numpy(), rtol=1e-12)


def test_receptors_say_how_much_of_the_table_s_light_is_missing() -> None:
    receptors = Receptors(32)
    picture = np.broadcast_to(np.array(TABLE), (32, 32, 3)).copy()
    np.testing.assert_array_equal(receptors.activity(picture), 0.0)
    picture[3, 5, 1] = 0.0
    seen = receptors.activity(picture).reshape(3, 32, 32)
    assert seen[1, 3, 5] == 1.0
    assert np.count_nonzero(seen) == 1


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="retina_px is 60"):
        cnn(60, 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"\(64, 64, 3\)"):
        Receptors().activity(np.zeros((64, 64, 1)))
