"""Anomaly detection: rules that follow the audit log, and what is done about what they find."""

from .detector import AnomalyDetector
from .opening import open_detector, open_states
from .settings import AnomalySettings, Response
from .states import AnomaliesUnavailable, MemoryStates, States

__all__ = [
    "AnomaliesUnavailable",
    "AnomalyDetector",
    "AnomalySettings",
    "MemoryStates",
    "Response",
    "States",
    "open_detector",
    "open_states",
]
