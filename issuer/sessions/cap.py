"""Not more live sessions of an account, in all and at one client, than allowed (ASVS 7.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from ..families import Family
from ..journal import Reason
from ..services import Services

log = structlog.get_logger("gatepass.issuer")


def keep_within_cap(services: Services, newest: Family) -> None:
    """End the sessions of the newest one's account that were without activity for longest.

    Whoever makes a session looks afterwards, so that of any number of logins at once the last to
    look sees all; two that end the same one do it once. One that dies in between leaves it to the
    next login, or to the journal. Raises where a store does not answer.
    """
    everywhere = services.settings.limits.sessions
    client = services.clients.get(newest.client_id)
    here = 0 if client is None else client.sessions
    if not everywhere and not here:
        return
    families = [
        family
        for family in services.families.of_subject(newest.sub)
        # Those of an older version have ended; nothing refreshes them.
        if family.credential_version == newest.credential_version
    ]
    _keep(services, newest, families, everywhere)
    own = [family for family in families if family.client_id == newest.client_id]
    _keep(services, newest, own, here)


def _keep(services: Services, newest: Family, families: Sequence[Family], cap: int) -> None:
    """Leave so many of these; 0 leaves all."""
    if not cap or len(families) <= cap:
        return
    ended = services.journal.ended_among([family.sid for family in families])
    others = [each for each in families if each.sid not in ended and each.sid != newest.sid]
    excess = max(0, len(others) + 1 - cap)
    # Who logs in later looks later: of two at once, only one ends the other.
    older = [family for family in others if not _began_after(family, newest)]
    # The same order for whoever looks.
    older.sort(key=lambda family: (family.last_active, family.sid))
    for family in older[:excess]:
        services.revoker.end_session(
            family.sub, family.sid, reason=Reason.TOO_MANY, absolute_end=family.absolute_end
        )


def _began_after(family: Family, newest: Family) -> bool:
    """Whether it is a login that nobody has refreshed yet, and a later one."""
    return family.gen == newest.gen and family.last_refresh > newest.last_refresh
