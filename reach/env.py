"""`CupEnv`: the arm, the cup and the senses as a Gymnasium environment."""

from __future__ import annotations

import copy
import inspect
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from reach.arguments import (
    numbers_in,
    picture_size,
    require_bool,
    require_choice,
    require_keys,
    require_number,
    require_seed,
    require_whole,
)
from reach.perturbations import Perturbation, as_perturbations
from reach.scene import Label, Paths, scene_of
from reach.sim import layout as s
from reach.sim import setup, tasks
from reach.sim.actuators import LARGEST_TORQUE_N_M, joint_action
from reach.sim.arm import ELBOW_LIMITS_DEGREES, SHOULDER_LIMITS_DEGREES, WRIST_LIMITS_DEGREES, Arm
from reach.sim.retina import LARGEST_PX, SMALLEST_PX, draw_retinas
from reach.sim.setup import LARGEST_APERTURE_M, Physical
from reach.sim.tasks import compute_reward
from reach.sim.truth import Truth
from reach.simulation import Simulation, cup_place, require_generator

RESET_OPTIONS = ("cup", "perturbation")
ACTION_SHAPE = (s.ACTION_SIZE,)
# What changes while trials run, of an environment's attributes.
CHANGING = ("_is_sown", "_begun", "_cup_option", "_done_actions", "_paths")
OBSERVATION_FORMS = ("vector", "goal", "retina")
# What the body feels follows what the eye sees in the vector.
FIRST_FELT = next(
    sum(row[1] for row in s.OBSERVATION[:k]) for k, row in enumerate(s.OBSERVATION) if row[0] == "joint angles"
)


def goal_space() -> Any:
    """The space of one goal, (4,) float64: m, m, 0 or 1, steps. Doubles, so that the reward is that of the step."""
    farthest, most = tasks.FARTHEST_M, s.TRIAL_STEPS + tasks.TIPPING_PENALTY
    return spaces.Box(
        np.array([-farthest, -farthest, 0.0, 0.0]), np.array([farthest, farthest, 1.0, most]), dtype=np.float64
    )


@dataclass(frozen=True)
class Observing:
    """A form of observation.

    Attributes:
        form: "vector", (19,) float32; "goal", a dictionary of "observation" (that vector), "achieved_goal" and
            "desired_goal" (see `reach.sim.tasks`); or "retina", a dictionary of "retina" (size, size, channels)
            uint8 and "felt" (14,) float32, the vector without what is seen.
        retina_px: side of the retina, 16..256 pixels.
        retina_colour: red, green and blue instead of grey.
    """

    form: str = "vector"
    retina_px: int = 64
    retina_colour: bool = False

    def __post_init__(self) -> None:
        require_choice("observation", self.form, OBSERVATION_FORMS)
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
            goal = goal_space()
            return spaces.Dict({"observation": vector, "achieved_goal": goal, "desired_goal": goal_space()})
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
            achieved, desired = tasks.goals_of(simulation.column, simulation.grab)
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


