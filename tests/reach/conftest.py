"""Scenes to draw, and no screen to need."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reach.render import Scene

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

HAND = np.array([0.12, 0.40])
CUP = np.array([0.10, 0.58])
PLAIN = Scene(
    joints=np.array([[0.0, 0.0], [0.30, 0.10], [0.16, 0.27], [0.13, 0.36]]),
    fingers=np.array([[[0.07, 0.36], [0.07, 0.44]], [[0.18, 0.36], [0.18, 0.44]]]),
    finger_radius=0.008,
    grasp_point=HAND,
    cup=CUP,
    cup_radius=0.035,
    cup_held=False,
    cup_tipped=False,
    seen_hand=HAND,
    seen_cup=CUP,
    start=np.array([0.12, 0.36]),
    touch=np.zeros(3, dtype=np.bool_),
    path=np.array([[0.12, 0.36], [0.13, 0.38], [0.12, 0.40]]),
)


@pytest.fixture(scope="session")
def scene_with() -> Callable[..., Scene]:
    """A plain scene, in which the hand is seen where it is, with the given fields changed."""

    def change(**fields: Any) -> Scene:
        return dataclasses.replace(PLAIN, **fields)

    return change
