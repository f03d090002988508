"""Policies: named sets of rules for a client's sessions, each with the clause that it follows."""

from .policy import RULES, Policy, Rule
from .presets import PRESETS

__all__ = ["PRESETS", "RULES", "Policy", "Rule"]
