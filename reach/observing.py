"""The three forms in which an environment gives its observations: a vector, a goal dictionary, a retina."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from reach import goals
from reach.arguments import require_bool, require_choice, require_whole
from reach.retina import LARGEST_PX, SMALLEST_PX, draw_retinas
from reach.sim import state as s
from reach.simulation import Simulation

FORMS = ("vector", "goal", "retina")
# What the body feels follows what the eye sees in the vector.
FIRST_FELT = next(
    sum(row[1] for row in s.OBSERVATION[:k]) for k, row in enumerate(s.OBSERVATION) if row[0] == "joint angles"
)


@dataclass(frozen=True)
class Observing:
    """A form of observation.

    Attributes:
        form: "vector", (19,) float32; "goal", a dictionary of "observation" (that vector), "achieved_goal" and
            "desired_goal" (see `reach.goals`); or "retina", a dictionary of "retina" (size, size, channels) uint8 and
            "felt" (14,) float32, the vector without what is seen.
        retina_px: side of the retina, 16..256 pixels.
        retina_colour: red, green and blue instead of grey.
    """

    form: str = "vector"
    retina_px: int = 64
    retina_colour: bool = False

    def __post_init__(self) -> None:
        require_choice("observation", self.form, FORMS)
        size = require_whole("retina_px", self.retina_px, SMALLEST_PX, LARGEST_PX)
        object.__setattr__(self, "retina_px", size)
        object.__setattr__(self, "retina_colour", require_bool("retina_colour", self.retina_colour))

    @property
    def space(self) -> Any:
        """The space of one environment's observation."""
        low, high = (np.concatenate([np.full(row[1], row[k]) for row in s.OBSERVATION]) for k in (3, 4))
        low, high = low.astype(np.float32), high.astype(np.float32)
        vector = spaces.Box(low, high, dtype=np.float32)
        if self.form == "goal":
            goal = goals.goal_space()
            return spaces.Dict({"observation": vector, "achieved_goal": goal, "desired_goal": goals.goal_space()})
        if self.form == "retina":
            shape = (self.retina_px, self.retina_px, self._channels)
            felt = spaces.Box(low[FIRST_FELT:], high[FIRST_FELT:], dtype=np.float32)
            return spaces.Dict({"retina": spaces.Box(0, 255, shape, np.uint8), "felt": felt})
        return vector

    @property
    def _channels(self) -> int:
        return 3 if self.retina_colour else 1

    def of(self, simulation: Simulation) -> Any:
        """The observations of all worlds at this moment: arrays (num_envs, ...)."""
        vector = simulation.observations
        if self.form == "goal":
            achieved, desired = goals.goals_of(simulation.column, simulation.grab)
            return {"observation": vector, "achieved_goal": achieved, "desired_goal": desired}
        if self.form == "retina":
            images = np.empty((simulation.num_envs, self.retina_px, self.retina_px, self._channels), dtype=np.uint8)
            draw_retinas(simulation.world.tiles, images)
            return {"retina": images, "felt": vector[:, FIRST_FELT:].copy()}
        return vector


def of_one(observations: Any, index: int) -> Any:
    """The observation of one environment, copied from those of all."""
    if isinstance(observations, dict):
        return {name: values[index].copy() for name, values in observations.items()}
    return observations[index].copy()
