"""A session store that came back from the past, and what the log says of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.issuer_app import IssuerApp, granted, refused
from harness.redis_copies import RestoredCopy
from harness.redis_server import RedisServer


@pytest.mark.parametrize("stack", ["sqlite-redis"], indirect=True)
def test_a_session_that_was_rolled_back_is_told(
    make_issuer: Callable[..., IssuerApp], redis_server: RedisServer
) -> None:
    """Its token is newer than its record: a failure of its own kind, not reuse."""
    issuer = make_issuer(reuse_interval=0)
    grant = issuer.grant()
    copy = RestoredCopy(redis_server)
    copy.take()
    token = granted(issuer.refresh(grant["refresh_token"]))["refresh_token"]
    issuer.services.audit.flush()
    copy.put_back()
    refused(issuer.refresh(token), 400, "invalid_grant")
    issuer.services.audit.flush()
    found = [each.event for each in issuer.services.audit.log.after(0, 100)]
    about = [event for event in found if event.sid == grant["session"]["sid"]]
    assert [event.kind.value for event in about[-3:]] == [
        "session_refreshed",
        "rollback_detected",
        "session_ended",
    ]
    told = about[-2]
    assert (told.outcome.value, told.why, told.sub) == ("failure", "rolled_back", issuer.account.id)
