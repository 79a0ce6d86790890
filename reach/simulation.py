"""The simulation: trials that run side by side in one `World`, used by the single and the vector environment.

This module contains bodies, cups, senses, perturbations and tasks. It does not depend on Gymnasium, time limits or
pictures.

`perturb` and `move_cup` change a running trial, which then differs from the trial in its protocol. Studies never use
them.
"""

from __future__ import annotations

import copy
import math
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from reach.arguments import (
    ranged_fields,
    require_bool,
    require_choice,
    require_generator,
    require_keys,
    require_same_form,
    require_whole,
)
from reach.jit import run_in_threads, say_when_compiling
from reach.perturbations import Perturbation, as_perturbations, is_perturbation, write_perturbations
from reach.play import Loop
from reach.sim import layout as s
from reach.sim import loop, setup
from reach.sim.arm import Arm
from reach.sim.elementary import BODY_COUNTER, trial_key, uniforms
from reach.sim.grasp import smallest_clearance
from reach.sim.layout import Array
from reach.sim.retina import MOST_LAMPS, lamps_of, sample_lamps, sample_lamps_in
from reach.sim.setup import cup_place, is_range, made_of, numbers_of
from reach.sim.tasks import CLOCK, FIRST_FLAG, MOMENT_SIZE, read_moment, read_moments

Moments = tuple[Array, NDArray[np.bool_]]
TASKS = ("reach", "grab")
REWARDS = ("dense", "sparse")
# Attributes of a simulation that change while trials run.
SAVED_ATTRIBUTES = ("world", "seeded", "_observations", "lamps", "_changed", "arms", "perturbations")
# Arrays of a `World` that determine its next trials.
COUNTERS = ("streams", "episodes")
# Number of variates for the ranges of one trial's body, cup and senses; at least their number of fields.
BODY_VARIATES = 32


