"""Eight muscles with rigid tendons, compiled: excitation, activation, force and joint torque.

Geometry and strength of the six muscles of shoulder and elbow are those of Nijhof and Kouwenhoven (2000, Simulation of
multijoint arm movements, in Winters and Crago, Biomechanics and Neural Control of Posture and Movement, chapter 29).
The length of a tendon path is linear in the shoulder angle and quadratic in the elbow angle, so that moment arms are
constant at the shoulder and linear in the angle at the elbow. Force depends on the length and velocity of the fibres as
in Kistemaker, Van Soest and Bobbert (2006, J Neurophysiol 95:2898): a parabola and Hill's hyperbola. Activation follows
Thelen (2003, J Biomech Eng 125:70).

Kernels of scalars have no branches, so that a caller's loop over arms vectorises. Muscles are in the order of
`MUSCLES`, joints in the order shoulder, elbow, wrist; flexion is positive.
"""

from __future__ import annotations

import math

import numpy as np

from reach.jit import allocating_kernel, inlined, kernel
from reach.sim.elementary import square_root
from reach.sim.layout import LANES as L

MUSCLES = (
    "shoulder flexor",  # pectoralis
    "shoulder extensor",  # deltoid
    "elbow flexor",  # brachioradialis
    "elbow extensor",  # lateral head of the triceps
    "biarticular flexor",  # biceps
    "biarticular extensor",  # long head of the triceps
    "wrist flexor",
    "wrist extensor",
)

# Nijhof and Kouwenhoven 2000 for the first six muscles. Path length at shoulder 90 degrees and elbow 0, m; its change
# with the shoulder angle, m/rad, with the elbow angle, m/rad, and with the square of the elbow angle, m/rad2.
SHOULDER_REFERENCE_RAD = 0.5 * math.pi
PATH_M = (0.151, 0.2322, 0.2859, 0.2355, 0.3329, 0.2989)
PATH_PER_SHOULDER = (-0.03, 0.03, 0.0, 0.0, -0.03, 0.03)
PATH_PER_ELBOW = (0.0, 0.0, -0.014, 0.025, -0.016, 0.03)
PATH_PER_ELBOW_SQUARE = (0.0, 0.0, -0.0040, -0.0022, -0.0057, -0.0032)
TENDON_M = (0.039, 0.066, 0.172, 0.187, 0.204, 0.217)

# One flexor and one extensor represent all muscles of the wrist. Moment arms at the straight wrist: mean of flexor
# carpi radialis, flexor digitorum superficialis and profundus, and mean of extensor carpi radialis brevis, longus and
# extensor carpi ulnaris (Pigeon, Yahia and Feldman 1996, J Biomech 29:1365). Optimal fibre lengths: means of the same
# muscles (Holzbaur, Murray and Delp 2005, Ann Biomed Eng 33:829). Strength: largest isometric torques, N m, measured
# by Delp, Grierson and Buchanan (1996, J Biomech 29:1371).
WRIST_ARM_M = (0.0152, 0.0099)
WRIST_TORQUE_NM = (12.2, 7.1)
# Wrist angles at which the fibres of flexor and extensor have their optimal length. Flexor: between the angle of the
# largest flexion torque, 40 degrees of flexion (Delp 1996), and that of the largest flexor force, full extension
# (Lieber and Friden 1998, J Electromyogr Kinesiol 8:93). Extensor: middle of the range in which extension torque is
# flat, from 30 degrees of flexion to 70 of extension (Delp 1996).
WRIST_OPTIMAL_DEGREES = (0.0, -20.0)

_WRIST_FORCE_N = tuple(torque / arm for torque, arm in zip(WRIST_TORQUE_NM, WRIST_ARM_M, strict=True))
LARGEST_FORCE_N = (838.0, 1207.0, 1422.0, 1549.0, 414.0, 603.0, *_WRIST_FORCE_N)
OPTIMAL_LENGTH_M = (0.134, 0.140, 0.092, 0.093, 0.137, 0.127, 0.0707, 0.0672)

