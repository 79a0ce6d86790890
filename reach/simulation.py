"""A number of trials that run side by side in one `World`: what both environments, single and vector, are thin over.

It knows bodies, cups, senses, perturbations and how a trial is judged; it knows nothing of Gymnasium, of time limits or
of pictures.
"""

from __future__ import annotations

import copy
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reach.arguments import numbers_in, require_choice, require_keys, require_whole
from reach.perturbations import Perturbation, as_perturbations, is_perturbation, write_perturbations
from reach.sim import layout as s
from reach.sim import loop, setup, tasks
from reach.sim.arm import Arm
from reach.sim.grasp import smallest_clearance
from reach.sim.jit import say_when_compiling
from reach.sim.layout import Array
from reach.sim.loop import drawn_cup
from reach.sim.noise import BODY_COUNTER, trial_key, uniforms
from reach.sim.setup import is_drawn, numbers_of, require_one_for_each
from reach.sim.threads import sharing

T = TypeVar("T")
# See `Simulation.judgements`.
Judgements = tuple[Array, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]
TASKS = ("reach", "grab")
REWARDS = ("dense", "sparse")
TABLE_REACH_M = 0.70
NEAREST_CUP_M = 0.10
# What changes while trials run, of a simulation's attributes.
CHANGING = ("world", "_observations", "_changed", "arms", "perturbations")
# A forked child may not use the threads of its parent: OpenMP would end it.
PROCESS = os.getpid()
# Places for the draws of one trial's body, cup and senses.
BODY_DRAWS = 32