class Simulation:
    """`num_envs` trials in one world.

    Attributes:
        world: the arrays of all trials.
        observations: (num_envs, OBSERVATION_SIZE) float32, overwritten by the next step.
        lamps: (num_envs, context) float32, on (1) or off (0) in the present trials, overwritten by the next ones.
        arms: the arm of each world in its present trial.
        control: POSTURE, TORQUE or MUSCLE.
        grab: whether the cup must be held.
        perturbations: perturbations of each present trial.
        default_perturbations: perturbations of trials that do not set their own.
        seeded: (num_envs,) bool, whether each world has a stream of random numbers.
        largest_action: largest magnitude of a valid action: 1 with strict actions, else the largest finite number.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        task: str,
        control: str,
        command: str,
        reward: str,
        perturbations: Sequence[tuple[Perturbation, ...]],
        person: setup.Person,
        cup: setup.Cup | Mapping[str, Any] | None,
        senses: setup.Senses | Mapping[str, Any] | None,
        context: int = 0,
        strict_actions: bool = False,
        threads: int = 1,
        truth: bool = True,
    ) -> None:
        """Create the worlds; begin a trial in each before the first step.

        Args:
            num_envs: number of worlds, 1 or more.
            task: "reach" or "grab".
            control: "posture", "torque" or "muscle".
            command: "increment" or "absolute".
            reward: "dense" or "sparse".
            perturbations: default perturbations of each world, (num_envs,).
            person, cup, senses: see `sim.setup`.
            context: number of lamps, 0..32.
            strict_actions: whether actions outside [-1, 1] are errors instead of being clipped.
            threads: number of threads.
            truth: whether `moments` contains the true state.

        Raises:
            ValueError: an argument is invalid; the message names it.
        """
        require_choice("task", task, TASKS)
        require_choice("reward", reward, REWARDS)
        say_when_compiling(loop.advance_and_judge, "the simulation (13 seconds)")
        self.num_envs = num_envs
        self.world = s.World.empty(num_envs)
        self.person = person
        self.cup = made_of(setup.Cup, cup)
        self.senses = made_of(setup.Senses, senses)
        self.default_perturbations = list(perturbations)
        self.perturbations = list(self.default_perturbations)
        self.control = s.CONTROLS.index(control)
        self.command = command
        # `rare` of `loop.advance`. It becomes True with the first external force in any world, and stays True.
        self._rare = True if self.control == s.MUSCLE else None
        self._threads = threads
        self._numbers = FIRST_FLAG - (0 if truth else CLOCK)
        self.grab = task == "grab"
        self._dense = reward == "dense"
        self.largest_action = 1.0 if require_bool("strict_actions", strict_actions) else sys.float_info.max
        self.lamps = np.zeros((num_envs, require_whole("context", context, 0, MOST_LAMPS)), dtype=np.float32)
        self._observations = np.zeros((len(self.world.tiles), s.LANES, s.OBSERVATION_SIZE), dtype=np.float32)
        self._set_views()
        physical = []
        for owner in (person, self.cup, self.senses):
            for name, value, *_ in ranged_fields(owner):
                if isinstance(value, np.ndarray) and value.size != num_envs:
                    raise ValueError(f"{name}: expected a value for each of {num_envs} environments, got {value.size}")
                physical.append(value)
        self._has_ranges = any(is_range(value) for value in physical)
        self._differs = any(isinstance(value, np.ndarray) for value in physical)
        self.seeded = np.zeros(num_envs, dtype=np.bool_)
        self.arms: list[Arm] = []
        self._prepare()

    def _set_views(self) -> None:
        """Make `observations` a view of the used lanes, and collect the arguments of `advance`."""
        self.observations = self._observations.reshape(-1, s.OBSERVATION_SIZE)[: self.num_envs]
        world = self.world
        self._arguments = (
            self.largest_action, world.tiles, world.history, world.tick, self.control, self.grab,
            self._dense, self._observations,
        )  # fmt: skip

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """Restore the attributes of a copy or pickle, and make its views refer to its own world."""
        self.__dict__.update(attributes)
        self._set_views()

    def _prepare(self) -> None:
        """Validate and write the settings of every world; idle lanes copy the first world."""
        self._settings = np.empty((self.num_envs, s.PERTURBATION - s.SETTING))
        for index in range(self.num_envs):
            row = self.world.row(index)
            if index == 0 or self._differs:
                self.arms.append(self._write_body(index, lambda: 0.5))
            else:
                row[s.SETTING : s.PERTURBATION] = self._settings[0]
                self.arms.append(self.arms[0])
            self._settings[index] = row[s.SETTING : s.PERTURBATION]
            write_perturbations(self.default_perturbations[index], row)
            self._allow_forces(row)
        for index in range(self.num_envs, s.LANES * len(self.world.tiles)):
            self.world.row(index)[:] = self.world.row(0)
            write_perturbations((), self.world.row(index))
        # Whether the next trial of a world must write its settings; always if they are sampled or depend on the cup.
        self._changed = np.array([self._has_ranges or _depend_on_cup(acting) for acting in self.default_perturbations])
        for index in range(self.num_envs, s.LANES * len(self.world.tiles)):
            self._begin(index, np.uint64(0), None)
            # A tipped cup has no contacts, which saves time in idle lanes.
            self.world.row(index)[s.TIPPED] = 1.0

    def _write_body(self, index: int, next_variate: Callable[[], float]) -> Arm:
        """Write the settings of world `index`, with uniform variates for ranges; return its arm."""
        person, cup, senses = (numbers_of(owner, index, next_variate) for owner in (self.person, self.cup, self.senses))
        arm = setup.arm_of(self.person.arm, person["height_m"], person["mass_kg"])
        setup.write_settings(self.world.row(index), arm, person["strength"], cup, senses, self.control, self.command)
        return arm

    def seed(self, index: int, stream: np.uint64) -> None:
        """Seed world `index` with a stream (uint64), which determines the keys of its next trials."""
        at = divmod(index, s.LANES)
        self.world.streams[at] = stream
        self.world.episodes[at] = 0
        self.seeded[index] = True

    def random_state(self, rng: np.random.Generator) -> dict[str, Any]:
        """Return the random state, which determines the next trials, as JSON values.

        It contains the stream of each world, its number of trials begun, and the state of the generator `rng`.
        """
        counters = {name: getattr(self.world, name).ravel()[: self.num_envs].tolist() for name in COUNTERS}
        return {**counters, "seeded": self.seeded.tolist(), "generator": copy.deepcopy(rng.bit_generator.state)}

    def restore_random_state(self, state: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Restore a `random_state`, so that the same trials follow.

        Raises:
            ValueError: the state is invalid or has another number of worlds; nothing is changed in this case.
        """
        require_keys("random state", state, ("generator", *COUNTERS, "seeded"))
        for name in (*COUNTERS, "seeded"):
            values, named = state[name], f"{name} of the random state"
            if not isinstance(values, Sequence) or len(values) != self.num_envs:
                raise ValueError(f"{named}: expected a value for each of {self.num_envs} environments, got {values!r}")
            for value in values:
                if name == "seeded":
                    require_bool(named, value)
                else:
                    require_whole(named, value, 0, 2**64 - 1)
        require_generator(state["generator"], rng)
        rng.bit_generator.state = copy.deepcopy(state["generator"])
        for name in COUNTERS:
            getattr(self.world, name).reshape(-1)[: self.num_envs] = np.array(state[name], dtype=np.uint64)
        self.seeded[:] = state["seeded"]

    def begin(self, index: int, *, cup: Any = None, perturbation: Any = None, context: Any = None) -> None:
        """Begin the next trial of world `index`.

        Args:
            index: index of the world.
            cup: position (x, y) m of the cup; None for a random one.
            perturbation: perturbations of this trial; None for the default ones.
            context: lamps, (context,) of 0 or 1; None for random ones.

        Raises:
            ValueError: the cup, perturbation or lamps are invalid.
        """
        lamps = None if context is None else lamps_of(context, self.lamps.shape[1])
        place = None if cup is None else cup_place(cup)
        acting = self.default_perturbations[index] if perturbation is None else as_perturbations(perturbation)
        world = self.world
        at = divmod(index, s.LANES)
        # A kernel returns a Python integer, which the next kernel would treat as signed.
        key = np.uint64(trial_key(world.streams[at], world.episodes[at]))
        if self._changed[index] or acting != self.default_perturbations[index]:
            self._change(index, key, acting, place)
        self._begin(index, key, place)
        if lamps is not None:
            self.lamps[index] = lamps
        elif self.lamps.size:
            sample_lamps(key, self.lamps[index])
        self.perturbations[index] = acting
        world.episodes[at] += np.uint64(1)

    def _change(self, index: int, key: np.uint64, acting: tuple[Perturbation, ...], cup: Array | None) -> None:
        """Write the settings of world `index` that differ from its previous trial: sampled ranges, perturbations."""
        row = self.world.row(index)
        # Set first, because incompatible perturbations raise an error after some are written.
        self._changed[index] = True
        if self._has_ranges:
            variates = uniforms(key, BODY_COUNTER, BODY_VARIATES).tolist()
            self.arms[index] = self._write_body(index, iter(variates).__next__)
        else:
            row[s.SETTING : s.PERTURBATION] = self._settings[index]
        depends_on_cup = _depend_on_cup(acting)
        if depends_on_cup:
            away = np.subtract(loop.drawn_cup(key) if cup is None else cup, row[s.START_X : s.START_Y + 1])
            row[s.TARGET_X : s.TARGET_Y + 1] = away / max(1e-9, math.hypot(away[0], away[1]))
        write_perturbations(acting, row)
        self._allow_forces(row)
        self._changed[index] = self._has_ranges or depends_on_cup or acting != self.default_perturbations[index]

    def _allow_forces(self, row: Array) -> None:
        """From now on, use kernels that compute external forces, if the world of `row` has one."""
        if (row[list(loop.FORCES)] < s.NEVER).any():
            self._rare = True

    def _begin(self, index: int, key: np.uint64, cup: Array | None) -> None:
        tile, lane = divmod(index, s.LANES)
        x, y = loop.drawn_cup(key) if cup is None else cup
        loop.begin_trial(
            self.world.tiles[tile], self.world.history[tile], key, self.world.tick[0], lane, self.control,
            x, y, self._observations[tile, lane],
        )  # fmt: skip
        row = self.world.row(index)
        if cup is not None and smallest_clearance(row, x, y) < 0.0:
            raise ValueError(f"option cup: expected a place that the hand leaves free, got {cup.tolist()} m")

    @property
    def can_begin_drawn(self) -> NDArray[np.bool_]:
        """Return for each world (num_envs,) whether `begin_drawn` may begin its next trial with unchanged settings."""
        return ~self._changed

    def begin_drawn(self, mask: NDArray[np.bool_]) -> None:
        """Begin the next trial in the worlds of `mask` (num_envs,), with random cups and the default perturbations."""
        world = self.world
        loop.begin_drawn_trials(
            mask, world.tiles, world.history, world.streams, world.episodes, world.tick[0],
            self.control, self._observations,
        )  # fmt: skip
        self._sample_lamps(mask)

    def _sample_lamps(self, mask: NDArray[np.bool_]) -> None:
        """Draw the lamps of the present trials in the worlds of `mask` (num_envs,)."""
        if self.lamps.size:
            sample_lamps_in(mask, self.world.tiles, self.lamps)

    def advance(self, actions: NDArray[np.floating[Any]]) -> Array:
        """Advance the trial of a single world by one control step, and compute reward and success.

        Args:
            actions: (1, 4), clipped to [-1, 1].

        Returns:
            (MOMENT_SIZE,), the state after the step, see `sim.tasks`.

        Raises:
            ValueError: an action is not finite, or, with strict actions, outside [-1, 1]; nothing is changed then.
        """
        moment = np.empty(MOMENT_SIZE)
        wrong = loop.advance_and_judge(actions, moment, self._rare, *self._arguments)
        if wrong >= 0:
            self._refuse(actions, wrong)
        return moment

    def play_one(self, loop_of_learner: Loop, actions: Array) -> Array:
        """Advance a single world by the loop of a learner, see `reach.play`.

        Args:
            loop_of_learner: function that acts and advances the world.
            actions: (steps, 4), overwritten with the actions taken.

        Returns:
            (steps taken, MOMENT_SIZE), the state after each step.

        Raises:
            ValueError: as for `advance`, after the preceding steps have been taken.
        """
        moments = np.empty((len(actions), MOMENT_SIZE))
        steps, wrong = loop_of_learner((self._rare, *self._arguments), actions, moments)
        if wrong >= 0:
            self._refuse(actions[steps : steps + 1], 0)
        return moments[:steps]

    def moment(self) -> Array:
        """Return the moment of a single world after the last step, (MOMENT_SIZE,), see `sim.tasks`."""
        moment = np.empty(MOMENT_SIZE)
        read_moment(self.world.tiles[0], moment)
        return moment

    def moments(self) -> Moments:
        """Return the moments of all worlds after the last step, see `sim.tasks`.

        Returns:
            Numbers (n, num_envs), all or, without truth, those from the clock on; flags (FLAGS + 1, num_envs).
        """
        moments = self._empty_moments()
        read_moments(0, len(self.world.tiles), self.world.tiles, *moments)
        return moments

    def _empty_moments(self) -> Moments:
        flags = np.empty((MOMENT_SIZE - FIRST_FLAG, self.num_envs), dtype=np.bool_)
        return np.empty((self._numbers, self.num_envs)), flags

    def play(self, actions: NDArray[np.floating[Any]], begin: NDArray[np.bool_]) -> Moments:
        """Advance every trial by one control step, in threads, then do `begin_drawn`; return `moments`.

        Args:
            actions: (num_envs, 4), clipped to [-1, 1].
            begin: (num_envs,), worlds whose next trial begins.

        Raises:
            ValueError: as for `advance`.
        """
        world = self.world
        wrong = loop.find_wrong_action(actions, self.largest_action)
        if wrong >= 0:
            self._refuse(actions, wrong)
        world.tick[0] += 1
        moments = self._empty_moments()

        def play(first: int, end: int) -> None:
            loop.play(
                first, end, actions, world.tiles, world.history, world.streams, world.episodes, world.tick[0],
                self.control, self._rare, self.grab, self._dense, self._observations, begin, *moments,
            )  # fmt: skip

        run_in_threads(play, len(world.tiles), self._threads)
        self._sample_lamps(begin)
        return moments

    def _refuse(self, actions: NDArray[Any], wrong: int) -> NoReturn:
        """Raise an error about the action of world `wrong`."""
        of = f" of environment {wrong}" if self.num_envs > 1 else ""
        expected = "finite numbers" if self.largest_action > 1.0 else "numbers in [-1, 1] with strict_actions"
        raise ValueError(f"action{of}: expected {expected}, got {actions[wrong].tolist()}")

    def state(self) -> dict[str, Any]:
        """Return a copy of everything that changes while trials run."""
        return {name: copy.deepcopy(getattr(self, name)) for name in SAVED_ATTRIBUTES}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a `state` of this simulation, or of one made with the same arguments.

        Raises:
            ValueError: an entry is missing or wrong, or the number of worlds differs; the message names it. Nothing is
                changed in this case.
        """
        require_keys("simulation of the state", state, SAVED_ATTRIBUTES)
        changed, world = state["_changed"], state["world"]
        if isinstance(changed, np.ndarray) and changed.dtype == bool and changed.size != self.num_envs:
            raise ValueError(f"state: expected one of {self.num_envs} environments, got one of {changed.size}")
        if not isinstance(world, s.World):
            raise ValueError(f"world of the state: expected a World, got {reprlib.repr(world)}")
        for name in ("_observations", "lamps", "_changed", "seeded"):
            require_same_form(f"{name} of the state", state[name], getattr(self, name))
        for name in vars(world):
            require_same_form(f"world.{name} of the state", getattr(world, name), getattr(self.world, name))
        lists = {
            "arms": lambda arm: isinstance(arm, Arm),
            "perturbations": lambda acting: isinstance(acting, tuple) and all(map(is_perturbation, acting)),
        }
        for name, fits in lists.items():
            values = state[name]
            if not isinstance(values, list) or len(values) != self.num_envs or not all(map(fits, values)):
                raise ValueError(
                    f"{name} of the state: expected a list with an entry for each of {self.num_envs} environments, as "
                    f"get_state returns it, got {reprlib.repr(values)}"
                )
        for name in SAVED_ATTRIBUTES:
            setattr(self, name, copy.deepcopy(state[name]))
        self._set_views()
        for index in range(self.num_envs):
            self._allow_forces(self.world.row(index))

    def begin_again(self, index: int, cup: Any) -> None:
        """Begin the present trial of world `index` again, with the same noise, body and lamps, without perturbations.

        Args:
            index: index of the world.
            cup: as passed to `begin`.
        """
        self.world.episodes[divmod(index, s.LANES)] -= np.uint64(1)
        self.begin(index, cup=cup, perturbation=(), context=self.lamps[index])

    def detach_observations(self) -> None:
        """Use a new array for the next observations, so that the present array keeps its values."""
        self._observations = self._observations.copy()
        self._set_views()

    def column(self, column: int) -> Array:
        """Return a copy of a column of every world's row, (num_envs,)."""
        lanes = self.world.tiles[:, column * s.LANES : (column + 1) * s.LANES]
        return lanes.reshape(-1)[: self.num_envs]


