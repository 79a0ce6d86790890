"""Muscles as strands along the arm: a belly is as thick and as strong in colour as the muscle is active.

Angles count counter-clockwise, so flexors lie on the left of a limb, seen from its upper end, and extensors on the
right.
"""

from __future__ import annotations

import math

import numpy as np

from reach.render import palette
from reach.render.canvas import Canvas
from reach.render.rasteriser import ROUND, lay_capsule
from reach.render.scene import Scene
from reach.sim.jit import kernel

# Half the thickness of a muscle at rest, and what full activation adds, m.
STRAND_M, BELLY_M = 0.0012, 0.0062
UPPER_ARM, ELBOW, FOREARM = 0.0, 1.0, 2.0
# Courses of the flexors at shoulder and elbow, over both, and at the wrist, each with its number of points. A point
# lies at a share of its limb's length, beside the axis by a share of half its thickness there. The second and third
# points are the ends of the belly. Extensors run on the other side; muscles over both joints nearest to the bone.
POINTS = (4, 5, 5, 4)
COURSES = np.array(
    [
        [
            (UPPER_ARM, -0.12, 0.50),
            (UPPER_ARM, 0.10, 0.62),
            (UPPER_ARM, 0.22, 0.62),
            (UPPER_ARM, 0.42, 0.60),
            (0, 0, 0),
        ],
        [
            (UPPER_ARM, 0.46, 0.60),
            (UPPER_ARM, 0.64, 0.62),
            (UPPER_ARM, 0.76, 0.62),
            (ELBOW, 0, 0.62),
            (FOREARM, 0.22, 0.52),
        ],
        [
            (UPPER_ARM, 0.08, 0.22),
            (UPPER_ARM, 0.36, 0.23),
            (UPPER_ARM, 0.62, 0.23),
            (ELBOW, 0, 0.26),
            (FOREARM, 0.30, 0.18),
        ],
        [(FOREARM, 0.28, 0.50), (FOREARM, 0.50, 0.52), (FOREARM, 0.64, 0.52), (FOREARM, 0.92, 0.50), (0, 0, 0)],
    ]
)


def draw_muscles(canvas: Canvas, scene: Scene, radii_m: tuple[float, float, float]) -> None:
    """The muscles of a scene over all shapes so far.

    Args:
        canvas: to draw on.
        scene: with activations.
        radii_m: half the thickness of the arm at shoulder, elbow and wrist, m.
    """
    canvas.lay()
    joints = np.ascontiguousarray(scene.joints, dtype=np.float64)
    activations = np.ascontiguousarray(scene.activation, dtype=np.float64)
    # Colours go in as arguments: a kernel kept on disk would not notice that another file's constants changed.
    inks = palette.FLEXION, palette.EXTENSION, palette.MUSCLE_AT_REST
    _lay_muscles(canvas.frame, joints, activations, canvas.x0, canvas.y0, canvas.scale, radii_m, inks)


@kernel
def _lay_muscles(frame, joints, activations, x0, y0, scale, radii_m, inks):  # type: ignore[no-untyped-def]
    """Lay the strands of all muscles; joints (4, 2) m, activations (8,) 0..1, x0, y0, scale the map to the frame."""
    shoulder, elbow, wrist = joints[0], joints[1], joints[2]
    upper_x, upper_y, fore_x, fore_y = (
        elbow[0] - shoulder[0],
        elbow[1] - shoulder[1],
        wrist[0] - elbow[0],
        wrist[1] - elbow[1],
    )
    upper_length, fore_length = math.hypot(upper_x, upper_y) + 1e-9, math.hypot(fore_x, fore_y) + 1e-9
    # To the left of each limb, and at the elbow half-way between both.
    upper_left_x, upper_left_y = -upper_y / upper_length, upper_x / upper_length
    fore_left_x, fore_left_y = -fore_y / fore_length, fore_x / fore_length
    left_x, left_y = upper_left_x + fore_left_x, upper_left_y + fore_left_y
    left_length = math.hypot(left_x, left_y) + 1e-9
    for muscle in range(8):
        kind, side = muscle // 2, 1.0 if muscle % 2 == 0 else -1.0
        strong, rest = inks[muscle % 2], inks[2]
        # The root, because a reach takes a tenth of what muscles can do.
        active = math.sqrt(activations[muscle])
        ink = (
            rest[0] + active * (strong[0] - rest[0]),
            rest[1] + active * (strong[1] - rest[1]),
            rest[2] + active * (strong[2] - rest[2]),
        )
        thin, thick = STRAND_M * scale, (STRAND_M + BELLY_M * active) * scale
        before_x, before_y = 0.0, 0.0
        for point in range(POINTS[kind]):
            limb, share, beside = COURSES[kind, point, 0], COURSES[kind, point, 1], side * COURSES[kind, point, 2]
            if limb == UPPER_ARM:
                out = beside * (radii_m[0] + share * (radii_m[1] - radii_m[0]))
                x = shoulder[0] + share * upper_x + out * upper_left_x
                y = shoulder[1] + share * upper_y + out * upper_left_y
            elif limb == FOREARM:
                out = beside * (radii_m[1] + share * (radii_m[2] - radii_m[1]))
                x = elbow[0] + share * fore_x + out * fore_left_x
                y = elbow[1] + share * fore_y + out * fore_left_y
            else:
                out = beside * radii_m[1] / left_length
                x, y = elbow[0] + out * left_x, elbow[1] + out * left_y
            px, py = x0 + scale * x, y0 - scale * y
            if point > 0:
                first = thick if point == 2 or point == 3 else thin
                second = thick if point == 1 or point == 2 else thin
                lay_capsule(frame, before_x, before_y, first, px, py, second, ROUND, 0.0, ink, ink)
            before_x, before_y = px, py
