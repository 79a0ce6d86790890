"""The environments keep Gymnasium's promises and their own: determinism, exact delays, honest signals, clear errors."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach import CurlField, Prism, Rotation
from reach.sim import layout as s
from reach.sim.setup import Senses

IDS = ("reach/CupReach-v1", "reach/CupGrab-v1")
QUIET = asdict(Senses.noiseless())


@pytest.mark.parametrize("env_id", IDS)
def test_an_id_without_a_slash_can_be_registered(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    spec, name = gym.spec(env_id), env_id.removeprefix("reach/")
    gym.register(name, spec.entry_point, kwargs=spec.kwargs, max_episode_steps=spec.max_episode_steps)
    np.testing.assert_array_equal(gym.make(name).reset(seed=1)[0], gym.make(env_id).reset(seed=1)[0])


@pytest.mark.parametrize("env_id", IDS)
def test_plug_in_form_of_the_id_works(env_id: str) -> None:
    assert gym.make(f"reach:{env_id}").spec is not None


def test_options_never_shift_the_noise() -> None:
    env = gym.make("reach/CupReach-v1")
    env.reset(seed=5)
    plain = env.reset()[0]
    env.reset(seed=5, options={"cup": (0.1, 0.55), "perturbation": Rotation(10.0)})
    np.testing.assert_array_equal(env.reset()[0], plain)


@pytest.mark.parametrize(("delay_s", "steps"), [(0.0, 0), (0.02, 1), (0.10, 5), (0.30, 15)])
def test_a_visual_delay_is_exactly_its_seconds(delay_s: float, steps: int) -> None:
    env = gym.make("reach/CupReach-v1", senses={**QUIET, "vision_delay_s": delay_s, "proprioception_delay_s": 0.0})
    observation, info = env.reset(seed=1, options={"cup": (0.3, 0.45)})
    seen, true = [observation[:2]], [info["truth"]["hand"]]
    command = observation[15:19].astype(np.float64)
    for _ in range(40):
        observation, _, _, _, info = env.step(
            env.unwrapped.action_for(np.clip(command + np.array([0.3, -0.3, 0.1, 0.0]), -1, 1))
        )
        seen.append(observation[:2])
        true.append(info["truth"]["hand"])
        np.testing.assert_allclose(observation[5:8], info["truth"]["joint_angles"], atol=1e-6)
    late = np.array(true[: len(true) - steps])
    np.testing.assert_allclose(np.array(seen[steps:]), late, atol=1e-6)
    assert np.ptp(late, axis=0).max() > 0.05


def test_noise_has_the_size_it_is_said_to_have() -> None:
    env = gym.make("reach/CupReach-v1")
    env.reset(seed=0)
    errors = []
    for _ in range(60):
        env.reset()
        for _ in range(20):
            observation, _, _, _, info = env.step(np.zeros(4))
            errors.append(observation[[0, 5, 8]] - [info["truth"]["hand"][0], info["truth"]["joint_angles"][0], 0.0])
    np.testing.assert_allclose(np.std(errors, axis=0), [0.003, 0.01, 0.05], rtol=0.1)


@pytest.mark.parametrize("env_id", IDS)
def test_the_observation_table_in_the_docstring_is_that_of_the_space(env_id: str) -> None:
    env = gym.make(env_id)
    assert env.observation_space.shape == (s.OBSERVATION_SIZE,)
    low, high, first = env.observation_space.low, env.observation_space.high, 0  # type: ignore[attr-defined]
    for name, width, *_ in s.OBSERVATION:
        index = f"{first}-{first + width - 1}" if width > 1 else str(first)
        row = next(
            line for line in env.unwrapped.__doc__.splitlines() if line.strip().startswith(f"| {index} | {name}")
        )
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        bounds = [{"-pi": -np.pi, "pi": np.pi}.get(cell) or float(cell) for cell in cells[3:5]]
        np.testing.assert_allclose([low[first], high[first]], bounds, rtol=1e-6)
        first += width


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), reward=st.sampled_from(["dense", "sparse"]))
def test_tipping_the_cup_earns_less_than_any_honest_trial(seed: int, reward: str) -> None:
    env = gym.make("reach/CupGrab-v1", reward=reward)
    rng = np.random.default_rng(seed)

    def play(act: Any) -> tuple[float, bool]:
        observation, info = env.reset(seed=seed)
        total = 0.0
        while True:
            observation, earned, terminated, truncated, info = env.step(act(observation))
            total += float(earned)
            if terminated or truncated:
                return total, info["truth"]["tipped"]

    honest, _ = play(lambda observation: observation[15:19])
    for _ in range(6):
        command = rng.uniform(-1, 1, 4)
        total, tipped = play(lambda _, command=command: command)
        if tipped:
            assert total < honest


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.full(4, np.nan), "finite"),
        ([0.0, 0.0, np.inf, 0.0], "finite"),
        ([0.0, 0.0, 0.0], r"got \(3,\)"),
        (0.0, r"got \(\)"),
    ],
)
def test_bad_actions_are_refused(grab: gym.Env[Any, Any], action: Any, message: str) -> None:
    grab.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        grab.unwrapped.step(action)


@pytest.mark.parametrize("control", s.CONTROLS)
def test_actions_outside_the_bounds_are_clipped(control: str) -> None:
    beyond, strict = (gym.make("reach/CupGrab-v1", control=control, strict_actions=each) for each in (False, True))
    vector = gym.make_vec("reach/CupGrab-v1", 2, vectorization_mode="vector_entry_point", control=control)
    beyond.reset(seed=3), strict.reset(seed=3), vector.reset(seed=[3, 3])
    for action in (np.array([1.0000001, -7.0, 0.5, 1e30]), [-1.5, 0.25, np.float32(3e38), -2.0], [9, -9, 0, 2]):
        observation, reward, _, _, info = beyond.step(action)
        theirs = strict.step(np.clip(action, -1.0, 1.0))
        np.testing.assert_array_equal(observation, theirs[0])
        assert (reward, info["reward_effort"]) == (theirs[1], theirs[4]["reward_effort"])
        rows, rewards, *_ = vector.step(np.stack([action, action]))
        np.testing.assert_array_equal(rows, [observation, observation])
        np.testing.assert_array_equal(rewards, [reward, reward])
    again = gym.make("reach/CupGrab-v1", control=control).unwrapped
    again.set_state(beyond.unwrapped.get_state())
    expected = strict.step(np.zeros(4))[0]
    for env in (beyond.unwrapped.twin(), again, again.twin()):
        np.testing.assert_array_equal(env.step(np.zeros(4))[0], expected)


def test_strict_actions_outside_the_bounds_are_refused() -> None:
    env = gym.make("reach/CupGrab-v1", strict_actions=True)
    vector = gym.make_vec("reach/CupGrab-v1", 2, vectorization_mode="vector_entry_point", strict_actions=True)
    env.reset(seed=0), vector.reset(seed=0)
    with pytest.raises(ValueError, match=r"action: expected numbers in \[-1, 1\] with strict_actions, got .*1\.5"):
        env.step(np.array([0.0, 0.0, 1.5, 0.0]))
    with pytest.raises(ValueError, match=r"environment 1: expected numbers in \[-1, 1\] with strict_actions"):
        vector.step(np.array([[0.0] * 4, [0.0, -1.0000001, 0.0, 0.0]]))
    env.step(np.array([1.0, -1.0, 1.0, -1.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": {"control": "muscle"}}, "task: expected 'reach' or 'grab', got a mapping.*register_env"),
        ({"cup": {"colour": 3}}, "radius_m.*got .*colour"),
        ({"cup": {"radius_m": 0.5}}, "radius_m: .* got 0.5"),
        ({"senses": {"vision_delay_s": 0.033}}, "vision_delay_s: expected multiples of 0.005 s, got 0.033"),
        ({"senses": {"vision_delay_s": 2.0}}, "vision_delay_s: .* got 2.0"),
        ({"height_m": 9.0}, "height_m: .* got 9.0"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    from reach.env import CupEnv

    with pytest.raises(ValueError, match=message):
        CupEnv(**arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cups": (0, 0.5)}, r"cup.*perturbation.*got \['cups'\]"),
        ({"cup": (0.0, 5.0)}, "0.1 to 0.7 m"),
        ({"cup": (0.0, 0.0)}, "0.1 to 0.7 m"),
        ({"cup": (0.1, -0.3)}, "not behind"),
        ({"cup": "left"}, "option cup: .*got 'left'"),
        ({"cup": (0.133, 0.312)}, "that the hand leaves free"),
        ({"cup": (np.nan, 0.5)}, "option cup: "),
    ],
)
def test_bad_reset_options_are_refused(grab: gym.Env[Any, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grab.reset(options=options)


@pytest.mark.parametrize("control", s.CONTROLS)
@pytest.mark.parametrize("height_m", [0.94, 2.41, (0.94, 2.41), (0.94, 0.95), (2.40, 2.41)])
def test_every_height_that_is_allowed_works(height_m: Any, control: str) -> None:
    env = gym.make("reach/CupReach-v1", height_m=height_m, control=control)
    for seed in range(30):
        observation, _ = env.reset(seed=seed)
        observation, *_ = env.step(np.zeros(4))
        assert env.observation_space.contains(observation)


@pytest.mark.parametrize("height_m", [0.9, 2.45, (0.8, 1.8), (1.7, 2.5), 10**400, (1.7, 10**400)])
def test_both_ends_of_a_range_of_heights_are_checked_before_the_first_trial(height_m: Any) -> None:
    with pytest.raises(ValueError, match=r"height_m: expected 0\.94 to 2\.41"):
        gym.make("reach/CupReach-v1", height_m=height_m)


def test_an_environment_tells_the_perturbations_of_its_trial() -> None:
    env = gym.make("reach/CupGrab-v1", perturbation=Rotation(30.0))
    env.reset(seed=0)
    assert env.get_wrapper_attr("perturbation") == (Rotation(30.0),)
    env.reset(options={"perturbation": (Prism(0.1), CurlField(8.0))})
    assert env.get_wrapper_attr("perturbation") == (Prism(0.1), CurlField(8.0))


def test_step_before_reset_says_so() -> None:
    with pytest.raises(gym.error.ResetNeeded):
        gym.make("reach/CupGrab-v1").unwrapped.step(np.zeros(4))


def test_render_gives_frames_and_leaves_the_trial_alone() -> None:
    shown = gym.make("reach/CupGrab-v1", render_mode="rgb_array", perturbation=Rotation(30.0))
    plain = gym.make("reach/CupGrab-v1", perturbation=Rotation(30.0))
    shown.reset(seed=1)
    plain.reset(seed=1)
    for _ in range(20):
        frame = shown.render()
        assert frame.shape == (600, 600, 3)  # type: ignore[union-attr]
        np.testing.assert_array_equal(shown.step([0.1, 0.2, 0.0, 0.5])[0], plain.step([0.1, 0.2, 0.0, 0.5])[0])


def test_an_old_gymnasium_is_told_what_the_vector_environment_needs() -> None:
    code = (
        "import gymnasium.vector; vars(gymnasium.vector).pop('AutoresetMode'); import numpy as np, reach\n"
        "env = gymnasium.make('reach/CupGrab-v1'); env.reset(seed=0); env.step(np.zeros(4))\n"
        "import reach.vector"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: reach.vector: expected gymnasium 1.1 or newer" in result.stderr


def test_a_fresh_install_says_that_it_compiles(tmp_path: Any) -> None:
    code = "import gymnasium, reach; gymnasium.make('reach/CupGrab-v1')"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "compiling" in process.stderr.readline()
        process.kill()


@pytest.mark.parametrize("env_id", IDS)
def test_an_older_version_is_refused_with_the_name_of_the_present_one(env_id: str) -> None:
    with pytest.raises(gym.error.DeprecatedEnv, match=env_id):
        gym.make(env_id.replace("-v1", "-v0"))
