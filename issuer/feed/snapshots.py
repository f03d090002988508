"""The denylist's contents as one signed, compressed body, made once for many gateways."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from revocation import Denylist, DenylistNotReady, DenylistState, FeedGap
from revocation.entry import pack
from revocation.http_wire import SNAPSHOT_TYPE, digest, state_claims

from .hub import Place, require_same_history
from .signer import FeedSigner

SNAPSHOT_AGE = 10.0
"""Seconds for which a snapshot is given out again: its reader goes on from there by the feed."""
_LEVEL = 1
"""Records are random bytes for the most part: more effort saves next to nothing."""
_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class SnapshotBody:
    """A signed head, a line feed and the records, all compressed with gzip."""

    etag: str
    compressed: bytes

    def pieces(self) -> Iterator[bytes]:
        """As it is; in pieces, since each must be taken within a time."""
        for at in range(0, len(self.compressed), _PIECE):
            yield self.compressed[at : at + _PIECE]

    def plain(self) -> Iterator[bytes]:
        """The same for who cannot decompress."""
        inflating = zlib.decompressobj(wbits=31)
        for piece in self.pieces():
            # An empty piece would end a chunked answer.
            if inflated := inflating.decompress(piece):
                yield inflated


class Download:
    """A snapshot on its way to one gateway; closing it gives its place to another."""

    def __init__(self, body: SnapshotBody, place: Place, *, compressed: bool) -> None:
        self.etag = body.etag if compressed else f"{body.etag}-plain"
        self.length = len(body.compressed) if compressed else None
        self._pieces = body.pieces() if compressed else body.plain()
        self._place = place

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._place.release()


class Snapshots:
    """Makes snapshots, one at a time."""

    def __init__(
        self, denylist: Denylist, signer: FeedSigner, *, lasting: float = SNAPSHOT_AGE
    ) -> None:
        self._denylist = denylist
        self._signer = signer
        self._lasting = lasting
        self._made: tuple[float, DenylistState, SnapshotBody] | None = None
        self._making = threading.Lock()

    def get(self) -> SnapshotBody:
        """A snapshot of the present epoch, `SNAPSHOT_AGE` old at the most.

        Raises `RevocationError`, `keys.KeyRingError`.
        """
        # Gateways that start together wait for one of them, and share what it gets.
        with self._making:
            if self._made is not None:
                made_at, then, body = self._made
                if time.monotonic() - made_at < self._lasting and self._goes_on_from(then):
                    return body
            made_at = time.monotonic()
            state, body = self._make()
            self._made = made_at, state, body
            return body

    def _goes_on_from(self, then: DenylistState) -> bool:
        """Whether the feed leads on from a snapshot: in one epoch and one history."""
        if not then.ready:
            return False  # nobody vouches for all of it
        try:
            require_same_history(then.position, self._denylist.tail(then.position, 0))
        except (FeedGap, DenylistNotReady):
            return False
        return True

    def _make(self) -> tuple[DenylistState, SnapshotBody]:
        snapshot = self._denylist.snapshot()
        records = pack(snapshot.records)
        claims = {**state_claims(snapshot.state), "sha256": digest(records)}
        head = self._signer.sign(SNAPSHOT_TYPE, claims).encode() + b"\n"
        deflating = zlib.compressobj(_LEVEL, wbits=31)
        compressed = b"".join(
            (deflating.compress(head), deflating.compress(records), deflating.flush())
        )
        return snapshot.state, SnapshotBody(digest(head)[:32], compressed)
