"""Learners can be told apart by colour."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agents.registry import aliases, learners
from reach.render.palette import LEARNER_COLOURS, OKABE_ITO, blend, learner_colour

CHANNEL = st.integers(0, 255)
COLOUR = st.tuples(CHANNEL, CHANNEL, CHANNEL)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.1)."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_learner_has_a_colour_of_its_own_that_stands_out_from_white() -> None:
    names = list(learners())
    colours = {name: learner_colour(name) for name in names}
    assert len(set(colours.values())) == len(names)
    for name, colour in colours.items():
        assert 1.05 / (luminance(colour) + 0.05) >= 2.0, name


def test_aliases_have_the_colours_of_what_they_stand_for() -> None:
    for short, full in aliases().items():
        assert learner_colour(short) == learner_colour(full)


def test_colours_of_the_named_learners() -> None:
    assert learner_colour("error-bp") == "#0072b2"
    assert LEARNER_COLOURS["error-dfa"] == OKABE_ITO["orange"]
    assert LEARNER_COLOURS["error-stdp"] == OKABE_ITO["bluish green"]
    assert LEARNER_COLOURS["reward-ppo"] == OKABE_ITO["reddish purple"]
    assert len(set(LEARNER_COLOURS["none"])) == 1, "the learner that does not learn is grey"


def test_a_name_in_full_has_the_colour_of_the_short_one() -> None:
    assert learner_colour("error-mlp-dfa") == learner_colour("error-dfa")
    assert learner_colour("error-snn-stdp") == learner_colour("error-stdp")
    assert learner_colour("error-mlp-dfa-hidden") == learner_colour("error-dfa-hidden")
    assert learner_colour("error-dfa-hidden") not in [learner_colour(learner) for learner in LEARNER_COLOURS]


def test_a_rule_has_a_colour_of_its_own_in_each_network() -> None:
    for rule in ("bp", "dfa", "fa", "ifa", "shallow"):
        assert len({learner_colour(f"error-{network}-{rule}") for network in ("mlp", "retina", "cnn")}) == 3
    assert learner_colour("error-brain-stdp") != learner_colour("error-snn-stdp")
    assert learner_colour("error-cnn-bp") != learner_colour("error-cnn-dfa")


def test_settings_darken_the_colour_of_the_learner_each_in_its_own_way() -> None:
    rates = [learner_colour(f"error-dfa,rate={rate}") for rate in (0.1, 0.2, 0.4, 0.8, 1.6)]
    assert len(set(rates)) == len(rates)
    for colour in rates:
        assert luminance(colour) < luminance(learner_colour("error-dfa"))
        assert colour[1:3] > colour[3:5] > colour[5:7], "the hue stays that of the learner"


@given(st.text(max_size=20))
def test_any_name_has_a_colour(name: str) -> None:
    assert re.fullmatch("#[0-9a-f]{6}", learner_colour(name))
    assert learner_colour(name) == learner_colour(name)


@given(COLOUR, COLOUR, st.floats(0.0, 1.0))
def test_a_blend_lies_between(under: tuple[int, int, int], over: tuple[int, int, int], share: float) -> None:
    for low_high, mixed in zip(zip(under, over, strict=True), blend(under, over, share), strict=True):
        assert min(low_high) <= mixed <= max(low_high)
    assert blend(under, over, 0.0) == under
    assert blend(under, over, 1.0) == over
