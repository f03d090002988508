"""Attempts: what is tried again, when, for how long, and that nobody waits for anybody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from harness import stacks
from harness.issuer_app import METRICS_TOKEN, IssuerApp, bearer
from harness.notified import BRIEF, PATIENT, deliver, event, states, tell
from harness.processes import free_port, until
from harness.receivers import DRIP, HANG, LOSE, WEBHOOK_SECRET, Receiver

from issuer.audit import EventKind
from issuer.notifications import worker as working

pytestmark = stacks.anywhere
MakeIssuer = Callable[..., IssuerApp]


def hook(url: str) -> dict[str, Any]:
    """A webhook's settings."""
    return {"url": url, "secret": WEBHOOK_SECRET}


def issuer_for(make_issuer: MakeIssuer, *urls: str, **more: Any) -> IssuerApp:
    """An issuer with a webhook for each URL, named by its number."""
    hooks = {str(number): hook(url) for number, url in enumerate(urls)}
    return make_issuer(notifications={"webhooks": hooks, "attempt_timeout": PATIENT, **more})


def error_of(issuer: IssuerApp) -> str:
    """Of the one delivery, which waits."""
    ((_, state, _, error),) = states(issuer)
    assert state == "waiting"
    return error


def next_attempt(issuer: IssuerApp) -> None:
    """Move on to when the one delivery is due, and make the attempt."""
    (row,) = issuer.rows("deliveries")
    issuer.clock.advance_to(max(issuer.clock(), row["due"] / 1000))
    deliver(issuer)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (500, "status 500"),
        (429, "status 429"),
        (404, "status 404"),
        (HANG, "no answer in time"),
        (LOSE, "RemoteDisconnected"),
        (DRIP, "no answer in time"),
    ],
)
def test_what_fails_is_tried_again_until_it_is_there(
    make_issuer: MakeIssuer, receiver: Receiver, what: int | str, why: str
) -> None:
    """Under the same id, with longer and longer waits between."""
    limit = BRIEF if what in {HANG, DRIP} else PATIENT
    issuer = issuer_for(make_issuer, receiver.url, attempt_timeout=limit)
    happened = event(issuer, EventKind.REUSE_DETECTED)
    receiver.plan.extend([what, what])
    tell(issuer, happened)
    deliver(issuer)
    assert error_of(issuer) == why
    assert len(receiver.requests) == 1, "it is not due before its time"
    next_attempt(issuer)
    next_attempt(issuer)
    assert states(issuer) == [("webhook:0", "delivered", 3, "")]
    assert receiver.ids() == [happened.id] * 3


def test_a_receiver_that_is_away_is_left_alone_for_a_while(make_issuer: MakeIssuer) -> None:
    """One attempt finds it out; other events do not each wait for it."""
    issuer = issuer_for(make_issuer, f"http://127.0.0.1:{free_port()}")
    tell(issuer, *(event(issuer, EventKind.REUSE_DETECTED) for _ in range(5)))
    issuer.services.notifications.worker.work_off("webhook:0")
    assert [attempts for _, _, attempts, _ in states(issuer)] == [1, 0, 0, 0, 0]
    assert states(issuer)[0][3] == "Connection refused"