# Kistemaker 2006: half width of the force-length parabola, optimal lengths; Hill's constants a, as a share of the
# largest force, and b, optimal lengths/s. b / a is the largest shortening speed, 12.7 lengths/s.
FORCE_LENGTH_HALF_WIDTH = 0.66
HILL_A = 0.41
HILL_B_PER_S = 5.2
LARGEST_SPEED_PER_S = HILL_B_PER_S / HILL_A
# Van Soest and Bobbert 1993, Biol Cybern 69:195: largest force of a lengthening muscle, in isometric forces. The other
# constant of the curve follows from a continuous slope at zero velocity.
LENGTHENING_FORCE = 1.5
_LENGTHENING_SPEED_PER_S = (LENGTHENING_FORCE - 1.0) * HILL_B_PER_S / (1.0 + HILL_A)
# Thelen 2003: stretch, in optimal lengths, at which the passive force equals the largest active force. The fourth power
# of the stretch replaces the exponential; the difference is below 0.02 of the largest force up to 1.4 optimal lengths.
PASSIVE_STRETCH = 0.6

# Time constants of activation and deactivation, Thelen 2003, young adults.
ACTIVATION_S = 0.015
DEACTIVATION_S = 0.050

# Excitation of both muscles of an antagonist pair at action 0, which stiffens the joint.
CO_CONTRACTION = 0.05

# Largest number of sweeps of `command_for_torque` over the joints; few are needed near optimal muscle lengths.
MOST_SWEEPS = 200

# For each muscle: fibre length with all joints at 0, and its change with each joint angle, in optimal lengths; torque
# of the largest force, N m, that is, moment arm times force; for the elbow, at 0 rad and its change with the angle.
_PATHS = tuple(zip(PATH_M, TENDON_M, PATH_PER_SHOULDER, OPTIMAL_LENGTH_M, strict=False))
_REST = tuple((path - tendon - s * SHOULDER_REFERENCE_RAD) / optimal for path, tendon, s, optimal in _PATHS)
_SHOULDER = tuple(s / optimal for s, optimal in zip(PATH_PER_SHOULDER, OPTIMAL_LENGTH_M, strict=False))
_ELBOW = tuple(e / optimal for e, optimal in zip(PATH_PER_ELBOW, OPTIMAL_LENGTH_M, strict=False))
_ELBOW_SQUARE = tuple(e / optimal for e, optimal in zip(PATH_PER_ELBOW_SQUARE, OPTIMAL_LENGTH_M, strict=False))
_WRIST = (-WRIST_ARM_M[0] / OPTIMAL_LENGTH_M[6], WRIST_ARM_M[1] / OPTIMAL_LENGTH_M[7])
_WRIST_OPTIMAL = tuple(math.radians(angle) for angle in WRIST_OPTIMAL_DEGREES)
_SHOULDER_NM = tuple(-s * force for s, force in zip(PATH_PER_SHOULDER, LARGEST_FORCE_N, strict=False))
_ELBOW_NM = tuple(-e * force for e, force in zip(PATH_PER_ELBOW, LARGEST_FORCE_N, strict=False))
_ELBOW_NM_PER_RAD = tuple(-2.0 * e * force for e, force in zip(PATH_PER_ELBOW_SQUARE, LARGEST_FORCE_N, strict=False))


@inlined
def force_length(length):  # type: ignore[no-untyped-def]
    """Return the isometric force at full activation as a share of the largest force; `length` is in optimal lengths."""
    x = (length - 1.0) * (1.0 / FORCE_LENGTH_HALF_WIDTH)
    share = 1.0 - x * x
    return share if share > 0.0 else 0.0


@inlined
def force_velocity(velocity):  # type: ignore[no-untyped-def]
    """Return the active force in isometric forces; `velocity` is in optimal lengths/s, lengthening positive."""
    lengthening = velocity > 0.0
    speed = velocity if lengthening else -velocity
    gain = LENGTHENING_FORCE / _LENGTHENING_SPEED_PER_S if lengthening else -1.0 / LARGEST_SPEED_PER_S
    loss = 1.0 / _LENGTHENING_SPEED_PER_S if lengthening else 1.0 / HILL_B_PER_S
    share = (1.0 + gain * speed) / (1.0 + loss * speed)
    return share if share > 0.0 else 0.0


@inlined
def passive_force(length):  # type: ignore[no-untyped-def]
    """Return the passive force as a share of the largest active force; `length` is in optimal lengths."""
    x = (length - 1.0) * (1.0 / PASSIVE_STRETCH)
    x = x if x > 0.0 else 0.0
    return x * x * x * x


