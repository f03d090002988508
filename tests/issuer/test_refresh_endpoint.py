"""POST /refresh."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import (
    ABSOLUTE,
    ACCESS_LIFETIME,
    IDLE,
    IssuerApp,
    claims_of,
    granted,
    refused,
)

from issuer.families import Status


def later(issuer: IssuerApp) -> None:
    """Let the reuse interval pass."""
    issuer.clock.advance(issuer.services.settings.reuse_interval)


@stacks.everywhere
def test_a_refresh_goes_on_with_the_same_session(issuer: IssuerApp) -> None:
    """After the reuse interval a refresh gives the next generation of the same session."""
    first = issuer.grant()
    later(issuer)
    second = granted(issuer.refresh(first["refresh_token"]))
    old, new = issuer.opened(first["refresh_token"]), issuer.opened(second["refresh_token"])
    assert (new.sid, new.gen, new.exp) == (old.sid, 2, old.exp)
    claims = claims_of(second["access_token"])
    assert claims["jti"] != claims_of(first["access_token"])["jti"]
    assert claims["auth_time"] == claims_of(first["access_token"])["auth_time"]
    assert claims["iat"] == int(issuer.clock())


def test_within_the_reuse_interval_the_same_generation_comes_again(issuer: IssuerApp) -> None:
    """A token presented at once, or twice, is answered with its own generation."""
    token = issuer.grant()["refresh_token"]
    for _ in range(3):
        assert issuer.opened(granted(issuer.refresh(token))["refresh_token"]).gen == 1


@stacks.everywhere
def test_a_lost_answer_is_made_up_for(issuer: IssuerApp) -> None:
    """The parent gets the same successor again a minute later, while nobody has used it."""
    parent = issuer.grant()["refresh_token"]
    later(issuer)
    lost = granted(issuer.refresh(parent))["refresh_token"]
    issuer.clock.advance(60)
    again = granted(issuer.refresh(parent))["refresh_token"]
    assert again != lost
    assert issuer.opened(again) == issuer.opened(lost)


@stacks.everywhere
def test_a_spent_token_ends_the_session_everywhere(issuer: IssuerApp) -> None:
    """Reuse ends the family and its access tokens, and the journal says why."""
    grandparent = issuer.grant()["refresh_token"]
    later(issuer)
    parent = granted(issuer.refresh(grandparent))["refresh_token"]
    later(issuer)
    current = granted(issuer.refresh(parent))
    assert granted(issuer.sessions(current["access_token"]))
    assert "used before" in refused(issuer.refresh(grandparent), 400, "invalid_grant")
    refused(issuer.refresh(current["refresh_token"]), 400, "invalid_grant")
    refused(issuer.sessions(current["access_token"]), 401, "invalid_token")
    (row,) = issuer.rows("journal")
    assert (row["kind"], row["reason"], row["done"]) == ("session", "reuse", True)
    claims = issuer.opened(grandparent)
    assert (row["value"], row["kept_until"]) == (claims.sid, claims.exp)
    family = issuer.services.families.get(claims.sub, claims.sid)
    assert family is not None
    assert family.status is Status.ENDED


@pytest.mark.parametrize("kind", ["garbage", "access", "truncated", "foreign"])
@stacks.both_stores
def test_what_is_no_refresh_token_of_ours_is_refused(issuer: IssuerApp, kind: str) -> None:
    """Garbage, an access token, a cut token and one under another key get the same refusal."""
    grant = issuer.grant()
    token: str = {
        "garbage": "x.y.z",
        "access": grant["access_token"],
        "truncated": grant["refresh_token"][:-2],
        # RFC 7516's own example: a JWE that is authentic elsewhere.
        "foreign": "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwidHlwIjoicnQrand0Iiwia2lkIjoiYSJ9"
        "..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA",
    }[kind]
    text = refused(issuer.refresh(token), 400, "invalid_grant")
    assert text == "not a refresh token of this issuer"


def test_a_refresh_without_token_says_what_is_needed(issuer: IssuerApp) -> None:
    """Neither body nor cookie is a malformed request."""
    refused(issuer.post("/refresh"), 400, "invalid_request")
    refused(issuer.post("/refresh", {}), 400, "invalid_request")


def test_a_refresh_by_itself_is_no_activity(issuer: IssuerApp) -> None:
    """Without `active_ago` the idle end stays, and the answer counts down to it."""
    token = issuer.grant()["refresh_token"]
    issuer.clock.advance(1000)
    session = granted(issuer.refresh(token))["session"]
    assert session["idle_expires_in"] == IDLE - 1000
    assert session["absolute_expires_in"] == ABSOLUTE - 1000


@pytest.mark.parametrize(
    ("active_ago", "left"),
    [(0, IDLE), (0.4, IDLE - 1), (250, IDLE - 250), (1000, IDLE - 1000), (1e9, IDLE - 1000)],
)
@stacks.both_stores
def test_activity_moves_the_idle_end(issuer: IssuerApp, active_ago: float, left: int) -> None:
    """The idle end counts from when the person was last active, which never moves back."""
    token = issuer.grant()["refresh_token"]
    issuer.clock.advance(1000)
    grant = granted(issuer.refresh(token, active_ago=active_ago))
    assert grant["session"]["idle_expires_in"] == left
    issuer.clock.advance(left - 1)
    assert issuer.refresh(grant["refresh_token"]).status_code == 200
    issuer.clock.advance(1)
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")


def test_a_null_active_ago_is_none(issuer: IssuerApp) -> None:
    """`active_ago: null` means the same as its absence."""
    token = issuer.grant()["refresh_token"]
    issuer.clock.advance(100)
    grant = granted(issuer.refresh(token, active_ago=None))
    assert grant["session"]["idle_expires_in"] == IDLE - 100


@pytest.mark.parametrize("before", [1, ACCESS_LIFETIME, ACCESS_LIFETIME + 1])
@stacks.both_stores
def test_a_token_never_outlives_the_idle_end(issuer: IssuerApp, before: int) -> None:
    """`exp` is the idle end where that comes before the access lifetime."""
    token = issuer.grant()["refresh_token"]
    issuer.clock.advance(IDLE - before)
    grant = granted(issuer.refresh(token))
    lifetime = min(before, ACCESS_LIFETIME)
    assert grant["expires_in"] == lifetime
    assert claims_of(grant["access_token"])["exp"] == int(issuer.clock()) + lifetime


@pytest.mark.parametrize("before", [1, ACCESS_LIFETIME, ACCESS_LIFETIME + 1])
@stacks.both_stores
def test_a_token_never_outlives_the_absolute_end(issuer: IssuerApp, before: int) -> None:
    """`exp` is the absolute end where that comes before the access lifetime."""
    token = issuer.grant(client_id="kiosk")["refresh_token"]
    issuer.clock.advance(7200 - before)
    grant = granted(issuer.refresh(token, active_ago=0))
    lifetime = min(before, ACCESS_LIFETIME)
    assert grant["expires_in"] == lifetime
    assert grant["session"]["absolute_expires_in"] == before
    assert claims_of(grant["access_token"])["exp"] == int(issuer.clock()) + lifetime


def test_the_idle_end_is_exact(issuer: IssuerApp) -> None:
    """A millisecond-exact idle end: a second before it is in time, at it is not."""
    token = issuer.grant()["refresh_token"]
    issuer.clock.advance(IDLE)
    text = refused(issuer.refresh(token), 400, "invalid_grant")
    assert "activity" in text


def test_the_absolute_end_is_exact(issuer: IssuerApp) -> None:
    """At the absolute end a refresh is refused, however active the person is."""
    token = issuer.grant(client_id="kiosk")["refresh_token"]
    issuer.clock.advance(7200)
    text = refused(issuer.refresh(token, active_ago=0), 400, "invalid_grant")
    assert "has reached its end" in text


@pytest.mark.parametrize(("client_id", "length"), [("demo", IDLE), ("kiosk", 7200)])
@stacks.both_stores
def test_the_last_fraction_of_a_second_gives_no_more(
    issuer: IssuerApp, client_id: str, length: int
) -> None:
    """A token of a session's last half second expires with the session."""
    token = issuer.grant(client_id=client_id)["refresh_token"]
    end = issuer.clock() + length
    issuer.clock.advance(length - 0.5)
    assert claims_of(granted(issuer.refresh(token))["access_token"])["exp"] == end