def test_a_receiver_may_ask_for_time(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """`Retry-After` is heeded, up to the longest wait; what is no number is not."""
    issuer = issuer_for(make_issuer, receiver.url, longest_retry=600)
    for header, least, most in (("120", 120, 121), ("99999", 600, 601), ("soon", 0, 601)):
        receiver.plan.append((503, {"Retry-After": header}, b""))
        tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
        deliver(issuer)
        row = issuer.rows("deliveries")[-1]
        assert least <= row["due"] / 1000 - issuer.clock() <= most, header
        issuer.services.notifications.queue.retry([row["id"]])
        deliver(issuer)


def test_a_redirection_is_not_followed(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """Nobody but the operator says where an issuer connects to (OWASP: SSRF)."""
    with Receiver() as elsewhere:
        issuer = issuer_for(make_issuer, receiver.url)
        for status in (301, 302, 303, 307, 308):
            receiver.plan.append((status, {"Location": elsewhere.url}, b""))
        tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
        for _ in range(5):
            next_attempt(issuer)
        assert elsewhere.requests == []
        assert error_of(issuer) == "status 308"


def test_no_proxy_of_the_environment_is_used(
    make_issuer: MakeIssuer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told goes to the receiver itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    issuer = issuer_for(make_issuer, receiver.url)
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    deliver(issuer)
    assert len(receiver.requests) == 1


def test_a_receiver_that_is_gone_is_asked_no_more(
    make_issuer: MakeIssuer, receiver: Receiver
) -> None:
    """410 ends it at once, and is told in list and metric."""
    issuer = issuer_for(make_issuer, receiver.url)
    receiver.always = 410
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    deliver(issuer)
    assert states(issuer) == [("webhook:0", "given_up", 1, "status 410")]
    text = issuer.ask("GET", "/metrics", headers=bearer(METRICS_TOKEN)).text
    assert 'gatepass_notifications_total{channel="webhook",outcome="given_up"} 1.0' in text


def test_what_is_too_old_is_given_up_and_said_so(
    make_issuer: MakeIssuer, receiver: Receiver
) -> None:
    """At `max_age`, not a second before; a retry gives it its whole time again."""
    issuer = issuer_for(make_issuer, receiver.url, max_age=3600)
    receiver.always = 500
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    notifications = issuer.services.notifications
    deliver(issuer)
    issuer.clock.advance(3599)
    notifications.worker.tidy()
    assert error_of(issuer) == "status 500"
    issuer.clock.advance(1)
    notifications.worker.tidy()
    assert states(issuer) == [("webhook:0", "given_up", 1, "status 500")]
    text = issuer.ask("GET", "/metrics", headers=bearer(METRICS_TOKEN)).text
    assert 'gatepass_notifications_total{channel="webhook",outcome="given_up"} 1.0' in text
    receiver.always = 200
    assert notifications.queue.retry() == 1
    notifications.worker.tidy()
    deliver(issuer)
    assert states(issuer) == [("webhook:0", "delivered", 2, "")]


def test_what_is_older_than_that_is_not_even_begun(
    make_issuer: MakeIssuer, receiver: Receiver
) -> None:
    """Who is added after months without any receiver does not hear of all that happened."""
    issuer = issuer_for(make_issuer, receiver.url, max_age=3600)
    old, recent = (event(issuer, EventKind.REUSE_DETECTED) for _ in range(2))
    tell(
        issuer,
        replace(old, time=issuer.clock() - 3601),
        replace(recent, time=issuer.clock() - 3600),
    )
    deliver(issuer)
    assert receiver.ids() == [recent.id]


def test_what_waits_is_a_metric(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """How many, and since when, for each receiver."""
    issuer = issuer_for(make_issuer, receiver.url)
    receiver.always = 500
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    issuer.clock.advance(90)
    text = issuer.ask("GET", "/metrics", headers=bearer(METRICS_TOKEN)).text
    assert 'gatepass_notifications_waiting{target="webhook:0"} 1.0' in text
    assert 'gatepass_notifications_oldest_seconds{target="webhook:0"} 90.0' in text


def test_one_that_hangs_holds_up_nobody_else(
    make_issuer: MakeIssuer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one never answers, and another is away, the third gets everything."""
    monkeypatch.setattr(working, "INTERVAL", 0.05)
    with Receiver() as hanging:
        hanging.always = HANG
        away = f"http://127.0.0.1:{free_port()}"
        issuer = issuer_for(make_issuer, hanging.url, away, receiver.url, attempt_timeout=20)
        notifications = issuer.services.notifications
        notifications.start()
        tell(issuer, *(event(issuer, EventKind.REUSE_DETECTED) for _ in range(30)))
        receiver.wait_for(30)
        assert len(set(receiver.ids())) == 30
        hanging.wait_for(2)
        assert len(hanging.requests) == 2, "as many at once as `concurrency` says"
        hanging.release.set()
        hanging.always = 200


def test_issuers_share_the_work(make_issuer: MakeIssuer, receiver: Receiver) -> None:
    """Of three workers on one database each row is leased by one, and none is sent twice."""
    issuers = [issuer_for(make_issuer, receiver.url) for _ in range(3)]
    tell(issuers[0], *(event(issuers[0], EventKind.REUSE_DETECTED) for _ in range(60)))
    for issuer in issuers:
        issuer.services.notifications.start()
    receiver.wait_for(60)
    for _ in until(10, "all noted"):
        if all(state == "delivered" for _, state, _, _ in states(issuers[0])):
            break
    assert len(receiver.ids()) == len(set(receiver.ids())) == 60


def test_an_error_of_ours_does_not_end_the_worker(
    make_issuer: MakeIssuer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as a failed attempt, by its type alone."""
    issuer = issuer_for(make_issuer, receiver.url)
    sender = issuer.services.notifications.worker._senders["webhook:0"]
    with monkeypatch.context() as patch:
        patch.setattr(sender, "_keys", ("not bytes",))
        tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
        deliver(issuer)
    assert error_of(issuer) == "TypeError"
    next_attempt(issuer)
    assert states(issuer)[0][1] == "delivered"
