"""Colours: of the learners, in every figure and film, and of the things on the table.

Colours that carry a meaning come from the palette of Okabe and Ito (Color Universal Design, 2008), which
people with any common form of colour blindness can tell apart. The rest is neutral, so that it stays in the
background.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final
from zlib import crc32

Colour = tuple[int, int, int]

OKABE_ITO: Final = MappingProxyType(
    {
        "black": (0, 0, 0),
        "orange": (230, 159, 0),
        "sky blue": (86, 180, 233),
        "bluish green": (0, 158, 115),
        "yellow": (240, 228, 66),
        "blue": (0, 114, 178),
        "vermillion": (213, 94, 0),
        "reddish purple": (204, 121, 167),
    }
)
GREY: Final[Colour] = (127, 127, 127)

LEARNER_COLOURS: Final = MappingProxyType(
    {
        "none": GREY,
        "error-bp": OKABE_ITO["blue"],
        "error-dfa": OKABE_ITO["orange"],
        "error-stdp": OKABE_ITO["bluish green"],
        "reward-ppo": OKABE_ITO["reddish purple"],
    }
)
# For a learner that is not listed above.
SPARE_COLOURS: Final = (
    OKABE_ITO["vermillion"],
    OKABE_ITO["sky blue"],
    OKABE_ITO["yellow"],
    OKABE_ITO["black"],
)

# The room.
TABLE: Final[Colour] = (243, 241, 236)
GRID: Final[Colour] = (230, 227, 219)
FLOOR: Final[Colour] = (222, 219, 211)
TABLE_EDGE: Final[Colour] = (199, 194, 183)
SHADOW: Final[Colour] = (222, 219, 212)
TORSO: Final[Colour] = (176, 182, 188)
HEAD: Final[Colour] = (150, 157, 164)
INK: Final[Colour] = (58, 62, 66)
FAINT_INK: Final[Colour] = (118, 121, 123)
WHITE: Final[Colour] = (255, 255, 255)

# The arm and the hand.
SLEEVE: Final[Colour] = (143, 163, 181)
SLEEVE_EDGE: Final[Colour] = (86, 105, 123)
JOINT: Final[Colour] = (232, 237, 241)
SKIN: Final[Colour] = (240, 208, 172)
SKIN_EDGE: Final[Colour] = (161, 116, 76)
HIDDEN: Final[Colour] = (243, 241, 236)
HIDDEN_EDGE: Final[Colour] = (160, 160, 158)
LIT: Final[Colour] = OKABE_ITO["yellow"]
LIT_SMALL: Final[Colour] = OKABE_ITO["orange"]  # yellow is lost where a finger is two pixels wide

# The cup.
CUP_RIM: Final[Colour] = OKABE_ITO["vermillion"]
CUP_EDGE: Final[Colour] = (135, 58, 0)
CUP_WALL: Final[Colour] = (243, 214, 193)
CUP_INSIDE: Final[Colour] = (112, 74, 52)
SPILL: Final[Colour] = (178, 148, 126)
HELD: Final[Colour] = OKABE_ITO["bluish green"]
HELD_EDGE: Final[Colour] = (0, 92, 66)

# What happened, and what was seen.
SUCCESS: Final[Colour] = OKABE_ITO["bluish green"]
FAILURE: Final[Colour] = OKABE_ITO["vermillion"]
PATH: Final[Colour] = OKABE_ITO["blue"]
SEEN: Final[Colour] = (166, 62, 123)  # reddish purple, darkened to hold as a thin line on a light table

# What acts: torques and muscles that flex and extend, a force on the hand, a field or channel (faint).
FLEXION: Final[Colour] = OKABE_ITO["vermillion"]
EXTENSION: Final[Colour] = OKABE_ITO["blue"]
SINEW: Final[Colour] = (196, 206, 216)
FORCE: Final[Colour] = (0, 120, 88)
FIELD: Final[Colour] = (188, 205, 196)


def learner_colour(learner: str) -> str:
    """The colour of a learner as "#rrggbb". A learner not listed gets a spare colour, always the same one."""
    spare = SPARE_COLOURS[crc32(learner.encode()) % len(SPARE_COLOURS)]
    return "#{:02x}{:02x}{:02x}".format(*LEARNER_COLOURS.get(learner, spare))


def blend(under: Colour, over: Colour, share: float) -> Colour:
    """The colour `share` (0..1) of the way from `under` to `over`."""
    first, second, third = (round(u + (o - u) * share) for u, o in zip(under, over, strict=True))
    return first, second, third


def faded_path(age: int) -> Colour:
    """The colour of the path of an earlier reach: the last one has age 1."""
    return blend(TABLE, PATH, max(0.12, 0.5 - 0.08 * (age - 1)))
