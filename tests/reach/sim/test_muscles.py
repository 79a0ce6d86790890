"""Muscles obey the laws of their sources: force against length and velocity, activation in time, energy, torque."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from reach.sim import muscles as m
from reach.sim.arm import ARMS, Arm

ARM = Arm.winter()
LOWER, UPPER = np.array(ARM.lower), np.array(ARM.upper)
ANTAGONISTS = ((0, 1), (2, 3), (4, 5), (6, 7))
share = st.floats(0.0, 1.0)


def torque(
    activation: np.ndarray, angle: np.ndarray, velocity: np.ndarray | None = None, strength: float = 1.0
) -> np.ndarray:
    """Torques (3,) N m by the function under test."""
    velocity = np.zeros(3) if velocity is None else velocity
    return np.array(m.muscle_torque(strength, activation, angle, velocity))


def paths(angle: np.ndarray) -> np.ndarray:
    """Path lengths (..., 8) m at angles (..., 3), from the sources; the wrist's are counted from the optimal length."""
    q1, q2, q3 = np.moveaxis(angle[..., None], -2, 0)
    six = (
        np.array(m.PATH_M)
        + np.array(m.PATH_PER_SHOULDER) * (q1 - math.pi / 2)
        + np.array(m.PATH_PER_ELBOW) * q2
        + np.array(m.PATH_PER_ELBOW_SQUARE) * q2**2
    )
    wrist = np.array([-1.0, 1.0]) * m.WRIST_ARM_M * (q3 - np.radians(m.WRIST_OPTIMAL_DEGREES))
    return np.concatenate([six, wrist + m.OPTIMAL_LENGTH_M[6:]], axis=-1)