def _depend_on_cup(perturbations: Sequence[Perturbation]) -> bool:
    return any(perturbation.depends_on_cup for perturbation in perturbations)


def perturb(env: Any, perturbation: Any) -> None:
    """Replace the perturbation of the current trial from now on.

    Perturbations of the body take effect in the next trial.

    Args:
        env: a `CupEnv`, wrapped or not, in a trial.
        perturbation: as for `reset`.

    Raises:
        ValueError: a perturbation is unknown, or two cannot be combined; nothing is changed in this case.
    """
    simulation = env.unwrapped._simulation
    perturbations = as_perturbations(perturbation)
    row = simulation.world.row(0)
    changed = row.copy()
    write_perturbations(perturbations, changed)
    row[s.PERTURBATION : s.NOISE] = changed[s.PERTURBATION : s.NOISE]
    simulation.perturbations[0] = perturbations
    simulation._changed[0] = True
    simulation._allow_forces(row)


def move_cup(env: Any, place: Any) -> bool:
    """Move the standing cup of the current trial to `place` (x, y) m; return whether it was moved.

    The cup is not moved if it is held, tipped over or removed, or if it would overlap the hand.

    Raises:
        ValueError: the position is not on the table.
    """
    row = env.unwrapped._simulation.world.row(0)
    x, y = cup_place(place).tolist()
    is_fixed = row[s.TIPPED] > 0.0 or row[s.HELD_S] > 0.0 or row[s.CUP_PRESENT] <= 0.0
    if is_fixed or smallest_clearance(row, x, y) <= 0.0:
        return False
    row[s.CUP_X : s.CUP_Y + 1] = x, y
    row[s.CUP_VELOCITY_X : s.CUP_VELOCITY_Y + 1] = 0.0
    return True
