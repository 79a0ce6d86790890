"""Each perturbation changes what it says, when it says, and nothing else; bad ones are refused by name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from reach import (
    ConstantForce,
    CupJump,
    CupMark,
    CupRemoved,
    CurlField,
    DelayChange,
    EndVision,
    ErrorClamp,
    ForceChannel,
    Gain,
    HideHand,
    Load,
    MirrorReversal,
    Nudge,
    PositionField,
    Prism,
    Rotation,
    Slip,
    StiffnessChange,
    ToolLength,
    VelocityField,
)
from reach.env import CupEnv
from reach.perturbations import PERTURBATIONS, as_perturbations

SEEN_HAND, VISIBLE, SEEN_CUP, FELT = slice(0, 2), 2, slice(3, 5), slice(5, 15)
ONSET_S = 0.3
VISION_DELAY_S = 0.1
MOMENT_S = 0.02


def run(perturbation: Any, steps: int = 60, **options: Any) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Observations (steps + 1, 19) and truths of a fixed vigorous reach."""
    env = gym.make("reach/CupReach-v1", **options)
    observation, info = env.reset(seed=11, options={"perturbation": perturbation, "cup": (0.3, 0.45)})
    command = observation[15:19].astype(np.float64)
    seen, truth = [observation], [info["truth"]]
    for k in range(steps):
        target = np.clip(command + min(1.0, k / 25) * np.array([0.55, -0.45, 0.0, 0.1]), -1, 1)
        observation, _, _, _, info = env.step(env.unwrapped.action_for(target))
        seen.append(observation)
        truth.append(info["truth"])
    env.close()
    return np.array(seen), truth


TIMED = [
    Prism(0.08, ONSET_S),
    Rotation(30.0, ONSET_S),
    Gain(1.5, ONSET_S),
    MirrorReversal(ONSET_S),
    ErrorClamp(20.0, ONSET_S),
    HideHand(ONSET_S),
    CupJump(0.05, 0.02, ONSET_S),
    CupRemoved(ONSET_S),
]
PUSHES = [
    CurlField(20.0, ONSET_S),
    VelocityField(onset_s=ONSET_S),
    PositionField(200.0, ONSET_S),
    ConstantForce(5.0, 0.0, ONSET_S),
    Nudge(10.0, 0.0, ONSET_S),
]


@pytest.mark.parametrize("perturbation", TIMED, ids=lambda p: p.kind)
def test_twin_runs_are_bit_identical_until_onset_plus_vision_delay(perturbation: Any) -> None:
    plain, _ = run(())
    perturbed, _ = run(perturbation)
    first = round((ONSET_S + VISION_DELAY_S) / MOMENT_S)
    np.testing.assert_array_equal(perturbed[:first], plain[:first])
    assert np.any(perturbed[first] != plain[first])


@pytest.mark.parametrize("perturbation", PUSHES, ids=lambda p: p.kind)
def test_a_push_is_felt_only_after_its_onset_plus_the_delay_of_the_joints(perturbation: Any) -> None:
    plain, _ = run(())
    perturbed, _ = run(perturbation)
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