def reference_torque(activation: np.ndarray, angle: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Torques (n, 3) N m by virtual work: minus force times the change of path with each joint."""
    tendon = np.array([*m.TENDON_M, 0.0, 0.0])
    change = np.zeros((len(angle), 8, 3))
    change[:, :6, 0] = m.PATH_PER_SHOULDER
    change[:, :6, 1] = np.array(m.PATH_PER_ELBOW) + 2.0 * np.array(m.PATH_PER_ELBOW_SQUARE) * angle[:, 1:2]
    change[:, 6, 2], change[:, 7, 2] = -m.WRIST_ARM_M[0], m.WRIST_ARM_M[1]
    length = (paths(angle) - tendon) / m.OPTIMAL_LENGTH_M
    speed = np.einsum("nkj,nj->nk", change, velocity) / m.OPTIMAL_LENGTH_M
    with_length = np.maximum(0.0, 1.0 - ((length - 1.0) / m.FORCE_LENGTH_HALF_WIDTH) ** 2)
    a, b, most = m.HILL_A, m.HILL_B_PER_S, m.LENGTHENING_FORCE
    shortening = np.minimum(speed, 0.0)
    hill = np.maximum(0.0, (b + a * shortening) / (b - shortening))
    half = (most - 1.0) * b / (1.0 + a)
    lengthening = np.maximum(speed, 0.0)
    with_speed = np.where(speed > 0.0, 1.0 + (most - 1.0) * lengthening / (lengthening + half), hill)
    passive = (np.maximum(0.0, length - 1.0) / m.PASSIVE_STRETCH) ** 4
    force = np.array(m.LARGEST_FORCE_N) * (activation * with_length * with_speed + passive)
    return -np.einsum("nk,nkj->nj", force, change)


# --- force -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0.0, 3.0))
def test_isometric_force_is_largest_at_the_optimal_length(length: float) -> None:
    assert 0.0 <= m.force_length(length) <= m.force_length(1.0) == 1.0


@settings(deadline=None)
@given(st.floats(-30.0, 30.0), st.floats(1e-3, 5.0))
def test_force_rises_with_the_velocity_of_lengthening(velocity: float, more: float) -> None:
    slower, faster = m.force_velocity(velocity), m.force_velocity(velocity + more)
    assert 0.0 <= slower <= faster < m.LENGTHENING_FORCE
    assert slower < faster or faster == 0.0


def test_force_is_isometric_at_rest_and_gone_at_the_largest_speed() -> None:
    assert m.force_velocity(0.0) == 1.0
    assert m.force_velocity(-m.LARGEST_SPEED_PER_S) == pytest.approx(0.0, abs=1e-12)
    assert m.force_velocity(-2.0 * m.LARGEST_SPEED_PER_S) == 0.0
    assert m.force_velocity(1e6) == pytest.approx(m.LENGTHENING_FORCE, rel=1e-5)


def test_force_against_velocity_has_no_kink_at_rest() -> None:
    step = 1e-7
    before, after = (m.force_velocity(sign * step) - 1.0 for sign in (-1.0, 1.0))
    assert after == pytest.approx(-before, rel=1e-5)
    assert after / step == pytest.approx((1.0 + m.HILL_A) / m.HILL_B_PER_S, rel=1e-5)


def test_passive_force_stays_near_the_exponential_of_thelen_in_the_joints_range() -> None:
    length = np.linspace(0.5, 1.4, 91)
    thelen = np.where(length > 1.0, np.expm1(5.0 * (length - 1.0) / 0.6) / np.expm1(5.0), 0.0)
    assert max(abs(m.passive_force(x) - y) for x, y in zip(length, thelen, strict=True)) < 0.02
    assert m.passive_force(1.0) == 0.0


# --- torque ----------------------------------------------------------------------------------------------------------


def test_torques_are_those_of_virtual_work() -> None:
    rng = np.random.default_rng(0)
    angle, velocity = rng.uniform(LOWER, UPPER, (500, 3)), rng.normal(0.0, 8.0, (500, 3))
    activation = rng.uniform(0.0, 1.0, (500, 8))
    ours = np.array([torque(*row) for row in zip(activation, angle, velocity, strict=True)])
    np.testing.assert_allclose(ours, reference_torque(activation, angle, velocity), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("k", range(8), ids=m.MUSCLES)
def test_each_muscle_pulls_its_own_joints_its_own_way(k: int) -> None:
    joints = {0: [0], 1: [0], 2: [1], 3: [1], 4: [0, 1], 5: [0, 1], 6: [2], 7: [2]}[k]
    rng = np.random.default_rng(k)
    pulled = np.zeros(3, dtype=bool)
    for angle in rng.uniform(LOWER, UPPER, (200, 3)):
        active = torque(np.eye(8)[k], angle) - torque(np.zeros(8), angle)
        signed = active if "flexor" in m.MUSCLES[k] else -active
        assert np.all(signed[joints] >= 0.0)
        np.testing.assert_allclose(np.delete(active, joints), 0.0, atol=1e-9)
        pulled |= signed > 1.0
    assert pulled[joints].all()


def test_torque_is_in_proportion_to_strength() -> None:
    rng = np.random.default_rng(0)
    activation, angle, velocity = rng.uniform(size=8), rng.uniform(LOWER, UPPER), rng.normal(size=3)
    np.testing.assert_allclose(
        torque(activation, angle, velocity, 0.3), 0.3 * torque(activation, angle, velocity), rtol=1e-12
    )


def test_largest_torques_are_what_people_can_do() -> None:
    """The weaker side of shoulder and elbow gives 30-80 N m, of the wrist 3.4-9.4 N m (extension: Delp 1996)."""
    angles = [np.array([q1, 0.5 * math.pi, q3]) for q1 in np.linspace(LOWER[0], UPPER[0], 40) for q3 in (-0.4, 0.0)]
    sides = {0: ((0, 4), (1, 5)), 1: ((2, 4), (3, 5)), 2: ((6,), (7,))}
    shoulder, elbow, wrist = (
        min(max(abs(torque(np.isin(np.arange(8), side).astype(float), q)[joint]) for q in angles) for side in pair)
        for joint, pair in sides.items()
    )
    assert 30.0 < shoulder < 80.0
    assert 30.0 < elbow < 80.0
    assert 3.4 < wrist < 9.4


# --- energy ----------------------------------------------------------------------------------------------------------


def cycle_work(activation: np.ndarray, seed: int, slowness: float) -> tuple[float, float]:
    """Work, J, of the muscles over a closed loop through the joints' ranges: net, and the sum of its absolute parts."""
    rng = np.random.default_rng(seed)
    phase, count = rng.uniform(0.0, 2.0 * math.pi, (2, 3)), 2000
    time = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)[:, None]
    reach, middle = 0.3 * (UPPER - LOWER), 0.5 * (UPPER + LOWER)
    angle = middle + reach * np.sin(time + phase[0]) + 0.5 * reach * np.sin(2.0 * time + phase[1])
    change = reach * (np.cos(time + phase[0]) + np.cos(2.0 * time + phase[1]))
    power = [
        torque(activation, q, v / slowness) @ v * (2.0 * math.pi / count) for q, v in zip(angle, change, strict=True)
    ]
    return float(np.sum(power)), float(np.sum(np.abs(power)))


@pytest.mark.parametrize("seed", range(5))
def test_passive_forces_do_no_work_over_a_closed_loop(seed: int) -> None:
    net, moved = cycle_work(np.zeros(8), seed, 0.3)
    assert moved > 0.1
    assert abs(net) < 1e-6 * moved


@pytest.mark.parametrize("k", range(8), ids=m.MUSCLES)
def test_a_steadily_active_muscle_takes_energy_from_cyclic_movement(k: int) -> None:
    for seed in range(3):
        slow, fast = (cycle_work(0.6 * np.eye(8)[k], seed, slowness)[0] for slowness in (1.0, 0.2))
        assert fast < slow < 0.0


