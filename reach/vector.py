"""`CupVectorEnv`, a compiled Gymnasium vector environment that runs many trials side by side on all cores.

Each of its environments is bit-identical to a `CupEnv` with the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from reach.arguments import numbers_in, picture_size, require_bool, require_choice, require_seed, require_whole
from reach.env import CupEnv
from reach.jit import max_threads
from reach.perturbations import for_each_environment
from reach.scene import Label, Paths, scene_of
from reach.sim import layout as s
from reach.sim import setup, tasks
from reach.sim.actuators import command_for_control
from reach.sim.arm import Arm
from reach.sim.layout import Array
from reach.sim.setup import Physical
from reach.sim.tasks import compute_reward, compute_terminated, compute_truncated, truths_of
from reach.simulation import Simulation
from reach.spaces import Observing, action_space, observation_of_one, reset_options, reward_for

try:
    from gymnasium.vector import AutoresetMode
except ImportError as error:
    raise ImportError(
        f"reach.vector: expected gymnasium 1.1 or newer, got {gym.__version__}, which has single environments only; "
        "use gymnasium.vector.SyncVectorEnv"
    ) from error

TERM_MASKS = [f"_{name}" for name in tasks.REWARD_TERMS]
RESET_OPTIONS = ("cup", "perturbation", "context", "reset_mask")
RENDER_MODES = ("rgb_array", "rgb_array_list")
AUTORESET_MODES = tuple(mode.value for mode in AutoresetMode)
# Value for no time limit, and the longest time limit that the counters of inner steps can represent.
UNLIMITED = -1
LONGEST_EPISODE_STEPS = 100_000_000
MOST_ENVS = 1_000_000
# Types of actions that are not converted.
COMPILED_TYPES = (np.dtype(np.float32), np.dtype(np.float64))
# Smallest number of environments per thread; with fewer, a further thread costs more than it gains.
ENVS_A_THREAD = 32


class CupVectorEnv(gym.vector.VectorEnv[Any, NDArray[np.float32], NDArray[Any]]):
    """`num_envs` trials side by side; spaces, rewards and ends are those of `CupEnv`.

    Create one with `gym.make_vec("reach/CupGrab-v1", num_envs=64, vectorization_mode="vector_entry_point")`. `info`
    holds arrays over the environments, in the layout of Gymnasium's `SyncVectorEnv`: `is_success` and the terms of the
    reward, (num_envs,), and `truth`, a dictionary of arrays: `truth["hand"]` is (num_envs, 2). `truth=False` leaves the
    true state out, which makes a step faster.
    """

    def __init__(
        self,
        num_envs: int = 1,
        task: str = "grab",
        *,
        control: str = "posture",
        command: str | None = None,
        perturbation: Any = None,
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
        max_episode_steps: int | None = s.TRIAL_STEPS,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        threads: int | None = None,
        render_mode: str | None = None,
        width: int = 600,
        height: int = 600,
    ) -> None:
        """Create the environments.

        Args:
            num_envs: number of environments, 1 to 1,000,000.
            task, control, command, reward, observation, retina_px, retina_colour, context, arm, strict_actions, truth,
                width, height: as for `CupEnv`.
            perturbation: for all environments, one perturbation, or a tuple or list of perturbations that act together;
                or a sequence with one entry for each environment, at least one of which is None or a sequence:
                `[None, Prism()]`, `[(Prism(),), (Load(),)]`.
            height_m, mass_kg, strength, cup, senses: as for `CupEnv`, or arrays with one value for each environment.
            max_episode_steps: number of steps after which a trial is truncated; None for 150 as in the registered
                environments, -1 for no limit.
            autoreset_mode: Gymnasium's NEXT_STEP, SAME_STEP or DISABLED.
            threads: number of threads; None for as many as are useful on this machine.
            render_mode: None, "rgb_array" or "rgb_array_list".

        Raises:
            ValueError: an argument is out of range; the message names it.
        """
        num_envs = require_whole("num_envs", num_envs, 1, MOST_ENVS)
        cores = max_threads()
        if threads is None:
            threads = max(1, min(cores, num_envs // ENVS_A_THREAD))
        threads = require_whole("threads (of numba)", threads, 1, cores, none_allowed=True)
        if max_episode_steps is None:
            max_episode_steps = s.TRIAL_STEPS
        elif max_episode_steps != UNLIMITED:
            max_episode_steps = require_whole(
                "max_episode_steps (-1: no limit)", max_episode_steps, 1, LONGEST_EPISODE_STEPS, none_allowed=True
            )
        size = picture_size(width, height)
        require_choice("render_mode", render_mode, (None, *RENDER_MODES))
        self.num_envs = num_envs
        self.task = task
        self.control = control
        self.command = command_for_control(command, control)
        self.observing = Observing(observation, retina_px, retina_colour, context)
        self.context = self.observing.context
        self.reward = reward_for(observation, reward)
        if observation == "goal":
            self.compute_reward = compute_reward
            self.compute_terminated, self.compute_truncated = compute_terminated, compute_truncated
        require_choice("autoreset_mode", getattr(autoreset_mode, "value", autoreset_mode), AUTORESET_MODES)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": CupEnv.metadata["render_fps"],
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = render_mode
        self.max_episode_steps = max_episode_steps
        self.single_observation_space, self.single_action_space = self.observing.space, action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._simulation = Simulation(
            num_envs, task=task, control=control, command=self.command, reward=self.reward,
            perturbations=for_each_environment(perturbation, num_envs),
            person=setup.Person(arm, height_m, mass_kg, strength), cup=cup, senses=senses,
            context=context, strict_actions=strict_actions, threads=threads, truth=truth,
        )  # fmt: skip
        self.truth = require_bool("truth", truth)
        # Clock, inner steps, at which a trial is truncated.
        self._longest = np.inf if max_episode_steps == UNLIMITED else float(max_episode_steps * s.INNER_STEPS)
        self._begun = np.zeros(num_envs, dtype=np.bool_)
        self._over = np.zeros(num_envs, dtype=np.bool_)
        self._everywhere, self._nowhere = np.ones(num_envs, dtype=np.bool_), np.zeros(num_envs, dtype=np.bool_)
        self._size = size
        self._paths = [Paths() for _ in range(num_envs if render_mode else 0)]
        # For "rgb_array_list": pictures of each present trial that `render` has not returned yet.
        self._films: list[list[NDArray[np.uint8]]] = [[] for _ in self._paths]

    @property
    def arms(self) -> list[Arm]:
        """Return the arm of each environment in its present trial."""
        return self._simulation.arms

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a trial in every environment, or in those of `options["reset_mask"]`.

        Args:
            seed: a seed, with which environment i is seeded with `seed + i`; or a sequence with one seed, or None, for
                each environment.
            options: "cup", one position (x, y) m for all, or (num_envs, 2); "perturbation" of this trial, as for the
                constructor; "context", the lamps of this trial, (context,) for all, or (num_envs, context);
                "reset_mask", (num_envs,) bool.

        Raises:
            ValueError: an option is unknown or its value invalid.
        """
        options = reset_options(options, RESET_OPTIONS)
        mask = self._mask(options.get("reset_mask"))
        seeds = self._seeds(seed)
        super().reset(seed=None if isinstance(seed, Sequence | np.ndarray) else seeds[0])
        self._simulation.detach_observations()
        self._begun &= ~mask
        self._seed(seeds, mask)
        if options.get("cup") is None and options.get("context") is None and "perturbation" not in options:
            self._begin(mask)
        else:
            cups = self._for_each("cup", options.get("cup"), 2)
            lamps = self._for_each("context", options.get("context"), self.context)
            acting: list[Any] = [None] * self.num_envs
            if "perturbation" in options:
                acting = list(for_each_environment(options["perturbation"], self.num_envs))
            for index in np.flatnonzero(mask).tolist():
                self._simulation.begin(index, cup=cups[index], perturbation=acting[index], context=lamps[index])
            self._begin_paths(mask)
        self._begun |= mask
        self._over &= ~mask
        self._record(mask)
        return self.observing.of(self._simulation), self._info(mask, *self._simulation.moments())

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance every trial by 20 ms.

        Args:
            actions: (num_envs, 4), clipped to [-1, 1].

        Raises:
            ValueError: actions have another shape, are not finite, or, with `strict_actions`, are outside [-1, 1];
                nothing is changed in this case.
            gymnasium.error.ResetNeeded: an environment was never reset, or its trial has ended with autoreset DISABLED.
        """
        numbers = np.asarray(actions)
        if numbers.dtype.kind not in "fiu":
            raise ValueError(f"actions: expected numbers of shape {(self.num_envs, s.ACTION_SIZE)}, got {actions!r}")
        if numbers.shape != (self.num_envs, s.ACTION_SIZE):
            raise ValueError(f"actions: expected shape {(self.num_envs, s.ACTION_SIZE)}, got {numbers.shape}")
        if not self._begun.all():
            raise gym.error.ResetNeeded("step() was called before reset(); call reset() first")
        if self.autoreset_mode == AutoresetMode.DISABLED and self._over.any():
            over = np.flatnonzero(self._over).tolist()
            raise gym.error.ResetNeeded(
                f'environments {over} have ended; call reset(options={{"reset_mask": ...}}) for them before step()'
            )
        simulation = self._simulation
        simulation.detach_observations()
        waiting = self._over if self.autoreset_mode == AutoresetMode.NEXT_STEP else self._nowhere
        drawn = waiting & simulation.can_begin_drawn
        numbers = numbers if numbers.dtype in COMPILED_TYPES else numbers.astype(np.float64)
        moments, flags = simulation.play(numbers, drawn)
        rewritten = waiting & ~drawn
        if rewritten.any():
            self._begin(rewritten)
            moments, flags = simulation.moments()
        self._begin_paths(drawn)
        reward = moments[tasks.REWARD - tasks.FIRST_FLAG].copy()
        terminated = flags[tasks.TIPPED - tasks.FIRST_FLAG] | flags[tasks.SUCCESS - tasks.FIRST_FLAG]
        truncated = moments[tasks.CLOCK - tasks.FIRST_FLAG] >= self._longest
        self._over = terminated | truncated
        self._record(self._everywhere)
        info = {}
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._over.any():
            info = self._final(self._over, moments, flags)
            self._begin(self._over)
            self._record(self._over)
            moments, flags = simulation.moments()
        info.update(self._info(self._everywhere, moments, flags))
        return self.observing.of(simulation), reward, terminated, truncated, info

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of each environment as `SyncVectorEnv` does; only "arm" and "perturbation" may differ."""
        if name == "arm":
            return tuple(self._simulation.arms)
        if name == "perturbation":
            return tuple(self._simulation.perturbations)
        return (getattr(self, name),) * self.num_envs

    def random_state(self) -> dict[str, Any]:
        """Return the state of the random generators, which determines the next trials, as JSON values."""
        return self._simulation.random_state(self.np_random)

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `random_state`, so that the same trials follow.

        Raises:
            ValueError: the state is invalid or has another number of environments; nothing is changed in this case.
        """
        self._simulation.restore_random_state(state, self.np_random)

    def _mask(self, value: Any) -> NDArray[np.bool_]:
        if value is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if not isinstance(value, np.ndarray) or value.shape != (self.num_envs,) or value.dtype != np.bool_:
            raise ValueError(f"option reset_mask: expected a ({self.num_envs},) array of bool, got {value!r}")
        if not value.any():
            raise ValueError("option reset_mask: expected at least one True, got none")
        return value

    def _seeds(self, seed: Any) -> list[int | None]:
        """Return the seed of each environment, None for an environment without one.

        Raises:
            ValueError: a seed is invalid, or the number of seeds is wrong.
        """
        if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str) and np.ndim(seed) == 1:
            if len(seed) != self.num_envs:
                raise ValueError(f"seed: expected one for each of {self.num_envs} environments, got {len(seed)}")
            return [require_seed(f"seed of environment {index}", value) for index, value in enumerate(seed)]
        first = require_seed("seed", seed)
        return [None if first is None else first + index for index in range(self.num_envs)]

    def _seed(self, seeds: Sequence[int | None], mask: NDArray[np.bool_]) -> None:
        """Seed the environments in `mask` that have a seed or no stream yet."""
        for index in np.flatnonzero(mask).tolist():
            seed = seeds[index]
            if seed is None and self._simulation.seeded[index]:
                continue
            generator = self.np_random if seed is None else seeding.np_random(seed)[0]
            self._simulation.seed(index, generator.integers(2**64, dtype=np.uint64))

    def _for_each(self, name: str, value: Any, size: int) -> list[Any]:
        """Return the option `name` of `reset` for each environment: `size` numbers, given for all or for each."""
        numbers = numbers_in(value)
        if numbers is None or numbers.ndim < 2:
            return [value] * self.num_envs
        if numbers.shape != (self.num_envs, size):
            raise ValueError(f"option {name}: expected shape ({size},) or {(self.num_envs, size)}, got {numbers.shape}")
        return list(numbers)

    def _begin(self, mask: NDArray[np.bool_]) -> None:
        """Begin the next trial, with a random cup and the default perturbations, in the environments of `mask`."""
        drawn = mask & self._simulation.can_begin_drawn
        self._simulation.begin_drawn(drawn)
        for index in np.flatnonzero(mask & ~drawn).tolist():
            self._simulation.begin(index)
        self._begin_paths(mask)

    def _begin_paths(self, mask: NDArray[np.bool_]) -> None:
        for index in np.flatnonzero(mask).tolist() if self._paths else ():
            self._paths[index].begin()
            self._films[index].clear()

    def _record(self, mask: NDArray[np.bool_]) -> None:
        """Add the present moment of the environments in `mask` to their paths and films."""
        for index in np.flatnonzero(mask).tolist() if self._paths else ():
            self._paths[index].extend(self._simulation, index)
            if self.render_mode == "rgb_array_list":
                self._films[index].append(self._picture(index))

    def _picture(self, index: int) -> NDArray[np.uint8]:
        from reach import render

        return render.draw(scene_of(self._simulation, index, self._paths[index], Label()), *self._size)

    def _info(self, mask: NDArray[np.bool_], moments: Array, flags: NDArray[np.bool_]) -> dict[str, Any]:
        """Return `info` of the environments in `mask`, with a mask for each key, in Gymnasium's layout."""
        terms = moments[tasks.FIRST_TERM - tasks.FIRST_FLAG : -1]
        info = dict(zip(tasks.REWARD_TERMS, terms, strict=True)) | dict.fromkeys(TERM_MASKS, mask)
        info |= {"is_success": flags[-1], "_is_success": mask}
        if self.truth:
            info |= {"truth": truths_of(moments, flags, mask), "_truth": mask}
        return info

    def _final(self, over: NDArray[np.bool_], moments: Array, flags: NDArray[np.bool_]) -> dict[str, Any]:
        """Return `final_obs` and `final_info` of trials that end in a step in which the next trial begins."""
        last = self.observing.of(self._simulation)
        observations = np.full(self.num_envs, None, dtype=object)
        for index in np.flatnonzero(over).tolist():
            observations[index] = observation_of_one(last, index)
        final = self._info(over, moments, flags)
        return {"final_obs": observations, "_final_obs": over, "final_info": final, "_final_info": over}

    def render(self) -> tuple[Any, ...] | None:
        """Return the picture of each environment, (height, width, 3) uint8.

        With "rgb_array_list", return a list for each environment: the pictures of its present trial since the last
        call.
        """
        if self.render_mode is None:
            gym.logger.warn("render: expected render_mode='rgb_array' or 'rgb_array_list', got None")
            return None
        if self.render_mode == "rgb_array":
            return tuple(self._picture(index) for index in range(self.num_envs))
        films = tuple(self._films)
        self._films = [[] for _ in films]
        return films