class Simulation:
    """`num_envs` trials in one world.

    Attributes:
        world: the arrays of all trials.
        observations: (num_envs, OBSERVATION_SIZE) float32, of this moment; overwritten by the next.
        arms: the arm of each world in its present trial.
        control: index in `sim.layout.CONTROLS`.
        grab: whether the cup is to be held.
        perturbations: what acts in each trial.
        standing: what acts in a trial that names no perturbation of its own.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        task: str,
        control: str,
        reward: str,
        perturbations: Sequence[tuple[Perturbation, ...]],
        person: setup.Person,
        cup: setup.Cup | Mapping[str, Any] | None,
        senses: setup.Senses | Mapping[str, Any] | None,
        threads: int = 1,
    ) -> None:
        """Make the worlds; every trial is to be begun before it is advanced.

        Args:
            num_envs: 1 or more.
            task: "reach" or "grab".
            control: "posture", "torque" or "muscle".
            reward: "dense" or "sparse".
            perturbations: what acts in every trial of each world, (num_envs,).
            person, cup, senses: with physical arguments as in `sim.ranges`.
            threads: among which the trials are shared.

        Raises:
            ValueError: an argument outside what is allowed; the message names it.
        """
        require_choice("task", task, TASKS)
        require_choice("control", control, s.CONTROLS)
        require_choice("reward", reward, REWARDS)
        say_when_compiling(loop.advance_and_judge, "the simulation (half a minute)")
        self.num_envs = num_envs
        self.world = s.World.empty(num_envs)
        self.person = person
        self.cup = _given(setup.Cup, cup)
        self.senses = _given(setup.Senses, senses)
        self.standing = list(perturbations)
        self.perturbations = list(self.standing)
        self.control = s.CONTROLS.index(control)
        self._threads = threads
        self._lanes = s.FIRST_LANE if num_envs == 1 else s.ALL_LANES
        self.grab = task == "grab"
        self._dense = reward == "dense"
        self._observations = np.zeros((len(self.world.tiles), s.LANES, s.OBSERVATION_SIZE), dtype=np.float32)
        self._take_rows()
        owned = [(owner, name) for owner in (person, self.cup, self.senses) for name in _names(owner)]
        for owner, name in owned:
            require_one_for_each(owner, name, num_envs)
        physical = [getattr(owner, name) for owner, name in owned]
        self._is_drawn = any(is_drawn(value) for value in physical)
        self._differs = any(isinstance(value, np.ndarray) for value in physical)
        self.arms: list[Arm] = []
        self._prepare()

    def _take_rows(self) -> None:
        """The observations without idle lanes, as a view."""
        self.observations = self._observations.reshape(-1, s.OBSERVATION_SIZE)[: self.num_envs]

    def __setstate__(self, held: dict[str, Any]) -> None:
        """Become a copy, whose observations are a view of its own."""
        self.__dict__.update(held)
        self._take_rows()

    def _prepare(self) -> None:
        """Write the settings that hold for every trial, which also checks them; idle lanes copy the first world."""
        self._settings = np.empty((self.num_envs, s.DISTURBANCE - s.SETTING))
        for index in range(self.num_envs):
            row = self.world.row(index)
            if index == 0 or self._differs:
                self.arms.append(self._write_body(index, np.full(BODY_DRAWS, 0.5)))
            else:
                row[s.SETTING : s.DISTURBANCE] = self._settings[0]
                self.arms.append(self.arms[0])
            self._settings[index] = row[s.SETTING : s.DISTURBANCE]
            write_perturbations(self.standing[index], row)
        for index in range(self.num_envs, s.LANES * len(self.world.tiles)):
            self.world.row(index)[:] = self.world.row(0)
            write_perturbations((), self.world.row(index))
        self._changed = np.zeros(self.num_envs, dtype=np.bool_)
        for index in range(self.num_envs, s.LANES * len(self.world.tiles)):
            self._begin(index, np.uint64(0), None)
            # Nothing touches a cup that has tipped over, so that idle lanes cost no contacts.
            self.world.row(index)[s.TIPPED] = 1.0

    def _write_body(self, index: int, draws: Array) -> Arm:
        """Write world `index`'s settings from uniform variates (BODY_DRAWS,), and return its arm."""
        following = iter(draws.tolist()).__next__
        arm, strength = self.person.numbers(index, following)
        cup = numbers_of(self.cup, index, following)
        senses = numbers_of(self.senses, index, following)
        setup.write_settings(self.world.row(index), arm, strength, cup, senses, self.control)
        return arm

    def sow(self, index: int, stream: np.uint64) -> None:
        """Give world `index` the stream (uint64) from which the keys of its next trials follow."""
        tile, lane = divmod(index, s.LANES)
        self.world.streams[tile, lane] = stream
        self.world.episodes[tile, lane] = 0

    def random_state(self) -> dict[str, list[int]]:
        """From what the next trials of each world follow: its stream, and the trials it has begun."""
        return {name: getattr(self.world, name).ravel()[: self.num_envs].tolist() for name in ("streams", "episodes")}

    def restore_random_state(self, state: Mapping[str, Sequence[int]]) -> None:
        """Let the next trials be those that would have followed on a `random_state`.

        Raises:
            ValueError: not such a state, or that of another number of worlds.
        """
        require_random_state(state, self.num_envs)
        given = {name: np.array(state[name], dtype=np.uint64) for name in ("streams", "episodes")}
        for name, values in given.items():
            getattr(self.world, name).reshape(-1)[: self.num_envs] = values

    def begin(self, index: int, *, cup: Any = None, perturbation: Any = None) -> None:
        """Begin the next trial of world `index`.

        Args:
            index: of the world.
            cup: its place (x, y) m; None draws one.
            perturbation: of this trial, instead of the standing one; None for the standing one.

        Raises:
            ValueError: a cup or perturbation outside what is allowed.
        """
        tile, lane = divmod(index, s.LANES)
        place = None if cup is None else cup_place(cup)
        acting = self.standing[index] if perturbation is None else as_perturbations(perturbation)
        world = self.world
        # A kernel hands integers back as Python's, of which small ones would be taken for signed.
        key = np.uint64(trial_key(world.streams[tile, lane], world.episodes[tile, lane]))
        if self._changed[index] or self._is_drawn or acting != self.standing[index]:
            self._change(index, key, acting)
        self._begin(index, key, place)
        self.perturbations[index] = acting
        world.episodes[tile, lane] += np.uint64(1)

    def _change(self, index: int, key: np.uint64, acting: tuple[Perturbation, ...]) -> None:
        """Write what a trial of world `index` does not share with the one before: a drawn body, a perturbation."""
        row = self.world.row(index)
        # Until all is written: perturbations that cannot act together are refused half-way.
        self._changed[index] = True
        if self._is_drawn:
            self.arms[index] = self._write_body(index, uniforms(key, BODY_COUNTER, BODY_DRAWS))
        else:
            row[s.SETTING : s.DISTURBANCE] = self._settings[index]
        write_perturbations(acting, row)
        self._changed[index] = acting != self.standing[index]

    def _begin(self, index: int, key: np.uint64, cup: Array | None) -> None:
        tile, lane = divmod(index, s.LANES)
        x, y = drawn_cup(key) if cup is None else cup
        loop.begin_trial(
            self.world.tiles[tile], self.world.history[tile], key, self.world.tick[0], lane, self.control,
            x, y, self._observations[tile, lane],
        )  # fmt: skip
        row = self.world.row(index)
        if cup is not None and smallest_clearance(row, x, y) < 0.0:
            raise ValueError(f"cup is at {cup.tolist()} m, on the hand; a free place on the table is allowed")

    @property
    def begins_alike(self) -> NDArray[np.bool_]:
        """Which worlds (num_envs,) may begin their next trial by `begin_drawn`: those without anything of their own."""
        return ~self._changed & (not self._is_drawn)

    def begin_drawn(self, mask: NDArray[np.bool_]) -> None:
        """Begin the next trial, with a drawn cup and the standing perturbation, of the worlds in `mask` (num_envs,)."""
        world = self.world
        loop.begin_drawn_trials(
            mask, world.tiles, world.history, world.streams, world.episodes, world.tick[0],
            self.control, self._observations,
        )  # fmt: skip

    def advance(self, actions: NDArray[np.floating[Any]]) -> None:
        """Advance every trial by one control step, and judge it.

        Args:
            actions: (num_envs, 4) in [-1, 1].

        Raises:
            ValueError: an action not finite or outside [-1, 1]; then nothing has moved.
        """
        world = self.world
        wrong = loop.advance_and_judge(
            actions, world.tiles, self._lanes, world.history, world.tick, self.control, self.grab, self._dense,
            self._observations,
        )  # fmt: skip
        if wrong >= 0:
            require_allowed(actions, wrong)

    def play(self, actions: NDArray[np.floating[Any]], begin: NDArray[np.bool_], longest: int) -> Judgements:
        """`advance`, then `begin_drawn` in the worlds of `begin` (num_envs,), then `judgements`, on all threads."""
        world = self.world
        require_allowed(actions, loop.take_actions(actions, world.tiles))
        world.tick[0] += 1
        judged = self._blank_judgements()
        given = (
            world.tiles, world.history, world.streams, world.episodes, world.tick[0], self.control, self.grab,
            self._dense, self._observations, begin, longest, *judged,
        )  # fmt: skip
        if self._threads == 1 or os.getpid() != PROCESS:
            loop.play(*given)
        else:
            with sharing(self._threads):
                loop.play_together(*given)
        return judged

    def state(self) -> dict[str, Any]:
        """Everything that changes while trials run, copied."""
        return {name: copy.deepcopy(getattr(self, name)) for name in CHANGING}

    def require_state(self, state: Any) -> None:
        """Validate a `state` of this simulation, or of one made with the same arguments.

        Raises:
            ValueError: the message names the entry that is missing or wrong, or another number of worlds.
        """
        require_keys("simulation of the state", state, CHANGING)
        changed, world = state["_changed"], state["world"]
        if isinstance(changed, np.ndarray) and changed.dtype == bool and changed.size != self.num_envs:
            raise ValueError(f"state is of {changed.size} environments; one of {self.num_envs} is allowed")
        if not isinstance(world, s.World):
            raise ValueError(f"world of the state is {reprlib.repr(world)}; a World is allowed")
        for name in ("_observations", "_changed"):
            require_like(f"{name} of the state", state[name], getattr(self, name))
        for field in fields(world):
            require_like(
                f"world.{field.name} of the state", getattr(world, field.name), getattr(self.world, field.name)
            )
        lists = {
            "arms": lambda arm: isinstance(arm, Arm),
            "perturbations": lambda acting: isinstance(acting, tuple) and all(map(is_perturbation, acting)),
        }
        for name, fits in lists.items():
            values = state[name]
            if not isinstance(values, list) or len(values) != self.num_envs or not all(map(fits, values)):
                raise ValueError(
                    f"{name} of the state is {reprlib.repr(values)}; a list with one entry for each of {self.num_envs} "
                    f"environments is allowed, as get_state returns it"
                )

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state` of this simulation, or of one made with the same arguments.

        Raises:
            ValueError: as for `require_state`; then nothing has changed.
        """
        self.require_state(state)
        for name in CHANGING:
            setattr(self, name, copy.deepcopy(state[name]))
        self._take_rows()

    def begin_again(self, index: int, cup: Any) -> None:
        """Begin the present trial of world `index` once more, its noise and body the same, without any perturbation.

        Args:
            index: of the world.
            cup: as it was given to `begin`.
        """
        self.world.episodes[divmod(index, s.LANES)] -= np.uint64(1)
        self.begin(index, cup=cup, perturbation=())

    def leave_changed(self, index: int) -> None:
        """Let the next trial of world `index` be written anew, whatever has been written into this one."""
        self._changed[index] = True

    def leave_observations(self) -> None:
        """Leave the present observations to whoever has them; the next are written elsewhere."""
        self._observations = self._observations.copy()
        self._take_rows()

    def column(self, column: int) -> Array:
        """A column of every world's row, (num_envs,), copied."""
        lanes = self.world.tiles[:, column * s.LANES : (column + 1) * s.LANES]
        return lanes.reshape(-1)[: self.num_envs]

    def judgements(self, longest: int) -> Judgements:
        """How the last step is judged.

        Args:
            longest: steps of the longest trial; 0 for no limit.

        Returns:
            Reward terms and their sum, (7, num_envs); which trials are won, which are won or lost, and which are as
            long as `longest`, each (num_envs,).
        """
        judged = self._blank_judgements()
        loop.read_judgements(self.world.tiles, longest, *judged)
        return judged

    def _blank_judgements(self) -> Judgements:
        terms = np.empty((len(tasks.REWARD_TERMS) + 1, self.num_envs))
        won, ended, late = (np.empty(self.num_envs, dtype=np.bool_) for _ in range(3))
        return terms, won, ended, late


def require_allowed(actions: NDArray[Any], wrong: int) -> None:
    """Refuse actions of which world `wrong` has one that is not allowed; -1 is none.

    Raises:
        ValueError: the message holds the action.
    """
    if wrong >= 0:
        of = f" of environment {wrong}" if len(actions) > 1 else ""
        raise ValueError(f"action{of} is {actions[wrong].tolist()}; finite values in [-1, 1] are allowed (ClipAction)")


def require_random_state(state: Any, num_envs: int) -> None:
    """Refuse what `random_state` of an environment with `num_envs` worlds cannot have returned.

    Raises:
        ValueError: the message names the entry.
    """
    require_keys("random state", state, ("streams", "episodes"))
    for name in ("streams", "episodes"):
        values = np.array(state[name], dtype=object)
        if values.shape != (num_envs,):
            raise ValueError(f"{name} of the random state has shape {values.shape}; ({num_envs},) is allowed")
        for value in values:
            require_whole(f"{name} of the random state", value, 0, 2**64 - 1)


def require_like(name: str, value: Any, own: NDArray[Any]) -> None:
    """Validate an array that is to take the place of `own`.

    Raises:
        ValueError: another type or shape, or numbers that are not finite.
    """
    alike = isinstance(value, np.ndarray) and (value.dtype, value.shape) == (own.dtype, own.shape)
    if not alike or not np.isfinite(value).all():
        raise ValueError(
            f"{name} is {reprlib.repr(value)}; an array of finite {own.dtype} of shape {own.shape} is allowed"
        )


def require_generator(state: Any, rng: np.random.Generator) -> None:
    """Refuse a state that the bit generator of `rng` cannot take.

    Raises:
        ValueError: the message holds the state.
    """
    kind = type(rng.bit_generator)
    try:
        kind().state = state
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"generator of the state is {state!r}; the state of a {kind.__name__} is allowed") from error


def cup_place(value: Any, name: str = "option cup") -> Array:
    """Return a cup's place (2,) m as a user gives it, under a name for the message.

    Raises:
        ValueError: not two finite numbers on the table before the body.
    """
    place = numbers_in(value)
    if (
        place is None
        or place.shape != (2,)
        or not NEAREST_CUP_M <= np.hypot(*place) <= TABLE_REACH_M
        or not place[1] >= 0.0
    ):
        raise ValueError(
            f"{name} is {value!r}; a place (x, y) on the table is allowed, {NEAREST_CUP_M} to {TABLE_REACH_M} m "
            "from the shoulder and not behind it (y of 0 or more)"
        )
    return place


def _names(owner: Any) -> list[str]:
    return list(owner.__dataclass_fields__)


def _given(kind: type[T], value: T | Mapping[str, Any] | None) -> T:
    """A dataclass from itself, from a mapping of its fields or from None for its defaults."""
    if value is None:
        return kind()
    if isinstance(value, kind):
        return value
    if isinstance(value, Mapping):
        known = _names(kind)
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise ValueError(f"{kind.__name__} has no {unknown}; {known} are allowed")
        return kind(**value)
    raise ValueError(f"{kind.__name__} was given as {value!r}; a {kind.__name__} or a mapping of its fields is allowed")