def column(truth: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([one[name] for one in truth])


def test_gain_stretches_the_seen_hand_about_the_start() -> None:
    _, truth = run(Gain(1.5))
    start = truth[0]["hand"]
    np.testing.assert_allclose(column(truth, "seen_hand") - start, 1.5 * (column(truth, "hand") - start), atol=1e-12)


def test_a_mirror_reverses_the_seen_hand_sideways_about_the_start() -> None:
    _, truth = run(MirrorReversal())
    start = truth[0]["hand"]
    np.testing.assert_allclose(
        column(truth, "seen_hand") - start, (column(truth, "hand") - start) * [-1.0, 1.0], atol=1e-12
    )


def test_two_mirrors_show_the_true_hand() -> None:
    np.testing.assert_allclose(run((MirrorReversal(), MirrorReversal()))[0], run(())[0], atol=1e-6)


@pytest.mark.parametrize("degrees", [0.0, 20.0, -45.0])
def test_a_clamped_hand_is_seen_on_its_ray_whatever_it_does(degrees: float) -> None:
    _, truth = run(ErrorClamp(degrees))
    start, cup = truth[0]["hand"], truth[0]["cup"]
    bearing = np.arctan2(*(cup - start)[::-1]) + np.radians(degrees)
    out = np.linalg.norm(column(truth, "hand") - start, axis=1)
    ray = np.array([np.cos(bearing), np.sin(bearing)])
    np.testing.assert_allclose(column(truth, "seen_hand") - start, out[:, None] * ray, atol=1e-12)
    aside = (column(truth, "hand") - start) @ [-ray[1], ray[0]]
    assert np.ptp(aside) > 0.01


def test_end_vision_shows_the_hand_only_at_rest_away_from_the_start() -> None:
    _, truth = run(EndVision(), steps=100)
    start = truth[0]["hand"]
    speed = np.linalg.norm(column(truth, "hand_velocity"), axis=1)
    far = np.linalg.norm(column(truth, "hand") - start, axis=1) > 0.03
    visible = column(truth, "hand_visible")
    assert not np.any(visible & ((speed > 0.05) | ~far))
    assert visible[-1]


@pytest.mark.parametrize("b", [13.0, -13.0])
def test_a_curl_field_does_no_work(b: float) -> None:
    _, truth = run(CurlField(b))
    force, velocity = column(truth, "hand_force_n")[1:], column(truth, "hand_velocity")[1:]
    # The force belongs to the last stage of a step, the velocity to its end: they differ by the acceleration of 5 ms.
    assert np.max(np.linalg.norm(force, axis=1)) > 1.0
    power = np.abs(np.sum(force * velocity, axis=1))
    assert np.max(power) < 1e-3 * np.max(np.linalg.norm(force, axis=1) * np.linalg.norm(velocity, axis=1))


@pytest.mark.parametrize("k", [45.0, -45.0])
def test_a_position_field_is_across_the_displacement_and_in_proportion_to_it(k: float) -> None:
    _, truth = run(PositionField(k))
    x, y = (column(truth, "hand") - truth[0]["hand"]).T
    force = column(truth, "hand_force_n")
    assert np.ptp(y) > 0.1
    # The force belongs to the last stage of a step of 5 ms, the displacement to its end.
    np.testing.assert_allclose(force, k * np.array([y, -x]).T, atol=45.0 * 0.003)


def test_a_velocity_field_is_its_matrix_times_the_velocity() -> None:
    field = VelocityField(1.0, 2.0, -3.0, 4.0)
    _, truth = run(field)
    expected = column(truth, "hand_velocity")[1:] @ np.array([[1.0, 2.0], [-3.0, 4.0]]).T
    np.testing.assert_allclose(column(truth, "hand_force_n")[1:], expected, atol=5e-3)


def test_a_constant_force_holds_posture_off_by_compliance() -> None:
    """At rest the springs balance the force: J^T F = K (theta* - theta)."""
    env = gym.make("reach/CupReach-v1", senses={"torque_noise": 0.0}).unwrapped
    observation, info = env.reset(seed=0, options={"perturbation": ConstantForce(2.0, -1.0), "cup": (0.3, 0.5)})
    rest, start = observation[15:19], info["truth"]["joint_angles"]
    for _ in range(140):
        _, _, _, _, info = env.step(env.unwrapped.action_for(rest))
    angles = info["truth"]["joint_angles"]
    arm = env.arm
    pushed = arm.jacobian(angles).T @ [2.0, -1.0]
    np.testing.assert_allclose(np.array(arm.stiffness) @ (angles - start), pushed, atol=2e-3)


def test_a_nudge_lasts_as_long_as_it_is_said_to() -> None:
    _, truth = run(Nudge(8.0, -2.0, onset_s=0.2, duration_s=0.1))
    force = column(truth, "hand_force_n")
    on = np.flatnonzero(np.any(force != 0.0, axis=1))
    np.testing.assert_array_equal(on, np.arange(11, 16))
    np.testing.assert_allclose(force[on], [[8.0, -2.0]] * 5)


@pytest.mark.parametrize("field", [(), CurlField(13.0), CurlField(-20.0)], ids=["none", "13", "-20"])
def test_a_channel_holds_the_hand_within_two_millimetres_of_its_line(field: Any) -> None:
    _, truth = run((ForceChannel(), *([field] if field else [])))
    start, cup = truth[0]["hand"], truth[0]["cup"]
    along = (cup - start) / np.linalg.norm(cup - start)
    aside = (column(truth, "hand") - start) @ [-along[1], along[0]]
    assert np.max(np.abs(aside)) < 2e-3
    assert np.max((column(truth, "hand") - start) @ along) > 0.1


def test_a_channel_reports_the_force_that_a_field_adds() -> None:
    """In the channel the path is one line, so a field's lateral force is borne by the wall alone."""
    quiet = {"senses": {"torque_noise": 0.0}}
    plain, curled = (run(p, **quiet)[1] for p in (ForceChannel(), (ForceChannel(), CurlField(13.0))))
    start, cup = plain[0]["hand"], plain[0]["cup"]
    along = (cup - start) / np.linalg.norm(cup - start)
    speed = column(curled, "hand_velocity") @ along
    np.testing.assert_allclose(column(plain, "hand"), column(curled, "hand"), atol=5e-4)
    added = column(curled, "channel_force_n") - column(plain, "channel_force_n")
    # The field pushes a forward reach to the right, so the wall pushes back to the left.
    # Until a joint meets its stop, whose blow lasts less than the 5 ms that a force is a mean of.
    free = slice(0, 25)
    np.testing.assert_allclose(added[free], 13.0 * speed[free], atol=0.1)
    assert np.max(added[free]) > 3.0


def test_a_removed_cup_is_neither_seen_nor_touched() -> None:
    seen, truth = run(CupRemoved(0.2), steps=100)
    late = seen[round(0.3 / MOMENT_S) :]
    np.testing.assert_array_equal(late[:, SEEN_CUP], 0.0)
    assert not np.any(column(truth, "cup_present")[10:])
    env = gym.make("reach/CupGrab-v1")
    observation, info = env.reset(seed=0, options={"perturbation": CupRemoved(None), "cup": (0.12, 0.42)})
    np.testing.assert_array_equal(observation[SEEN_CUP], 0.0)
    forward = np.clip(observation[15:19] + np.array([0.0, -0.6, 0.0, 0.0]), -1, 1)
    for _ in range(60):
        observation, _, terminated, _, info = env.step(env.unwrapped.action_for(forward))
        assert not terminated
        np.testing.assert_array_equal(observation[12:15], 0.0)
    np.testing.assert_array_equal(info["truth"]["cup"], [0.12, 0.42])


def test_a_mark_is_seen_as_a_cup_and_touched_as_none() -> None:
    def reach(perturbation: Any) -> tuple[np.ndarray, list[dict[str, Any]]]:
        env: Any = gym.make("reach/CupGrab-v1").unwrapped
        observation, info = env.reset(seed=0, options={"perturbation": perturbation, "cup": (0.12, 0.42)})
        forward = np.clip(observation[15:19] + np.array([0.0, -0.6, 0.0, 0.0]), -1, 1)
        seen, truth = [observation], [info["truth"]]
        for _ in range(60):
            observation, _, _, _, info = env.step(env.action_for(forward))
            seen.append(observation)
            truth.append(info["truth"])
        return np.array(seen), truth

    seen, truth = reach(CupMark())
    _, without_cup = reach(CupRemoved(None))
    _, pushed = reach(())
    np.testing.assert_array_equal(column(truth, "hand"), column(without_cup, "hand"))
    np.testing.assert_array_equal(column(truth, "cup"), [[0.12, 0.42]] * 61)
    np.testing.assert_allclose(seen[:, SEEN_CUP], [[0.12, 0.42]] * 61, atol=0.02)
    assert np.ptp(column(pushed, "cup")) > 0.01


def test_a_slippery_cup_is_lost_where_a_dry_one_is_held() -> None:
    held = {}
    for name, perturbation in (("dry", ()), ("slippery", Slip(0.02, onset_s=0.5))):
        env = gym.make("reach/CupReach-v1", senses={"torque_noise": 0.0}, height_m=1.75).unwrapped
        observation, _ = env.reset(seed=0, options={"perturbation": perturbation, "cup": (0.12, 0.363)})
        rest = observation[15:19].copy()
        rest[3] = -1.0
        back = np.clip(rest + np.array([0.0, 0.5, 0.0, 0.0]), -1, 1)
        for k in range(120):
            _, _, _, _, info = env.step(env.unwrapped.action_for(rest if k < 40 else back))
        held[name] = info["truth"]["held_s"]
    assert held["dry"] > 1.0
    assert held["slippery"] == 0.0


def test_a_tool_puts_the_grasp_point_farther_from_the_wrist() -> None:
    _, plain = run(())
    _, longer = run(ToolLength(0.06))
    np.testing.assert_array_equal(plain[0]["joint_angles"], longer[0]["joint_angles"])
    out = longer[0]["hand"] - plain[0]["hand"]
    axis = np.sum(plain[0]["joint_angles"])
    np.testing.assert_allclose(out, 0.06 * np.array([np.cos(axis), np.sin(axis)]), atol=1e-12)


def test_a_load_slows_the_hand_by_its_inertia() -> None:
    """A force on the arm at rest accelerates the hand by the inverse of its apparent mass, to which the load adds."""
    env = gym.make("reach/CupReach-v1", control="torque", senses={"torque_noise": 0.0}).unwrapped
    speeds = {}
    for mass in (0.0, 0.5, 1.0, 2.0):
        pushes = (Load(mass), ConstantForce(1.0, 0.0))
        env.reset(seed=0, options={"perturbation": pushes, "cup": (0.3, 0.5)})
        _, _, _, _, info = env.step(np.zeros(4))
        speeds[mass] = info["truth"]["hand_velocity"] / 0.02
    # The mobility (J M^-1 J^T) obeys (W + m 1)^-1 = mobility with W the apparent mass: check one entry by three loads.
    arm = env.arm
    _, info = env.reset(seed=0, options={"cup": (0.3, 0.5)})
    angle = info["truth"]["joint_angles"]
    columns = [arm.inverse_dynamics(angle, np.zeros(3), unit) for unit in np.eye(3)]
    jacobian = arm.jacobian(angle)
    apparent = np.linalg.inv(jacobian @ np.linalg.solve(np.array(columns).T, jacobian.T))
    for mass, acceleration in speeds.items():
        expected = np.linalg.solve(apparent + mass * np.eye(2), [1.0, 0.0])
        np.testing.assert_allclose(acceleration, expected, rtol=0.1, atol=0.05)


def test_weaker_springs_give_way_more_to_a_force() -> None:
    moved = {}
    for factor in (1.0, 0.5):
        pushes = (StiffnessChange(factor), ConstantForce(2.0, 0.0))
        env = gym.make("reach/CupReach-v1", senses={"torque_noise": 0.0})
        _, info = env.reset(seed=0, options={"perturbation": pushes, "cup": (0.3, 0.5)})
        start = info["truth"]["joint_angles"]
        for _ in range(140):
            _, _, _, _, info = env.step(np.zeros(4))
        moved[factor] = np.linalg.norm(info["truth"]["joint_angles"] - start)
    assert moved[0.5] == pytest.approx(2.0 * moved[1.0], rel=0.1)


def test_a_changed_delay_shifts_what_is_seen_by_as_much() -> None:
    quiet = {"senses": {"hand_noise_m": 0.0, "cup_noise_m": 0.0}}
    plain, _ = run((), **quiet)
    later, _ = run(DelayChange(0.10), **quiet)
    sooner, _ = run(DelayChange(-0.04), **quiet)
    np.testing.assert_array_equal(later[5:, SEEN_HAND], plain[:-5, SEEN_HAND])
    np.testing.assert_array_equal(sooner[:-2, SEEN_HAND], plain[2:, SEEN_HAND])
    np.testing.assert_array_equal(later[:, FELT], plain[:, FELT])


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
        ({"kind": "earthquake"}, "rotation.*earthquake"),
        ({"kind": "prism", "shift_cm": 3}, "shift_m.*shift_cm"),
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
        lambda: Gain(0.0),
        lambda: ErrorClamp(200.0),
        lambda: VelocityField(b_xy=90.0),
        lambda: ConstantForce(right_n=True),
        lambda: Nudge(duration_s=0.0),
        lambda: Nudge(onset_s=None),  # type: ignore[arg-type]
        lambda: ForceChannel(float("inf")),
        lambda: CupRemoved(-0.1),
        lambda: Slip(3.0),
        lambda: ToolLength(0.5),
        lambda: StiffnessChange(0.0),
        lambda: Load(-1.0),
        lambda: DelayChange(0.033),
    ],
)
def test_values_outside_their_range_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        make()