@inlined
def _force(activation, length, velocity):  # type: ignore[no-untyped-def]
    return activation * force_length(length) * force_velocity(velocity) + passive_force(length)


@inlined
def _excited(action):  # type: ignore[no-untyped-def]
    """Return the excitation of the muscle that pulls towards +1; it exceeds the antagonist's by the action."""
    return CO_CONTRACTION + (1.0 - CO_CONTRACTION if action > 0.0 else CO_CONTRACTION) * action


@inlined
def excitation(action_1, action_2, action_3):  # type: ignore[no-untyped-def]
    """Return the excitations of the eight muscles, each in 0..1, for one action in [-1, 1] per joint; positive flexes.

    At action 0 both muscles of a pair are at `CO_CONTRACTION`; at 1 the flexor is at 1 and the extensor at 0. The
    biarticular pair follows the mean of the actions of shoulder and elbow.
    """
    both = 0.5 * (action_1 + action_2)
    return (
        _excited(action_1),
        _excited(-action_1),
        _excited(action_2),
        _excited(-action_2),
        _excited(both),
        _excited(-both),
        _excited(action_3),
        _excited(-action_3),
    )


@inlined
def write_excitation(t, column, i, action):  # type: ignore[no-untyped-def]
    """Write the excitations for actions (3,) to lane `i` of a column of tile `t` and of the next seven columns."""
    (
        t[column * L + i], t[(column + 1) * L + i], t[(column + 2) * L + i], t[(column + 3) * L + i],
        t[(column + 4) * L + i], t[(column + 5) * L + i], t[(column + 6) * L + i], t[(column + 7) * L + i],
    ) = excitation(action[0], action[1], action[2])  # fmt: skip


@inlined
def activate(activation, excited, step_s):  # type: ignore[no-untyped-def]
    """Return the activation, 0..1, after `step_s` seconds of excitation `excited`, 0..1.

    Thelen's equation is da/dt = (u - a) / tau, with tau = ACTIVATION_S (0.5 + 1.5 a) while a rises and
    DEACTIVATION_S / (0.5 + 1.5 a) while it falls. The implicit midpoint rule turns it into a quadratic equation for
    half the change. The rule is of second order, and no step overshoots `excited`. An integrator that uses the mean of
    the activations before and after a step is of second order too.
    """
    gap = excited - activation
    slowness = 0.5 + 1.5 * activation
    rises = gap > 0.0
    rate = step_s * (1.0 / ACTIVATION_S if rises else 1.0 / DEACTIVATION_S)
    # a2 x^2 + a1 x = a0 with x half the change: 2 x (0.5 + 1.5 (a + x)) = rate (gap - x) while rising, and
    # 2 x = rate (gap - x) (0.5 + 1.5 (a + x)) while falling.
    a2 = 3.0 if rises else 1.5 * rate
    a1 = 2.0 * slowness + rate if rises else 2.0 + rate * (slowness - 1.5 * gap)
    a0 = rate * gap if rises else rate * gap * slowness
    change = 4.0 * a0 / (a1 + square_root(a1 * a1 + 4.0 * a2 * a0))
    share = change if rises else -change
    whole = gap if rises else -gap
    return activation + change if share < whole else excited


@inlined
def _elbow_length(k, q):  # type: ignore[no-untyped-def]
    """Return the elbow's part (e + e2 q) q of the fibre length of muscle k at elbow angle q, in optimal lengths."""
    return (_ELBOW[k] + _ELBOW_SQUARE[k] * q) * q


@inlined
def _elbow_rate(k, q):  # type: ignore[no-untyped-def]
    """Return the derivative e + 2 e2 q of `_elbow_length` by the angle, 1/rad."""
    return _ELBOW[k] + 2.0 * _ELBOW_SQUARE[k] * q


