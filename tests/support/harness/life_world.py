"""The world of a life: an issuer that is restarted at will, a gateway that may be cut off."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from harness.denylists import FaultyDenylist
from harness.issuer_app import ISSUER, IssuerApp, granted
from harness.limits import OFF

from gateway import Verifier
from gateway.fetching import Fetched
from issuer.app import create_app
from issuer.services import build_services
from revocation import DenylistUnavailable, Replica

MAX_STALENESS = 5.0
HEARTBEAT = 1.0


class World:
    """An issuer that is restarted at will, and a gateway whose line may be cut."""

    def __init__(self, make_issuer: Callable[..., IssuerApp], **changes: Any) -> None:
        # Limits go by real time, and a life here lasts for months.
        self.issuer = make_issuer(limits=OFF, **changes)
        self.clock = self.issuer.clock
        self.pulse = self.issuer.make_pulse(clock=self.clock)
        self.cut_since: float | None = None
        self.start_gateway()

    def restart_issuer(self) -> None:
        """Another process on the same stores."""
        old = self.issuer
        settings = old.services.settings
        services = build_services(settings, clock=self.clock, reset_sender=old.sent.append)
        app = create_app(settings, services=services)
        self.issuer = IssuerApp(app, services, self.clock, old.account, old.sent)
        self.pulse = self.issuer.make_pulse(clock=self.clock)
        self.pulse.beat()
        self.line.inner = services.denylist
        old.close()

    def start_gateway(self) -> None:
        """A gateway that knows nothing yet."""
        self.line = FaultyDenylist(self.issuer.services.denylist)
        self.line.down = self.cut_since is not None
        self.gateway = Verifier(
            issuer=ISSUER,
            audience="api",
            denylist=self.line,
            leeway=self.issuer.services.settings.leeway,
            fetch=self.fetch,
            clock=self.clock,
        )
        # In the issuer's time, too, where a program goes by a clock that nobody moves.
        self.gateway._replica = Replica(
            self.line,
            max_staleness=MAX_STALENESS,
            heartbeat_interval=HEARTBEAT,
            clock=self.clock,
            wall_clock=self.clock,
        )
        self.gateway.keys.clock = self.clock

    def fetch(self, url: str) -> Fetched:
        return Fetched(granted(self.issuer.ask("GET", urlsplit(url).path)), 300)

    def follow(self) -> None:
        """Bring the gateway in step, as its thread does."""
        with suppress(DenylistUnavailable):
            self.gateway.replica.step(block=0)
        # Before a follower trusts a heartbeat it has asked before that was sent.
        for _ in range(2):
            self.issuer.services.denylist.heartbeat(0)
            with suppress(DenylistUnavailable):
                self.gateway.replica.step(block=0)
