"""The table of rules says of every rule and network whether they work together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.registry import find, is_learner
from agents.rules.registry import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
PREFIXES = {
    "MLP": "error-mlp", "V1": "error-retina", "CNN": "error-cnn", "LSTM": "error-lstm", "SNN": "error-snn",
    "brain": "error-brain", "PPO": "reward-mlp", "SAC": "reward-sac-mlp", "TD3": "reward-td3-mlp",
    "spiking actor": "reward-snn",
}  # fmt: skip
HEAD, _, *ROWS = ([cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", PAGE, re.M))
REASONS = dict(re.findall(r"^(\d+)\. (.*)\.$", PAGE, re.M))


def test_every_rule_and_every_place_is_in_the_table() -> None:
    assert [row[0].strip("`") for row in ROWS] == list(dict.fromkeys(rule.name for rule in RULES.values()))
    assert HEAD[1:] == list(PREFIXES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_a_rule_works_where_the_table_says_so_and_is_refused_for_the_reason_given(row: list[str]) -> None:
    rule = row[0].strip("`")
    for place, cell in zip(HEAD[1:], row[1:], strict=True):
        prefix = PREFIXES[place]
        assert (cell == "yes") == is_learner(f"{prefix}-{rule}"), place
        if cell != "yes":
            with pytest.raises(ValueError, match=re.escape(f"; {REASONS[cell]}") + "$"):
                find(f"{prefix}-{rule}")
