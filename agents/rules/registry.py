"""The registry of learning rules, by name and kind of cells. It does not import torch."""

from __future__ import annotations

import re
from typing import Any, get_args

from agents.networks.registry import Cells, Network
from agents.rules.layer_rules import (
    Backpropagation,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    IndirectFeedbackAlignment,
    KolenPollack,
    NodePerturbation,
    RecursiveLeastSquares,
    Shallow,
    SignSymmetry,
    WeightMirror,
)
from agents.rules.recurrent import BackpropagationThroughTime, EProp, RecurrentRule, ShallowRecurrent
from agents.rules.rule import Error, Feedback, LayerRule, Modifies, Route, Rule
from agents.rules.spiking import (
    GatedSTDP,
    HebbianSTDP,
    Presynaptic,
    RateProduct,
    ShallowSTDP,
    SpikingRule,
    SurrogateBackpropagation,
    SurrogateEProp,
)

RULES: dict[tuple[str, str], Rule] = {}
# Base class of the rules for each kind of cells.
BASES: dict[str, type[Rule]] = {"layers": LayerRule, "recurrent": RecurrentRule, "spiking": SpikingRule}
# Valid name of a rule: lower-case words joined by hyphens, not ending in "-hidden".
NAME = re.compile(r"(?!.*-hidden$)[a-z][a-z0-9_]*(-[a-z0-9_]+)*")


def register(rule: Rule) -> Rule:
    """Add a rule, which can then train every network with its kind of cells, as `error-<network>-<rule>`.

    Args:
        rule: instance of a subclass of the base class in `BASES` for its kind of cells.

    Returns:
        The rule.

    Raises:
        ValueError: a declaration of the rule is missing or unknown, its base class is not the one in `BASES`, or its
            name is invalid or taken.
    """
    for attribute in ("name", "cells", "route"):
        if not hasattr(rule, attribute):
            raise ValueError(f"expected {type(rule).__name__} to declare {attribute}, got none")
    for attribute, values, known in (
        ("cells", (rule.cells,), Cells),
        ("error", (rule.error,), Error),
        ("modifies", rule.modifies, Modifies),
        ("route", (rule.route,), Route),
        *((("feedback", (rule.feedback,), Feedback),) if isinstance(rule, LayerRule) else ()),
    ):
        for value in values:
            if value not in get_args(known):
                raise ValueError(f"expected {attribute} of rule {rule.name!r} in {get_args(known)}, got {value!r}")
    if not isinstance(rule, BASES[rule.cells]):
        base = BASES[rule.cells].__name__
        raise ValueError(f"expected a {base} for {rule.cells} cells, got {type(rule).__name__}")
    for name in (rule.name, *rule.aliases):
        if not NAME.fullmatch(name):
            raise ValueError(f"expected a rule name of lower-case words, digits and hyphens, got {name!r}")
        if (name, rule.cells) in RULES:
            raise ValueError(f"expected a new rule for {rule.cells} cells, got {name!r}, which is registered")
    RULES.update({(name, rule.cells): rule for name in (rule.name, *rule.aliases)})
    return rule


def rules_for(network: Network) -> tuple[str, ...]:
    """Return the names of the rules that can train a network, without aliases."""
    rules = [rule for rule in RULES.values() if rule.cells == network.cells and network.name not in rule.refused]
    names = dict.fromkeys(rule.name for rule in rules)
    return tuple(name for name in names if network.rules is None or name in network.rules)


def rules_from_reward(network: Network) -> tuple[str, ...]:
    """Return the names of the rules that can train a network from reward, without aliases."""
    return tuple(name for name in rules_for(network) if "reward" not in rule_for(name, network.cells).refused)


def rule_from_reward(name: str, cells: str) -> Any:
    """Return the rule with a name or alias for a kind of cells that learn from reward.

    Raises:
        ValueError: there is no such rule for these cells, or it cannot learn from reward.
    """
    rule = rule_for(name, cells)
    if "reward" in rule.refused:
        raise ValueError(f"rule: expected one that learns from reward, got {name!r}: {rule.refused['reward']}")
    return rule


def rule_for(name: str, cells: str) -> Any:
    """Return the rule with a name or alias for a kind of cells, an instance of their base class in `BASES`.

    Raises:
        ValueError: there is no such rule for these cells.
    """
    rule = RULES.get((name, cells))
    if rule is None:
        known = list(dict.fromkeys(rule.name for rule in RULES.values() if rule.cells == cells))
        elsewhere = sorted({rule.cells for (other, _), rule in RULES.items() if other == name})
        hint = f"; it is a rule for {' and '.join(elsewhere)} cells" if elsewhere else ""
        raise ValueError(f"expected a rule for {cells} cells, one of {known}, got {name!r}{hint}")
    return rule


for _rule in (
    Backpropagation(),
    FeedbackAlignment(),
    DirectFeedbackAlignment(),
    IndirectFeedbackAlignment(),
    SignSymmetry(),
    KolenPollack(),
    WeightMirror(),
    NodePerturbation(),
    RecursiveLeastSquares(),
    Shallow(),
    BackpropagationThroughTime(),
    EProp(),
    ShallowRecurrent(),
    SurrogateBackpropagation(),
    SurrogateEProp(),
    GatedSTDP(),
    RateProduct(),
    Presynaptic(),
    ShallowSTDP(),
    HebbianSTDP(),
):
    register(_rule)
