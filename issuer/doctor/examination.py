"""Every check, and how one that fails itself is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from keys import KeyRingError
from revocation import RevocationError

from ..database import DatabaseUnavailable
from .audit_log import audit_log
from .clocks import clocks
from .databases import journal, schema, sql_durability, sqlite_file
from .deployment import Deployment
from .finding import Finding, unknown
from .key_ring import key_ring
from .looking import NoAnswer
from .redis_servers import redis_line, redis_servers
from .replicas import replicas
from .rules import rules, settings_files
from .tls import issuer_tls, tls_files

Check = Callable[[Deployment], Iterable[Finding]]
"""Looks at one thing. What it raises is told as unknown; it changes nothing."""

CHECKS: tuple[tuple[str, Check], ...] = (
    ("settings", rules),
    ("files", settings_files),
    ("clocks", clocks),
    ("redis", redis_servers),
    ("redis-line", redis_line),
    ("tls", issuer_tls),
    ("tls-files", tls_files),
    ("keys", key_ring),
    ("schema", schema),
    ("database", sql_durability),
    ("database-file", sqlite_file),
    ("journal", journal),
    ("audit-log", audit_log),
    ("replicas", replicas),
)
"""By name, in the order in which they are told."""


def examine(
    deployment: Deployment, checks: Sequence[tuple[str, Check]] = CHECKS
) -> Iterator[Finding]:
    """What each check finds."""
    for name, check in checks:
        try:
            yield from check(deployment)
        except (DatabaseUnavailable, RevocationError, KeyRingError, NoAnswer) as error:
            yield unknown(name, str(error), "it could not be looked at", "mend that first")
        except Exception as error:  # one that is broken must not hide what the others find
            yield unknown(
                name, type(error).__name__, "the check itself has failed", "please report this"
            )
