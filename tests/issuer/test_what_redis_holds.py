"""What somebody finds in a copy of Redis, read key by key and value by value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from harness import stacks
from harness.issuer_app import NEW_PASSWORD, PASSWORD, SECRET, USERNAME, IssuerApp, granted

from issuer.journal import Reason
from revocation import Entry

WRONG = "a wrong password 5518"
READ: dict[str, Callable[[Any, bytes], object]] = {
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: client.smembers(key),
    "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    "stream": lambda client, key: client.xrange(key),
}
PLANT: dict[str, Callable[[Any, str], object]] = {
    "string": lambda client, text: client.set("planted", text),
    "hash": lambda client, text: client.hset("planted", "field", text),
    "list": lambda client, text: client.rpush("planted", text),
    "set": lambda client, text: client.sadd("planted", text),
    "zset": lambda client, text: client.zadd("planted", {text: 1}),
    "stream": lambda client, text: client.xadd("planted", {"field": text}),
    "key": lambda client, text: client.set(f"{text}:planted", ""),
}


def contents(url: str) -> dict[str, str]:
    """Every key of the server with all that it holds, as text."""
    with redis.Redis.from_url(url) as client:
        kinds = {key: client.type(key).decode() for key in client.scan_iter()}
        return {repr(key): repr(READ[kind](client, key)) for key, kind in kinds.items()}


def shown(url: str, *texts: str) -> set[str]:
    """Those of the texts that stand anywhere in Redis."""
    everything = "\n".join(f"{key} {value}" for key, value in contents(url).items())
    return {text for text in texts if text in everything}


def live(issuer: IssuerApp) -> set[str]:
    """Log in, refresh, revoke and guess in every way; what Redis may know nothing of."""
    grants = [issuer.grant() for _ in range(3)]
    grants += [granted(issuer.refresh(grant["refresh_token"])) for grant in grants]
    granted(issuer.revoke(grants[0]["access_token"]))
    granted(issuer.logout(grants[4]["refresh_token"]))
    assert issuer.refresh(grants[2]["refresh_token"]).status_code == 200  # its answer was lost
    assert issuer.login(password=WRONG).status_code == 400
    assert issuer.login("nobody@example.org", WRONG).status_code == 400
    assert issuer.introspect(grants[5]["access_token"]).status_code == 200
    reset = issuer.forgot()
    assert reset is not None
    grants.append(granted(issuer.change_password(grants[3]["access_token"])))
    issuer.services.revoker.revoke(Entry.client("kiosk", 1, 2**31), reason=Reason.OPERATOR)
    tokens = [grant[kind] for grant in grants for kind in ("access_token", "refresh_token")]
    # A part is as bad as the whole; headers are the same for all.
    parts = {part for token in [*tokens, reset] for part in token.split(".")[1:] or [token] if part}
    return {*parts, USERNAME, "nobody@example.org", PASSWORD, NEW_PASSWORD, WRONG, SECRET}


@stacks.on_redis
def test_no_token_no_password_and_no_name_is_in_redis(issuer: IssuerApp, store_url: str) -> None:
    """Neither whole nor in parts; what names a live session's person is the account's id."""
    secrets = live(issuer)
    assert len(secrets) > 20
    assert shown(store_url, *secrets) == set()
    # It was read: what was revoked is there, and a session with its account's id.
    assert any("denylist" in key for key in contents(store_url))
    sid = issuer.grant(password=NEW_PASSWORD)["session"]["sid"]
    assert shown(store_url, sid, issuer.account.id) == {sid, issuer.account.id}


@stacks.on_redis
def test_the_denylist_knows_people_by_keyed_digests(issuer: IssuerApp, store_url: str) -> None:
    """And clients and keys; an account's id stands with its sessions and events not yet written."""
    kid = issuer.services.signing_key().kid
    issuer.grant()
    for entry in (
        Entry.subject(issuer.account.id, 1, 2**31),
        Entry.client("kiosk", 1, 2**31),
        Entry.key(kid),
    ):
        issuer.services.revoker.revoke(entry, reason=Reason.OPERATOR)
    known = {
        key for key, value in contents(store_url).items() if issuer.account.id in f"{key} {value}"
    }
    assert known
    assert all(":family:" in key or ":drafts" in key for key in known)
    denylist = {key: value for key, value in contents(store_url).items() if "denylist" in key}
    for name in (issuer.account.id, "kiosk", kid):
        assert not [key for key, value in denylist.items() if name in f"{key} {value}"]


@pytest.mark.parametrize("kind", PLANT)
def test_what_is_planted_is_found(redis_url: str, kind: str) -> None:
    """In a key, and in a value of each kind."""
    with redis.Redis.from_url(redis_url) as client:
        PLANT[kind](client, "a-refresh-token")
    assert shown(redis_url, "a-refresh-token", "another") == {"a-refresh-token"}
