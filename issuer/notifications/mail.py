"""Mail over SMTP: what people are told about their accounts, and the tokens of resets."""

from __future__ import annotations

import smtplib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime
from functools import partial
from typing import Any, Protocol

from revocation.deadline import within
from revocation.reasons import reason_of

from ..accounts import Account
from ..audit.event import Event, EventKind
from ..named_function import named_function
from ..resets import ResetMessage
from .delivery import Delivery, NotDelivered, Wanted, named
from .posting import trust
from .settings import Email, is_address
from .templates import Letter, letter, reset_letter

TARGET = "email"
_HOUR = 3600
_PERMANENT = range(500, 600)
"""Replies that are final (RFC 5321 section 4.2.1)."""

_READY = 220
_LEFT_OVER = 1.0
"""Seconds, after those of the message, at which its thread is sure to end."""

AddressOf = Callable[[Account], str | None]


class Directory(Protocol):
    """Where accounts are looked up."""

    def by_id(self, sub: str) -> Account | None: ...

    def by_username(self, username: str) -> Account | None: ...


def load_address_of(path: str) -> AddressOf:
    """The function that `module:function` names; for an empty path the username is the address.

    Raises `SettingsError`.
    """
    if not path:
        return lambda account: account.username
    return named_function(path, "notifications.email.address_of")


class MailRoute:
    """Implements `Route`: what people are written about."""

    def __init__(self, events: tuple[str, ...]) -> None:
        self._events = events

    def wanted(self, event: Event) -> Iterator[Wanted]:
        if event.sub is None or not named(event, self._events):
            return
        key = event.id
        if event.kind is EventKind.LOGIN_LIMITED:
            # Whoever guesses must not fill the owner's mailbox: one letter an hour.
            key = f"limited:{event.sub[:40]}:{int(event.time // _HOUR)}"
        yield Wanted(TARGET, key, event)


class Mailer:
    """Hands single messages to the settings' server."""

    def __init__(self, settings: Email, *, timeout: float) -> None:
        """`timeout`: seconds for the whole of one message. Raises `SettingsError`."""
        self._settings = settings
        self._timeout = timeout
        self._trust = None if settings.security == "plain" else trust(settings.ca)
        self._domain = settings.sender.rpartition("@")[2]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.host!r})"

    def send(self, address: str, written: Letter, message_id: str) -> None:
        """Returns once the server has taken it. Raises `NotDelivered`."""
        if not is_address(address):
            raise NotDelivered("no_address", permanent=True)
        hand_over = partial(self._hand_over, self._message(address, written, message_id), address)
        try:
            within(self._timeout, hand_over, "gatepass-mail")
        except smtplib.SMTPRecipientsRefused as error:
            code = next((reply[0] for reply in error.recipients.values()), 0)
            raise NotDelivered(f"reply {code}", permanent=code in _PERMANENT) from None
        except smtplib.SMTPDataError as error:
            raise NotDelivered(
                f"reply {error.smtp_code}", permanent=error.smtp_code in _PERMANENT
            ) from None
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"reply {error.smtp_code}", unreachable=True) from None
        except (OSError, smtplib.SMTPException) as error:
            late = isinstance(error.__context__ or error, TimeoutError)
            raise NotDelivered(
                "no answer in time" if late else reason_of(error), unreachable=True
            ) from None

    def _hand_over(self, message: EmailMessage, address: str) -> None:
        with self._session() as server:
            server.send_message(message, self._settings.sender, [address])

    def _message(self, address: str, written: Letter, message_id: str) -> EmailMessage:
        # The policy refuses a line break in any header.
        message = EmailMessage(policy=SMTP)
        message["From"] = self._settings.sender
        message["To"] = address
        message["Subject"] = written.subject
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = f"<{message_id}@{self._domain}>"
        # So that no out-of-office reply comes back (RFC 3834 section 5).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(written.text)
        return message

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        # The name of this host is nobody's business, and to find it out may take long.
        options: dict[str, Any] = {"local_hostname": self._domain, "timeout": self._timeout}
        if settings.security == "tls":
            options["context"] = self._trust
        make = smtplib.SMTP_SSL if settings.security == "tls" else smtplib.SMTP
        server = make(**options)  # not connected yet: its greeting, too, may drip
        # What a certificate is held against.
        server._host = settings.host  # type: ignore[attr-defined]
        with _cut_off_after(self._timeout + _LEFT_OVER, server):
            try:
                code, said = server.connect(settings.host, settings.port)
                if code != _READY:
                    raise smtplib.SMTPConnectError(code, said)
                if settings.security == "starttls":
                    # Refused where the server does not offer it: never silently in the clear.
                    server.starttls(context=self._trust)
                if settings.username is not None and settings.password is not None:
                    server.login(settings.username, settings.password.get_secret_value())
                yield server
                with suppress(OSError, smtplib.SMTPException):
                    server.quit()  # it has the message, whatever it says now
            finally:
                server.close()


@contextmanager
def _cut_off_after(seconds: float, server: smtplib.SMTP) -> Iterator[None]:
    """End a session that nobody waits for any more, however steadily its replies drip in."""

    def cut() -> None:
        sock = server.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class MailSender:
    """Implements `Sender`: writes to whoever an event is about."""

    def __init__(
        self, mailer: Mailer, accounts: Directory, address_of: AddressOf, issuer: str
    ) -> None:
        self._mailer = mailer
        self._accounts = accounts
        self._address_of = address_of
        self._issuer = issuer

    def send(self, delivery: Delivery) -> None:
        event = delivery.event
        account = None if event.sub is None else self._accounts.by_id(event.sub)
        if account is None:
            raise NotDelivered("no_account", permanent=True)
        written = letter(event, self._issuer)
        self._mailer.send(self._address_of(account) or "", written, delivery.key.replace(":", "."))


class ResetMailer:
    """A `ResetSender` that mails the token; nothing of it is kept anywhere."""

    def __init__(
        self,
        mailer: Mailer,
        accounts: Directory,
        address_of: AddressOf,
        *,
        issuer: str,
        page: str | None,
        make_id: Callable[[], str],
    ) -> None:
        self._mailer = mailer
        self._accounts = accounts
        self._address_of = address_of
        self._issuer = issuer
        self._page = page
        self._make_id = make_id

    def __call__(self, message: ResetMessage) -> None:
        """Raises `NotDelivered`."""
        account = self._accounts.by_username(message.username)
        if account is None:
            raise NotDelivered("no_account", permanent=True)
        written = reset_letter(message.token, message.lifetime, self._issuer, self._page)
        self._mailer.send(self._address_of(account) or "", written, self._make_id())