@inlined
def muscle_torque(strength, a, q, v):  # type: ignore[no-untyped-def]
    """Return the torques of all muscles at shoulder, elbow and wrist, N m.

    Args:
        strength: factor on all forces; 1 for the strength in the sources.
        a: (8,) activations, 0..1.
        q: (3,) joint angles, rad.
        v: (3,) joint velocities, rad/s.
    """
    q1, q2, q3 = q[0], q[1], q[2]
    v1, v2, v3 = v[0], v[1], v[2]
    f1 = _force(a[0], _REST[0] + _SHOULDER[0] * q1, _SHOULDER[0] * v1)
    f2 = _force(a[1], _REST[1] + _SHOULDER[1] * q1, _SHOULDER[1] * v1)
    f3 = _force(a[2], _REST[2] + _elbow_length(2, q2), _elbow_rate(2, q2) * v2)
    f4 = _force(a[3], _REST[3] + _elbow_length(3, q2), _elbow_rate(3, q2) * v2)
    f5 = _force(a[4], _REST[4] + _SHOULDER[4] * q1 + _elbow_length(4, q2), _SHOULDER[4] * v1 + _elbow_rate(4, q2) * v2)
    f6 = _force(a[5], _REST[5] + _SHOULDER[5] * q1 + _elbow_length(5, q2), _SHOULDER[5] * v1 + _elbow_rate(5, q2) * v2)
    f7 = _force(a[6], 1.0 + _WRIST[0] * (q3 - _WRIST_OPTIMAL[0]), _WRIST[0] * v3)
    f8 = _force(a[7], 1.0 + _WRIST[1] * (q3 - _WRIST_OPTIMAL[1]), _WRIST[1] * v3)
    shoulder = _SHOULDER_NM[0] * f1 + _SHOULDER_NM[1] * f2 + _SHOULDER_NM[4] * f5 + _SHOULDER_NM[5] * f6
    elbow = (
        (_ELBOW_NM[2] + _ELBOW_NM_PER_RAD[2] * q2) * f3
        + (_ELBOW_NM[3] + _ELBOW_NM_PER_RAD[3] * q2) * f4
        + (_ELBOW_NM[4] + _ELBOW_NM_PER_RAD[4] * q2) * f5
        + (_ELBOW_NM[5] + _ELBOW_NM_PER_RAD[5] * q2) * f6
    )
    wrist = WRIST_TORQUE_NM[0] * f7 - WRIST_TORQUE_NM[1] * f8
    return strength * shoulder, strength * elbow, strength * wrist


@kernel
def _torques(strength, activation, q, v, torque):  # type: ignore[no-untyped-def]
    """Write the torques (n, 3) N m for activations (n, 8) in the same posture."""
    for i in range(activation.shape[0]):
        torque[i, 0], torque[i, 1], torque[i, 2] = muscle_torque(strength, activation[i], q, v)


@kernel
def _torque_of_joint(joint, action, alone, none):  # type: ignore[no-untyped-def]
    """Return a joint's torque from the torques of each muscle alone, (8, 3), and without activation, `none` (3,)."""
    excited = excitation(action[0], action[1], action[2])
    torque = none[joint]
    for k in range(8):
        torque += excited[k] * (alone[k, joint] - none[joint])
    return torque


@allocating_kernel
def command_for_torque(torque, angle, velocity, strength=1.0):  # type: ignore[no-untyped-def]
    """Return the action (3,) in [-1, 1] whose steady muscle torque is nearest to a wanted torque, joint by joint.

    In the steady state, activations equal excitations. Torque is then piecewise linear in each action, with a kink
    where the other muscle of a pair takes over. Gauss-Seidel sweeps solve the joints in turn. A joint whose muscles are
    too weak gets an action at the end of its range.

    Args:
        torque: (3,) wanted torque, N m.
        angle, velocity: (3,) rad and rad/s.
        strength: factor on all forces, above 0.
    """
    activation = np.zeros((9, 8))
    for k in range(8):
        activation[k, k] = 1.0
    torques = np.empty((9, 3))
    _torques(strength, activation, angle, velocity, torques)
    alone = torques[:8]
    none = torques[8]
    action = np.zeros(3)
    ends = np.array((-1.0, 0.0, 0.0, 1.0))
    for _ in range(MOST_SWEEPS):
        moved = 0.0
        for joint in range(3):
            kink = -action[1 - joint] if joint < 2 else 0.0
            ends[1] = min(kink, 0.0)
            ends[2] = max(kink, 0.0)
            before = action[joint]
            solution = -1.0
            low = 0.0
            for k in range(4):
                action[joint] = ends[k]
                high = _torque_of_joint(joint, action, alone, none)
                if k > 0 and low < torque[joint]:
                    solution = ends[k - 1] + min((torque[joint] - low) / (high - low), 1.0) * (ends[k] - ends[k - 1])
                low = high
            action[joint] = solution
            moved = max(moved, abs(solution - before))
        if moved < 1e-12:
            break
    return action
