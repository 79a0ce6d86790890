"""Learning rules: each turns the error at the output into a modulator for each cell.

`Rule` is the base class and `register` adds a rule. Importing this package does not import torch.
"""

from agents.rules.registry import RULES, register, rule_for, rules_for
from agents.rules.rule import LayerRule, Rule

__all__ = ["RULES", "LayerRule", "Rule", "register", "rule_for", "rules_for"]
