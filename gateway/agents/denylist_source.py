"""The denylist that an agent follows: a Redis, or an issuer's feed and the keys that sign it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from revocation import MOST_ENTRIES, Denylist, open_denylist
from revocation.denylist import FEED_SCHEMES

from ..feed_signature import FeedSignature
from ..fetching import Fetch, fetch_json
from ..jwks import JwksClient


@dataclass(frozen=True, slots=True, kw_only=True)
class DenylistSource:
    """Where it is; `fetch` gets the keys of the issuer, whose feed is believed under them alone."""

    url: str = field(repr=False)
    issuer: str
    namespace: str = "gatepass"
    most_entries: int = MOST_ENTRIES
    fetch: Fetch = fetch_json

    @property
    def owner(self) -> str:
        """What `Verifier` calls it, too, so that both may share one file."""
        return f"{self.namespace} {self.url}"

    @contextmanager
    def open(self) -> Iterator[Denylist]:
        """The denylist while the block runs. Raises `BadDenylistUrl`."""
        keys = JwksClient(self.issuer, fetch=self.fetch)
        denylist = open_denylist(
            self.url,
            namespace=self.namespace,
            verify=FeedSignature(self.issuer, keys.find),
            most_entries=self.most_entries,
        )
        with closing(denylist):
            if urlsplit(self.url).scheme in FEED_SCHEMES:
                # Ahead of their expiry: the feed must not wait for them.
                keys.start()
            try:
                yield denylist
            finally:
                keys.stop()
