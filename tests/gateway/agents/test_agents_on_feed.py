"""Native gateways whose agents follow the issuer's HTTP feed, where nothing else could be followed:
the denylist is in the issuer's own memory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.certificates import make_certificates
from harness.echo_backend import EchoBackend
from harness.issuer_app import migrated_sqlite
from harness.native_gateways import MAX_STALENESS, Agent, Envoy, Haproxy
from harness.processes import monotonic, short_directory, until
from harness.served_issuer import ServedIssuer

from revocation.http_connection import with_credentials

SECRET = "a secret of this gateway"
GATEWAYS = {"edge": {"secret_sha256": hashlib.sha256(SECRET.encode()).hexdigest()}}
MOST = 3


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    made = short_directory("gp-feed-")
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("kind", ["envoy", "haproxy"])
def test_an_agent_follows_the_http_feed(kind: str, directory: Path) -> None:
    """A good token passes, a revoked one is refused within the bound, others go on passing.

    HAProxy's agent meets the issuer over TLS, under an authority of one's own. With more entries
    than `--most-entries` the gateway closes rather than to forget one.
    """
    tls = make_certificates(directory) if kind == "haproxy" else None
    issuer = ServedIssuer(
        directory,
        f"sqlite:///{migrated_sqlite(directory / 'issuer.db')}",
        "memory://agents",
        certificates=tls,
        workers=1,
        gateways=GATEWAYS,
    )
    issuer.add_account()
    denylist = with_credentials(f"{issuer.url}/revocations", "edge", SECRET)
    trust: tuple[str, ...] = ()
    if tls is not None:
        denylist += f"?cafile={tls.authority}"
        trust = ("--issuer-ca", str(tls.authority))
    with issuer, EchoBackend() as backend:
        gateway: Any = (
            Envoy(directory, backend.port, issuer.url)
            if kind == "envoy"
            else Haproxy(directory, backend.port)
        )
        most = ("--most-entries", str(MOST))
        agent = Agent(kind, issuer.url, denylist, *gateway.options, *trust, *most)
        agent.prepare()
        with gateway, agent:
            logins = [issuer.login().granted() for _ in range(MOST + 2)]
            kept, *others = (login["access_token"] for login in logins)
            for token in (kept, *others):
                waits_for(200, gateway, token)
            issuer.site.post("/logout", {"refresh_token": logins[1]["refresh_token"]}).granted()
            acknowledged = monotonic()
            for _ in until(30, "the refusal"):
                began = monotonic()
                status = gateway.ask(others[0]).status
                assert status != 200 or began <= acknowledged + MAX_STALENESS
                if status == 401:
                    break
            waits_for(200, gateway, kept)
            for token in others[1:]:
                issuer.site.post("/revoke", form={"token": token}).granted()
            waits_for(503, gateway, kept)
            assert f"holds {MOST} entries" in agent.process.stderr()
    assert SECRET not in agent.process.stderr()


def waits_for(status: int, gateway: Any, token: str) -> None:
    """Ask with a token until the answer has this status."""
    for _ in until(20, f"an answer of {status}"):
        if gateway.ask(token).status == status:
            return
