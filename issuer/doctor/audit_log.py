"""The audit log: whether it is as it was written, and whether anybody could have written it."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from ..audit.log import read_head
from ..audit.trail import chain_keys
from ..audit.verifying import Verification, verify
from ..database.engine import reading
from ..database.tables import audit_head
from .deployment import Deployment
from .finding import Finding, fail, ok, unknown, warn

MOST = 200_000
"""Events that are gone over here: some ten seconds."""
_COMMAND = "gatepass audit verify"


def audit_log(deployment: Deployment) -> Iterator[Finding]:
    """Whether the chain holds, from its beginning to its end."""
    with deployment.engine() as engine:
        with reading(engine) as connection:
            if not sa.inspect(connection).has_table(audit_head.name):
                return  # told by the check of the schema
            head = read_head(connection)
        if head.seq - head.base_seq > MOST:
            yield unknown(
                "audit-log",
                f"{head.seq - head.base_seq} events, too many to go over here",
                "nobody has looked whether they are as they were written",
                _COMMAND,
            )
            return
        settings = deployment.settings
        secret = settings.keys_passphrase
        found = verify(engine, chain_keys(settings.audit, secret))
    yield from _judged(found, in_production=deployment.is_production)


def _judged(found: Verification, *, in_production: bool) -> Iterator[Finding]:
    if not found.intact:
        yield fail(
            "audit-log",
            f"{found.problems[0]}, and {len(found.problems) - 1} more things are wrong",
            "somebody has changed what it says, or the secret is another one",
            f"{_COMMAND}; keep the database as it is, and compare with the issuers' own logs",
        )
    elif not found.keyed:
        yield (fail if in_production else warn)(
            "audit-log",
            "its chain has no key",
            "whoever writes to the database can make one that verifies",
            "set keys_secret, or audit.secret",
        )
    else:
        yield ok("audit-log", f"{found.verified} events, as they were written")
