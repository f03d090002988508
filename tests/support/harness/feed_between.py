"""What sits between a gateway and the HTTP feed, and asks as a gateway does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from harness.feed_server import NAME, SECRET, FeedServer

from revocation.http_connection import FeedAddress, with_credentials

YEAR = 365 * 86_400
EXPIRES = int(time.time()) + YEAR


def basic(name: str = NAME, secret: str = SECRET) -> dict[str, str]:
    """A gateway's header."""
    address = FeedAddress.parse(with_credentials("http://127.0.0.1/revocations", name, secret))
    return {"Authorization": address.authorization}


class Between:
    """A proxy that passes everything on until it is told what to do to a path."""

    def __init__(self) -> None:
        self.tricks: dict[str, Callable[[Any, Any, Any], Any]] = {}
        self.kept: dict[str, tuple[str, list[tuple[str, str]], bytes]] = {}
        self.held = False

    def __call__(self, feed: Any) -> Any:
        def application(environ: Any, start_response: Any) -> Any:
            what = environ["PATH_INFO"].removeprefix("/revocations").strip("/") or "snapshot"
            trick = self.tricks.get(what)
            if trick is not None:
                return trick(feed, environ, start_response)
            if what == "events":
                return self._stream(feed(environ, start_response))
            return self._keep(what, feed, environ, start_response)

        return application

    def _keep(self, what: str, feed: Any, environ: Any, start_response: Any) -> Any:
        self.kept[what] = whole(feed, environ)
        return self.replay(what, start_response)

    def replay(self, what: str, start_response: Any) -> list[bytes]:
        """An answer that was given before."""
        status, headers, body = self.kept[what]
        start_response(status, headers)
        return [body]

    def _stream(self, events: Any) -> Iterator[bytes]:
        for event in events:
            while self.held:
                time.sleep(0.01)
                yield b":\n\n"
            yield event


def whole(feed: Any, environ: Any) -> tuple[str, list[tuple[str, str]], bytes]:
    """One answer, read to its end."""
    head: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        head[:] = [status, headers]

    answer = feed(environ, start)
    try:
        body = b"".join(answer)
    finally:
        answer.close()
    return head[0], head[1], body


def answering(
    body: bytes, status: str = "200 OK", **headers: str
) -> Callable[[Any, Any, Any], list[bytes]]:
    """A trick: this answer, whatever is asked."""

    def trick(_: Any, __: Any, start_response: Any) -> list[bytes]:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        start_response(status, [*named, ("Content-Length", str(len(body)))])
        return [body]

    return trick


def plain(server: FeedServer, path: str = "") -> str:
    """An address without credentials."""
    return f"http://127.0.0.1:{server.server.server_port}/revocations{path}"
