"""Mail: over a real SMTP server, in the clear, by STARTTLS and over TLS, and what may go wrong."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from harness import mail_addresses, stacks
from harness.certificates import Certificates
from harness.issuer_app import PASSWORD, USERNAME, IssuerApp, refused
from harness.notified import BRIEF, PATIENT, deliver, event, states, tell
from harness.processes import free_port, until
from harness.receivers import (
    MAIL_PASSWORD,
    MAIL_USER,
    WEBHOOK_SECRET,
    Mailbox,
    dripping_server,
    mailbox,
    silent_server,
)

from issuer.audit import EventKind
from issuer.notifications.settings import MAIL_EVENTS
from issuer.settings import SettingsError

pytestmark = stacks.anywhere
MakeIssuer = Callable[..., IssuerApp]
SENDER = "no-reply@id.example"


def writing_to(
    make_issuer: MakeIssuer, port: int, limit: float = PATIENT, **more: Any
) -> IssuerApp:
    """An issuer that has its mail taken at a port."""
    given = {"host": "127.0.0.1", "port": port, "security": "plain", "sender": SENDER, **more}
    return make_issuer(notifications={"email": given, "attempt_timeout": limit})


def test_a_person_is_written_to(make_issuer: MakeIssuer, post_office: Mailbox) -> None:
    """At the username, in plain text, with the time and nothing of an attacker's words."""
    issuer = writing_to(make_issuer, post_office.port)
    agent = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0 call +1 555 0100 now"
    happened = event(issuer, EventKind.PASSWORD_CHANGED, address="192.0.2.7", user_agent=agent)
    tell(issuer, happened)
    deliver(issuer)
    (message,) = post_office.messages
    assert (post_office.senders, post_office.recipients) == ([SENDER], [[USERNAME]])
    assert (message["From"], message["To"]) == (SENDER, USERNAME)
    assert message["Subject"] == "Your password was changed"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == f"<{happened.id}@id.example>"
    assert message.get_content_type() == "text/plain"
    text = message.get_content()
    assert "From: 192.0.2.7" in text
    assert "With: Firefox on Linux" in text
    assert "555" not in text


def test_each_event_of_the_default_has_a_letter(
    make_issuer: MakeIssuer, post_office: Mailbox
) -> None:
    """Every kind of event that mail can tell of has its own words."""
    issuer = writing_to(make_issuer, post_office.port)
    for name in MAIL_EVENTS:
        kind, _, rule = name.partition(":")
        tell(issuer, event(issuer, EventKind(kind), details={"rule": rule} if rule else {}))
    deliver(issuer)
    assert len({message["Subject"] for message in post_office.messages}) == len(MAIL_EVENTS)
    assert all(len(message.get_content()) > 100 for message in post_office.messages)


def test_other_events_are_no_letters(make_issuer: MakeIssuer, post_office: Mailbox) -> None:
    """Nor is what is about nobody."""
    issuer = writing_to(make_issuer, post_office.port)
    tell(
        issuer,
        event(issuer, EventKind.SESSION_ENDED),
        event(issuer, EventKind.ANOMALY, details={"rule": "refresh_rate"}),
        event(issuer, EventKind.REUSE_DETECTED, sub=None),
    )
    assert states(issuer) == []