def test_a_relaxed_arm_at_rest_hardly_feels_its_muscles() -> None:
    middle = 0.5 * (UPPER + LOWER)
    for angle in np.random.default_rng(0).uniform(middle - 0.4, middle + 0.4, (100, 3)):
        assert np.all(np.abs(torque(np.zeros(8), angle)) < 0.5)


# --- activation ------------------------------------------------------------------------------------------------------


def settle(activation: float, excited: float, step_s: float, steps: int) -> np.ndarray:
    """Activations (steps + 1,) under constant excitation."""
    path = [activation]
    for _ in range(steps):
        path.append(m.activate(path[-1], excited, step_s))
    return np.array(path)


def thelen(excited: float) -> Callable[[float, np.ndarray], np.ndarray]:
    def rate(_: float, a: np.ndarray) -> np.ndarray:
        slowness = 0.5 + 1.5 * a
        gap = excited - a
        return np.where(gap > 0, gap / (0.015 * slowness), gap * slowness / 0.050)

    return rate


@pytest.mark.parametrize(("first", "excited"), [(0.0, 1.0), (0.05, 0.4), (0.5, 0.7), (1.0, 0.0), (0.6, 0.05)])
def test_activation_follows_the_equation_of_thelen(first: float, excited: float) -> None:
    errors = []
    for step_s in (0.005, 0.0025, 0.00125):
        steps = round(0.1 / step_s)
        time = step_s * np.arange(steps + 1)
        exact = solve_ivp(thelen(excited), (0.0, 0.1), [first], t_eval=time, rtol=1e-10, atol=1e-12).y[0]
        errors.append(np.max(np.abs(settle(first, excited, step_s, steps) - exact)))
    assert errors[0] < 0.01
    assert errors[1] < errors[0] / 3.0
    assert errors[2] < errors[1] / 3.0


@pytest.mark.parametrize(("change", "constant_s"), [(1e-4, 0.015), (-1e-4, 0.050)])
def test_time_constants_are_15_ms_up_and_50_ms_down(change: float, constant_s: float) -> None:
    """At activation 1/3 the factor 0.5 + 1.5 a is 1: 63 % of a small change is done after one time constant."""
    path = settle(1.0 / 3.0, 1.0 / 3.0 + change, 0.005, round(constant_s / 0.005))
    assert (path[-1] - path[0]) / change == pytest.approx(1.0 - math.exp(-1.0), abs=0.01)


@settings(max_examples=500, deadline=None)
@given(share, share, st.floats(0.0, 10.0))
def test_activation_goes_towards_the_excitation_and_never_beyond(a: float, excited: float, step_s: float) -> None:
    after = m.activate(a, excited, step_s)
    assert min(a, excited) - 1e-15 <= after <= max(a, excited) + 1e-15


# --- excitation ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(*(st.floats(-1.0, 1.0),) * 3)
def test_antagonists_differ_by_the_action_about_a_small_co_contraction(a1: float, a2: float, a3: float) -> None:
    excited = np.array(m.excitation(a1, a2, a3))
    assert np.all((excited >= 0.0) & (excited <= 1.0))
    for (flexor, extensor), action in zip(ANTAGONISTS, (a1, a2, 0.5 * (a1 + a2), a3), strict=True):
        assert excited[flexor] - excited[extensor] == pytest.approx(action, abs=1e-12)
        assert min(excited[flexor], excited[extensor]) <= m.CO_CONTRACTION


def test_no_action_excites_all_muscles_alike() -> None:
    assert m.excitation(0.0, 0.0, 0.0) == (m.CO_CONTRACTION,) * 8


# --- inverse ---------------------------------------------------------------------------------------------------------


