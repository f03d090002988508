"""Webhooks: Standard Webhooks, checked by a receiver that was written from the specification."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from harness import stacks
from harness.certificates import Certificates
from harness.issuer_app import USERNAME, IssuerApp
from harness.notified import deliver, event, states, tell
from harness.receivers import (
    OLD_WEBHOOK_SECRET,
    WEBHOOK_SECRET,
    Receiver,
    checked_webhook,
)

from issuer.audit import EventKind
from issuer.notifications import webhook
from issuer.notifications.settings import WEBHOOK_EVENTS
from issuer.settings import SettingsError

pytestmark = stacks.anywhere
MakeIssuer = Callable[..., IssuerApp]


def hooked(make_issuer: MakeIssuer, receiver: Receiver, **more: Any) -> IssuerApp:
    """An issuer with one webhook."""
    hook = {"url": f"{receiver.url}/hook?to=us", "secret": WEBHOOK_SECRET, **more}
    return make_issuer(notifications={"webhooks": {"siem": hook}})


def test_a_receiver_gets_the_event_and_can_check_it(
    make_issuer: MakeIssuer, receiver: Receiver
) -> None:
    """Body, headers and signature; the id is the event's."""
    issuer = hooked(make_issuer, receiver)
    happened = event(issuer, EventKind.REUSE_DETECTED, sid="s" * 22, address="192.0.2.7")
    tell(issuer, happened)
    deliver(issuer)
    (request,) = receiver.requests
    assert request.path == "/hook?to=us"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == happened.id
    body = checked_webhook(request, WEBHOOK_SECRET, issuer.clock())
    assert body["type"] == "reuse_detected"
    assert body["timestamp"].endswith("Z")
    assert body["data"]["sub"] == issuer.account.id
    assert body["data"]["address"] == "192.0.2.7"
    assert states(issuer) == [("webhook:siem", "delivered", 1, "")]


def test_what_was_delivered_is_not_kept(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """The row stays, so that the event is known again; addresses and all go from it."""
    issuer = hooked(make_issuer, receiver)
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED, address="192.0.2.7"))
    deliver(issuer)
    (row,) = issuer.rows("deliveries")
    assert row["body"] == ""


def test_what_was_altered_does_not_pass(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """Neither another body, id or time, nor another secret, nor an old message."""
    issuer = hooked(make_issuer, receiver)
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    deliver(issuer)
    (good,) = receiver.requests
    now = issuer.clock()
    another_id = {**good.headers, "webhook-id": good.headers["webhook-id"] + "x"}
    later = {**good.headers, "webhook-timestamp": str(int(now) + 1)}
    for request, secret, at in (
        (replace(good, body=good.body + b" "), WEBHOOK_SECRET, now),
        (replace(good, headers=another_id), WEBHOOK_SECRET, now),
        (replace(good, headers=later), WEBHOOK_SECRET, now),
        (good, OLD_WEBHOOK_SECRET, now),
        (good, WEBHOOK_SECRET, now + 301),
    ):
        with pytest.raises(ValueError, match=r"fits|too old"):
            checked_webhook(request, secret, at)


def test_two_secrets_both_sign_while_one_replaces_the_other(
    make_issuer: MakeIssuer, receiver: Receiver
) -> None:
    """A receiver may have either."""
    issuer = hooked(make_issuer, receiver, previous_secret=OLD_WEBHOOK_SECRET)
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    deliver(issuer)
    (request,) = receiver.requests
    for secret in (WEBHOOK_SECRET, OLD_WEBHOOK_SECRET):
        checked_webhook(request, secret, issuer.clock())


def test_a_signature_that_does_not_cover_the_id_is_found(
    make_issuer: MakeIssuer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: the receiver above refuses a signature over time and body alone."""
    sign = webhook.signature
    monkeypatch.setattr(
        webhook, "signature", lambda key, signed: sign(key, signed.partition(b".")[2])
    )
    issuer = hooked(make_issuer, receiver)
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    deliver(issuer)
    with pytest.raises(ValueError, match="fits"):
        checked_webhook(receiver.requests[0], WEBHOOK_SECRET, issuer.clock())


def test_each_kind_of_the_default_goes_out_and_no_other(
    make_issuer: MakeIssuer, receiver: Receiver
) -> None:
    """One webhook has the default events, another has chosen one rule of the anomalies."""
    chosen = {"url": f"{receiver.url}/rule", "secret": WEBHOOK_SECRET}
    hooks = {
        "all": {"url": f"{receiver.url}/all", "secret": WEBHOOK_SECRET},
        "rule": {**chosen, "events": ["anomaly:new_device"]},
    }
    issuer = make_issuer(notifications={"webhooks": hooks})
    rules = [event(issuer, EventKind.ANOMALY, details={"rule": r}) for r in ("new_device", "rate")]
    tell(issuer, *rules, *(event(issuer, kind) for kind in EventKind if kind != "anomaly"))
    deliver(issuer)
    of_all = [request.json["type"] for request in receiver.requests if request.path == "/all"]
    assert sorted(of_all) == sorted([*WEBHOOK_EVENTS, EventKind.ANOMALY])
    (by_rule,) = [request for request in receiver.requests if request.path == "/rule"]
    assert by_rule.headers["webhook-id"] == rules[0].id


def test_tls_is_checked(
    make_issuer: MakeIssuer, certificates: Certificates, server_tls: ssl.SSLContext
) -> None:
    """By the authorities that the operator names; others' certificates are not trusted."""
    with Receiver(server_tls) as receiver:
        trusting = hooked(make_issuer, receiver, ca=str(certificates.authority))
        tell(trusting, event(trusting, EventKind.REUSE_DETECTED))
        deliver(trusting)
        assert states(trusting)[0][1] == "delivered"
        doubting = hooked(make_issuer, receiver)
        tell(doubting, event(doubting, EventKind.REUSE_DETECTED))
        deliver(doubting)
        assert "certificate is not trusted" in states(doubting)[1][3]
        assert len(receiver.requests) == 1


def test_authorities_that_cannot_be_read_are_found_at_once(
    make_issuer: MakeIssuer, receiver: Receiver
) -> None:
    """Not with the first event."""
    hook = {"url": "https://siem.example/", "secret": WEBHOOK_SECRET, "ca": "/nowhere.pem"}
    with pytest.raises(SettingsError, match="holds no certificates"):
        make_issuer(notifications={"webhooks": {"siem": hook}})


def test_no_repr_shows_the_secret(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """Neither of the settings nor of what sends."""
    issuer = hooked(make_issuer, receiver)
    shown = f"{issuer.services!r} {issuer.services.notifications.worker._senders!r}"
    assert WEBHOOK_SECRET not in shown
    assert "octets" not in shown
    assert USERNAME in repr(issuer.account)