@pytest.mark.parametrize("kind", [HideHand, ErrorClamp, Nudge, ForceChannel, CupJump, CupRemoved, Slip])
def test_a_second_of_a_kind_that_has_room_for_one_is_refused(kind: Any) -> None:
    env = gym.make("reach/CupReach-v1")
    with pytest.raises(ValueError, match=f"expected one {kind.__name__} in a trial, got two"):
        env.reset(options={"perturbation": (kind(), kind())})


def test_two_onsets_for_one_eye_are_refused() -> None:
    env, untouched = (gym.make("reach/CupReach-v1") for _ in range(2))
    for one in (env, untouched):
        one.reset(seed=0)
    with pytest.raises(ValueError, match="onset_s: expected that of the other visual perturbations"):
        env.reset(options={"perturbation": (Load(2.0), Prism(0.05), Rotation(10.0, 0.2))})
    # Nothing of them is left in the next trial.
    env.reset(seed=1)
    untouched.reset(seed=1)
    for _ in range(20):
        np.testing.assert_array_equal(env.step(np.zeros(4))[0], untouched.step(np.zeros(4))[0])


@pytest.mark.parametrize("number", [np.int64(30), np.float32(30.0), np.float64(30.0), 30])
def test_numbers_of_numpy_do_as_well(number: Any) -> None:
    env = gym.make("reach/CupReach-v1", cup={"mass_kg": (np.float32(0.2), np.float64(0.3))})
    expected, _ = env.reset(seed=1, options={"perturbation": Rotation(30.0)})
    np.testing.assert_array_equal(env.reset(seed=1, options={"perturbation": Rotation(number)})[0], expected)


