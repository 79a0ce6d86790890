"""Body maps: a babbled one agrees with the exact one, a random one is fixed by the seed, and only the error differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.checkpoint import CONFIG
from agents.error.teacher import BABBLED_REACHES, BODY_MAPS, BodyMap, ExactMap, RandomMap
from agents.learner import evaluate, load_learner, make_learner, train_trials
from agents.reaching.controller import Controller
from reach import START_HAND_M, Arm, Rotation
from reach.sim.arm import ARMS

GRAB = "reach/CupGrab-v1"
CONTROLLER = Controller(Arm.winter(), grab=True)


def angle_degrees(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.degrees(np.arccos(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))))


def errors_on_the_table(body_map: BodyMap, controller: Controller, count: int = 100) -> list[np.ndarray]:
    """Return motor errors for random changes of the hand where reaches to the cups, or to rotated cups, end."""
    rng = np.random.default_rng(0)
    errors: list[np.ndarray] = []
    while len(errors) < count:
        bearing, distance = np.radians(rng.uniform(35.0, 155.0)), rng.uniform(0.16, 0.24)
        change = rng.normal(0.0, (0.05, 0.05, 0.1))
        place = START_HAND_M + distance * np.array([np.cos(bearing), np.sin(bearing)])
        angles = controller.arm.posture_for(place, np.radians(rng.uniform(80.0, 125.0)))
        if angles is not None:
            errors.append(body_map.motor_error(controller, angles, change))
    return errors


@pytest.mark.parametrize(("arm", "control"), [("winter", "posture"), ("winter", "muscle"), ("shadmehr1994", "posture")])
def test_a_babbled_map_agrees_with_the_exact_one_on_the_table(arm: str, control: str) -> None:
    model = make_learner("error-bp,body_map=babbled", gym.make(GRAB, arm=arm, control=control), seed=0)
    train_trials(model, BABBLED_REACHES)
    controller = Controller(ARMS[arm](), grab=True)
    pairs = zip(*(errors_on_the_table(m, controller) for m in (model.body_map, ExactMap(controller, 0))), strict=True)
    angles = [angle_degrees(*pair) for pair in pairs]
    assert np.median(angles) < 5.0
    assert np.quantile(angles, 0.95) < 15.0


def test_a_random_map_follows_from_the_seed_and_has_the_size_of_the_exact_one() -> None:
    maps = [RandomMap(CONTROLLER, seed).arrays()["body_map"] for seed in range(300)]
    np.testing.assert_array_equal(RandomMap(CONTROLLER, 7).arrays()["body_map"], maps[7])
    assert not np.allclose(maps[7], maps[8])
    start = CONTROLLER.arm.inverse_kinematics(START_HAND_M, np.radians(105.0))
    exact = np.array([ExactMap(CONTROLLER, 0).motor_error(CONTROLLER, start, change) for change in np.eye(3)])
    np.testing.assert_allclose(np.mean(np.square(maps), axis=(0, 1)), np.mean(exact**2, axis=1), rtol=0.2)
    # It knows nothing of the body: as often as not it moves the hand the wrong way.
    agreement = [np.sum(each * exact.T) for each in maps]
    assert 0.4 < np.mean(np.array(agreement) > 0.0) < 0.6


def test_what_feedback_corrected_and_what_is_missing_make_the_error_that_joints_tell() -> None:
    model = make_learner("error-bp", gym.make(GRAB, perturbation=Rotation(30.0)), seed=0, body_map="exact")
    exact, errors = ExactMap(CONTROLLER, 0), []

    class Both(ExactMap):
        def error(self, *args: Any) -> np.ndarray:
            errors.append((exact.error(*args), BodyMap.error(exact, *args)))
            return errors[-1][0]

    model.teacher._body_map = Both(CONTROLLER, 0)
    train_trials(model, 20)
    for joints, hand in errors:
        assert angle_degrees(joints, hand) < 25.0
        np.testing.assert_allclose(np.linalg.norm(hand), np.linalg.norm(joints), rtol=0.25)


@pytest.mark.parametrize("learner", ["error-mlp-dfa", "error-snn-stdp", "error-lstm-bp"])
def test_a_learner_starts_with_the_same_weights_under_every_map(learner: str) -> None:
    models = [make_learner(learner, gym.make(GRAB), seed=3, body_map=name) for name in BODY_MAPS]
    for model in models[1:]:
        np.testing.assert_equal(model.feedforward.arrays(), models[0].feedforward.arrays())
    train_trials(models[0], 1)
    train_trials(models[2], 1)
    with pytest.raises(AssertionError):
        np.testing.assert_equal(models[2].feedforward.arrays(), models[0].feedforward.arrays())


@pytest.mark.parametrize(
    ("learner", "expected"),
    [("error-mlp-bp", "babbled"), ("error-snn-stdp", "babbled"), ("error-memory-bp", "exact"), ("none", "exact")],
)
def test_the_default_map_is_babbled_where_no_cells_practise(learner: str, expected: str, tmp_path: Path) -> None:
    model = make_learner(learner, gym.make(GRAB, command="absolute"), seed=0)
    model.save(tmp_path / "kept")
    for each in (model, load_learner(tmp_path / "kept", gym.make(GRAB))):
        assert type(each.body_map) is BODY_MAPS[expected]


def test_a_checkpoint_that_names_no_map_has_the_exact_one(tmp_path: Path) -> None:
    make_learner("error-mlp-bp", gym.make(GRAB), seed=0, body_map="exact").save(tmp_path / "kept")
    config = json.loads((tmp_path / "kept" / CONFIG).read_text())
    del config["body_map"]
    (tmp_path / "kept" / CONFIG).write_text(json.dumps(config))
    assert type(load_learner(tmp_path / "kept", gym.make(GRAB)).body_map) is ExactMap


def test_the_first_reaches_babble_and_make_the_map() -> None:
    model = make_learner("error-mlp-dfa", gym.make(GRAB), seed=3, body_map="babbled")
    train_trials(model, BABBLED_REACHES - 1)
    assert np.any(model.body_map.babble(0))
    before = model.body_map.arrays()["body_map"].copy()
    train_trials(model, 1)
    after = model.body_map.arrays()["body_map"].copy()
    assert not np.array_equal(before, after)
    assert not np.any(model.body_map.babble(0))
    # The baseline has no babbled reach.
    assert not model.baseline.postures
    train_trials(model, 1)
    np.testing.assert_array_equal(model.body_map.arrays()["body_map"], after)
    assert len(model.baseline.postures) == 1


def test_babbling_ends_with_unperturbed_training() -> None:
    model = make_learner("error-mlp-dfa", gym.make(GRAB), seed=3, body_map="babbled")
    assert np.any(model.body_map.babble(0))
    model.end_baseline()
    assert not np.any(model.body_map.babble(0))


def test_what_is_babbled_is_no_error_of_the_network() -> None:
    model = make_learner("error-mlp-bp", gym.make(GRAB), seed=3, body_map="exact")
    train_trials(model, 100)
    rng, read = np.random.default_rng(0), model.teacher.read
    pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def remember(reach: Any) -> Any:
        reading = read(reach)
        if reading is not None:
            pairs.append((reach.babble, reading.error))
        return reading

    model.teacher.read = remember
    model.body_map.babble = lambda place: rng.uniform(-0.3, 0.3, 3)
    train_trials(model, 60)
    babbles, errors = (np.array(values) for values in zip(*pairs, strict=True))
    # Feedback takes back what was babbled, a slope of -1, and the error is what is left: a slope of 0.
    assert abs(np.sum(babbles * errors) / np.sum(babbles**2)) < 0.25


def test_environments_side_by_side_babble_differently() -> None:
    model = make_learner("error-mlp-dfa", DummyVecEnv([lambda: gym.make(GRAB)] * 4), seed=3, body_map="babbled")
    babble = model.body_map.babble
    babbles: list[np.ndarray] = []

    def remember(place: int) -> np.ndarray:
        babbles.append(babble(place))
        return babbles[-1]

    model.body_map.babble = remember
    train_trials(model, BABBLED_REACHES)
    babbled = [tuple(each) for each in babbles if np.any(each)]
    assert len(set(babbled)) == len(babbled) >= BABBLED_REACHES


def test_a_locked_wrist_does_not_babble() -> None:
    model = make_learner("error-bp", gym.make(GRAB, arm="shadmehr1994"), seed=0, body_map="babbled")
    assert [bool(angle) for angle in model.body_map.babble(0)] == [True, True, False]


def test_a_learner_babbles_in_learn_alone() -> None:
    babbled, exact = (make_learner("error-mlp-dfa", gym.make(GRAB), seed=3, body_map=n) for n in ("babbled", "exact"))
    for model in (babbled, exact):
        _, (trial,) = model.predict(model.env.reset(seed=1)[0], deterministic=False)
        assert not np.any(trial.reach.babble)
    babbled.learn(1)
    exact.learn(1)
    assert np.any(babbled._latest.reach.babble)
    assert not np.any(exact._latest.reach.babble)


@pytest.mark.parametrize("learner", ["error-mlp-bp", "error-mlp-dfa", "error-snn-stdp"])
def test_a_thousand_steps_teach_something(learner: str) -> None:
    model = make_learner(learner, gym.make(GRAB), seed=0, body_map="babbled")
    before = evaluate(model, GRAB, trials=40)
    model.learn(1000)
    assert evaluate(model, GRAB, trials=40) > before + 0.2


@pytest.mark.parametrize("name", ["babbled", "random"])
def test_a_loaded_learner_goes_on_with_its_map_to_the_bit(name: str, tmp_path: Path) -> None:
    model = make_learner("error-mlp-dfa", gym.make(GRAB), seed=3, body_map=name)
    train_trials(model, 5)
    model.save(tmp_path / "kept")
    # Of another body; the map belongs to the learner.
    other = load_learner(tmp_path / "kept", gym.make(GRAB, arm="li-todorov2004"))
    np.testing.assert_equal(other.body_map.arrays(), model.body_map.arrays())
    again = load_learner(tmp_path / "kept", gym.make(GRAB), resume=True)
    for each in (model, again):
        train_trials(each, 3)
    assert model.body_map.arrays()
    np.testing.assert_equal(again._arrays() | again._memory(), model._arrays() | model._memory())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("error-mlp-bp,body_map=mirrored", "body_map: expected 'exact' or 'babbled' or 'random', got 'mirrored'"),
        ("none,body_map=random", "body_map: expected 'exact' for learner 'none', got 'random'"),
        ("error-memory-bp,body_map=babbled", "body_map: expected 'exact' for learner 'error-memory-bp', got 'babbled'"),
    ],
)
def test_maps_that_a_learner_does_not_have_are_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_learner(name, gym.make(GRAB))