def steady_torque(action: np.ndarray, angle: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    return torque(np.array(m.excitation(*action)), angle, velocity)


def test_the_action_for_a_torque_gives_that_torque() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        angle, velocity = rng.uniform(LOWER + 0.2, UPPER - 0.2), rng.normal(0.0, 3.0, 3)
        wanted = steady_torque(rng.uniform(-1.0, 1.0, 3), angle, velocity)
        found = m.command_for_torque(wanted, angle, velocity)
        assert np.all(np.abs(found) <= 1.0)
        np.testing.assert_allclose(steady_torque(found, angle, velocity), wanted, atol=1e-8)


def test_a_torque_out_of_reach_takes_the_joint_to_its_end_and_spares_the_others() -> None:
    angle, velocity = np.array([0.7, 1.5, 0.0]), np.zeros(3)
    found = m.command_for_torque(np.array([1e3, 2.0, -1e3]), angle, velocity)
    assert found[0] == 1.0
    assert found[2] == -1.0
    assert steady_torque(found, angle, velocity)[1] == pytest.approx(2.0)


def test_half_the_strength_takes_the_action_for_twice_the_torque() -> None:
    angle, velocity, wanted = np.array([0.7, 1.5, 0.1]), np.array([0.5, -1.0, 0.2]), np.array([4.0, -2.0, 0.5])
    np.testing.assert_allclose(
        m.command_for_torque(wanted, angle, velocity, 0.5), m.command_for_torque(2.0 * wanted, angle, velocity)
    )


# --- the arm they move -----------------------------------------------------------------------------------------------

CONTROL_S = 0.02
LEAD_S = 0.03
Policy = Callable[[float, np.ndarray, np.ndarray], np.ndarray]


def acceleration(arm: Arm, q: np.ndarray, v: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """Joint accelerations (3,) rad/s2 under muscles and joint viscosity, from the inverse dynamics."""
    free = 2 if arm.wrist_locked else 3
    unit = np.vstack([np.zeros(3), np.eye(3)[:free]])
    needed = arm.inverse_dynamics(np.tile(q, (free + 1, 1)), np.tile(v, (free + 1, 1)), unit)[:, :free]
    drive = (torque(activation, q, v) - np.array(arm.joint_viscosity) @ v)[:free] - needed[0]
    return np.append(np.linalg.solve((needed[1:] - needed[0]).T, drive), np.zeros(3 - free))


def move(arm: Arm, policy: Policy, step_s: float, duration_s: float = 0.8) -> np.ndarray:
    """The hand (n, 2) m after each control step of a movement from the start, Runge-Kutta of fourth order."""
    q, v, activation = arm.posture_for(START, AXIS), np.zeros(3), np.full(8, m.CO_CONTRACTION)
    assert q is not None
    path = []
    half = 0.5 * step_s
    for control in range(round(duration_s / CONTROL_S)):
        excited = m.excitation(*policy(control * CONTROL_S, q, v))
        for _ in range(round(CONTROL_S / step_s)):
            after = np.array([m.activate(a, u, step_s) for a, u in zip(activation, excited, strict=True)])
            mean = 0.5 * (activation + after)
            a1 = acceleration(arm, q, v, mean)
            a2 = acceleration(arm, q + half * v, v + half * a1, mean)
            a3 = acceleration(arm, q + half * (v + half * a1), v + half * a2, mean)
            a4 = acceleration(arm, q + step_s * (v + half * a2), v + step_s * a3, mean)
            q = q + step_s * v + step_s**2 / 6.0 * (a1 + a2 + a3)
            v = v + step_s / 6.0 * (a1 + 2.0 * (a2 + a3) + a4)
            activation = after
        path.append(arm.hand(q))
    return np.array(path)


def reaching(arm: Arm, cup: np.ndarray, duration_s: float) -> Policy:
    """Minimum jerk to the cup, asked of the muscles a little early, with feedback of angle and velocity."""
    first, last = arm.posture_for(START, AXIS), arm.posture_for(cup, AXIS)
    assert first is not None
    assert last is not None

    def shape(time: float) -> tuple[float, float, float]:
        s = min(time / duration_s, 1.0)
        return (
            s**3 * (10.0 - 15.0 * s + 6.0 * s**2),
            30.0 * s**2 * (1.0 - s) ** 2 / duration_s,
            60.0 * s * (1.0 - s) * (1.0 - 2.0 * s) / duration_s**2,
        )

    def policy(time: float, q: np.ndarray, v: np.ndarray) -> np.ndarray:
        place, speed, _ = shape(time)
        change = last - first
        wanted = change * shape(time + LEAD_S)[2] + 100.0 * (first + change * place - q) + 20.0 * (change * speed - v)
        return m.command_for_torque(arm.inverse_dynamics(q, v, wanted) + np.array(arm.joint_viscosity) @ v, q, v)

    return policy


START, AXIS = np.array([0.12, 0.36]), math.radians(105.0)
CUP = START + 0.2 * np.array([math.cos(1.9), math.sin(1.9)])


@pytest.mark.parametrize("name", ARMS)
def test_muscles_reach_a_cup_and_halving_the_inner_step_moves_the_reach_by_less_than_half_a_millimetre(
    name: str,
) -> None:
    arm = ARMS[name]()
    feedback, actions = reaching(arm, CUP, 0.5), []

    def record(time: float, q: np.ndarray, v: np.ndarray) -> np.ndarray:
        actions.append(feedback(time, q, v))
        return actions[-1]

    def replay(time: float, q: np.ndarray, v: np.ndarray) -> np.ndarray:
        return actions[round(time / CONTROL_S)]

    coarse = move(arm, record, 0.005)
    assert np.linalg.norm(coarse[-1] - CUP) < 0.01
    assert np.max(np.linalg.norm(coarse - move(arm, replay, 0.0025), axis=1)) < 5e-4
