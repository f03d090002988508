"""Receivers of notifications on loopback: over HTTP and SMTP, and what goes wrong with them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

import jwt
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from harness.processes import free_port, until

WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"a webhook's own octets, 32 long!").decode()
OLD_WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"octets of a webhook from before!").decode()
MAIL_USER, MAIL_PASSWORD = "gatepass", "what the mail server is told 8841"
HANG, LOSE, DRIP = "hang", "lose", "drip"
"""Never answer; take it and close; answer a byte at a time."""


@dataclass(frozen=True)
class Request:
    """One that was received."""

    path: str
    headers: dict[str, str]
    """By name in small letters."""
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body as a form whose fields come once."""
        return {name: only for name, (only,) in parse_qs(self.body.decode()).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """An HTTP server that keeps what it gets, and answers as it is told to."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.plan: deque[int | str | tuple[int, dict[str, str], bytes]] = deque()
        """What to do with the next requests; then `always`."""
        self.always: int | str = 200
        self.release = threading.Event()
        """Lets those that hang go."""
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._handle(self)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, asked: BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers["Content-Length"]))
        headers = {name.lower(): text for name, text in asked.headers.items()}
        with self._lock:
            self.requests.append(Request(asked.path, headers, body))
            what = self.plan.popleft() if self.plan else self.always
        asked.close_connection = True
        if what == HANG:
            self.release.wait(30)
        elif what == DRIP:
            with contextlib.suppress(OSError):
                for octet in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 200:
                    asked.wfile.write(bytes([octet]))
                    if self.release.wait(0.05):
                        return
        elif what != LOSE:
            status, more, told = what if isinstance(what, tuple) else (int(what), {}, b"")
            asked.send_response(status)
            for name, text in {**more, "Content-Length": str(len(told))}.items():
                asked.send_header(name, text)
            asked.end_headers()
            asked.wfile.write(told)

    def wait_for(self, count: int, timeout: float = 20) -> None:
        """Until it has got so many."""
        for _ in until(timeout, f"{count} requests, not {len(self.requests)}"):
            if len(self.requests) >= count:
                return

    def ids(self) -> list[str]:
        """The webhooks' ids, in the order of their coming."""
        return [request.headers["webhook-id"] for request in self.requests]


def checked_webhook(request: Request, secret: str, now: float) -> Any:
    """What a careful receiver of Standard Webhooks makes of a request; ValueError if nothing.

    Written from the specification, not from the sender.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    sent = request.headers["webhook-timestamp"]
    if abs(now - int(sent)) > 300:
        raise ValueError("too old or too new")
    signed = f"{request.headers['webhook-id']}.{sent}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    for one in request.headers["webhook-signature"].split(" "):
        version, _, given = one.partition(",")
        if version == "v1" and hmac.compare_digest(given.encode(), expected):
            return json.loads(request.body)
    raise ValueError("no signature fits")


def checked_token(token: str, jwks: dict[str, Any], typ: str, **options: Any) -> dict[str, Any]:
    """The claims of a token of this type, by PyJWT and the issuer's published keys."""
    header = jwt.get_unverified_header(token)
    if header["typ"] != typ:
        raise jwt.InvalidTokenError(f"typ is {header['typ']}")
    key = jwt.PyJWKSet.from_dict(jwks)[header["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], **options)
    return claims


@dataclass
class Mailbox:
    """An SMTP server that keeps what it gets; `replies` are given before it does so."""

    port: int
    messages: list[EmailMessage] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    replies: deque[str] = field(default_factory=deque)
    """To `DATA`; then it takes everything."""
    refusals: deque[str] = field(default_factory=deque)
    """To `RCPT`."""

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.refusals:
            return self.refusals.popleft()
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        if self.replies:
            return self.replies.popleft()
        message = message_from_bytes(envelope.content, policy=modern)
        assert isinstance(message, EmailMessage)
        self.secured.append(session.ssl is not None)
        self.senders.append(envelope.mail_from)
        self.recipients.append(list(envelope.rcpt_tos))
        self.messages.append(message)
        return "250 OK"


@contextmanager
def mailbox(tls: ssl.SSLContext | None = None, *, implicit: bool = False) -> Iterator[Mailbox]:
    """One on loopback; with TLS by STARTTLS, or from the first byte where `implicit`."""
    box = Mailbox(free_port())

    def login(
        _server: Any, _session: Any, _envelope: Any, mechanism: str, given: Any
    ) -> AuthResult:
        fits = isinstance(given, LoginPassword) and (
            (given.login, given.password) == (MAIL_USER.encode(), MAIL_PASSWORD.encode())
        )
        return AuthResult(success=fits, handled=False)

    options: dict[str, Any] = {"hostname": "127.0.0.1", "port": box.port, "ready_timeout": 20}
    if tls is not None and implicit:
        options["ssl_context"] = tls
    elif tls is not None:
        options |= {
            "tls_context": tls,
            "require_starttls": True,
            "authenticator": login,
            "auth_required": True,
        }
    controller = Controller(box, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield int(listener.getsockname()[1])


@contextmanager
def dripping_server() -> Iterator[int]:
    """A port that greets as a mail server does, a line every so often, and comes to no end."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while not ended.wait(0.05):
                connection.sendall(b"220-one moment\r\n")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
