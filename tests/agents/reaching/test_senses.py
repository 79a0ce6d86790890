"""The eye finds in a picture what the vector of observations says outright."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from agents.reaching.senses import Eye
from reach import Arm, HideHand
from reach.sim.setup import Senses

EYE = Eye(Arm.winter())
PICTURES = {"observation": "retina", "retina_colour": True, "senses": Senses.noiseless()}


@pytest.mark.parametrize("size", [32, 64, 128])
def test_hand_and_cup_are_found_within_a_tenth_of_a_pixel_or_two(size: int) -> None:
    pictures = gym.make("reach/CupGrab-v1", retina_px=size, **PICTURES)
    numbers = gym.make("reach/CupGrab-v1", senses=Senses.noiseless())
    for seed in range(8):
        observation, _ = pictures.reset(seed=seed)
        row, _ = numbers.reset(seed=seed)
        hand, visible, cup = EYE.locate(observation["retina"], float(np.sum(row[5:8])), float(row[11]))
        assert visible
        np.testing.assert_allclose(hand, row[:2], atol=0.2 * 0.9 / size)
        np.testing.assert_allclose(cup, row[3:5], atol=0.1 * 0.9 / size)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_lamps_are_taken_for_neither_hand_nor_cup(size: int) -> None:
    eyes = EYE, Eye(Arm.winter(), has_lamps=True)
    envs = [gym.make("reach/CupGrab-v1", retina_px=size, context=lamps, **PICTURES) for lamps in (0, 8)]
    for seed in range(8):
        pictures = [env.reset(seed=seed)[0]["retina"] for env in envs]
        assert not np.array_equal(*pictures)
        places = [eye.locate(picture, 1.5, 0.1) for eye, picture in zip(eyes, pictures, strict=True)]
        for without, with_lamps in zip(*places, strict=True):
            np.testing.assert_allclose(with_lamps, without, atol=1e-12)


def test_a_hidden_hand_is_not_seen() -> None:
    env = gym.make("reach/CupGrab-v1", **PICTURES)
    observation, _ = env.reset(seed=0, options={"perturbation": HideHand()})
    _, visible, _ = EYE.locate(observation["retina"], 1.5, 0.1)
    assert not visible


def test_a_grey_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="retina_colour"):
        EYE.locate(np.zeros((64, 64, 1), dtype=np.uint8), 1.5, 0.1)
