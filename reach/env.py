"""`CupEnv`: the arm, the cup and the senses as a Gymnasium environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from reach import tasks
from reach.perturbations import Perturbation, as_perturbations, write_perturbations
from reach.sim import setup, step
from reach.sim import state as s
from reach.sim.arm import Arm, Array
from reach.sim.grasp import CAPSULES, capsule
from reach.truth import Truth

T = TypeVar("T")
TASKS = ("reach", "grab")
REWARDS = ("dense", "sparse")
RESET_OPTIONS = ("cup", "perturbation")
# Where cups are drawn: distance from the start of the hand, m, and bearing, degrees.
CUP_DISTANCE_M = (0.16, 0.24)
CUP_BEARING_DEGREES = (65.0, 125.0)
TABLE_REACH_M = 0.70
PAST_PATHS = 6


class CupEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """An arm on a table reaches for a cup. One episode is one trial: one cup, up to 3 s, as many attempts as fit.

    ## Description
    Shoulder, elbow and wrist move a hand with two fingers in the plane. Commands are equilibrium
    postures held by joint springs; eyes and joints report late and with noise. In `reach/CupReach-v0` the open hand
    is to come to rest around the cup (as they are seen, which matters only while a perturbation moves the seen hand);
    in `reach/CupGrab-v0` the fingers are to close on it and hold it for 0.2 s. A cup struck too fast tips over, which
    ends the trial.

    ## Action space
    `Box(-1, 1, (4,), float32)`, applied for 20 ms.

    | index | action | -1 | 1 |
    |---|---|---|---|
    | 0 | shoulder posture | -30 degrees | 140 degrees |
    | 1 | elbow posture | 0 degrees | 150 degrees |
    | 2 | wrist posture | -60 degrees | 60 degrees |
    | 3 | aperture of the fingers | 0 m | 0.11 m |

    ## Observation space
    `Box((19,), float32)`.

    | index | observation | unit | min | max | delay |
    |---|---|---|---|---|---|
    | 0-1 | seen hand (x right, y forward of the shoulder; 0 when not visible) | m | -1.5 | 1.5 | vision |
    | 2 | hand visible | 0 or 1 | 0 | 1 | vision |
    | 3-4 | seen cup | m | -1.5 | 1.5 | vision |
    | 5-7 | joint angles | rad | -pi | pi | proprioception |
    | 8-10 | joint velocities | rad/s | -60 | 60 | proprioception |
    | 11 | aperture | m | -0.02 | 0.13 | proprioception |
    | 12-14 | touch: left finger, right finger, palm | 0 or 1 | 0 | 1 | proprioception |
    | 15-18 | last command | 1 | -1 | 1 | none |

    ## Rewards
    `info["reward_terms"]` holds them by name.

    - `reward="dense"`: progress of the seen hand towards the seen cup and of the grasp (differences of potentials,
      weighted 4 and 8), a little for steady commands, +10 for success. A tipped cup takes all progress back and 1 more.
    - `reward="sparse"`: -1 a step, 0 on success; a tipped cup costs all the steps that were left and 1 more.

    ## Starting state
    The arm rests with the hand at (0.12, 0.36) m; the cup stands 0.16-0.24 m away at a bearing of 65-125 degrees.

    ## Episode end
    Terminated on success or when the cup tips over; truncated after 150 steps (by the registered time limit).

    ## Arguments
    `task`, `perturbation`, `reward`, `height_m`, `mass_kg`, `cup`, `senses`, `render_mode`, `width`, `height`; and
    `reset(options={"cup": (x, y), "perturbation": ...})` for one trial.

    ## Truth
    `info["truth"]` holds the true state. It is for metrics and pictures; a learner that reads it is not honest.

    ## Version history
    v0: first version.
    """

    # Gymnasium declares it as an attribute of the instance.
    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 50}  # noqa: RUF012

    def __init__(
        self,
        task: str = "grab",
        *,
        perturbation: Perturbation | tuple[Perturbation, ...] | Mapping[str, Any] | None = None,
        reward: str = "dense",
        height_m: float = 1.75,
        mass_kg: float = 70.0,
        cup: setup.Cup | Mapping[str, float] | None = None,
        senses: setup.Senses | Mapping[str, float] | None = None,
        render_mode: str | None = None,
        width: int = 600,
        height: int = 600,
    ) -> None:
        """Make the environment.

        Args:
            task: "reach" or "grab".
            perturbation: one perturbation or a tuple that acts together in every trial.
            reward: "dense" or "sparse".
            height_m, mass_kg: of the person whose arm it is.
            cup: a `reach.sim.setup.Cup` or its fields as a mapping.
            senses: a `reach.sim.setup.Senses` or its fields as a mapping.
            render_mode: None, "human" or "rgb_array".
            width, height: of the picture, pixels.

        Raises:
            ValueError: an argument outside what is allowed; the message names it.
        """
        _require_choice("task", task, TASKS)
        _require_choice("reward", reward, REWARDS)
        _require_choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        for name, size in (("width", width), ("height", height)):
            if not 16 <= size <= 4096:
                raise ValueError(f"{name} is {size}; 16 to 4096 pixels is allowed")
        self.task = task
        self.reward = reward
        self.arm = Arm.winter(height_m, mass_kg)
        self.render_mode = render_mode
        self.caption = ""
        self._size = (width, height)
        self._perturbation = as_perturbations(perturbation)
        self._grab = task == "grab"
        self._dense = reward == "dense"
        self._start_posture = setup.start_posture(self.arm)
        self._start = self.arm.hand(self._start_posture)
        self._rest_command = setup.command_for(self.arm, self._start_posture, s.START_APERTURE_M)
        self._setting = setup.settings_row(self.arm, _given(setup.Cup, cup), _given(setup.Senses, senses))
        self._world = s.World.empty(1)
        self._memory = np.zeros((1, tasks.MEMORY_SIZE))
        self._terms = np.zeros((1, len(tasks.REWARD_TERMS)))
        self._success = np.zeros(1, dtype=np.bool_)
        self._sensed = np.zeros((1, s.OBSERVATION_SIZE), dtype=np.float32)
        self._take_rows()
        self._begun = False
        self._path: list[tuple[float, float]] = []
        self._past_paths: list[list[tuple[float, float]]] = []
        self._window: Any = None
        # Whether the person has left the window open; the environment goes on either way.
        self.window_open = True
        # Checks the perturbation now, when the caller can still see where it came from.
        write_perturbations(self._perturbation, self._world.disturbance[0], self._start)

        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.observation_space = spaces.Box(
            np.concatenate([np.full(row[1], row[3]) for row in s.OBSERVATION]).astype(np.float32),
            np.concatenate([np.full(row[1], row[4]) for row in s.OBSERVATION]).astype(np.float32),
            dtype=np.float32,
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin a trial.

        Args:
            seed: of this trial and those after it.
            options: "cup", its place (x, y) m; "perturbation", for this trial instead of the environment's own.

        Raises:
            ValueError: an unknown option, or a value outside what is allowed.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        unknown = sorted(set(given) - set(RESET_OPTIONS))
        if unknown:
            raise ValueError(f"reset options {unknown} are unknown; {list(RESET_OPTIONS)} are allowed")
        # Cup and noise are drawn even where an option replaces them, so that options never shift the noise.
        drawn = self._draw_cup()
        key = self.np_random.integers(2**64, dtype=np.uint64)
        cup = drawn if given.get("cup") is None else _cup_place(given["cup"])
        perturbation = as_perturbations(given["perturbation"]) if "perturbation" in given else self._perturbation

        world = self._world
        world.key[0] = key
        world.setting[0] = self._setting
        self._action[:] = self._rest_command
        write_perturbations(perturbation, world.disturbance[0], self._start)
        setup.place(world.body[0], world.setting[0], self._start_posture, cup)
        step.begin(
            world.body, world.history, world.key, world.noise,
            world.setting, world.disturbance, world.action, self._sensed,
        )  # fmt: skip
        tasks.prepare(world.body, world.history, world.setting, world.action, self._memory)
        self._terms[:] = 0.0
        self._success[:] = False
        self._begun = True
        if self.render_mode is not None:
            self._remember_path()
        if self.render_mode == "human":
            self.render()
        return self._observation.copy(), self._info(self._terms[0].tolist())

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Advance the trial by 20 ms.

        Args:
            action: (4,) in [-1, 1]: postures of shoulder, elbow, wrist, and aperture.

        Raises:
            ValueError: an action of another shape, not finite, or outside [-1, 1].
        """
        if not self._begun:
            raise gym.error.ResetNeeded("step() was called before reset(); call reset() first")
        if np.shape(action) != (4,):
            raise ValueError(f"action has shape {np.shape(action)}; (4,) is allowed")
        self._action[:] = action
        shoulder, elbow, wrist, grip = self._action.tolist()
        # Written so that NaN, of which every comparison is false, is refused as well.
        if not (-1.0 <= shoulder <= 1.0 and -1.0 <= elbow <= 1.0 and -1.0 <= wrist <= 1.0 and -1.0 <= grip <= 1.0):
            raise ValueError(
                f"action is {self._action.tolist()}; finite values in [-1, 1] are allowed (see ClipAction)"
            )
        world = self._world
        tasks.advance_and_judge(
            world.body, world.history, world.key, world.noise, world.setting, world.disturbance, world.action,
            self._sensed, self._memory, self._grab, self._dense, self._terms, self._success,
        )  # fmt: skip
        terms = self._terms[0].tolist()
        info = self._info(terms)
        terminated = info["is_success"] or self._body.item(s.TIPPED) > 0.0
        if self.render_mode is not None:
            self._path.append((self._body[s.HAND_X], self._body[s.HAND_Y]))
            if self.render_mode == "human":
                self.render()
        return self._observation.copy(), sum(terms), terminated, False, info

    def _take_rows(self) -> None:
        """The rows of the one world, as views."""
        self._body = self._world.body[0]
        self._action = self._world.action[0]
        self._observation = self._sensed[0]

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle holds: everything but the window."""
        return {**self.__dict__, "_window": None}

    def __setstate__(self, held: dict[str, Any]) -> None:
        """Become a copy, whose rows are views of its own world."""
        self.__dict__.update(held)
        self._take_rows()

    def _draw_cup(self) -> Array:
        distance = self.np_random.uniform(*CUP_DISTANCE_M)
        bearing = math.radians(self.np_random.uniform(*CUP_BEARING_DEGREES))
        return self._start + distance * np.array([math.cos(bearing), math.sin(bearing)])

    def _info(self, terms: list[float]) -> dict[str, Any]:
        progress, grasp, effort, tipping, success, step_cost = terms
        return {
            "reward_terms": {
                "progress": progress,
                "grasp": grasp,
                "effort": effort,
                "tipping": tipping,
                "success": success,
                "step": step_cost,
            },
            "is_success": bool(self._success[0]),
            "truth": Truth(self._body.copy()),
        }

    def _remember_path(self) -> None:
        if len(self._path) > 1:
            self._past_paths = [*self._past_paths, self._path][-PAST_PATHS:]
        self._path = [(self._body[s.HAND_X], self._body[s.HAND_Y])]

    def render(self) -> Any:
        """The picture: (height, width, 3) uint8 for "rgb_array"; shown in a window for "human"."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode; gym.make(..., render_mode='rgb_array') gives frames")
            return None
        from reach import render

        frame = render.draw(self._scene(), *self._size)
        if self.render_mode == "rgb_array":
            return frame
        if self._window is None:
            self._window = render.Window(*self._size, self.metadata["render_fps"])
        self.window_open = self._window.show(frame)
        return None

    def _scene(self) -> Any:
        from reach.render import Scene

        truth = Truth(self._body)
        body, setting = self._body, self._setting
        joints = self.arm.joints(truth["joint_angles"])
        axis = float(np.sum(truth["joint_angles"]))
        turn = np.array([[math.cos(axis), -math.sin(axis)], [math.sin(axis), math.cos(axis)]])
        half = 0.5 * body[s.APERTURE] + setting[s.FINGER_RADIUS]
        shapes = [np.array(capsule(setting, half, k)[:4]).reshape(2, 2) for k in range(CAPSULES)]
        fingers = np.stack([truth["hand"] + shapes[k] @ turn.T for k in (0, 1)])
        joints[3] = truth["hand"] + turn @ np.array([setting[s.PALM_OFFSET], 0.0])
        return Scene(
            joints=joints,
            fingers=fingers,
            finger_radius=float(setting[s.FINGER_RADIUS]),
            grasp_point=truth["hand"],
            cup=truth["cup"],
            cup_radius=float(setting[s.CUP_RADIUS]),
            cup_held=bool(body[s.HELD_S] > 0.0),
            cup_tipped=truth["tipped"],
            seen_hand=truth["seen_hand"] if truth["hand_visible"] else None,
            seen_cup=truth["seen_cup"],
            start=self._start,
            touch=body[s.TOUCH_LEFT : s.TOUCH_PALM + 1] > 0.0,
            path=np.array(self._path).reshape(-1, 2),
            past_paths=tuple(np.array(path) for path in self._past_paths),
            time_s=truth["time_s"],
            caption=self.caption,
            success=bool(self._success[0]),
        )

    def close(self) -> None:
        """Close the window, if one is open."""
        if self._window is not None:
            self._window.close()
            self._window = None


def _require_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; {list(allowed)} are allowed")


def _given(kind: type[T], value: T | Mapping[str, Any] | None) -> T:
    """A dataclass from itself, from a mapping of its fields or from None for its defaults."""
    if value is None:
        return kind()
    if isinstance(value, kind):
        return value
    if isinstance(value, Mapping):
        known = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise ValueError(f"{kind.__name__} has no {unknown}; {known} are allowed")
        return kind(**value)
    raise ValueError(f"{kind.__name__} was given as {value!r}; a {kind.__name__} or a mapping of its fields is allowed")


def _cup_place(value: Any) -> Array:
    place = np.asarray(value, dtype=np.float64)
    if place.shape != (2,) or not np.isfinite(place).all() or np.hypot(*place) > TABLE_REACH_M:
        raise ValueError(
            f"option cup is {value!r}; a finite place (x, y) within {TABLE_REACH_M} m of the shoulder is allowed"
        )
    return place
