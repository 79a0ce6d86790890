"""`CupEnv`, a Gymnasium environment with an arm, a cup and senses."""

from __future__ import annotations

import copy
import inspect
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reach.arguments import (
    numbers_in,
    picture_size,
    require_bool,
    require_choice,
    require_generator,
    require_keys,
    require_number,
    require_numbers,
    require_seed,
)
from reach.perturbations import Perturbation, as_perturbations
from reach.play import UNLIMITED, Loop, Played
from reach.scene import Label, Paths, scene_of
from reach.sim import layout as s
from reach.sim import setup
from reach.sim.actuators import CommandMap, command_for_control, joint_command
from reach.sim.arm import Arm
from reach.sim.setup import Physical, cup_place
from reach.sim.tasks import (
    FIRST_NUMBER,
    FLAGS,
    NUMBERS,
    compute_reward,
    compute_terminated,
    compute_truncated,
    is_over,
    truth_of,
)
from reach.simulation import Simulation
from reach.spaces import (
    ACTION_SHAPE,
    Observing,
    action_space,
    action_table,
    observation_of_one,
    observation_table,
    reset_options,
    reward_for,
)

RESET_OPTIONS = ("cup", "perturbation", "context")
# Attributes of `CupEnv` that change during trials and are part of `get_state`.
SAVED_ATTRIBUTES = ("_begun", "_cup_option", "_done_actions", "_paths")


