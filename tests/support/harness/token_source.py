"""What a gateway needs of an issuer: keys over HTTP, a live denylist, and tokens at will."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from harness.processes import free_port

from keys import KeyRing, RotationPolicy, rotate
from revocation import Denylist, DenylistUnavailable, Entry, open_denylist
from tokens import AccessClaims, sign
from tokens.base64url import encode

AUDIENCE = "api"
HEARTBEAT_INTERVAL = 0.25


def random_id() -> str:
    """128 bits, base64url."""
    return encode(secrets.token_bytes(16))


class TokenSource:
    """Serves metadata and JWKS on loopback and beats the denylist's heart while it is entered."""

    def __init__(self, denylist_url: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.denylist_url = denylist_url
        self.ring = rotate(KeyRing(), int(time.time()), RotationPolicy())
        self.answers = threading.Event()
        """Cleared, keys are asked for in vain: connections stand open and nothing comes."""
        self.answers.set()
        self.asked = 0
        """How often somebody asked."""
        self._server: ThreadingHTTPServer | None = None
        self._stopping = threading.Event()
        self._pulse = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._denylist: Denylist = open_denylist(self.denylist_url)
        self._denylist.initialise(watermark=0)
        self._denylist.mark_ready()
        self._pulse.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.answers.set()
        self._pulse.join()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._denylist.close()

    def serve(self) -> Self:
        """Begin to answer at the address; until then nobody listens there."""
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.asked += 1
                source.answers.wait(60)
                body = json.dumps(source._document(self.path)).encode()
                self.send_response(200)
                self.send_header("Cache-Control", "max-age=300")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A gateway that gives up is no event."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def token(self, **changes: Any) -> str:
        """A token of somebody's, signed with the key that is served."""
        return sign(self.claims(**changes), self.ring.active("ES256"))

    def claims(self, **changes: Any) -> AccessClaims:
        """Claims that hold now, each with a session of its own."""
        now = int(time.time())
        usual = AccessClaims(
            iss=self.url,
            sub="somebody",
            aud=(AUDIENCE,),
            client_id="app",
            iat=now,
            exp=now + 900,
            jti=random_id(),
            sid=random_id(),
            auth_time=now,
            sub_ver=1,
            amr=("pwd",),
            scope="read",
        )
        return replace(usual, **changes)

    def revoke(self, claims: AccessClaims) -> None:
        """End a token's session."""
        self._denylist.add([Entry.session(claims.sid, claims.exp + 60)])

    def _document(self, path: str) -> Mapping[str, Any]:
        if path.endswith("jwks.json"):
            return self.ring.jwks()
        return {"issuer": self.url, "jwks_uri": f"{self.url}/.well-known/jwks.json"}

    def _beat(self) -> None:
        with closing(open_denylist(self.denylist_url)) as denylist:
            while not self._stopping.wait(HEARTBEAT_INTERVAL):
                try:
                    denylist.heartbeat(0)
                except DenylistUnavailable:  # Redis is down for a test's sake
                    continue
