"""`gatepass notifications`: what an operator sees of deliveries, and does about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.crash_trace import TracedStage
from harness.issuer_app import IssuerApp
from harness.notified import deliver, event, states, tell
from harness.receivers import WEBHOOK_SECRET, Receiver

from issuer.audit import EventKind

pytestmark = stacks.anywhere


@pytest.fixture
def stage(make_issuer: Callable[..., IssuerApp], receiver: Receiver) -> TracedStage:
    """Commands on an issuer of which one delivery was given up, and one is done."""
    hook = {"url": receiver.url, "secret": WEBHOOK_SECRET}
    issuer = make_issuer(notifications={"webhooks": {"siem": hook}})
    receiver.plan.extend([410, 200])
    tell(
        issuer,
        event(issuer, EventKind.REUSE_DETECTED),
        event(issuer, EventKind.PASSWORD_CHANGED),
    )
    deliver(issuer)
    return TracedStage(issuer)


def said(stage: TracedStage, *arguments: str) -> Any:
    """The one JSON object that a command prints; in a test the log goes there, too."""
    done = stage.command("notifications", *arguments, "--json").done()
    return json.loads(done.out.splitlines()[0])


def test_deliveries_are_listed(stage: TracedStage) -> None:
    """The newest first; of one state, or of one receiver; as a table, too."""
    listed = said(stage, "list")["notifications"]
    assert [each["kind"] for each in listed] == ["password_changed", "reuse_detected"]
    assert [each["state"] for each in listed] == ["delivered", "given_up"]
    (given_up,) = said(stage, "list", "--state", "given_up")["notifications"]
    assert (given_up["error"], given_up["target"]) == ("status 410", "webhook:siem")
    assert said(stage, "list", "--target", "email") == {"notifications": []}
    assert "status 410" in stage.command("notifications", "list").out
    assert "no notifications\n" in stage.command("notifications", "list", "--target", "email").out


def test_what_was_given_up_is_tried_again(stage: TracedStage, receiver: Receiver) -> None:
    """All of it, or by its number; what is done is not."""
    listed = said(stage, "list")["notifications"]
    done, given_up = (str(each["id"]) for each in listed)
    assert stage.command("notifications", "retry", done).code == 3
    assert said(stage, "retry", "--all", "--target", "email") == {"retried": 0}
    assert said(stage, "retry", given_up) == {"retried": 1}
    deliver(stage.issuer)
    assert [state for _, state, _, _ in states(stage.issuer)] == ["delivered", "delivered"]
    assert len(receiver.requests) == 3
    assert stage.command("notifications", "retry").code == 2
    assert stage.command("notifications", "retry", "--all", given_up).code == 2
