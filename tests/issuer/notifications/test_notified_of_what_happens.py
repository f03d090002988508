"""From what a person does, through the audit log, to what receivers are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.crash_trace import TracedStage
from harness.issuer_app import (
    PASSWORD,
    USERNAME,
    IssuerApp,
    claims_of,
    default_clients,
    granted,
    refused,
)
from harness.limits import HOME, elsewhere, limits
from harness.notified import deliver
from harness.receivers import WEBHOOK_SECRET, Mailbox, Receiver

pytestmark = stacks.anywhere
KNOWN = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0 Safari/537.36"
NEW = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


@pytest.fixture
def issuer(
    make_issuer: Callable[..., IssuerApp], receiver: Receiver, post_office: Mailbox
) -> IssuerApp:
    """One that tells over every channel, and whose log is followed from now on."""
    clients = default_clients()
    clients["demo"]["backchannel_logout_uri"] = f"{receiver.url}/logout"
    mail = {"host": "127.0.0.1", "port": post_office.port, "security": "plain"}
    made = make_issuer(
        clients=clients,
        reuse_interval=0,
        limits=limits(guesses_account_network="2 per minute"),
        notifications={
            "webhooks": {"siem": {"url": f"{receiver.url}/hook", "secret": WEBHOOK_SECRET}},
            "signals": {"rp": {"audience": "rp", "push_url": f"{receiver.url}/signals"}},
            "email": {**mail, "sender": "no-reply@id.example"},
        },
    )
    for follower in made.services.audit._followers:
        follower._place.make()
    return made


def settle(issuer: IssuerApp) -> None:
    """What the issuer's threads do within a second."""
    issuer.services.audit.flush()
    for follower in issuer.services.audit._followers:
        while follower.step():
            pass
    deliver(issuer)


def told(receiver: Receiver) -> Counter[str]:
    """Kinds of webhooks' events, CAEP's events, and sessions that were logged out."""
    found: Counter[str] = Counter()
    for request in receiver.requests:
        if request.path == "/hook":
            found[request.json["type"]] += 1
        elif request.path == "/signals":
            (name,) = claims_of(request.body.decode())["events"]
            found[name.rpartition("/")[2]] += 1
        else:
            found[str(claims_of(request.form["logout_token"])["sid"])] += 1
    return found


def sid_of(grant: dict[str, Any]) -> str:
    """A grant's session."""
    return str(grant["session"]["sid"])


def test_a_logout_is_told(issuer: IssuerApp, receiver: Receiver) -> None:
    """To the client, as a signal, and as an event; nobody is written to about it."""
    grant, other = issuer.grant(), issuer.grant()
    granted(issuer.logout(grant["refresh_token"]))
    settle(issuer)
    found = told(receiver)
    assert (found[sid_of(grant)], found[sid_of(other)]) == (1, 0)
    assert (found["session-revoked"], found["session_ended"]) == (1, 1)


def test_a_password_change_is_told(
    issuer: IssuerApp, receiver: Receiver, post_office: Mailbox
) -> None:
    """Every older session is logged out at its client, and the new one is not."""
    old = [issuer.grant() for _ in range(2)]
    new = granted(issuer.change_password(old[0]["access_token"], transport="body"))
    settle(issuer)
    found = told(receiver)
    assert [found[sid_of(each)] for each in (*old, new)] == [1, 1, 0]
    assert found["credential-change"] == 1
    assert found["session-revoked"] == 2
    assert found["password_changed"] == 1
    assert [message["Subject"] for message in post_office.messages] == ["Your password was changed"]


def test_reuse_is_told(issuer: IssuerApp, receiver: Receiver, post_office: Mailbox) -> None:
    """The session ends, and its owner is told why."""
    grant = issuer.grant()
    token = grant["refresh_token"]
    for _ in range(2):
        token = granted(issuer.refresh(token))["refresh_token"]
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    settle(issuer)
    found = told(receiver)
    assert (found["reuse_detected"], found["session-revoked"], found[sid_of(grant)]) == (1, 1, 1)
    (message,) = post_office.messages
    assert message["Subject"] == "A session of yours was ended for your safety"


def log_in_with(issuer: IssuerApp, agent: str, address: str) -> dict[str, Any]:
    """A login with a device somewhere."""
    body = {"username": USERNAME, "password": PASSWORD, "transport": "body"}
    base = {"REMOTE_ADDR": address}
    return granted(issuer.post("/login", body, environ_base=base, headers={"User-Agent": agent}))


def test_a_new_device_is_told(issuer: IssuerApp, receiver: Receiver, post_office: Mailbox) -> None:
    """From the login itself, by detector and log; one that the account has had is not."""
    for address in (HOME, elsewhere(1)):
        log_in_with(issuer, KNOWN, address)
        settle(issuer)
    assert (told(receiver)["anomaly"], post_office.messages) == (0, [])
    grant = log_in_with(issuer, NEW, elsewhere(2))
    # The alarm is in the log once those that follow it have been given what came before.
    settle(issuer)
    settle(issuer)
    (alarm,) = [each.json for each in receiver.requests if each.json["type"] == "anomaly"]
    assert (alarm["data"]["why"], alarm["data"]["sub"]) == ("new_device", issuer.account.id)
    assert alarm["data"]["sid"] == sid_of(grant)
    assert alarm["data"]["details"]["evidence"]["agent"] == "Firefox/Linux"
    (message,) = post_office.messages
    assert (message["To"], message["Subject"]) == (USERNAME, "A new device has signed in")
    text = message.get_content()
    assert f"From: {elsewhere(2)}\nWith: Firefox on Linux\n" in text.replace("\r\n", "\n")
    log_in_with(issuer, NEW, elsewhere(3))
    settle(issuer)
    settle(issuer)
    assert (told(receiver)["anomaly"], len(post_office.messages)) == (1, 1)


def test_a_lockout_is_told(issuer: IssuerApp, receiver: Receiver, post_office: Mailbox) -> None:
    """To the owner of the account that is guessed at, once."""
    for _ in range(6):
        issuer.login(password="not this one either")
    settle(issuer)
    assert told(receiver)["login_limited"] >= 1
    assert [message["To"] for message in post_office.messages] == [USERNAME]


def test_what_an_administrator_does_is_told(issuer: IssuerApp, receiver: Receiver) -> None:
    """Disabling ends every session; a lost role ends none."""
    grant = issuer.grant()
    stage = TracedStage(issuer)
    stage.command("users", "roles", USERNAME, "staff").done()
    settle(issuer)
    assert told(receiver)["roles_changed"] == 1
    assert told(receiver)["session-revoked"] == 0
    stage.command("users", "disable", USERNAME).done()
    settle(issuer)
    found = told(receiver)
    assert (found["account_disabled"], found["session-revoked"], found[sid_of(grant)]) == (1, 1, 1)
