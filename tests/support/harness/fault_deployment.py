"""Two issuers on stores that a test may break."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from harness.fault_scenario import Scenario, fault_settings
from harness.gatepass_command import Gatepass
from harness.issuer_process import IssuerFleet
from harness.redis_server import RedisServer


class Deployment:
    """Two issuers, on a Redis of their own unless another is named."""

    def __init__(
        self,
        gatepass: Gatepass,
        database_url: str,
        directory: Path,
        *alterations: str,
        redis_url: str = "",
        settings: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        """`options` go to the fleet."""
        self.store = RedisServer(tcp=True)
        self._own_store = not redis_url
        self._gatepass = gatepass
        self.fleet = IssuerFleet(
            database_url,
            redis_url or self.store.unix_url,
            directory,
            alterations=alterations,
            shifted=True,
            settings=fault_settings(**settings or {}),
            **options,
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.store.close)
            if self._own_store:
                self.store.start()
            stack.enter_context(self.fleet)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def scenario(self) -> Scenario:
        """Everything revoked once, and some sessions that live on."""
        made = Scenario(self.fleet, self._gatepass)
        made.wait_published()
        made.keep_live()
        made.revoke_in_every_way()
        return made
