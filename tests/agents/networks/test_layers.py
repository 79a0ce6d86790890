"""The convolutional network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.networks.layers import cnn


def test_an_untrained_network_rests_whatever_it_sees() -> None:
    network = cnn(32, 3, np.random.default_rng(0))
    picture = torch.from_numpy(np.random.default_rng(1).uniform(size=(2, 3 * 32 * 32)))
    np.testing.assert_array_equal(network(picture).detach().numpy(), np.zeros((2, 3)))


def test_one_picture_gives_what_it_gives_in_a_batch() -> None:
    network = cnn(64, 3, np.random.default_rng(0))
    picture = torch.from_numpy(np.random.default_rng(1).uniform(size=(2, 3 * 64 * 64)))
    with torch.no_grad():
        network[-1].bias.fill_(0.1)  # type: ignore[union-attr, operator]
        network[-1].weight.fill_(0.1)  # type: ignore[union-attr, operator]
        np.testing.assert_allclose(network(picture)[1].numpy(), network(picture[1]).numpy(), rtol=1e-12)


def test_another_size_of_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="retina_px: expected a multiple of 8, got 60"):
        cnn(60, 3, np.random.default_rng(0))
