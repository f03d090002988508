"""The HTTP feed of any denylist, on a port of its own, and a denylist that is read through it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from flask import Flask
from harness.denylists import Store
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from gateway.feed_signature import FeedSignature
from issuer.feed import Feed, FeedHub, FeedSigner, Snapshots
from issuer.gateways import Gateways
from issuer.http import revocations
from issuer.http.answers import register_errors
from issuer.metrics import Metrics
from issuer.parties import Gateway
from keys.jwk import public_jwk
from keys.ring import generate
from revocation import (
    Denylist,
    DenylistState,
    Entry,
    FeedItem,
    Kind,
    Position,
    Probe,
    Snapshot,
    open_denylist,
)
from tokens import UnknownKid, VerificationKey

ISSUER = "https://id.example"
NAME = "edge-1"
SECRET = "a gateway's secret: +%/ é"
GATEWAYS = {NAME: Gateway(secret_sha256=hashlib.sha256(SECRET.encode()).hexdigest())}


_KEY = generate("ES256", int(time.time()))


def verify(message: str, typ: str) -> Any:
    """As a gateway that knows this module's key."""
    return FeedSignature(ISSUER, _find)(message, typ)


def documents() -> dict[str, Any]:
    """What a gateway fetches to know this module's key, by URL."""
    metadata = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
    return {
        f"{ISSUER}/.well-known/oauth-authorization-server": metadata,
        metadata["jwks_uri"]: {"keys": [public_jwk(_KEY)]},
    }


def _find(kid: str) -> VerificationKey:
    if kid != _KEY.kid:
        raise UnknownKid(kid)
    return VerificationKey.of(kid, _KEY.alg, _KEY.public)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class FeedServer:
    """A running feed; `options` are those of its hub, `lasting` its snapshots'."""

    feed: Feed
    hub: FeedHub
    server: BaseWSGIServer
    opened: list[Denylist] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        denylist: Denylist,
        *,
        streams: int = 64,
        lasting: float = 0.0,
        between: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> FeedServer:
        """`between` makes a WSGI application of the feed's: what a proxy does to it."""
        signer = FeedSigner(ISSUER, lambda: _KEY, time.time)
        hub = FeedHub(denylist, signer, streams=streams, **options)
        feed = Feed(denylist, signer, hub, Snapshots(denylist, signer, lasting=lasting))
        app = Flask("feed", static_folder=None)
        app.extensions["gatepass"] = SimpleNamespace(
            feed=feed, gateways=Gateways(GATEWAYS), metrics=Metrics()
        )
        app.register_blueprint(revocations.blueprint)
        register_errors(app)
        if between is not None:
            app.wsgi_app = between(app.wsgi_app)  # type: ignore[method-assign]
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        feed.start()
        return cls(feed, hub, server)

    @property
    def url(self) -> str:
        """The address, credentials included."""
        return self.url_for(NAME, SECRET)

    def url_for(self, name: str, secret: str) -> str:
        from revocation.http_connection import with_credentials

        return with_credentials(
            f"http://127.0.0.1:{self.server.server_port}/revocations", name, secret
        )

    def open(self) -> Denylist:
        """A denylist that reads it."""
        return self.open_as(NAME, SECRET)

    def open_as(self, name: str, secret: str) -> Denylist:
        """The same with other credentials."""
        self.opened.append(open_denylist(self.url_for(name, secret), verify=verify))
        return self.opened[-1]

    def close(self) -> None:
        for reader in self.opened:
            reader.close()
        # The hub's thread may be waiting in a denylist for news; it ends with that wait.
        self.feed.end_streams()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def serving(denylist: Denylist, **options: Any) -> Iterator[FeedServer]:
    """The feed of a denylist while the block runs."""
    server = FeedServer.of(denylist, **options)
    try:
        yield server
    finally:
        server.close()


class SeenOverHttp:
    """Implements `Denylist`: written to as an issuer does, read as a gateway does."""

    def __init__(self, inner: Denylist) -> None:
        self.inner = inner
        self._server: FeedServer | None = None
        self._reader: Denylist | None = None
        self.initialise, self.replace = inner.initialise, inner.replace
        self.mark_ready, self.heartbeat = inner.mark_ready, inner.heartbeat
        self.time = inner.time

    @property
    def reader(self) -> Denylist:
        """The gateway's end; made when it is first needed."""
        if self._reader is None:
            self._server = FeedServer.of(self.inner)
            self._reader = self._server.open()
        return self._reader

    def add(
        self,
        entries: Sequence[Entry],
        known: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        return self.inner.add(entries, known, reached)

    def state(self) -> DenylistState:
        return self.reader.state()

    def lookup(self, probe: Probe, known: Position | None = None) -> Kind | None:
        return self.reader.lookup(probe, known)

    def snapshot(self) -> Snapshot:
        return self.reader.snapshot()

    def tail(self, after: Position, block: float) -> list[FeedItem]:
        return self.reader.tail(after, block)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._server is not None:
            self._server.close()
        self.inner.close()


class HttpStore(Store):
    """A store that is written to directly and read over HTTP."""

    def fresh(self) -> Store:
        """An empty store of this kind, apart from every other."""
        other = super().fresh()
        return HttpStore(other.name, other.url, other.width, other.opened)

    def open(self, clock: Callable[[], float] | None = None, **limits: int) -> Denylist:
        """Open it once more."""
        made = SeenOverHttp(super().open(clock, **limits))
        self.opened[-1] = made
        return made
