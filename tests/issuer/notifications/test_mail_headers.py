"""No address and no text breaks out of its header (OWASP: SMTP header injection)."""

from __future__ import annotations

import pytest
from harness.receivers import Mailbox

from issuer.notifications.delivery import NotDelivered
from issuer.notifications.mail import Mailer
from issuer.notifications.settings import Email
from issuer.notifications.templates import Letter


@pytest.fixture
def mailer(post_office: Mailbox) -> Mailer:
    """Hands mail to the post office."""
    settings = Email(
        host="127.0.0.1", port=post_office.port, security="plain", sender="no-reply@id.example"
    )
    return Mailer(settings, timeout=5)


@pytest.mark.parametrize(
    "address",
    [
        "alice@example.org\r\nBcc: mallory@example.org",
        "alice@example.org\nX: y",
        "alice@example.org, mallory@example.org",
        "alice@example.org> SIZE=1",
        '"alice\r\nRCPT TO:<mallory@example.org>"@example.org',
        "alice",
        "@example.org",
        "alice@",
        "alice@exa mple.org",
        "alice@example.org\0",
        "ålice@example.org",
        "a" * 65 + "@example.org",
        "",
    ],
)
def test_no_address_breaks_out_of_its_header(
    mailer: Mailer, post_office: Mailbox, address: str
) -> None:
    """What is no single plain address is written to nobody."""
    with pytest.raises(NotDelivered) as raised:
        mailer.send(address, Letter("a", "b"), "id")
    assert (raised.value.why, raised.value.permanent) == ("no_address", True)
    assert post_office.messages == []


def test_a_subject_cannot_hold_a_line_break(mailer: Mailer, post_office: Mailbox) -> None:
    """Were a text of ours ever to hold somebody's words, no header could be added by it."""
    with pytest.raises(ValueError, match=r"linefeed|newline"):
        mailer.send("a@b.example", Letter("a\r\nBcc: x@y.example", "b"), "id")
    assert post_office.messages == []
