"""A person's live sessions (ASVS 7.5.2)."""

from __future__ import annotations

from dataclasses import dataclass

from ..accounts import Account
from ..console.settings import CLIENT_ID as CONSOLE
from ..families import Family
from ..services import Services


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session as its owner sees it; times in seconds."""

    sid: str
    client_id: str
    label: str
    address: str
    user_agent: str
    created: int
    last_active: int
    last_refresh: int
    idle_expires_in: int | None
    absolute_expires_in: int


def list_sessions(services: Services, account: Account) -> list[SessionInfo]:
    """The sessions that a refresh would still continue, oldest first."""
    now = services.clock()
    families = services.families.of_subject(account.id)
    ended = services.journal.ended_among([family.sid for family in families])
    watermarks = {
        client_id: services.journal.client_watermark(client_id, client.audience)
        for client_id in {family.client_id for family in families}
        if (client := services.clients.get(client_id)) is not None
    }
    if services.settings.console.enabled:
        watermarks[CONSOLE] = -1
    return [
        _info(family, now)
        for family in families
        if family.sid not in ended
        and family.credential_version == account.credential_version
        and family.end > now
        and family.auth_time > watermarks.get(family.client_id, family.auth_time)
    ]


def _info(family: Family, now: float) -> SessionInfo:
    idle_end = family.idle_end
    return SessionInfo(
        sid=family.sid,
        client_id=family.client_id,
        label=family.label,
        address=family.address,
        user_agent=family.user_agent,
        created=family.auth_time,
        last_active=int(family.last_active),
        last_refresh=int(family.last_refresh),
        idle_expires_in=None if idle_end is None else int(idle_end - now),
        absolute_expires_in=int(family.absolute_end - now),
    )
