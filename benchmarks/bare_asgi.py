"""The floor of the forward-auth service: the same server, and an application that knows nothing."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]

_HEADERS = [
    (b"x-gatepass-subject", b"A" * 22),
    (b"x-gatepass-session", b"A" * 22),
    (b"x-gatepass-client", b"web"),
    (b"x-gatepass-scope", b"read write"),
    (b"x-gatepass-roles", b"staff"),
    (b"x-gatepass-token-id", b"A" * 22),
    (b"x-gatepass-auth-time", b"1795850821"),
    (b"x-gatepass-amr", b"pwd"),
    (b"x-gatepass-acr", b"aal1"),
    (b"x-gatepass-expires", b"1795850821"),
    (b"cache-control", b"no-store"),
    (b"content-length", b"0"),
]


async def application(
    _scope: Message, _receive: object, send: Callable[[Message], Awaitable[None]]
) -> None:
    """Say yes to whatever comes, in as many words as the service does."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.run(
        application,
        port=int(sys.argv[1]),
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
