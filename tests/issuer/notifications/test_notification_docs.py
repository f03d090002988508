"""The receivers' checks that the docs show, on what an issuer really sends."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from harness import stacks
from harness.issuer_app import ISSUER, IssuerApp, default_clients, granted
from harness.notified import deliver, event, tell
from harness.receivers import WEBHOOK_SECRET, Receiver

from issuer.audit import EventKind


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What the page's examples define."""
    page = Path(__file__).resolve().parents[3] / "docs" / "notifications.md"
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    return names


@stacks.anywhere
def test_the_checks_of_the_docs_take_what_is_sent_and_nothing_else(
    make_issuer: Callable[..., IssuerApp], receiver: Receiver, shown: dict[str, Any]
) -> None:
    """Of a webhook, a pushed signal and a logout; each refuses the others' tokens."""
    clients = default_clients()
    clients["demo"]["backchannel_logout_uri"] = f"{receiver.url}/logout"
    signals = {"rp": {"audience": "rp", "push_url": f"{receiver.url}/signals"}}
    hooks = {"siem": {"url": f"{receiver.url}/hook", "secret": WEBHOOK_SECRET}}
    issuer = make_issuer(clients=clients, notifications={"webhooks": hooks, "signals": signals})
    keys = granted(issuer.ask("GET", "/.well-known/jwks.json"))
    # PyJWT goes by the real time, at most a second behind that of tests.
    issuer.clock.now -= 2
    tell(issuer, event(issuer, EventKind.SESSION_ENDED, sid="s" * 22, client_id="demo"))
    deliver(issuer)
    got = {request.path: request for request in receiver.requests}
    hook = got["/hook"]
    now = issuer.clock()
    assert shown["check_webhook"](hook.headers, hook.body, WEBHOOK_SECRET, now)["data"]["sid"]
    with pytest.raises(ValueError, match="fits"):
        shown["check_webhook"](hook.headers, hook.body + b" ", WEBHOOK_SECRET, now)
    pushed = got["/signals"].body.decode()
    logout = got["/logout"].form["logout_token"]
    access = issuer.grant()["access_token"]
    assert shown["check_set"](pushed, keys, ISSUER, "rp")["sub_id"]["session"]["id"] == "s" * 22
    assert shown["check_logout"](logout, keys, ISSUER, "demo")["sid"] == "s" * 22
    for check, audience, others in (
        ("check_set", "rp", (logout, access)),
        ("check_logout", "demo", (pushed, access)),
    ):
        for token in others:
            with pytest.raises(jwt.InvalidTokenError):
                shown[check](token, keys, ISSUER, audience)
