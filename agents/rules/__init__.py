"""Learning rules: each turns an output error into a modulator of every cell.

`Rule` says what a rule declares; `register` adds one. Nothing here imports torch.
"""

from agents.rules.registry import RULES, register, rule_for, rules_for
from agents.rules.rule import LayerRule, Rule

__all__ = ["RULES", "LayerRule", "Rule", "register", "rule_for", "rules_for"]
