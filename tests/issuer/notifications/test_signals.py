"""Shared Signals: CAEP events as Security Event Tokens, pushed (RFC 8935) and polled (RFC 8936)."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import ISSUER, SECRET, IssuerApp, basic, granted, refused
from harness.notified import BRIEF, PATIENT, deliver, event, states, tell
from harness.processes import until
from harness.receivers import HANG, LOSE, Receiver, checked_token
from joserfc import jwt as jose
from joserfc.jwk import KeySet

from issuer.audit import Event, EventKind
from issuer.database.tables import deliveries
from issuer.notifications.polling import MOST_SETS
from keys import NoActiveKey
from tokens import TokenError

pytestmark = stacks.anywhere
MakeIssuer = Callable[..., IssuerApp]
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
AUDIENCE = "https://rp.example/signals"
SET = "secevent+jwt"
SID = "s" * 22


def pushing(
    make_issuer: MakeIssuer, receiver: Receiver, limit: float = PATIENT, **more: Any
) -> IssuerApp:
    """An issuer that pushes to one receiver."""
    to = {"audience": AUDIENCE, "push_url": f"{receiver.url}/events", **more}
    return make_issuer(notifications={"signals": {"rp": to}, "attempt_timeout": limit})


def jwks(issuer: IssuerApp) -> dict[str, Any]:
    """The issuer's published keys."""
    return granted(issuer.ask("GET", "/.well-known/jwks.json"))


def claims_of_set(issuer: IssuerApp, token: str, audience: str = AUDIENCE) -> dict[str, Any]:
    """What a receiver takes from a SET: checked by PyJWT, and by joserfc."""
    keys = jwks(issuer)
    # It does not expire: `exp` is not allowed in one (SSF 1.0 section 4.1.7).
    claims = checked_token(
        token, keys, SET, audience=audience, issuer=ISSUER, options={"verify_iat": False}
    )
    assert jose.decode(token, KeySet.import_key_set(keys), algorithms=["ES256"]).claims == claims
    assert claims.keys() >= {"iss", "aud", "iat", "jti", "sub_id", "events"}
    assert not claims.keys() & {"exp", "sub", "nonce"}
    return claims


def pushed(issuer: IssuerApp, receiver: Receiver, happened: Event) -> dict[str, Any]:
    """The claims that a receiver got of an event."""
    tell(issuer, happened)
    deliver(issuer)
    claims = claims_of_set(issuer, receiver.requests[-1].body.decode())
    assert claims["jti"] == happened.id
    return claims


