"""A snapshot on its way from an issuer's feed: bounded in time and in size, and told of in the log.

It is kept as it came, and its records are made one at a time as a replica takes them in.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterable, Iterator

from .entry import RECORD_SIZE, Record, is_packed, pack, unpack
from .errors import DenylistUnavailable, SnapshotTooLarge
from .http_connection import Connections, unavailable_as_feed

log = logging.getLogger("gatepass.revocation")

SNAPSHOT_TIMEOUT = 120.0
"""Seconds for a whole snapshot."""
_HEAD_LIMIT = 8192
_READ = 65_536
_TELL_EVERY = 1.0
_MEGA = 1e6


def download(connections: Connections, most: int) -> tuple[bytes, memoryview]:
    """Head and body of the snapshot, which nobody has verified yet.

    Raises `SnapshotTooLarge` where it holds more than `most` entries, or another `RevocationError`.
    """
    log.info("asking the feed for its snapshot")
    begun = time.monotonic()
    headers = {"Accept": "application/octet-stream", "Accept-Encoding": "gzip"}
    connection, response = connections.open("", headers, begun + SNAPSHOT_TIMEOUT)
    try:
        with unavailable_as_feed():
            encoding = response.getheader("Content-Encoding", "identity")
            content = _decoded(_told_of(response.read1, response.length), encoding, most)
    finally:
        response.close()
        connection.close()
    end = content.find(b"\n", 0, _HEAD_LIMIT + 1)
    if end < 0:
        raise DenylistUnavailable("the feed's snapshot has no head")
    log.info("the feed's snapshot has come in %.1f s", time.monotonic() - begun)
    return bytes(content[:end]), memoryview(content)[end + 1 :]


class SnapshotRecords:
    """The records of a snapshot's body, and of what the feed went on with."""

    def __init__(self, body: memoryview, most: int) -> None:
        """Raises `SnapshotTooLarge` for more than `most`, `ValueError` for another form."""
        if not is_packed(body):
            raise ValueError("a snapshot of another form")
        self._body = body
        self._later = bytearray()
        self._most = most
        self.add(())

    def add(self, records: Iterable[Record]) -> None:
        """Add what came later. Raises `SnapshotTooLarge`."""
        self._later += pack(records)
        if self.__length_hint__() > self._most:
            raise SnapshotTooLarge(self._most)

    def __iter__(self) -> Iterator[Record]:
        yield from unpack(self._body)
        yield from unpack(bytes(self._later))

    def __length_hint__(self) -> int:
        return (len(self._body) + len(self._later)) // RECORD_SIZE


def _told_of(read: Callable[[int], bytes], length: int | None) -> Callable[[int], bytes]:
    """The same reading; what has come of `length` bytes is told once a second."""
    come, told = 0, time.monotonic()

    def read_and_tell(size: int) -> bytes:
        nonlocal come, told
        received = read(size)
        come += len(received)
        if time.monotonic() - told >= _TELL_EVERY:
            told = time.monotonic()
            whole = "" if length is None else f" of {length / _MEGA:.1f}"
            log.info("%.1f%s MB of the feed's snapshot have come", come / _MEGA, whole)
        return received

    return read_and_tell


def _decoded(read: Callable[[int], bytes], encoding: str, most: int) -> bytearray:
    """The content, decompressed as it comes, so that a small answer cannot become a huge one.

    Raises `SnapshotTooLarge` above what `most` records take, `DenylistUnavailable`.
    """
    if encoding not in {"gzip", "identity"}:
        raise DenylistUnavailable("the feed's snapshot has another coding")
    limit = _HEAD_LIMIT + most * RECORD_SIZE
    inflating = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    content = bytearray()
    while received := read(_READ):
        if inflating is None:
            content += received
        else:
            try:
                content += inflating.decompress(received, limit + 1 - len(content))
            except zlib.error:
                raise DenylistUnavailable("the feed's snapshot is damaged") from None
        if inflating is not None and inflating.unused_data:
            # zlib would keep all of it, and copy it again with each piece.
            raise DenylistUnavailable("the feed's snapshot goes on behind its end")
        if len(content) > limit:
            raise SnapshotTooLarge(most)
    if inflating is not None and not inflating.eof:
        raise DenylistUnavailable("the feed's snapshot is cut short")
    return content
