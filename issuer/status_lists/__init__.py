"""Token Status Lists: revocation for verifiers that know nothing of our denylist."""

from .opening import open_status_store
from .status_list import TTL, StatusListBusy, StatusLists, StatusListStale
from .store import StatusRecord, StatusStore, StatusUnavailable, UnknownStatusList

__all__ = [
    "TTL",
    "StatusListBusy",
    "StatusListStale",
    "StatusLists",
    "StatusRecord",
    "StatusStore",
    "StatusUnavailable",
    "UnknownStatusList",
    "open_status_store",
]