class CupEnv(gym.Env[Any, NDArray[np.float32]]):
    """An arm on a table reaches for a cup. One episode is one trial: one cup, up to 3 s, any number of attempts.

    ## Description
    Shoulder, elbow and wrist move a hand with two fingers in the horizontal plane. Vision and proprioception are
    delayed and noisy. In `reach/CupReach-v1` the open hand must come to rest around the cup. Here the seen hand and the
    seen cup count, so a visual perturbation must be corrected. In `reach/CupGrab-v1` the fingers must close on the cup
    and hold it for 0.2 s. A cup that is struck too fast tips over, which ends the trial.

    ## Action space
    `Box(-1, 1, (4,), float32)`, applied for 20 ms. Actions outside the bounds are clipped; NaN and infinity are
    errors. Actions set the command, which is part of the observation. `control` selects what the command of the joints
    is: an equilibrium posture held by joint springs (the default), torques, or the excitation of eight muscles in
    antagonist pairs.

    `command="increment"` (the default for postures): an action is a change of the command. 0 keeps the command, and 1
    increases it by the increment of the table. `command="absolute"` (the default for torques and muscles): an action is
    the command itself, shifted and scaled so that 0 is the command at the start of the trial.

    {action_table}

    ## Observation space
    `observation="vector"`: `Box(({observation_size} + context,), float32)`.

    {observation_table}

    Index {observation_size} and those after it are the lamps.

    `observation="goal"`: a dictionary of `observation` (the same vector), `achieved_goal` and `desired_goal`, with
    `compute_reward`, `compute_terminated` and `compute_truncated` for learning from hindsight. See `reach.sim.tasks`.

    `observation="retina"`: a dictionary of `retina`, a picture `(retina_px, retina_px, 1 or 3)`, uint8, of seen hand
    and seen cup, and `proprioception`, the entries of the vector from the joint angles to the command. The lamps are
    drawn in the picture. See `reach.sim.retina`.

    `context=n` puts a row of n lamps on the far side of the table, as cues for the perturbation of a trial. Each lamp
    is on (1) or off (0) for a whole trial, and is seen without delay or noise. Unless `reset` sets the lamps, each is
    on with probability 1/2. The other random numbers of a trial, such as the position of the cup, do not depend on the
    lamps.

    ## Rewards
    `info` holds the terms: `reward_progress`, `reward_grasp`, `reward_effort`, `reward_tipping`, `reward_success` and
    `reward_step`. Their sum is the reward.

    - `reward="dense"` (the default): progress of the seen hand towards the seen cup, and of the grasp (differences of
      potentials, weighted 4 and 8); a small cost of changes of the command; +10 for success. If the cup tips over, both
      potentials become 0, and 1 is subtracted.
    - `reward="sparse"` (always with goals): -1 per step, 0 on success. If the cup tips over, the number of remaining
      steps plus 1 is subtracted.

    ## Starting state
    The arm is at rest with the hand at (0.12, 0.36) m. The cup is 0.16-0.24 m away at a bearing of 65-125 degrees.

    ## Episode end
    Termination: success, or the cup tips over. Truncation: 150 steps (by the registered time limit).

    ## Arguments
    | argument | default | meaning |
    |---|---|---|
    | `task` | by the id | `"reach"` or `"grab"` |
    | `control` | `"posture"` | `"posture"`, `"torque"` or `"muscle"` |
    | `command` | `None` | `"increment"` or `"absolute"`; `None` is `"increment"` for postures, else `"absolute"` |
    | `perturbation` | `None` | a perturbation, or a tuple or list of them that act together in every trial |
    | `reward` | `None` | `"dense"` or `"sparse"`; `None` is `"dense"`, and `"sparse"` with goals |
    | `observation` | `"vector"` | `"vector"`, `"goal"` or `"retina"` |
    | `retina_px`, `retina_colour` | `64`, `False` | side of the retina, 16..256 pixels, and whether it is in colour |
    | `context` | `0` | number of lamps, 0..32 |
    | `arm` | `"winter"` | `"winter"`, `"shadmehr1994"`, `"li-todorov2004"` or an `Arm` |
    | `height_m`, `mass_kg` | `1.75`, `70` | body height and mass, 0.94..2.41 m, 5..300 kg; for the arm "winter" only |
    | `strength` | `1` | factor on the largest torques and muscle forces, 0.2..5 |
    | `cup`, `senses` | `None` | a `reach.Cup` and a `reach.Senses`, or mappings of their fields |
    | `strict_actions` | `False` | whether an action outside the bounds is an error instead of being clipped |
    | `truth` | `True` | whether `info` contains `truth`; without it `info` is flat, and a step is faster |
    | `render_mode` | `None` | `"human"` or `"rgb_array"` |
    | `width`, `height` | `600` | size of the picture, pixels |

    Height, mass, strength and the fields of `cup` and `senses` may be ranges (low, high), sampled for each trial.
    `reset(options={{"cup": (x, y), "perturbation": ..., "context": (1, 0)}})` sets the cup, the perturbation and the
    lamps (here two, the first on) of one trial.

    ## Truth
    `info["truth"]` holds the true state, for metrics and pictures: a dictionary of arrays, numbers and bools, see
    `reach.sim.tasks`. Learners must not read it.

    ## Version history
    - v1: the first published version. Under posture control an action changes the command instead of being the command.
      Actions outside the bounds are clipped. `info["truth"]` is a plain dictionary, and `info` holds the terms of the
      reward by name.
    - v0: never published; actions were absolute postures, with zero in the middle of the joints' ranges.
    """

    # A class attribute, although Gymnasium's type annotation declares an attribute of the instance.
    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 50}  # noqa: RUF012

    def __init__(
        self,
        task: str = "grab",
        *,
        control: str = "posture",
        command: str | None = None,
        perturbation: Perturbation | Sequence[Any] | Mapping[str, Any] | None = None,
        reward: str | None = None,
        observation: str = "vector",
        retina_px: int = 64,
        retina_colour: bool = False,
        context: int = 0,
        arm: str | Arm | Mapping[str, Any] = "winter",
        height_m: Physical = 1.75,
        mass_kg: Physical = 70.0,
        strength: Physical = 1.0,
        cup: setup.Cup | Mapping[str, Any] | None = None,
        senses: setup.Senses | Mapping[str, Any] | None = None,
        strict_actions: bool = False,
        truth: bool = True,
        render_mode: str | None = None,
        width: int = 600,
        height: int = 600,
    ) -> None:
        """Create the environment; for the arguments see the docstring of the class.

        Raises:
            ValueError: an argument is out of range; the message names it.
        """
        if isinstance(task, Mapping):
            raise ValueError(
                "task: expected 'reach' or 'grab', got a mapping. RLlib passes env_config to a class as one argument; "
                "use ray.tune.register_env(name, lambda config: gym.make(id, **config)) instead of the class"
            )
        require_choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.task = task
        self.control = control
        self.command = command_for_control(command, control)
        self.observing = Observing(observation, retina_px, retina_colour, context)
        self.context = self.observing.context
        # True if an observation is the vector without lamps.
        self._is_plain = observation == "vector" and self.context == 0
        self.reward = reward_for(observation, reward)
        if observation == "goal":
            self.compute_reward = compute_reward
            self.compute_terminated, self.compute_truncated = compute_terminated, compute_truncated
        self.render_mode = render_mode
        self.truth = require_bool("truth", truth)
        self.label = Label()
        self._size = picture_size(width, height)
        self._simulation = Simulation(
            1, task=task, control=control, command=self.command, reward=self.reward,
            perturbations=[as_perturbations(perturbation)],
            person=setup.Person(arm, height_m, mass_kg, strength), cup=cup, senses=senses, context=context,
            strict_actions=strict_actions,
        )  # fmt: skip
        self._actions = np.zeros((1, s.ACTION_SIZE))
        self._set_views()
        # The cup and the actions of the present trial, which `twin` replays.
        self._cup_option: Any = None
        self._done_actions: list[bytes] = []
        self._begun = False
        self._paths = Paths()
        self._window: Any = None
        # False after the user has closed the window; the environment still works.
        self.window_open = True

        self.observation_space = self.observing.space
        self.action_space = action_space()

    @property
    def arm(self) -> Arm:
        """Return the arm of the present trial."""
        return self._simulation.arms[0]

    @property
    def perturbation(self) -> tuple[Perturbation, ...]:
        """Return the perturbations of the present trial."""
        return self._simulation.perturbations[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a trial.

        Args:
            seed: seeds the generator of this trial and all later ones; None continues with the present generator.
            options: for this trial: "cup", the position of the cup (x, y), m; "perturbation", which replaces that of
                the constructor; "context", the lamps, each 0 or 1, as a sequence or an array.

        Raises:
            ValueError: an option is unknown, or a value is out of range.
        """
        options = reset_options(options, RESET_OPTIONS)
        super().reset(seed=require_seed("seed", seed))
        if seed is not None or not self._simulation.seeded[0]:
            self._simulation.seed(0, self.np_random.integers(2**64, dtype=np.uint64))
        self._begun = False
        perturbation = as_perturbations(options["perturbation"]) if "perturbation" in options else None
        self._simulation.begin(0, cup=options.get("cup"), perturbation=perturbation, context=options.get("context"))
        self._cup_option = options.get("cup")
        self._done_actions = []
        self._begun = True
        if self.render_mode is not None:
            self._paths.begin()
            self._paths.extend(self._simulation, 0)
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._step_result(self._simulation.moment())[2]

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance the trial by 20 ms.

        Args:
            action: (4,), clipped to [-1, 1]; see the action space.

        Raises:
            gymnasium.error.ResetNeeded: `reset` has not been called.
            ValueError: the action has a wrong shape, is not finite, or, with `strict_actions`, is outside [-1, 1].
        """
        if not self._begun:
            raise gym.error.ResetNeeded("step() was called before reset(); call reset() first")
        numbers = action if type(action) is np.ndarray and action.dtype.kind == "f" else numbers_in(action)
        if numbers is None:
            raise ValueError(f"action: expected numbers of shape {ACTION_SHAPE}, got {action!r}")
        if numbers.shape != ACTION_SHAPE:
            raise ValueError(f"action: expected shape {ACTION_SHAPE}, got {numbers.shape}")
        self._action[...] = numbers
        moment = self._simulation.advance(self._actions)
        self._done_actions.append(self._actions.tobytes())
        reward, terminated, info = self._step_result(moment)
        if self.render_mode is not None:
            self._paths.extend(self._simulation, 0)
            if self.render_mode == "human":
                self.render()
        return self._observation(), reward, terminated, False, info

    @property
    def playable_steps(self) -> int:
        """Return the number of control steps that `play` can play, see `reach.play`; 0 if frames are shown."""
        return 0 if self.render_mode == "human" else UNLIMITED

    def play(self, loop: Loop, longest: int) -> Played:
        """Play the trial that has begun; call `reach.play.play` instead, which respects time limits."""
        actions = np.zeros((longest, s.ACTION_SIZE))
        moments = self._simulation.play_one(loop, actions)
        self._done_actions += [action.tobytes() for action in actions[: len(moments)]]
        played = Played(actions[: len(moments)], moments, is_over=len(moments) > 0 and bool(is_over(moments[-1])))
        if self.render_mode is not None:
            self._paths.extend_by(played.column("hand"))
        return played

    def joint_command(self, torque: Any, ahead_s: float = 0.0) -> NDArray[np.float64]:
        """Return the command (3,) at which the actuators of the joints produce `torque`, for scripted controllers.

        This reads the true joint angles and velocities, which learners must not. `action_for` converts a command to an
        action.

        Args:
            torque: (3,) N m, in addition to the torque that compensates viscosity.
            ahead_s: s, time by which the joint angles are extrapolated, because a command acts about 0.04 s late.

        Raises:
            ValueError: `torque` is not three finite numbers, or `ahead_s` is outside -3 to 3 s.
        """
        row, ahead_s = self._row, require_number("ahead_s", ahead_s, -s.TRIAL_S, s.TRIAL_S, "s")
        angle, velocity = (row[first : first + 3].copy() for first in (s.ANGLE_1, s.VELOCITY_1))
        angle += ahead_s * velocity
        return joint_command(self.arm, self.control, torque, angle, velocity, strength=row.item(s.STRENGTH))

    def action_for(self, command: Any) -> NDArray[np.float64]:
        """Return the action (4,) that brings the present command nearest to `command`, for scripted controllers.

        Args:
            command: (4,) in [-1, 1], for the three joints and the aperture of the fingers.

        Raises:
            ValueError: the command is not four numbers in [-1, 1].
        """
        wanted = require_numbers("command", command, ACTION_SHAPE)
        if (np.abs(wanted) > 1.0).any():
            raise ValueError(f"command: expected four numbers in [-1, 1], got {command!r}")
        offset, scale, last = (self._row[first : first + 4] for first in (s.OFFSET_1, s.SCALE_1, s.COMMANDED_1))
        return CommandMap(self._row[s.KEEP], offset, scale).action_for(wanted, last)

    def get_state(self) -> dict[str, Any]:
        """Return the whole state at any step of a trial: body, cup, delayed senses, noise, clock and generator.

        After `set_state`, the same actions give bit-identical results. The step count of a `TimeLimit` wrapper is not
        part of the state.
        """
        return {
            "simulation": self._simulation.state(),
            "generator": copy.deepcopy(self.np_random.bit_generator.state),
            **{name: copy.deepcopy(getattr(self, name)) for name in SAVED_ATTRIBUTES},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state that `get_state` returned for this environment or one with the same arguments.

        Raises:
            ValueError: an entry is missing or invalid; the message names it. The environment is unchanged.
        """
        require_keys("state", state, ("simulation", "generator", *SAVED_ATTRIBUTES))
        require_generator(state["generator"], self.np_random)
        _require_saved(state, self._simulation.largest_action)
        self._simulation.restore(state["simulation"])
        self.np_random.bit_generator.state = copy.deepcopy(state["generator"])
        for name in SAVED_ATTRIBUTES:
            setattr(self, name, copy.deepcopy(state[name]))
        self._set_views()

    def random_state(self) -> dict[str, Any]:
        """Return the state of the random generators, which determines the next trials, as JSON values."""
        return self._simulation.random_state(self.np_random)

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `random_state`, so that the same trials follow.

        Raises:
            ValueError: the state is not a `random_state` of one environment. The environment is unchanged.
        """
        self._simulation.restore_random_state(state, self.np_random)

    def twin(self) -> CupEnv:
        """Replay the present trial without its perturbation in a copy of this environment, and return the copy.

        Actions, noise, body and cup are the same, so the perturbation causes every difference between the two trials.

        Raises:
            gymnasium.error.ResetNeeded: no trial has begun.
        """
        if not self._begun:
            raise gym.error.ResetNeeded("twin() was called before reset(); call reset() first")
        unperturbed = copy.deepcopy(self)
        unperturbed.render_mode = None
        unperturbed._simulation.begin_again(0, self._cup_option)
        for action in self._done_actions:
            unperturbed._simulation.advance(np.frombuffer(action).reshape(1, -1).copy())
        return unperturbed

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes to copy or pickle: all except the window."""
        return {**self.__dict__, "_window": None}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """Restore the attributes of a copy or pickle, and make its views refer to its own arrays."""
        self.__dict__.update(attributes)
        self._set_views()

    def _set_views(self) -> None:
        """Make the views of the world's row and observation and of this environment's action."""
        self._row = self._simulation.world.row(0)
        self._sensed = self._simulation.observations[0]
        self._action = self._actions[0]

    def _observation(self) -> Any:
        if self._is_plain:
            return self._sensed.copy()
        return observation_of_one(self.observing.of(self._simulation), 0)

    def _step_result(self, moment: NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Return reward, termination and info after a step; `moment` is the state after it, see `reach.sim.tasks`."""
        numbers = moment[FIRST_NUMBER:].tolist()
        progress, grasp, effort, tipping, success_bonus, time_penalty, reward = numbers[len(NUMBERS) : -len(FLAGS) - 1]
        is_success = numbers[-1] > 0.0
        info = {
            # `tasks.REWARD_TERMS`, written out for speed.
            "reward_progress": progress, "reward_grasp": grasp, "reward_effort": effort, "reward_tipping": tipping,
            "reward_success": success_bonus, "reward_step": time_penalty, "is_success": is_success,
        }  # fmt: skip
        if self.truth:
            info["truth"] = truth_of(moment, numbers)
        return reward, is_success or tipping < 0.0, info

    def render(self) -> Any:
        """Return the picture (height, width, 3), uint8, for "rgb_array"; show it in a window for "human"."""
        if self.render_mode is None:
            gym.logger.warn("render: expected a render_mode, got None; use gym.make(..., render_mode='rgb_array')")
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


if CupEnv.__doc__ is not None:  # python -OO removes docstrings
    CupEnv.__doc__ = inspect.cleandoc(CupEnv.__doc__).format(
        action_table=action_table(), observation_size=s.OBSERVATION_SIZE, observation_table=observation_table()
    )


def _require_saved(state: Mapping[str, Any], largest_action: float) -> None:
    """Validate the `SAVED_ATTRIBUTES` in a state of `get_state`.

    Raises:
        ValueError: an entry is invalid, or an action is larger than `largest_action`; the message names the entry.
    """
    require_bool("_begun of the state", state["_begun"])
    if state["_cup_option"] is not None:
        cup_place(state["_cup_option"], "_cup_option of the state")
    actions, size = state["_done_actions"], s.ACTION_SIZE * np.dtype(np.float64).itemsize
    if not isinstance(actions, list) or not all(
        isinstance(action, bytes) and len(action) == size and (np.abs(np.frombuffer(action)) <= largest_action).all()
        for action in actions
    ):
        raise ValueError(
            f"_done_actions of the state: expected a list of actions, each the bytes of {s.ACTION_SIZE} numbers that "
            f"step accepts, got {reprlib.repr(actions)}"
        )
    if not isinstance(state["_paths"], Paths):
        raise ValueError(f"_paths of the state: expected a reach.scene.Paths, got {reprlib.repr(state['_paths'])}")


def twin(env: Any) -> CupEnv:
    """Replay the trial of a `CupEnv`, wrapped or not, without its perturbation; see `CupEnv.twin`.

    Raises:
        ValueError: the environment is not a `CupEnv`, or see `CupEnv.twin`.
    """
    world = getattr(env, "unwrapped", env)
    if not isinstance(world, CupEnv):
        raise ValueError(f"env: expected an environment of this project, such as 'reach/CupGrab-v1', got {env!r}")
    return world.twin()
