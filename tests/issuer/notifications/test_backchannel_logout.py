"""OpenID Connect Back-Channel Logout 1.0, checked as section 2.6 tells relying parties to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt
import pytest
from harness import stacks
from harness.issuer_app import ISSUER, IssuerApp, default_clients, granted
from harness.notified import PATIENT, deliver, event, states, tell
from harness.receivers import LOSE, Receiver, checked_token

from issuer.audit import EventKind
from issuer.notifications.backchannel import LIFETIME
from tokens import TokenError

pytestmark = stacks.anywhere
MakeIssuer = Callable[..., IssuerApp]
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
SID = "s" * 22


class RelyingParty:
    """A client that ends its own sessions when it is told to."""

    def __init__(self, receiver: Receiver, client_id: str) -> None:
        self.receiver = receiver
        self.client_id = client_id

    def take(self, issuer: IssuerApp, token: str) -> dict[str, Any]:
        """The claims of a logout token that passes each of the checks."""
        keys = granted(issuer.ask("GET", "/.well-known/jwks.json"))
        claims = checked_token(
            token,
            keys,
            "logout+jwt",
            audience=self.client_id,
            issuer=ISSUER,
            options={"require": ["iss", "aud", "iat", "exp", "jti", "events"], "verify_exp": False,
                     "verify_iat": False},
        )  # fmt: skip
        if not claims["iat"] <= issuer.clock() < claims["exp"]:
            raise jwt.ExpiredSignatureError("the token is old")
        if claims["events"].get(LOGOUT) != {}:
            raise jwt.InvalidTokenError("this is no logout")
        if "nonce" in claims or not claims.keys() & {"sub", "sid"}:
            raise jwt.InvalidTokenError("this is no logout token")
        return claims

    def tokens(self) -> list[str]:
        """All that it got."""
        return [request.form["logout_token"] for request in self.receiver.requests]


@pytest.fixture
def issuer(make_issuer: MakeIssuer, receiver: Receiver) -> IssuerApp:
    """One whose clients `demo` and `kiosk` want to know."""
    clients = default_clients()
    for name in ("demo", "kiosk"):
        clients[name]["backchannel_logout_uri"] = f"{receiver.url}/{name}/logout"
    return make_issuer(clients=clients, notifications={"attempt_timeout": PATIENT})


def test_a_client_is_told_that_its_session_ended(issuer: IssuerApp, receiver: Receiver) -> None:
    """A form with one token that says whose and which; other clients are told nothing."""
    tell(issuer, event(issuer, EventKind.SESSION_ENDED, sid=SID, client_id="demo"))
    deliver(issuer)
    (request,) = receiver.requests
    assert request.path == "/demo/logout"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.form.keys() == {"logout_token"}
    claims = RelyingParty(receiver, "demo").take(issuer, request.form["logout_token"])
    assert (claims["sid"], claims["sub"]) == (SID, issuer.account.id)
    assert claims["exp"] - claims["iat"] == LIFETIME <= 120
    assert states(issuer) == [("logout:demo", "delivered", 1, "")]


def test_it_is_told_once_however_many_events_say_so(issuer: IssuerApp, receiver: Receiver) -> None:
    """An end, an expiry, another word of the end: one session ends once."""
    for kind in (EventKind.SESSION_ENDED, EventKind.SESSION_EXPIRED, EventKind.SESSION_ENDED):
        tell(issuer, event(issuer, kind, sid=SID, client_id="demo"))
        deliver(issuer)
    assert len(receiver.requests) == 1


def test_what_ends_no_session_is_not_told(issuer: IssuerApp) -> None:
    """Nor is the end of another client's session."""
    tell(
        issuer,
        event(issuer, EventKind.SESSION_REFRESHED, sid=SID, client_id="demo"),
        event(issuer, EventKind.ROLES_CHANGED),
        event(issuer, EventKind.SESSION_ENDED, sid=SID, client_id="backend"),
    )
    assert states(issuer) == []


def test_where_nobody_knows_whose_it_was_each_is_told(
    issuer: IssuerApp, receiver: Receiver
) -> None:
    """As after `gatepass revoke session SID`; to a client that does not know it it is nothing."""
    for unknown in (None, ""):
        sid = SID if unknown is None else "t" * 22
        tell(issuer, event(issuer, EventKind.SESSION_ENDED, sid=sid, sub=None, client_id=unknown))
    deliver(issuer)
    asked = sorted(request.path for request in receiver.requests)
    assert asked == ["/demo/logout", "/demo/logout", "/kiosk/logout", "/kiosk/logout"]
    for request in receiver.requests:
        party = RelyingParty(receiver, request.path.split("/")[1])
        assert "sub" not in party.take(issuer, request.form["logout_token"])


@pytest.mark.parametrize("lost", [500, 400, LOSE])
def test_each_attempt_has_a_fresh_token(
    issuer: IssuerApp, receiver: Receiver, lost: int | str
) -> None:
    """One of the first attempt would have expired, and its `jti` may have been seen."""
    receiver.plan.append(lost)
    tell(issuer, event(issuer, EventKind.SESSION_ENDED, sid=SID, client_id="demo"))
    deliver(issuer)
    issuer.clock.advance(3600)
    deliver(issuer)
    party = RelyingParty(receiver, "demo")
    first, second = party.tokens()
    with pytest.raises(jwt.ExpiredSignatureError):
        party.take(issuer, first)
    claims = party.take(issuer, second)
    assert jwt.decode(first, options={"verify_signature": False})["jti"] != claims["jti"]
    assert states(issuer)[0][1] == "delivered"


def test_kinds_of_tokens_do_not_mix(issuer: IssuerApp, receiver: Receiver) -> None:
    """A logout token is no access token, an access token no logout token, nor one for another."""
    tell(issuer, event(issuer, EventKind.SESSION_ENDED, sid=SID, client_id="demo"))
    deliver(issuer)
    party = RelyingParty(receiver, "demo")
    (token,) = party.tokens()
    for verifier in (issuer.services.verifier, issuer.services.revocable):
        with pytest.raises(TokenError):
            verifier.verify(token)
    assert issuer.sessions(token).status_code == 401
    with pytest.raises(jwt.InvalidTokenError, match="typ is at"):
        party.take(issuer, issuer.grant()["access_token"])
    with pytest.raises(jwt.InvalidAudienceError):
        RelyingParty(receiver, "kiosk").take(issuer, token)


def test_metadata_says_that_it_is_supported(issuer: IssuerApp, make_issuer: MakeIssuer) -> None:
    """Where any client wants it (section 2.1)."""
    for each, supported in ((issuer, True), (make_issuer(), False)):
        body = granted(each.ask("GET", "/.well-known/oauth-authorization-server"))
        assert body["backchannel_logout_supported"] is supported
        assert body["backchannel_logout_session_supported"] is supported