def test_the_end_of_a_session_is_pushed(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """As `session-revoked`, about session and user, with the media type and the credentials."""
    receiver.always = 202
    header = "Bearer of-a-transmitter-9914"
    issuer = pushing(make_issuer, receiver, authorization=header)
    happened = event(
        issuer, EventKind.SESSION_ENDED, sid=SID, client_id="demo", why="logout", request_id="r-1"
    )
    claims = pushed(issuer, receiver, happened)
    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/secevent+jwt"
    assert request.headers["accept"] == "application/json"
    assert request.headers["authorization"] == header
    assert request.path == "/events"
    assert claims["sub_id"] == {
        "format": "complex",
        "session": {"format": "opaque", "id": SID},
        "user": {"format": "iss_sub", "iss": ISSUER, "sub": issuer.account.id},
    }
    assert claims["events"] == {
        CAEP + "session-revoked": {
            "event_timestamp": int(happened.time),
            "initiating_entity": "user",
            "reason_admin": {"en": "logout"},
        }
    }
    assert claims["txn"] == "r-1"


def test_a_change_of_credentials_is_pushed(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """As `credential-change`, about the user."""
    issuer = pushing(make_issuer, receiver)
    for kind, factor, change, credential in (
        (EventKind.PASSWORD_CHANGED, None, "update", "password"),
        (EventKind.PASSWORD_RESET, None, "update", "password"),
        (EventKind.FACTOR_ADDED, "totp", "create", "app"),
        (EventKind.FACTOR_REMOVED, "webauthn", "delete", "fido2-roaming"),
        (EventKind.FACTOR_ADDED, "recovery_codes", "create", "recovery_codes"),
    ):
        details = {} if factor is None else {"factor": factor}
        claims = pushed(issuer, receiver, event(issuer, kind, details=details))
        assert claims["sub_id"] == {"format": "iss_sub", "iss": ISSUER, "sub": issuer.account.id}
        told = claims["events"][CAEP + "credential-change"]
        assert (told["change_type"], told["credential_type"]) == (change, credential)


def test_who_did_it_is_told(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """CAEP's `initiating_entity`."""
    issuer = pushing(make_issuer, receiver)
    for actor, why, entity in (
        ("cli:root", "operator", "admin"),
        ("console:x", "operator", "admin"),
        ("issuer", "reuse", "policy"),
        ("issuer", "", "system"),
        ("", "", "user"),
    ):
        happened = event(issuer, EventKind.SESSION_ENDED, sid=SID, actor=actor, why=why)
        told = pushed(issuer, receiver, happened)["events"][CAEP + "session-revoked"]
        assert told["initiating_entity"] == entity


def test_a_receiver_gets_what_it_has_chosen(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """And nothing of what is no signal."""
    issuer = pushing(make_issuer, receiver, events=["credential-change"])
    tell(
        issuer,
        event(issuer, EventKind.SESSION_ENDED, sid=SID),
        event(issuer, EventKind.LOGIN),
        event(issuer, EventKind.PASSWORD_CHANGED),
    )
    deliver(issuer)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("lost", [500, HANG, LOSE])
def test_a_set_that_is_sent_again_is_the_same(
    make_issuer: MakeIssuer, receiver: Receiver, lost: int | str
) -> None:
    """But for its signature: a receiver that had it knows its `jti`."""
    issuer = pushing(make_issuer, receiver, BRIEF if lost == HANG else PATIENT)
    receiver.plan.append(lost)
    tell(issuer, event(issuer, EventKind.SESSION_ENDED, sid=SID))
    deliver(issuer)
    issuer.clock.advance(60)
    deliver(issuer)
    first, second = (claims_of_set(issuer, r.body.decode()) for r in receiver.requests)
    assert first == second
    assert states(issuer)[0][1] == "delivered"


def test_the_error_of_a_receiver_decides(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """What another attempt would meet again is not retransmitted (RFC 8935 section 2)."""
    issuer = pushing(make_issuer, receiver)
    for told, state, why in (
        (b'{"err":"invalid_request","description":"no"}', "given_up", "400 invalid_request"),
        (b'{"err":"invalid_audience"}', "given_up", "400 invalid_audience"),
        (b'{"err":"invalid_issuer"}', "given_up", "400 invalid_issuer"),
        (b'{"err":"invalid_key"}', "waiting", "400 invalid_key"),
        (b'{"err":"authentication_failed"}', "waiting", "400 authentication_failed"),
        (b'{"err":"\\u001b[2J made up"}', "waiting", "400"),
        (b'{"err":1}', "waiting", "400"),
        (b"[" * 4000, "waiting", "400"),
        (b"\xff", "waiting", "400"),
    ):
        receiver.plan.append((400, {"Content-Type": "application/json"}, told))
        tell(issuer, event(issuer, EventKind.SESSION_ENDED, sid=SID))
        deliver(issuer)
        assert states(issuer)[-1] == ("signals:rp", state, 1, f"status {why}")


def test_no_key_is_no_loss(
    make_issuer: MakeIssuer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody signs just now, a push waits, and a poll is told to come again."""
    issuer = pushing(make_issuer, receiver)
    polled = make_issuer()
    maker: Any = issuer.services.notifications.worker._senders["signals:rp"]
    poller: Any = polled.services.notifications.polls._pollers["watcher"]
    happened = event(issuer, EventKind.SESSION_ENDED, sid=SID)
    tell(issuer, happened)
    tell(polled, happened)

    def none() -> Any:
        raise NoActiveKey("ES256")

    for signer in (maker._maker._signer, poller.maker._signer):
        monkeypatch.setattr(signer, "_signing_key", none)
    deliver(issuer)
    assert states(issuer)[0][1:] == ("waiting", 1, NoActiveKey.code)
    answer = poll(polled, returnImmediately=True)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


# Polling


def poll(issuer: IssuerApp, **asked: Any) -> Any:
    """One poll of the receiver `watcher` that tests' issuers have."""
    return issuer.post("/ssf/poll", asked, headers=basic("watcher"))


def polled(issuer: IssuerApp, **asked: Any) -> dict[str, Any]:
    """The SETs of one that is answered at once, each checked; by `jti`."""
    body = granted(poll(issuer, returnImmediately=True, **asked))
    for jti, token in body["sets"].items():
        assert claims_of_set(issuer, token, "watch")["jti"] == jti
    return body


def test_a_receiver_polls_and_acknowledges(make_issuer: MakeIssuer) -> None:
    """What is not acknowledged comes again; what is does not."""
    issuer = make_issuer()
    events = [event(issuer, EventKind.SESSION_ENDED, sid=SID) for _ in range(3)]
    tell(issuer, *events)
    ids = [each.id for each in events]
    assert sorted(polled(issuer)["sets"]) == sorted(ids)
    first = polled(issuer, maxEvents=2)
    assert (set(first["sets"]), first["moreAvailable"]) == (set(ids[:2]), True)
    rest = polled(issuer, ack=ids[:2])
    assert (list(rest["sets"]), rest["moreAvailable"]) == ([ids[2]], False)
    assert polled(issuer, ack=[ids[2], "unknown"])["sets"] == {}
    assert [state[1] for state in states(issuer)] == ["delivered"] * 3


def test_what_only_a_newer_version_knows_is_left_to_it(make_issuer: MakeIssuer) -> None:
    """What lies behind it on the stream is given all the same."""
    issuer = make_issuer()
    newer, known = (event(issuer, EventKind.SESSION_ENDED, sid=SID) for _ in range(2))
    tell(issuer, newer, known)
    with issuer.services.engine.begin() as connection:
        this = deliveries.c.key == newer.id
        connection.execute(sa.update(deliveries).where(this).values(body="{}"))
    assert list(polled(issuer)["sets"]) == [known.id]


def test_a_poll_may_only_acknowledge(make_issuer: MakeIssuer) -> None:
    """With `maxEvents` 0 nothing is given, and whether there is more is told (section 2.2)."""
    issuer = make_issuer()
    events = [event(issuer, EventKind.SESSION_ENDED, sid=SID) for _ in range(2)]
    tell(issuer, *events)
    assert polled(issuer, maxEvents=0, ack=[events[0].id]) == {"sets": {}, "moreAvailable": True}
    assert polled(issuer, maxEvents=0, ack=[events[1].id]) == {"sets": {}, "moreAvailable": False}


def test_a_set_that_a_receiver_will_not_have_is_given_up(make_issuer: MakeIssuer) -> None:
    """`setErrs` takes it off the stream, and the operator finds why (section 2.6)."""
    issuer = make_issuer()
    happened = event(issuer, EventKind.SESSION_ENDED, sid=SID)
    tell(issuer, happened)
    error = {"err": "invalid_audience", "description": "not us"}
    assert polled(issuer, setErrs={happened.id: error})["sets"] == {}
    assert states(issuer) == [("signals:watcher", "given_up", 0, "invalid_audience")]


def test_no_answer_holds_more_than_so_many(make_issuer: MakeIssuer) -> None:
    """However many are asked for."""
    issuer = make_issuer()
    tell(issuer, *(event(issuer, EventKind.SESSION_ENDED, sid=SID) for _ in range(MOST_SETS + 1)))
    body = granted(poll(issuer, returnImmediately=True, maxEvents=10**6))
    assert (len(body["sets"]), body["moreAvailable"]) == (MOST_SETS, True)


def test_a_poll_waits_for_news(make_issuer: MakeIssuer) -> None:
    """Another of the same receiver does not wait meanwhile; one ends with the process."""
    settings = issuer_with_wait(20)
    issuer = make_issuer(notifications=settings)
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(poll(issuer)))
    waiting.start()
    polls = issuer.services.notifications.polls
    for _ in until(10, "a poll that waits"):
        if "watcher" in polls._waiting:
            break
    assert granted(poll(issuer))["sets"] == {}
    happened = event(issuer, EventKind.SESSION_ENDED, sid=SID)
    tell(issuer, happened)
    waiting.join(10)
    assert list(granted(answers[0])["sets"]) == [happened.id]
    polled(issuer, ack=[happened.id])
    ending = threading.Thread(target=lambda: answers.append(poll(issuer)))
    ending.start()
    for _ in until(10, "a poll that waits"):
        if "watcher" in polls._waiting:
            break
    issuer.services.end_streams()
    ending.join(10)
    assert granted(answers[1])["sets"] == {}


def issuer_with_wait(seconds: float) -> dict[str, Any]:
    """The tests' receiver that polls, which may wait so long."""
    secret = hashlib.sha256(SECRET.encode()).hexdigest()
    return {
        "poll_wait": seconds,
        "signals": {"watcher": {"audience": "watch", "secret_sha256": secret}},
    }


def test_a_poll_without_news_ends_in_time(make_issuer: MakeIssuer) -> None:
    """With nothing, and 200."""
    issuer = make_issuer(notifications=issuer_with_wait(0.2))
    begun = time.monotonic()
    assert granted(poll(issuer)) == {"sets": {}, "moreAvailable": False}
    assert 0.2 <= time.monotonic() - begun < 5


def test_nobody_else_may_poll(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """Neither clients nor gateways, nor a receiver that is pushed to."""
    settings = issuer_with_wait(0)
    settings["signals"]["rp"] = {"audience": AUDIENCE, "push_url": receiver.url}
    issuer = make_issuer(notifications=settings)
    others = [basic(name) for name in ("nobody", "rs", "edge", "rp")]
    for headers in ({}, basic("watcher", "wrong"), *others):
        refused(issuer.ask("POST", "/ssf/poll", json={}, headers=headers), 401, "invalid_client")


def test_one_receiver_sees_and_acknowledges_nothing_of_another(make_issuer: MakeIssuer) -> None:
    """Each has a stream of its own."""
    settings = issuer_with_wait(0)
    settings["signals"]["other"] = {**settings["signals"]["watcher"], "audience": "others"}
    issuer = make_issuer(notifications=settings)
    happened = event(issuer, EventKind.SESSION_ENDED, sid=SID)
    tell(issuer, happened)
    polled(issuer, ack=[happened.id])
    answer = issuer.post("/ssf/poll", {"returnImmediately": True}, headers=basic("other"))
    token = granted(answer)["sets"][happened.id]
    assert claims_of_set(issuer, token, "others")["aud"] == "others"


def test_metadata_says_how_signals_are_had(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """SSF 1.0 section 7.1; where nobody gets any there is none."""
    to = {"push": {"audience": AUDIENCE, "push_url": receiver.url}}
    settings = issuer_with_wait(0)
    settings["signals"] |= to
    for given, methods in (
        ({"signals": to}, ["urn:ietf:rfc:8935"]),
        (settings, ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"]),
    ):
        body = granted(
            make_issuer(notifications=given).ask("GET", "/.well-known/ssf-configuration")
        )
        assert body["delivery_methods_supported"] == methods
        assert (body["issuer"], body["spec_version"]) == (ISSUER, "1_0")
        assert body["jwks_uri"] == f"{ISSUER}/.well-known/jwks.json"
    none = make_issuer(notifications={})
    refused(none.ask("GET", "/.well-known/ssf-configuration"), 404, "not_found")


def test_kinds_of_tokens_do_not_mix(make_issuer: MakeIssuer) -> None:
    """A SET is no access token, to us or a gateway; an access token is no SET (RFC 8725 3.11)."""
    issuer = make_issuer()
    happened = event(issuer, EventKind.SESSION_ENDED, sid=SID)
    tell(issuer, happened)
    token = polled(issuer)["sets"][happened.id]
    for verifier in (issuer.services.verifier, issuer.services.revocable):
        with pytest.raises(TokenError):
            verifier.verify(token)
    assert issuer.sessions(token).status_code == 401
    access = issuer.grant()["access_token"]
    with pytest.raises(jwt.InvalidTokenError, match="typ is"):
        checked_token(access, jwks(issuer), SET, audience="api")
