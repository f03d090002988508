"""What is examined: the settings, and the servers that they and the command line name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from ..database import DatabaseUnavailable, open_engine
from ..database.engine import reading
from ..settings import Mode, Settings
from .looking import Look, look


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Asked for what it is when a check needs it; nothing is kept open in between."""

    settings: Settings
    gateways: tuple[str, ...] = ()
    """Addresses of forward-auth services, beside what `console.gateways` names."""
    issuer_url: str = ""
    """Where the issuer is reached from here; its own name unless given."""
    cafile: Path | None = None
    """Who may vouch for issuer and gateways, instead of the system's authorities."""
    metrics_token: str | None = field(default=None, repr=False)
    """Opens `/metrics` of `gateways`."""
    files: tuple[Path, ...] = ()
    """From which settings were read."""
    clock: Callable[[], float] = time.time

    @property
    def is_production(self) -> bool:
        return self.settings.mode is Mode.PRODUCTION

    @property
    def issuer(self) -> str:
        return (self.issuer_url or self.settings.issuer).rstrip("/")

    @property
    def redis_urls(self) -> dict[str, str]:
        """Each Redis by the setting that names it, once."""
        urls = {"redis_url": self.settings.redis_url}
        if self.settings.denylist != self.settings.redis_url:
            urls["denylist_url"] = self.settings.denylist
        return urls

    @property
    def database(self) -> sa.URL:
        return sa.make_url(self.settings.database_url)

    @contextmanager
    def engine(self) -> Iterator[sa.Engine]:
        """The database's. Raises `DatabaseUnavailable` rather than make a SQLite file."""
        url = self.database
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            raise DatabaseUnavailable(f"there is no file {url.database}")
        engine = open_engine(self.settings.database_url)
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        """A connection for reading. Raises `DatabaseUnavailable`."""
        with self.engine() as engine, reading(engine) as connection:
            yield connection

    def ask(self, url: str, token: str | None = None) -> Look:
        """As `look`, trusting `cafile`."""
        return look(url, cafile=self.cafile, token=token)


def is_local(host: str | None) -> bool:
    """Whether what is sent there stays on this machine."""
    return host in {None, "", "localhost", "127.0.0.1", "::1"} or (host or "").startswith("/")


def is_loopback_url(url: str) -> bool:
    """The same for an address."""
    return is_local(urlsplit(url).hostname)
