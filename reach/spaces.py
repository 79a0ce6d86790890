"""Spaces, forms of observation, reward and options of `reset`, which both environments share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from reach.arguments import require_bool, require_choice, require_known, require_whole
from reach.sim import layout as s
from reach.sim import tasks
from reach.sim.actuators import INCREMENT_APERTURE, INCREMENT_DEGREES, INCREMENT_SHARE, LARGEST_TORQUE_N_M
from reach.sim.arm import JOINT_LIMITS_DEGREES
from reach.sim.retina import LARGEST_RETINA_PX, MOST_LAMPS, SMALLEST_RETINA_PX, draw_lamps, draw_retinas, lamp_places_m
from reach.sim.setup import LARGEST_APERTURE_M
from reach.simulation import Simulation

ACTION_SHAPE = (s.ACTION_SIZE,)
OBSERVATION_FORMS = ("vector", "goal", "retina")
# Index of the first proprioceptive entry of the observation vector; all visual entries come before it.
FIRST_PROPRIOCEPTION = sum(row[1] for row in s.OBSERVATION if row[-1] == "vision")


@dataclass(frozen=True)
class Observing:
    """The form and space of the observations.

    Attributes:
        form: "vector", "goal" or "retina", see `CupEnv`.
        retina_px: side of the retina, 16..256 pixels.
        retina_colour: whether the retina has three colour channels instead of one grey channel.
        context: number of lamps, 0..32, which are the last entries of the vector or drawn on the retina.
    """

    form: str = "vector"
    retina_px: int = 64
    retina_colour: bool = False
    context: int = 0

    def __post_init__(self) -> None:
        require_choice("observation", self.form, OBSERVATION_FORMS)
        size = require_whole("retina_px", self.retina_px, SMALLEST_RETINA_PX, LARGEST_RETINA_PX)
        object.__setattr__(self, "retina_px", size)
        object.__setattr__(self, "retina_colour", require_bool("retina_colour", self.retina_colour))
        object.__setattr__(self, "context", require_whole("context", self.context, 0, MOST_LAMPS))

    @property
    def space(self) -> Any:
        """Return the observation space of a single environment."""
        low, high = (np.concatenate([np.full(row[1], row[k]) for row in s.OBSERVATION]) for k in (3, 4))
        low, high = low.astype(np.float32), high.astype(np.float32)
        lamps = np.ones(self.context, dtype=np.float32)
        vector = spaces.Box(np.append(low, 0.0 * lamps), np.append(high, lamps), dtype=np.float32)
        if self.form == "goal":
            return spaces.Dict({"observation": vector, "achieved_goal": _goal_space(), "desired_goal": _goal_space()})
        if self.form == "retina":
            shape = (self.retina_px, self.retina_px, self._channels)
            proprioception = spaces.Box(low[FIRST_PROPRIOCEPTION:], high[FIRST_PROPRIOCEPTION:], dtype=np.float32)
            return spaces.Dict({"retina": spaces.Box(0, 255, shape, np.uint8), "proprioception": proprioception})
        return vector

    @property
    def _channels(self) -> int:
        return 3 if self.retina_colour else 1

    def of(self, simulation: Simulation) -> Any:
        """Return the current observations of all environments of a simulation: arrays (num_envs, ...)."""
        vector = simulation.observations
        if self.form == "retina":
            images = np.empty((simulation.num_envs, self.retina_px, self.retina_px, self._channels), dtype=np.uint8)
            draw_retinas(simulation.world.tiles, images)
            if self.context:
                draw_lamps(simulation.lamps, *lamp_places_m(self.context), images)
            return {"retina": images, "proprioception": vector[:, FIRST_PROPRIOCEPTION:].copy()}
        if self.context:
            vector = np.concatenate([vector, simulation.lamps], axis=1)
        if self.form == "goal":
            achieved, desired = tasks.goals_of(simulation.column, simulation.grab)
            return {"observation": vector, "achieved_goal": achieved, "desired_goal": desired}
        return vector


def _goal_space() -> Any:
    """Return the space of a goal, (4,) float64: x, m; y, m; ready, 0 or 1; tip penalty, steps (see `sim.tasks`)."""
    farthest, largest_penalty = tasks.FARTHEST_M, s.TRIAL_STEPS + tasks.TIPPING_PENALTY
    low, high = np.array([-farthest, -farthest, 0.0, 0.0]), np.array([farthest, farthest, 1.0, largest_penalty])
    return spaces.Box(low, high, dtype=np.float64)


def observation_of_one(observations: Any, index: int) -> Any:
    """Return a copy of the observation of environment `index` from those of all environments (num_envs, ...)."""
    if isinstance(observations, dict):
        return {name: values[index].copy() for name, values in observations.items()}
    return observations[index].copy()


def reset_options(options: Any, known: tuple[str, ...]) -> dict[str, Any]:
    """Validate the options of `reset` and return them as a new dictionary, empty for None.

    Raises:
        ValueError: the value is not a mapping, or an option is unknown.
    """
    if not isinstance(options, Mapping | None):
        raise ValueError(f"options: expected None or a mapping with keys from {list(known)}, got {options!r}")
    require_known("options", options or {}, known)
    return dict(options or {})


def action_space() -> Any:
    """Return the action space of a single environment."""
    return spaces.Box(-1.0, 1.0, ACTION_SHAPE, np.float32)


def reward_for(observation: str, reward: str | None) -> str:
    """Return "dense" or "sparse": the argument `reward`, or the default for the form of observation if it is None.

    Raises:
        ValueError: dense reward with observation "goal". Dense terms depend on the previous step, not only on the goal.
    """
    if observation != "goal":
        return "dense" if reward is None else reward
    if reward not in (None, "sparse"):
        raise ValueError(f"reward: expected None or 'sparse' with observation 'goal', got {reward!r}")
    return "sparse"


def action_table() -> str:
    """Return a Markdown table with the meaning of commands of -1 and 1 in each control mode, for the arm "winter"."""
    lines = ['| index | command | `"posture"` | `"torque"` | `"muscle"` |', "|---|---|---|---|---|"]
    for k, (joint, (low, high)) in enumerate(JOINT_LIMITS_DEGREES.items()):
        torque = LARGEST_TORQUE_N_M[k]
        posture, torques = f"{low:g}..{high:g} degrees", f"{-torque:g}..{torque:g} N m"
        lines.append(f"| {k} | {joint} | {posture} | {torques} | extensors..flexors |")
    fingers = f"0..{LARGEST_APERTURE_M:g} m"
    lines.append(f"| {len(JOINT_LIMITS_DEGREES)} | aperture of the fingers | {fingers} | {fingers} | {fingers} |")
    aperture, share = f"{0.5 * INCREMENT_APERTURE * LARGEST_APERTURE_M:g} m", f"{INCREMENT_SHARE:g} of the largest"
    lines.append(
        f"| | increment | {INCREMENT_DEGREES:g} degrees, {aperture} | {share}, {aperture} | {share}, {aperture} |"
    )
    return "\n".join(lines)


def observation_table() -> str:
    """Return index, meaning, unit, bounds and delay of each observation as a Markdown table."""
    lines = ["| index | observation | unit | min | max | delay |", "|---|---|---|---|---|---|"]
    first = 0
    for name, width, unit, low, high, delay in s.OBSERVATION:
        index = str(first) if width == 1 else f"{first}-{first + width - 1}"
        lines.append(f"| {index} | {name} | {unit} | {_bound(low)} | {_bound(high)} | {delay} |")
        first += width
    return "\n".join(lines)


def _bound(value: float) -> str:
    return ("-" if value < 0 else "") + ("pi" if abs(value) == np.pi else f"{abs(value):g}")
