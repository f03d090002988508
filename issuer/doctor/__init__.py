"""Examines a deployment, and says of each thing that is wrong what to do."""

from .deployment import Deployment
from .examination import CHECKS, Check, examine
from .finding import Finding, State, fail, ok, unknown, warn

__all__ = [
    "CHECKS",
    "Check",
    "Deployment",
    "Finding",
    "State",
    "examine",
    "fail",
    "ok",
    "unknown",
    "warn",
]
