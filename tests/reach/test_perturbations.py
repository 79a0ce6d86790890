"""Each perturbation changes what it says, when it says, and nothing else; bad ones are refused by name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from reach import CupJump, CurlField, HideHand, Prism, Rotation
from reach.perturbations import PERTURBATIONS, as_perturbations

SEEN_HAND, VISIBLE, SEEN_CUP, FELT = slice(0, 2), 2, slice(3, 5), slice(5, 15)
ONSET_S = 0.3
VISION_DELAY_S = 0.1
MOMENT_S = 0.02


def run(perturbation: Any, steps: int = 60, **options: Any) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Observations (steps + 1, 19) and truths of a fixed vigorous reach."""
    env = gym.make("reach/CupReach-v0", **options)
    observation, info = env.reset(seed=11, options={"perturbation": perturbation, "cup": (0.3, 0.45)})
    command = observation[15:19].astype(np.float64)
    seen, truth = [observation], [info["truth"]]
    for k in range(steps):
        target = np.clip(command + min(1.0, k / 25) * np.array([0.55, -0.45, 0.0, 0.1]), -1, 1)
        observation, _, _, _, info = env.step(target)
        seen.append(observation)
        truth.append(info["truth"])
    env.close()
    return np.array(seen), truth


TIMED = [Prism(0.08, ONSET_S), Rotation(30.0, ONSET_S), HideHand(ONSET_S), CupJump(0.05, 0.02, ONSET_S)]


@pytest.mark.parametrize("perturbation", TIMED, ids=lambda p: p.kind)
def test_twin_runs_are_bit_identical_until_onset_plus_vision_delay(perturbation: Any) -> None:
    plain, _ = run(())
    perturbed, _ = run(perturbation)
    first = round((ONSET_S + VISION_DELAY_S) / MOMENT_S)
    np.testing.assert_array_equal(perturbed[:first], plain[:first])
    assert np.any(perturbed[first] != plain[first])


def test_a_field_is_felt_only_after_its_onset_plus_the_delay_of_the_joints() -> None:
    plain, _ = run(())
    perturbed, _ = run(CurlField(20.0, ONSET_S))
    first = int(np.argmax(np.any(plain != perturbed, axis=1)))
    assert first >= (ONSET_S + 0.05) / MOMENT_S
    assert first <= (ONSET_S + 0.05) / MOMENT_S + 2


def test_prism_moves_what_is_seen_and_nothing_else() -> None:
    plain, truth = run(())
    perturbed, perturbed_truth = run(Prism(0.1))
    np.testing.assert_allclose(perturbed[:, SEEN_HAND] - plain[:, SEEN_HAND], [[0.1, 0.0]] * 61, atol=1e-6)
    np.testing.assert_allclose(perturbed[:, SEEN_CUP] - plain[:, SEEN_CUP], [[0.1, 0.0]] * 61, atol=1e-6)
    np.testing.assert_array_equal(perturbed[:, FELT], plain[:, FELT])
    assert all(np.array_equal(a["hand"], b["hand"]) for a, b in zip(truth, perturbed_truth, strict=True))


def test_rotation_turns_the_seen_hand_about_the_start() -> None:
    _, truth = run(Rotation(30.0))
    start = truth[0]["hand"]
    for one in truth[20:]:
        true, seen = one["hand"] - start, one["seen_hand"] - start
        assert np.hypot(*seen) == pytest.approx(np.hypot(*true))
        turned = np.degrees(np.arctan2(true[0] * seen[1] - true[1] * seen[0], true @ seen))
        assert turned == pytest.approx(30.0, abs=1e-6)
        np.testing.assert_array_equal(one["seen_cup"], one["cup"])


def test_hidden_hand_is_not_seen_and_returns() -> None:
    seen, _ = run(HideHand(0.2, 0.6))
    hidden = slice(round(0.3 / MOMENT_S), round(0.7 / MOMENT_S))
    assert np.all(seen[hidden, VISIBLE] == 0)
    assert np.all(seen[hidden, SEEN_HAND] == 0)
    assert np.all(seen[: hidden.start, VISIBLE] == 1)
    assert np.all(seen[hidden.stop :, VISIBLE] == 1)


def test_cup_jumps_once_by_what_was_asked() -> None:
    _, truth = run(CupJump(0.04, -0.03, 0.2))
    cups = np.array([one["cup"] for one in truth])
    np.testing.assert_allclose(cups[11:] - cups[0], [[0.04, -0.03]] * len(cups[11:]), atol=1e-12)
    np.testing.assert_array_equal(cups[:10], np.repeat(cups[:1], 10, axis=0))


def test_curl_field_pushes_across_and_mirrors_with_its_sign() -> None:
    quiet = {"senses": {"torque_noise": 0.0}}
    paths = {b: np.array([t["hand"] for t in run(CurlField(b), **quiet)[1]]) for b in (13.0, 0.0, -13.0)}
    forward = paths[0.0][-1] - paths[0.0][0]
    aside = {b: (path - paths[0.0]) @ [-forward[1], forward[0]] for b, path in paths.items()}
    middle = slice(10, 30)
    assert np.sum(aside[13.0][middle]) < 0 < np.sum(aside[-13.0][middle])


def test_visual_perturbations_compose() -> None:
    _, truth = run((Rotation(20.0), Rotation(10.0), Prism(0.05)))
    _, single = run(Rotation(30.0))
    for both, one in zip(truth, single, strict=True):
        np.testing.assert_allclose(both["seen_hand"], one["seen_hand"] + [0.05, 0.0], atol=1e-12)


@pytest.mark.parametrize("perturbation", [kind() for kind in PERTURBATIONS.values()], ids=lambda p: p.kind)
def test_a_perturbation_survives_being_written_as_a_mapping(perturbation: Any) -> None:
    assert as_perturbations(asdict(perturbation)) == (perturbation,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "earthquake"}, "earthquake.*rotation"),
        ({"kind": "prism", "shift_cm": 3}, "shift_cm.*shift_m"),
        ("prism", "Prism"),
        (3, "Prism"),
    ],
)
def test_unknown_perturbations_are_refused_with_the_known_ones(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_perturbations(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Prism(float("nan")),
        lambda: Prism(0.9),
        lambda: Rotation(270.0),
        lambda: CurlField(1e3),
        lambda: CupJump(right_m=1.0),
        lambda: CupJump(onset_s=-1.0),
        lambda: HideHand(0.5, 0.4),
    ],
)
def test_values_outside_their_range_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="allowed"):
        make()


def test_two_onsets_for_one_eye_are_refused() -> None:
    env = gym.make("reach/CupReach-v0")
    with pytest.raises(ValueError, match="share an onset"):
        env.reset(options={"perturbation": (Prism(0.05, 0.1), Rotation(10.0, 0.2))})