class CupEnv(gym.Env[Any, NDArray[np.float32]]):
    """An arm on a table reaches for a cup. One episode is one trial: one cup, up to 3 s, as many attempts as fit.

    ## Description
    Shoulder, elbow and wrist move a hand with two fingers in the plane; eyes and joints report late and with noise. In
    `reach/CupReach-v0` the open hand is to come to rest around the cup (as they are seen, which matters only while a
    perturbation moves the seen hand); in `reach/CupGrab-v0` the fingers are to close on it and hold it for 0.2 s. A cup
    struck too fast tips over, which ends the trial.

    ## Action space
    `Box(-1, 1, (4,), float32)`, applied for 20 ms. `control` says what the joints make of it: an equilibrium posture
    held by joint springs (the default), torques, or the excitation of eight muscles in antagonist pairs.

    {action_table}

    ## Observation space
    `observation="vector"`: `Box(({observation_size},), float32)`.

    {observation_table}

    `observation="goal"`: a dictionary of `observation` (that vector), `achieved_goal` and `desired_goal`, with
    `compute_reward` for learning from hindsight; reward is then sparse. See `reach.sim.tasks`.

    `observation="retina"`: a dictionary of `retina`, a small picture `(retina_px, retina_px, 1 or 3)`, uint8, of seen
    hand and seen cup, and `felt`, the vector from the joint angles on. See `reach.sim.retina`.

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
    `task`, `control`, `perturbation`, `reward`, `observation`, `retina_px`, `retina_colour`, `arm`, `height_m`,
    `mass_kg`, `strength`, `cup` (size, mass, tipping threshold, friction), `senses`, `render_mode`, `width`, `height`;
    and `reset(options={{"cup": (x, y), "perturbation": ...}})` for one trial.

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
        control: str = "posture",
        perturbation: Perturbation | Sequence[Any] | Mapping[str, Any] | None = None,
        reward: str | None = None,
        observation: str = "vector",
        retina_px: int = 64,
        retina_colour: bool = False,
        arm: str | Arm | Mapping[str, Any] = "winter",
        height_m: Physical = 1.75,
        mass_kg: Physical = 70.0,
        strength: Physical = 1.0,
        cup: setup.Cup | Mapping[str, Any] | None = None,
        senses: setup.Senses | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        width: int = 600,
        height: int = 600,
    ) -> None:
        """Make the environment.

        Args:
            task: "reach" or "grab".
            control: "posture", "torque" or "muscle".
            perturbation: one perturbation, or a tuple or list of perturbations that act together in every trial.
            reward: "dense" or "sparse"; None is "dense", but "sparse" with goals.
            observation: "vector", "goal" or "retina", see `Observing`.
            retina_px, retina_colour: side of the retina, 16..256 pixels, and whether it sees colours.
            arm: "winter", "shadmehr1994", "li-todorov2004" or an `Arm`.
            height_m, mass_kg: of the person whose arm it is, for the arm "winter": 0.94..2.41 m, 5..300 kg.
            strength: factor on the largest torques and muscle forces.
            cup: a `reach.sim.setup.Cup` or its fields as a mapping.
            senses: a `reach.sim.setup.Senses` or its fields as a mapping.
            render_mode: None, "human" or "rgb_array".
            width, height: of the picture, pixels.

        Height, mass, strength and the fields of cup and senses may be (low, high) ranges, drawn anew for each trial.

        Raises:
            ValueError: an argument outside what is allowed; the message names it.
        """
        require_choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.task = task
        self.control = control
        self.observing = Observing(observation, retina_px, retina_colour)
        self.reward = reward_for(observation, reward)
        if observation == "goal":
            self.compute_reward = compute_reward
        self.render_mode = render_mode
        self.label = Label()
        self._size = picture_size(width, height)
        self._simulation = Simulation(
            1, task=task, control=control, reward=self.reward, perturbations=[as_perturbations(perturbation)],
            person=setup.Person(arm, height_m, mass_kg, strength), cup=cup, senses=senses,
        )  # fmt: skip
        self._take_row()
        self._actions = np.zeros((1, s.ACTION_SIZE))
        self._is_sown = False
        # Of this trial, so that it can be played again.
        self._cup_option: Any = None
        self._done_actions: list[bytes] = []
        self._begun = False
        self._paths = Paths()
        self._window: Any = None
        # Whether the person has left the window open; the environment goes on either way.
        self.window_open = True

        self.observation_space = self.observing.space
        self.action_space = action_space()

    @property
    def arm(self) -> Arm:
        """The arm of the present trial."""
        return self._simulation.arms[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a trial.

        Args:
            seed: of this trial and those after it.
            options: "cup", its place (x, y) m; "perturbation", for this trial instead of the environment's own.

        Raises:
            ValueError: an unknown option, or a value outside what is allowed.
        """
        given = reset_options(options, RESET_OPTIONS)
        super().reset(seed=require_seed("seed", seed))
        if seed is not None or not self._is_sown:
            self._simulation.sow(0, self.np_random.integers(2**64, dtype=np.uint64))
            self._is_sown = True
        self._begun = False
        perturbation = as_perturbations(given["perturbation"]) if "perturbation" in given else None
        self._simulation.begin(0, cup=given.get("cup"), perturbation=perturbation)
        self._cup_option = given.get("cup")
        self._done_actions = []
        self._begun = True
        if self.render_mode is not None:
            self._paths.begin()
            self._paths.extend(self._simulation, 0)
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._judgement()[1]

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance the trial by 20 ms.

        Args:
            action: (4,) in [-1, 1], see the action space.

        Raises:
            ValueError: an action of another shape, not finite, or outside [-1, 1].
        """
        if not self._begun:
            raise gym.error.ResetNeeded("step() was called before reset(); call reset() first")
        given = action if type(action) is np.ndarray and action.dtype.kind == "f" else numbers_in(action)
        if given is None:
            raise ValueError(f"action is {action!r}; numbers of shape {ACTION_SHAPE} are allowed")
        if given.shape != ACTION_SHAPE:
            raise ValueError(f"action has shape {given.shape}; {ACTION_SHAPE} is allowed")
        self._actions[0] = given
        self._simulation.advance(self._actions)
        self._done_actions.append(self._actions.tobytes())
        reward, info = self._judgement()
        terminated = info["is_success"] or self._row.item(s.TIPPED) > 0.0
        if self.render_mode is not None:
            self._paths.extend(self._simulation, 0)
            if self.render_mode == "human":
                self.render()
        return self._observation(), reward, terminated, False, info

    def joint_action(self, torque: Any, ahead_s: float = 0.0) -> NDArray[np.float64]:
        """The action (3,) of the joints that asks for `torque` in the true state, for scripted controllers.

        It knows the body and its state, as no honest learner does.

        Args:
            torque: (3,) N m, viscosity overcome.
            ahead_s: s, by which the state is led along its velocity; a command acts about 0.04 s late.

        Raises:
            ValueError: a torque that is not three finite numbers, or a time outside -3 to 3 s.
        """
        row, ahead_s = self._row, require_number("ahead_s", ahead_s, -s.TRIAL_S, s.TRIAL_S, "s")
        angle, velocity = (row[first : first + 3].copy() for first in (s.ANGLE_1, s.VELOCITY_1))
        return joint_action(
            self.arm, self.control, torque, angle + ahead_s * velocity, velocity, strength=row.item(s.STRENGTH)
        )

    def get_state(self) -> dict[str, Any]:
        """The whole state in the middle of a trial: body, cup, senses under way, noise, clock and generator.

        `set_state` goes back to it, and what follows is the same to the last bit. A time limit that a wrapper keeps is
        the wrapper's own.
        """
        return {
            "simulation": self._simulation.state(),
            "generator": copy.deepcopy(self.np_random.bit_generator.state),
            **{name: copy.deepcopy(getattr(self, name)) for name in CHANGING},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go back to what `get_state` gave, here or in an environment made with the same arguments.

        Raises:
            ValueError: an entry is missing or wrong, and the message names it; or the state is one of another number of
                environments. Then nothing has changed.
        """
        require_keys("state", state, ("simulation", "generator", *CHANGING))
        require_generator(state["generator"], self.np_random)
        _require_changing(state)
        self._simulation.restore(state["simulation"])
        self.np_random.bit_generator.state = copy.deepcopy(state["generator"])
        for name in CHANGING:
            setattr(self, name, copy.deepcopy(state[name]))
        self._take_row()

    def random_state(self) -> dict[str, Any]:
        """From what the trials after this one follow, as JSON values."""
        return {
            **self._simulation.random_state(),
            "sown": [self._is_sown],
            "generator": copy.deepcopy(self.np_random.bit_generator.state),
        }

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Let the next trial be the one that would have followed where `random_state` was read.

        Raises:
            ValueError: not such a state, or that of another number of environments; then nothing has changed.
        """
        (sown,) = sown_in(state, 1, self.np_random)
        self._simulation.restore_random_state(state)
        self._is_sown = sown
        self.np_random.bit_generator.state = copy.deepcopy(state["generator"])

    def twin(self) -> CupEnv:
        """A copy of this environment in which the present trial went on, with the same actions, unperturbed.

        Noise, body and cup are the same, so all that differs from the twin is what the perturbation did.

        Raises:
            gymnasium.error.ResetNeeded: no trial has begun.
        """
        if not self._begun:
            raise gym.error.ResetNeeded("twin() was called before reset(); call reset() first")
        other = copy.deepcopy(self)
        other.render_mode = None
        other._simulation.begin_again(0, self._cup_option)
        for actions in self._done_actions:
            other._simulation.advance(np.frombuffer(actions).reshape(1, -1).copy())
        return other

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle holds: everything but the window."""
        return {**self.__dict__, "_window": None}

    def __setstate__(self, held: dict[str, Any]) -> None:
        """Become a copy, whose row is a view of its own world."""
        self.__dict__.update(held)
        self._take_row()

    def _take_row(self) -> None:
        """The world's row, and of it the body and what judges the last step, and its observation, as views."""
        self._row = self._simulation.world.row(0)
        self._body = self._row[: s.SETTING]
        self._judged = self._row[s.TERM_PROGRESS : s.SUCCESS + 1]
        self._sensed = self._simulation.observations[0]

    def _observation(self) -> Any:
        if self.observing.form == "vector":
            return self._sensed.copy()
        return of_one(self.observing.of(self._simulation), 0)

    def _judgement(self) -> tuple[float, dict[str, Any]]:
        """Reward and info of the last step."""
        progress, grasp, effort, tipping, success, step, reward, won = self._judged.tolist()
        return reward, {
            # The `tasks.REWARD_TERMS`, one by one: this is read in every step.
            "reward_terms": {
                "progress": progress, "grasp": grasp, "effort": effort,
                "tipping": tipping, "success": success, "step": step,
            },
            "is_success": won > 0.0,
            "truth": Truth(self._body.copy()),
        }  # fmt: skip

    def render(self) -> Any:
        """The picture: (height, width, 3) uint8 for "rgb_array"; shown in a window for "human"."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode; gym.make(..., render_mode='rgb_array') gives frames")
            return None
        if not self._begun:
            raise gym.error.ResetNeeded("render() was called before reset(); call reset() first")
        from reach import render

        frame = render.draw(scene_of(self._simulation, 0, self._paths, self.label), *self._size)
        if self.render_mode == "rgb_array":
            return frame
        if self._window is None:
            self._window = render.Window(*self._size, self.metadata["render_fps"])
        self.window_open = self._window.show(frame)
        return None

    def close(self) -> None:
        """Close the window, if one is open."""
        if self._window is not None:
            self._window.close()
            self._window = None


JOINTS = ("shoulder", "elbow", "wrist")
JOINT_LIMITS_DEGREES = (SHOULDER_LIMITS_DEGREES, ELBOW_LIMITS_DEGREES, WRIST_LIMITS_DEGREES)


def action_table() -> str:
    """What -1 and 1 ask for in each control mode, of the arm "winter", as a Markdown table."""
    lines = ['| index | action | `"posture"` | `"torque"` | `"muscle"` |', "|---|---|---|---|---|"]
    for k, joint in enumerate(JOINTS):
        low, high = JOINT_LIMITS_DEGREES[k]
        torque = LARGEST_TORQUE_N_M[k]
        lines.append(
            f"| {k} | {joint} | {low:g}..{high:g} degrees | {-torque:g}..{torque:g} N m | extensors..flexors |"
        )
    fingers = f"0..{LARGEST_APERTURE_M:g} m"
    lines.append(f"| {len(JOINTS)} | aperture of the fingers | {fingers} | {fingers} | {fingers} |")
    return "\n".join(lines)


def observation_table() -> str:
    """Index, meaning, unit, bounds and delay of each observation, as a Markdown table."""
    lines = ["| index | observation | unit | min | max | delay |", "|---|---|---|---|---|---|"]
    first = 0
    for name, width, unit, low, high, delay in s.OBSERVATION:
        index = str(first) if width == 1 else f"{first}-{first + width - 1}"
        lines.append(f"| {index} | {name} | {unit} | {_bound(low)} | {_bound(high)} | {delay} |")
        first += width
    return "\n".join(lines)


def _bound(value: float) -> str:
    return ("-" if value < 0 else "") + ("pi" if abs(value) == math.pi else f"{abs(value):g}")


if CupEnv.__doc__ is not None:  # python -OO leaves none
    CupEnv.__doc__ = inspect.cleandoc(CupEnv.__doc__).format(
        action_table=action_table(), observation_size=s.OBSERVATION_SIZE, observation_table=observation_table()
    )


def _require_changing(state: Mapping[str, Any]) -> None:
    """Validate the entries of a state that are an environment's own.

    Raises:
        ValueError: the message names the entry.
    """
    for name in ("_is_sown", "_begun"):
        require_bool(f"{name} of the state", state[name])
    if state["_cup_option"] is not None:
        cup_place(state["_cup_option"], "_cup_option of the state")
    done = state["_done_actions"]
    size = s.ACTION_SIZE * np.dtype(np.float64).itemsize
    fits = isinstance(done, list) and all(isinstance(one, bytes) and len(one) == size for one in done)
    if not fits or not all((np.abs(np.frombuffer(one)) <= 1.0).all() for one in done):
        raise ValueError(
            f"_done_actions of the state is {reprlib.repr(done)}; a list of actions is allowed, each as the bytes of "
            f"{s.ACTION_SIZE} numbers in [-1, 1]"
        )
    if not isinstance(state["_paths"], Paths):
        raise ValueError(f"_paths of the state is {reprlib.repr(state['_paths'])}; a reach.scene.Paths is allowed")


def reset_options(options: Any, known: tuple[str, ...]) -> dict[str, Any]:
    """Return a copy of the options of `reset`; None is none.

    Raises:
        ValueError: not a mapping, or an unknown option.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ValueError(f"options is {options!r}; None or a mapping with keys of {list(known)} is allowed")
    unknown = sorted(set(options) - set(known), key=str)
    if unknown:
        raise ValueError(f"reset options {unknown} are unknown; {list(known)} are allowed")
    return dict(options)


