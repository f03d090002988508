"""One module for each rule."""

from .every import rules_of
from .rule import Evidence, Rule, Scope, State

__all__ = ["Evidence", "Rule", "Scope", "State", "rules_of"]