def test_activity_keeps_a_session_until_its_absolute_end(issuer: IssuerApp) -> None:
    """A person who is always active is logged out at the absolute end and not before."""
    grant = issuer.grant()
    start = issuer.clock()
    while issuer.clock() < start + ABSOLUTE - 1700:
        issuer.clock.advance(1700)
        grant = granted(issuer.refresh(grant["refresh_token"], active_ago=0))
    issuer.clock.advance_to(start + ABSOLUTE - 1)
    grant = granted(issuer.refresh(grant["refresh_token"], active_ago=0))
    assert grant["session"] | {"sid": ""} == {
        "sid": "",
        "idle_expires_in": IDLE,
        "absolute_expires_in": 1,
    }
    issuer.clock.advance(1)
    refused(issuer.refresh(grant["refresh_token"], active_ago=0), 400, "invalid_grant")


@stacks.anywhere
def test_a_refresh_token_survives_the_rotation_of_its_key(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """A token sealed under a key that has been demoted twice over is still opened."""
    client = {"audience": "api", "idle": 0, "absolute": 7200}
    issuer = make_issuer(clients={"demo": client}, sealing_period=400)
    token = issuer.grant()["refresh_token"]
    first = issuer.services.keys.ring.sealing().kid
    for _ in range(100):
        issuer.clock.advance(12)
        issuer.services.keys.tick()
    assert issuer.services.keys.ring.sealing().kid != first
    renewed = granted(issuer.refresh(token))["refresh_token"]
    assert issuer.opened(renewed).gen == 2