def sown_in(state: Any, num_envs: int, rng: np.random.Generator) -> list[bool]:
    """Return which environments of a random state have been seeded.

    Raises:
        ValueError: not a random state of `num_envs` environments.
    """
    require_keys("random state", state, ("streams", "episodes", "sown", "generator"))
    require_generator(state["generator"], rng)
    sown = state["sown"]
    if not isinstance(sown, Sequence) or len(sown) != num_envs:
        raise ValueError(f"sown of the random state is {sown!r}; {num_envs} of True or False are allowed")
    return [require_bool("sown of the random state", value) for value in sown]


def action_space() -> Any:
    """The space of one environment's actions."""
    return spaces.Box(-1.0, 1.0, (s.ACTION_SIZE,), np.float32)


def reward_for(observation: str, reward: str | None) -> str:
    """The reward that goes with a form of observation, where none is asked for.

    Raises:
        ValueError: goals with dense reward, whose terms are differences between two steps and not of goals.
    """
    if observation != "goal":
        return "dense" if reward is None else reward
    if reward not in (None, "sparse"):
        raise ValueError(f"reward is {reward!r}; None or 'sparse' is allowed with observation 'goal'")
    return "sparse"


def twin(env: Any) -> CupEnv:
    """Return the trial of `env` (a `CupEnv`, wrapped or not) without its perturbation; see `CupEnv.twin`."""
    copied: CupEnv = env.unwrapped.twin()
    return copied