LARGE = {
    "constant-force": 50.0, "curl-field": 50.0, "velocity-field": 50.0, "position-field": 200.0, "gain": 10.0,
    "stiffness-change": 5.0, "load": 5.0, "tool-length": 0.15, "prism": 0.5, "delay-change": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(PERTURBATIONS))
def test_a_hundred_of_a_kind_stay_in_the_range_of_one_or_are_refused_by_name(kind: str) -> None:
    one = PERTURBATIONS[kind](LARGE[kind]) if kind in LARGE else PERTURBATIONS[kind]()
    # Angles add up to an angle; what has no size is there or not.
    if kind not in {"rotation", "mirror-reversal", "end-vision", "cup-mark"}:
        with pytest.raises(ValueError, match=type(one).__name__):
            CupEnv(perturbation=(one,) * 100)
        return
    env = CupEnv(perturbation=(one,) * 100)
    env.reset(seed=0)
    for _ in range(30):
        observation, reward, *_ = env.step(env.unwrapped.action_for([0.9, -0.9, 0.5, 1.0]))
        assert np.isfinite(observation).all()
        assert np.isfinite(reward)


def test_the_joint_size_of_several_is_named() -> None:
    with pytest.raises(ValueError, match=r"2 perturbations StiffnessChange together.*factor: .* got 6\.0"):
        CupEnv(perturbation=(StiffnessChange(2.0), StiffnessChange(3.0)))
    with pytest.raises(ValueError, match=r"Load together.*kilograms: .* got 6\.0"):
        gym.make("reach/CupReach-v1").reset(options={"perturbation": (Load(2.0), Load(4.0))})
    stacked = CupEnv(perturbation=(StiffnessChange(4.0), StiffnessChange(0.5))).reset(seed=0)[0]
    np.testing.assert_array_equal(stacked, CupEnv(perturbation=StiffnessChange(2.0)).reset(seed=0)[0])
