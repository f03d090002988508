"""A real HAProxy with one key, and a sink for its maps that a test feeds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.echo_backend import EchoBackend
from harness.native_gateways import Haproxy
from harness.processes import short_directory

from gateway.agents.haproxy_files import SAVED, HaproxyFiles, Rules
from gateway.agents.haproxy_runtime import Runtime
from gateway.agents.haproxy_sink import HaproxySink
from gateway.agents.issuer_keys import IssuerKeys
from gateway.fetching import Fetched
from keys import Key, generate
from keys.jwk import public_jwk
from revocation import Entry, Record
from revocation.entry import to_record
from tokens import AccessClaims, base64url, sign

ISSUER = "https://id.example"
SALT = bytes(range(32))
RULES = Rules(
    issuer=ISSUER,
    audience="api",
    leeway=10,
    max_lifetime=3600,
    max_staleness=30.0,
    heartbeat_interval=0.25,
)


@dataclass
class FedHaproxy:
    """HAProxy with one key, and a sink for it that a test feeds."""

    haproxy: Haproxy
    files: HaproxyFiles
    entries: dict[str, str]
    key: Key
    sink: HaproxySink = field(init=False)

    def new_sink(self) -> HaproxySink:
        """As an agent that has just started."""
        self.sink = HaproxySink(self.files, self.haproxy.socket)
        self.sink.serve_keys(self.entries, trusted=True)
        return self.sink

    def token(
        self, jti: bytes, sub: str = "someone", sub_ver: int = 0, *, lifetime: int = 300
    ) -> str:
        """A good token."""
        now = int(time.time())
        claims = AccessClaims(
            iss=ISSUER,
            sub=sub,
            aud=("api",),
            client_id="web",
            iat=now,
            exp=now + lifetime,
            jti=base64url.encode(jti),
            sid=base64url.encode(bytes(16)),
            auth_time=now,
            sub_ver=sub_ver,
            amr=(),
            scope="",
        )
        return sign(claims, self.key)

    def status(self, token: str) -> int:
        """What a request with this token gets."""
        return self.haproxy.ask(token).status

    def held(self) -> dict[str, str]:
        """What HAProxy's maps hold of the denylist."""
        runtime = Runtime(self.haproxy.socket)
        found = {}
        for number in range(256):
            found.update(runtime.entries(self.files.shard(number)))
        runtime.close()
        found.pop(SAVED, None)
        return found

    def restart(self) -> None:
        """HAProxy anew, with what its files say."""
        self.haproxy.process.kill()
        self.haproxy.start()


def issuer_keys(*keys: Key) -> IssuerKeys:
    """Those of an issuer that has these."""
    documents = {
        f"{ISSUER}/.well-known/oauth-authorization-server": {
            "issuer": ISSUER,
            "jwks_uri": f"{ISSUER}/jwks",
        },
        f"{ISSUER}/jwks": {"keys": [public_jwk(key) for key in keys]},
    }
    return IssuerKeys(ISSUER, frozenset({"ES256"}), fetch=lambda url: Fetched(documents[url], 300))


@contextmanager
def fed_haproxy() -> Iterator[FedHaproxy]:
    """HAProxy, running; its maps are whatever the last test left."""
    directory = short_directory("gp-sink-")
    with EchoBackend() as backend:
        haproxy = Haproxy(directory, backend.port)
        files = HaproxyFiles(haproxy.directory, RULES)
        key = generate("ES256", 0)
        keys = issuer_keys(key)
        keys.refresh()
        files.prepare()
        files.write_keys(keys.keys)
        entries = {kid: files.entry(key) for kid, key in keys.keys.items()}
        with haproxy:
            yield FedHaproxy(haproxy, files, entries, key)
    shutil.rmtree(directory)


def entry(jti: bytes, expires: int) -> Record:
    return to_record(Entry.token(base64url.encode(jti), expires), SALT)
