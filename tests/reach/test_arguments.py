"""Every public argument refuses what it cannot mean, by its name and value."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import reach
from reach import Arm
from reach.env import CupEnv
from reach.perturbations import PERTURBATIONS
from reach.protocols import Abrupt, Block, Flipping, Gradual, ProtocolWrapper
from reach.sim.actuators import joint_command
from reach.sim.setup import Cup, Person, Senses
from reach.vector import CupVectorEnv

NO_COUNTS = (None, "200", 200.5, float("nan"), float("inf"), True, (3,))
NO_NUMBERS = (None, "1", True, 1j, math.nan, -math.inf, [1.0, "2"], *map(np.array, (["1.0"], [True], [None])))
NO_FLAGS = (None, 0, 1, "", "False", "yes", 0.0)
NO_CHOICES = (0, False, "", "nothing", ("dense",), np.array(["dense"]))


def vector(**options: Any) -> Any:
    return CupVectorEnv(**{"num_envs": 2, **options})


# Where None has a meaning it is left out.
REFUSED: list[tuple[Callable[..., Any], str, tuple[Any, ...]]] = [
    *((make, name, NO_COUNTS) for make in (CupEnv, vector) for name in ("width", "height", "retina_px")),
    *((make, name, NO_FLAGS) for make in (CupEnv, vector) for name in ("retina_colour", "strict_actions")),
    *((make, "context", (*NO_COUNTS, -1, 33)) for make in (CupEnv, vector)),
    *((make, name, NO_CHOICES) for make in (CupEnv, vector) for name in ("reward", "render_mode")),
    *(
        (make, name, (None, *NO_CHOICES))
        for make in (CupEnv, vector)
        for name in ("task", "control", "observation", "arm")
    ),
    *((make, name, NO_NUMBERS) for make in (CupEnv, vector) for name in ("height_m", "mass_kg", "strength")),
    *((make, "perturbation", (0, False, "", {}, 1.5, np.array(["prism"]))) for make in (CupEnv, vector)),
    (vector, "num_envs", (*NO_COUNTS, 0)),
    (vector, "threads", (*NO_COUNTS[1:], 0)),
    (vector, "max_episode_steps", (*NO_COUNTS[1:], 0, -2, 10**12)),
    (vector, "autoreset_mode", (*NO_CHOICES, None)),
    *(
        (owner, f.name, NO_NUMBERS)
        for owner in (Cup, Senses, Person)
        for f in fields(owner)
        if f.name != "arm"
    ),
    *(
        (owner, f.name, (*(NO_NUMBERS if f.name not in {"onset_s", "from_s"} else NO_NUMBERS[1:]), -1e308))
        for owner in PERTURBATIONS.values()
        for f in fields(owner)
        if f.init
    ),
    (lambda **given: Block("baseline", **given), "trials", (*NO_COUNTS, 0)),
    (lambda **given: Block("baseline", 3, **given), "probe_every", (*NO_COUNTS, 0)),
    (lambda **given: Block("baseline", 3, **given), "learning", NO_FLAGS),
    (Gradual, "trials", (*NO_COUNTS, 0)),
    (Flipping, "every", (*NO_COUNTS, 0)),
    (Abrupt, "scale", NO_NUMBERS),
    (lambda **given: ProtocolWrapper(CupEnv(), "rotation30", **given), "seed", (*NO_COUNTS, -1)),
    (lambda **given: ProtocolWrapper(CupEnv(), **given), "protocol", (None, "rotation31", 3)),
    *((lambda **given: reach.show([], **given), name, (*NO_COUNTS, 0)) for name in ("width", "fps")),
]  # fmt: skip


@pytest.mark.parametrize("maker", dict.fromkeys(make for make, _, _ in REFUSED))
def test_an_invalid_value_is_refused_by_name_and_value(maker: Callable[..., Any]) -> None:
    for make, name, values in REFUSED:
        for value in values if make is maker else ():
            with pytest.raises(ValueError, match=rf"\b{name}\b") as refusal:
                make(**{name: value})
            assert repr(value) in str(refusal.value)


ARM = CupEnv().arm
VALID: dict[str, Any] = {"torque": [1.0, 2.0, 0.1], "angle": [0.1, 0.9, 0.0], "velocity": [0.0, 1.0, 0.0]}
NO_TRIPLES = (None, "abc", [1.0, 2.0, math.nan], [1.0, 2.0], [1.0, 2.0, math.inf], ["1", 2.0, 3.0], 1.0, [1j, 0.0, 0.0])


@pytest.mark.parametrize("control", ["posture", "torque", "muscle"])
def test_an_invalid_argument_of_joint_command_is_refused_by_name(control: str) -> None:
    for name, value in (
        *((name, value) for name in VALID for value in NO_TRIPLES),
        *(("strength", value) for value in (None, "1", math.nan, 0.0, -1.0, math.inf, True)),
        ("arm", None),
        ("control", "levers"),
    ):
        given = {"arm": ARM, "control": control, **VALID, name: value}
        with pytest.raises(ValueError, match=rf"^{name}: expected .*, got {re.escape(repr(value))}"):
            joint_command(**given)


@pytest.mark.parametrize("control", ["posture", "torque", "muscle"])
def test_a_command_for_joints_takes_any_numbers(control: str) -> None:
    made = joint_command(ARM, control, **VALID)
    lists = {name: np.array(value, dtype=np.float64) for name, value in VALID.items()}
    np.testing.assert_array_equal(joint_command(ARM, control, **lists, strength=np.float64(1.0)), made)
    assert np.isfinite(made).all()


def test_an_environment_refuses_a_torque_or_a_time_ahead_by_name() -> None:
    env = CupEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="torque: expected"):
        env.joint_command([1.0, 2.0, math.nan])
    for ahead_s in (math.nan, "x", None, 9.0):
        with pytest.raises(ValueError, match="ahead_s: expected"):
            env.joint_command([0.0, 0.0, 0.0], ahead_s)


@pytest.mark.parametrize("num_envs", [None, 2])
@pytest.mark.parametrize("seed", ["3", 1.5, -1, True, np.float64(3.0)])
def test_what_is_no_seed_is_refused_by_name(num_envs: int | None, seed: Any) -> None:
    env = CupEnv() if num_envs is None else vector(num_envs=num_envs)
    with pytest.raises(ValueError, match=rf"seed: expected .*, got {re.escape(repr(seed))}"):
        env.reset(seed=seed)


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3)])
def test_whole_numbers_of_numpy_are_seeds_and_sizes(seed: Any) -> None:
    np.testing.assert_array_equal(CupEnv().reset(seed=seed)[0], CupEnv().reset(seed=3)[0])
    expected, _ = vector().reset(seed=3)
    np.testing.assert_array_equal(vector().reset(seed=seed)[0], expected)
    np.testing.assert_array_equal(vector().reset(seed=np.array([3, 4]))[0], expected)
    assert vector(num_envs=np.int64(3), max_episode_steps=np.int32(4)).num_envs == 3
    schedule = ProtocolWrapper(CupEnv(), "rotation30", seed=seed).schedule
    assert schedule == ProtocolWrapper(CupEnv(), "rotation30", seed=3).schedule


@pytest.mark.parametrize("env", [CupEnv, vector])
@pytest.mark.parametrize(
    "spoil",
    [
        dict.clear,
        lambda state: state.update(streams=["a", "b"][: len(state["seeded"])]),
        lambda state: state.update(seeded=None),
        lambda state: state.update(generator={}),
    ],
)
def test_what_is_no_random_state_is_refused_and_changes_nothing(
    env: Callable[..., Any], spoil: Callable[[Any], None]
) -> None:
    ours = env()
    ours.reset(seed=1)
    before, state = ours.random_state(), ours.random_state()
    spoil(state)
    with pytest.raises(ValueError, match=r"state: expected "):
        ours.set_random_state(state)
    assert ours.random_state() == before


def test_text_is_no_action_and_no_cup() -> None:
    single, several = CupEnv(), vector()
    single.reset(seed=0)
    several.reset(seed=0)
    with pytest.raises(ValueError, match="action: expected"):
        single.step(np.array(["0.0"] * 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="actions: expected"):
        several.step(np.array([["0.0"] * 4] * 2))
    for env in (single, several):
        with pytest.raises(ValueError, match="cup: expected"):
            env.reset(options={"cup": ("0.1", "0.5")})
        with pytest.raises(ValueError, match=r"options: expected .*'cup'"):
            env.reset(options="cup")


def test_no_limit_of_steps_means_in_a_vector_what_it_means_alone() -> None:
    rest = np.zeros((2, 4))
    for limit, expected in ((None, 150), (-1, None), (np.int64(3), 3)):
        env = vector(max_episode_steps=limit, autoreset_mode="Disabled")
        rest = env.reset(seed=0)[0][:, 15:19]
        ended = next((n for n in range(1, 200) if env.step(rest)[3].any()), None)
        assert ended == expected
        alone = gym.make("reach/CupGrab-v1", max_episode_steps=None if limit is None else int(limit))
        alone.reset(seed=0)
        assert next((n for n in range(1, 200) if alone.step(rest[0])[3]), None) == expected


# Jumps and nudges must set in within the trial.
STANDING = [
    kind
    for kind, owner in sorted(PERTURBATIONS.items())
    if "onset_s" in {f.name for f in fields(owner)} and kind not in {"cup-jump", "nudge"}
]


@pytest.mark.parametrize("kind", STANDING)
def test_a_time_after_every_trial_is_never(kind: str) -> None:
    late, never = (CupEnv(perturbation=PERTURBATIONS[kind](onset_s=onset)) for onset in (1e308, np.inf))
    np.testing.assert_array_equal(late.reset(seed=0)[0], never.reset(seed=0)[0])
    for _ in range(20):
        np.testing.assert_array_equal(late.step(np.zeros(4))[0], never.step(np.zeros(4))[0])


def test_importing_the_package_loads_neither_the_study_nor_the_picture_nor_a_compiler() -> None:
    code = "import reach, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = ("reach.study", "reach.render", "reach.protocols", "scipy", "pandas", "torch", "numba", "pygame")
    assert not [name for name in done.stdout.split() if name.startswith(heavy)]


def test_every_public_name_is_there() -> None:
    for name in reach.__all__:
        assert getattr(reach, name) is not None


@pytest.mark.parametrize("what", [None, 3, CupEnv, object()])
def test_what_is_no_film_is_refused_with_what_is_one(what: Any) -> None:
    with pytest.raises(ValueError, match=r"(?s)what: expected .*env\.render"):
        reach.show(CupEnv(render_mode="rgb_array") if what is CupEnv else what)


def test_every_submodule_is_there_after_importing_the_package_alone() -> None:
    code = "import reach; help(reach.env.CupEnv)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Observation space" in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        reach.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["length", "mass", "centre", "inertia", "lower", "upper"])
@pytest.mark.parametrize("value", [1e300, 1e6, -1e300])
@pytest.mark.parametrize("arm", [Arm.winter(), Arm.shadmehr1994()])
def test_an_absurd_arm_is_refused_by_name(arm: Arm, name: str, value: float) -> None:
    for segment in range(3):
        values = list(getattr(arm, name))
        values[segment] = value
        with pytest.raises(ValueError, match=rf"Arm {name}: expected "):
            replace(arm, **{name: tuple(values)})


@pytest.mark.parametrize("name", ["stiffness", "viscosity", "joint_viscosity"])
@pytest.mark.parametrize("value", [1e300, 1e6])
def test_absurd_springs_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Arm {name}: expected "):
        replace(Arm.winter(), **{name: value * np.eye(3)})
