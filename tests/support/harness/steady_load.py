"""Clients that ask a server without pause, and count what became of each request.

How they count. A request is *lost* when it was sent and no whole answer came. HTTP/1.1 has one gap
that no server can close: it may close an idle kept-alive connection at the moment at which the
client sends on it (RFC 9112, sections 9.3.1 and 9.5). So, on a *reused* connection only:
- closed before the request was sent (the client looks first): a new connection, nothing to count;
- closed before a byte of the answer came: one retry on a new connection, counted as `raced`.
A new connection is never retried.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from harness.processes import is_readable

CLOSED_UNANSWERED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Client(Protocol):
    """What one client of a load does with a connection."""

    def ask(self, connection: http.client.HTTPConnection, *, keep_alive: bool) -> tuple[str, bool]:
        """Send a request and read its answer; the answer, and whether the server closes.

        A retry of a request that got no answer is another call. Raises what http.client does, and
        AssertionError or ValueError for an answer that should not be.
        """


@dataclass
class Load:
    """Clients in threads of their own."""

    connect: Callable[[], http.client.HTTPConnection]
    seen: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, client: Client, *, keep_alive: bool) -> None:
        """Let one more client ask without pause."""
        thread = threading.Thread(target=self._run, args=(client, keep_alive), daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End every client after its request under way."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, arrived: Callable[[Counter[str]], bool]) -> None:
        """Wait until the answers so far are what is waited for."""
        with self._changed:
            assert self._changed.wait_for(lambda: arrived(self.answers), timeout=60), self.seen

    def wait_for_another(self, than: Counter[str]) -> None:
        """Until an answer comes that is not among those."""
        self.wait_for(lambda answers: bool(answers.keys() - than.keys()))

    def so_far(self) -> Counter[str]:
        """The answers until now."""
        with self._changed:
            return Counter(self.answers)

    def lost(self) -> dict[str, int]:
        """Requests that got no whole, right answer, by what happened."""
        return {what: count for what, count in self.seen.items() if what.startswith("lost")}

    def _run(self, client: Client, keep_alive: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._ending.is_set():
            if connection is not None and _closed_by_server(connection):
                connection.close()
                connection = None
                self._count("closed idle")
            reused = connection is not None
            connection = connection or self.connect()
            try:
                try:
                    answer, closing = client.ask(connection, keep_alive=keep_alive)
                except CLOSED_UNANSWERED:
                    if not reused:
                        raise
                    connection.close()
                    self._count("raced")
                    connection = self.connect()
                    answer, closing = client.ask(connection, keep_alive=keep_alive)
            except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
                self._count(f"lost: {error!r}")
                closing = True
            else:
                self._count("answered", answer)
            if closing:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _count(self, what: str, answer: str | None = None) -> None:
        with self._changed:
            self.seen[what] += 1
            if answer is not None:
                self.answers[answer] += 1
            self._changed.notify_all()


def _closed_by_server(connection: http.client.HTTPConnection) -> bool:
    """Between requests nothing may come but the end of the stream."""
    return is_readable(connection.sock)
