"""Colours of the learners in every figure and film, and of the objects on the table.

Colours with a meaning are from the palette of Okabe and Ito (Color Universal Design, 2008), which people with any
common form of colour blindness can distinguish. The other colours are neutral.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

Colour = tuple[int, int, int]

OKABE_ITO: Final = {
    "black": (0, 0, 0),
    "orange": (230, 159, 0),
    "sky blue": (86, 180, 233),
    "bluish green": (0, 158, 115),
    "yellow": (240, 228, 66),
    "blue": (0, 114, 178),
    "vermillion": (213, 94, 0),
    "reddish purple": (204, 121, 167),
}
GREY: Final[Colour] = (127, 127, 127)
DARK_YELLOW: Final[Colour] = (188, 166, 0)  # yellow has too little contrast on white

LEARNER_COLOURS: Final = {
    "none": GREY,
    "error-bp": OKABE_ITO["blue"],
    "error-dfa": OKABE_ITO["orange"],
    "error-fa": OKABE_ITO["vermillion"],
    "error-ifa": OKABE_ITO["sky blue"],
    "error-shallow": OKABE_ITO["black"],
    "error-sign": (112, 72, 178),
    "error-kp": (178, 34, 52),
    "error-weight-mirror": (90, 130, 30),
    "error-node": (160, 110, 70),
    "error-rls": (25, 25, 112),
    "error-stdp": OKABE_ITO["bluish green"],
    "error-rate": (40, 150, 165),
    "error-pre": (140, 84, 140),
    # Darkened colours of the same rules without memory.
    "error-lstm-bp": (0, 56, 98),
    "error-lstm-dfa": (138, 88, 0),
    "error-lstm-shallow": (70, 70, 70),
    "error-memory-bp": (140, 132, 0),
    "error-memory-shallow": (84, 80, 44),
    "error-hebb": (122, 170, 150),
    "reward-ppo": OKABE_ITO["reddish purple"],
    "reward-lstm-bp": (122, 60, 98),
    "reward-stdp": DARK_YELLOW,
    "reward-hebb": (150, 140, 90),
}
# Tint of each algorithm that learns from reward, and its share in the colour of a rule in that algorithm.
ALGORITHM_TINTS: Final = {
    "ppo": OKABE_ITO["reddish purple"],
    "sac": (58, 62, 66),
    "td3": (120, 140, 40),
    "tqc": (90, 40, 120),
}
TINT_SHARE: Final = 0.4
# Share of grey in the colour of a learner whose network is not the usual one of its rule.
NETWORK_GREYS: Final = {
    "retina": 0.35,
    "cnn": 0.6,
    "snn": 0.45,
    "brain": 0.3,
    "sparse": 0.5,
    "structural": 0.2,
    "timed": 0.15,
    "paced": 0.4,
}
# Lowest and highest share of INK in the colour of a learner with settings; the settings determine the share.
SETTINGS_SHARES: Final = (0.15, 0.65)
# Rules whose usual network is spiking.
OF_SPIKES: Final = ("stdp", "hebb", "rate", "pre")
# Colours of learners that are not listed above.
SPARE_COLOURS: Final = (OKABE_ITO["vermillion"], OKABE_ITO["sky blue"], DARK_YELLOW, OKABE_ITO["black"])

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
TOUCHED: Final[Colour] = OKABE_ITO["yellow"]
TOUCHED_SMALL: Final[Colour] = OKABE_ITO["orange"]  # yellow is invisible on a finger two pixels wide

# The cup.
CUP_RIM: Final[Colour] = OKABE_ITO["vermillion"]
CUP_EDGE: Final[Colour] = (135, 58, 0)
CUP_WALL: Final[Colour] = (243, 214, 193)
CUP_INSIDE: Final[Colour] = (112, 74, 52)
SPILL: Final[Colour] = (178, 148, 126)
HELD: Final[Colour] = OKABE_ITO["bluish green"]
HELD_EDGE: Final[Colour] = (0, 92, 66)

# Muscles and torques: one colour for flexion, one for extension.
FLEXION: Final[Colour] = OKABE_ITO["orange"]
EXTENSION: Final[Colour] = OKABE_ITO["blue"]
MUSCLE_AT_REST: Final[Colour] = (172, 184, 195)
TRANSPARENT_SLEEVE: Final[Colour] = (213, 221, 228)  # of an arm through which the muscles show

# Forces: field and walls in the background, the force on the hand in the foreground.
FIELD: Final[Colour] = (196, 195, 191)
WALL: Final[Colour] = (206, 203, 195)
WALL_EDGE: Final[Colour] = (166, 163, 155)
FORCE: Final[Colour] = INK
REMOVED: Final[Colour] = (160, 157, 150)

# Blocks of a protocol.
BLOCK_COLOURS: Final = {"baseline": GREY, "perturbed": OKABE_ITO["orange"], "washout": OKABE_ITO["sky blue"]}
# For a block that is not listed above.
SPARE_BLOCK_COLOURS: Final = (OKABE_ITO["yellow"], OKABE_ITO["bluish green"], OKABE_ITO["blue"], OKABE_ITO["black"])

# The row of lamps, and the rim of a lamp that is off.
LAMP_ROW: Final[Colour] = (45, 48, 51)
LAMP_RIM: Final[Colour] = (142, 146, 150)

# Outcome, path, and what the eye sees.
SUCCESS: Final[Colour] = OKABE_ITO["bluish green"]
FAILURE: Final[Colour] = OKABE_ITO["vermillion"]
PATH: Final[Colour] = OKABE_ITO["blue"]
SEEN: Final[Colour] = (166, 62, 123)  # reddish purple, darkened for thin lines on a light table


def learner_colour(learner: str) -> str:
    """Return the colour of a learner as "#rrggbb"; see `learner_rgb`."""
    return "#{:02x}{:02x}{:02x}".format(*learner_rgb(learner))


def learner_rgb(learner: str) -> Colour:
    """Return the colour of a learner; an unlisted name always gets the same spare colour.

    Full and short names have the same colour. Other networks add grey to the colour of the rule, algorithms that learn
    from reward add their tint, the ending `-hidden` lightens the colour, and settings darken it, each by another share.
    """
    name, _, settings = learner.partition(",")
    if settings:
        lightest, darkest = SETTINGS_SHARES
        share = lightest + (darkest - lightest) * crc32(settings.encode()) / 2**32
        return blend(learner_rgb(name), INK, share)
    short = learner.removesuffix("-hidden").replace("-mlp-", "-").replace("-eprop", "-dfa")
    if short.endswith(OF_SPIKES):
        short = short.replace("-snn-", "-")
    colour = _usual_colour("reward-ppo" if short == "reward-bp" else short)
    if short != learner and learner.endswith("-hidden"):
        return blend(colour, WHITE, 0.45)
    return colour


def _usual_colour(short: str) -> Colour:
    if short in LEARNER_COLOURS:
        return LEARNER_COLOURS[short]
    teacher, _, rest = short.partition("-")
    rules = [name.removeprefix("error-") for name in LEARNER_COLOURS if f"-{rest}".endswith(name.removeprefix("error"))]
    rule = max(rules, key=len, default=rest.rpartition("-")[2])
    network = rest.removesuffix(rule).removesuffix("-")
    of_rule, tint = LEARNER_COLOURS.get(f"error-{rule}"), ALGORITHM_TINTS.get(network or "ppo")
    if teacher == "reward" and of_rule is not None and tint is not None:
        return blend(of_rule, tint, TINT_SHARE)
    grey = NETWORK_GREYS.get(network, 0.0)
    usual = f"{teacher}-{rule}" if grey else short
    return blend(LEARNER_COLOURS.get(usual, SPARE_COLOURS[crc32(usual.encode()) % len(SPARE_COLOURS)]), GREY, grey)


def block_colour(block: str) -> Colour:
    """Return the colour of a block of trials; an unlisted block always gets the same spare colour."""
    spare = SPARE_BLOCK_COLOURS[crc32(block.encode()) % len(SPARE_BLOCK_COLOURS)]
    return BLOCK_COLOURS.get(block, spare)


def blend(under: Colour, over: Colour, share: float) -> Colour:
    """Return a mixture of two colours; `share` (0..1) is the share of `over`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(under, over, strict=True))
    return red, green, blue


def faded_path(age: int) -> Colour:
    """Return the colour of the path of an earlier reach; the last reach has age 1."""
    return blend(TABLE, PATH, max(0.12, 0.5 - 0.08 * (age - 1)))