def test_whoever_guesses_does_not_fill_the_mailbox(
    make_issuer: MakeIssuer, post_office: Mailbox
) -> None:
    """Of a lockout there is one letter an hour, however many attempts are turned away."""
    issuer = writing_to(make_issuer, post_office.port)
    issuer.clock.advance_to((issuer.clock() // 3600 + 1) * 3600)
    tell(issuer, *(event(issuer, EventKind.LOGIN_LIMITED) for _ in range(20)))
    issuer.clock.advance(3599)
    tell(issuer, event(issuer, EventKind.LOGIN_LIMITED))
    deliver(issuer)
    assert len(post_office.messages) == 1
    issuer.clock.advance(1)
    tell(issuer, event(issuer, EventKind.LOGIN_LIMITED))
    deliver(issuer)
    assert len(post_office.messages) == 2


def test_starttls_and_a_login(
    make_issuer: MakeIssuer, server_tls: ssl.SSLContext, certificates: Certificates
) -> None:
    """The message and the password go over TLS, to a server whose certificate is checked."""
    login = {"username": MAIL_USER, "password": MAIL_PASSWORD, "security": "starttls"}
    with mailbox(server_tls) as box:
        issuer = writing_to(make_issuer, box.port, ca=str(certificates.authority), **login)
        tell(issuer, event(issuer, EventKind.PASSWORD_CHANGED))
        deliver(issuer)
        assert states(issuer) == [("email", "delivered", 1, "")]
        assert (len(box.messages), box.secured) == (1, [True])
        doubting = writing_to(make_issuer, box.port, **login)
        tell(doubting, event(doubting, EventKind.PASSWORD_RESET))
        deliver(doubting)
        assert "certificate is not trusted" in states(doubting)[1][3]
        wrong = writing_to(
            make_issuer,
            box.port,
            ca=str(certificates.authority),
            **{**login, "password": "not that one"},
        )
        tell(wrong, event(wrong, EventKind.REUSE_DETECTED))
        deliver(wrong)
        assert states(wrong)[2][1:] == ("waiting", 1, "reply 535")
        assert len(box.messages) == 1


def test_tls_from_the_first_byte(
    make_issuer: MakeIssuer, server_tls: ssl.SSLContext, certificates: Certificates
) -> None:
    """As on port 465 (RFC 8314)."""
    with mailbox(server_tls, implicit=True) as box:
        issuer = writing_to(make_issuer, box.port, security="tls", ca=str(certificates.authority))
        tell(issuer, event(issuer, EventKind.PASSWORD_CHANGED))
        deliver(issuer)
        assert len(box.messages) == 1


def test_a_server_without_starttls_gets_nothing(
    make_issuer: MakeIssuer, post_office: Mailbox
) -> None:
    """Somebody between who takes STARTTLS out of the answer gets no message (RFC 3207)."""
    issuer = writing_to(make_issuer, post_office.port, security="starttls")
    tell(issuer, event(issuer, EventKind.PASSWORD_CHANGED))
    deliver(issuer)
    assert post_office.messages == []
    assert states(issuer) == [("email", "waiting", 1, "SMTPNotSupportedError")]


@pytest.mark.parametrize(
    ("replies", "state", "why"),
    [
        ({"refusals": "451 later"}, "waiting", "reply 451"),
        ({"refusals": "550 nobody here"}, "given_up", "reply 550"),
        ({"replies": "452 full"}, "waiting", "reply 452"),
        ({"replies": "554 no"}, "given_up", "reply 554"),
    ],
)
def test_what_the_server_says_decides(
    make_issuer: MakeIssuer, post_office: Mailbox, replies: dict[str, str], state: str, why: str
) -> None:
    """4yz is tried again, 5yz about receiver or message is final (RFC 5321 section 4.2.1)."""
    for name, reply in replies.items():
        getattr(post_office, name).append(reply)
    issuer = writing_to(make_issuer, post_office.port)
    tell(issuer, event(issuer, EventKind.PASSWORD_CHANGED))
    deliver(issuer)
    assert states(issuer) == [("email", state, 1, why)]
    issuer.clock.advance(10)
    deliver(issuer)
    assert len(post_office.messages) == (1 if state == "waiting" else 0)


def test_a_server_that_is_silent_or_away_is_waited_for_no_longer_than_allowed(
    make_issuer: MakeIssuer,
) -> None:
    """The mail waits; nothing else does."""
    with silent_server() as port:
        issuer = writing_to(make_issuer, port, BRIEF)
        tell(issuer, event(issuer, EventKind.PASSWORD_CHANGED))
        deliver(issuer)
        assert states(issuer) == [("email", "waiting", 1, "no answer in time")]
    away = writing_to(make_issuer, free_port())
    tell(away, event(away, EventKind.PASSWORD_RESET))
    deliver(away)
    assert states(away)[1] == ("email", "waiting", 1, "Connection refused")


def test_a_greeting_without_end_is_cut_off(make_issuer: MakeIssuer) -> None:
    """However steadily it drips; its thread ends soon after."""
    with dripping_server() as port:
        issuer = writing_to(make_issuer, port, BRIEF)
        tell(issuer, event(issuer, EventKind.PASSWORD_CHANGED))
        deliver(issuer)
        assert states(issuer) == [("email", "waiting", 1, "no answer in time")]
        for _ in until(10, "the end of its thread"):
            if "gatepass-mail" not in {thread.name for thread in threading.enumerate()}:
                break


@pytest.mark.parametrize("channel", ["email", "webhook"])
def test_a_name_that_takes_long_to_look_up_is_not_waited_for(
    make_issuer: MakeIssuer, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    """The resolver's own patience is not the attempt's."""
    answered = threading.Event()

    def look_up(*_: object, **__: object) -> NoReturn:
        answered.wait(30)
        raise OSError("no such name")

    issuer = (
        writing_to(make_issuer, 25, BRIEF)
        if channel == "email"
        else make_issuer(
            notifications={
                "webhooks": {"siem": {"url": "http://127.0.0.1:9", "secret": WEBHOOK_SECRET}},
                "attempt_timeout": BRIEF,
            }
        )
    )
    tell(issuer, event(issuer, EventKind.PASSWORD_CHANGED))
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        deliver(issuer)
    finally:
        answered.set()
    assert [state[1:] for state in states(issuer)] == [("waiting", 1, "no answer in time")]


def test_addresses_may_come_from_elsewhere(make_issuer: MakeIssuer, post_office: Mailbox) -> None:
    """`address_of` maps an account to an address; where it has none the mail is given up."""
    path = f"{mail_addresses.__name__}:of_account"
    issuer = writing_to(make_issuer, post_office.port, address_of=path)
    nobody = issuer.services.accounts.add("bob", PASSWORD)
    tell(
        issuer,
        event(issuer, EventKind.PASSWORD_CHANGED),
        event(issuer, EventKind.PASSWORD_CHANGED, sub=nobody.id),
        event(issuer, EventKind.PASSWORD_CHANGED, sub="who is gone"),
    )
    deliver(issuer)
    assert post_office.recipients == [[mail_addresses.ADDRESS]]
    assert [state[1:] for state in states(issuer)] == [
        ("delivered", 1, ""),
        ("given_up", 1, "no_address"),
        ("given_up", 1, "no_account"),
    ]


@pytest.mark.parametrize("path", ["nowhere:f", "harness.mail_addresses:g", "no-module", "os:sep"])
def test_a_function_that_is_not_there_is_found_at_once(make_issuer: MakeIssuer, path: str) -> None:
    """Not with the first letter."""
    with pytest.raises(SettingsError, match=r"notifications\.email\.address_of"):
        writing_to(make_issuer, 25, address_of=path)


def resetting(make_issuer: MakeIssuer, port: int, **more: Any) -> IssuerApp:
    """An issuer that mails reset tokens itself."""
    given = {"host": "127.0.0.1", "port": port, "security": "plain", "sender": SENDER, **more}
    return make_issuer(
        notifications={"email": given, "attempt_timeout": PATIENT}, reset_sender="smtp"
    )


@pytest.fixture
def _own_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """The issuer's own sender, in place of the tests'."""
    from harness import issuer_app

    build = issuer_app.build_services
    monkeypatch.setattr(
        issuer_app,
        "build_services",
        lambda settings, clock, reset_sender: build(settings, clock=clock),
    )


@pytest.mark.usefixtures("_own_sender")
def test_a_reset_may_be_mailed(make_issuer: MakeIssuer, post_office: Mailbox) -> None:
    """With a link whose token no server is sent, and that works."""
    page = "https://app.example/reset?lang=en"
    issuer = resetting(make_issuer, post_office.port, reset_page=page)
    assert issuer.post("/password/forgot", {"username": USERNAME}).status_code == 202
    issuer.deliver()
    (message,) = post_office.messages
    assert (message["To"], message["Subject"]) == (USERNAME, "Set a new password")
    (line,) = [line for line in message.get_content().splitlines() if line.startswith(page)]
    token = line.removeprefix(f"{page}#token=")
    answer = issuer.post("/password/reset", {"token": token, "new_password": "a newer one 5512 x"})
    assert answer.status_code == 200
    assert issuer.rows("deliveries") == []


@pytest.mark.usefixtures("_own_sender")
def test_a_reset_without_a_page_is_a_code(make_issuer: MakeIssuer, post_office: Mailbox) -> None:
    """For an app that asks for it; a name that nobody has gets none."""
    issuer = resetting(make_issuer, post_office.port)
    for name in (USERNAME, "nobody@example.org"):
        issuer.post("/password/forgot", {"username": name})
    issuer.deliver()
    (message,) = post_office.messages
    token = message.get_content().split("Use this code:")[1].split()[0]
    spent = {"token": token, "new_password": "short"}
    refused(issuer.post("/password/reset", spent), 400, "invalid_request")
