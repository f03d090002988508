"""Forgotten passwords: makes reset tokens and hands them to whatever delivers them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field

import structlog

from .accounts import SqlAccounts
from .database import DatabaseUnavailable
from .named_function import named_function
from .settings import variable

log = structlog.get_logger("gatepass.issuer")

_WAITING = 1000


@dataclass(frozen=True, slots=True)
class ResetMessage:
    """What a sender delivers: to whom, and the single-use token, which it must not log."""

    username: str
    token: str = field(repr=False)
    lifetime: int
    """Seconds for which the token may be used."""


ResetSender = Callable[[ResetMessage], None]


def load_sender(path: str) -> ResetSender | None:
    """The function that `module:function` names; None for an empty path. Raises SettingsError."""
    if not path:
        return None
    return named_function(path, f"{variable('reset_sender')} (reset_sender)")


class ResetDesk:
    """Takes requests at once and works on them in the background.

    So the answer takes the same time for a name that nobody has (ASVS 6.3.8). A request that is
    lost with the process is one that the person makes again; nothing was acknowledged but that
    it was heard.
    """

    def __init__(self, accounts: SqlAccounts, sender: ResetSender | None) -> None:
        self._accounts = accounts
        self._sender = sender
        self._requests: queue.Queue[tuple[str, Context] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    @property
    def open(self) -> bool:
        """Whether there is a sender at all."""
        return self._sender is not None

    def request(self, username: str) -> bool:
        """Note that a name asks for a reset; False if too many are waiting."""
        try:
            self._requests.put_nowait((username, copy_context()))
        except queue.Full:
            return False
        return True

    def start(self) -> None:
        if self._sender is not None:
            self._thread = threading.Thread(target=self._work, name="gatepass-resets", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Finish what waits, then stop."""
        if self._thread is not None:
            self._requests.put(None)
            self._thread.join(timeout=10)
            self._thread = None

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            username, context = request
            # What is logged and recorded belongs to the request that asked for it.
            context.run(self.deliver, username)

    def deliver(self, username: str) -> None:
        """Make a token for a name, if there is such an account, and send it."""
        from .accounts.sql_accounts import RESET_LIFETIME

        if self._sender is None:
            return
        try:
            made = self._accounts.request_reset(username)
            if made is not None:
                account, token = made
                self._sender(ResetMessage(account.username, token, RESET_LIFETIME))
                log.info("password_reset_sent", sub=account.id)
        except DatabaseUnavailable as error:
            log.warning("password_reset_failed", error=str(error))
        except Exception as error:
            log.warning("password_reset_not_delivered", error=type(error).__name__)
