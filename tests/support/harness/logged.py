"""All that was logged in one session, in one file that nobody else reads."""

from __future__ import annotations

import atexit
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

_lock = threading.Lock()
_file: IO[bytes] | None = None
_entries: list[tuple[str, int, int]] = []
_kept: set[int] = set()


def keep(source: str, content: bytes) -> None:
    """Keep what a source has logged; the same text twice is kept once."""
    global _file  # noqa: PLW0603
    with _lock:
        if not content or hash(content) in _kept:
            return
        _kept.add(hash(content))
        if _file is None:
            _file = tempfile.TemporaryFile()  # noqa: SIM115 - until the process ends
            atexit.register(_file.close)
        if _file.closed:
            return  # what is killed on the way out is searched by nobody
        place = _file.seek(0, 2)
        _file.write(content)
        _entries.append((source, place, len(content)))


def everything() -> Iterator[tuple[str, str]]:
    """Each source with its text."""
    with _lock:
        entries = list(_entries)
    for source, place, length in entries:
        assert _file is not None
        with _lock:
            _file.seek(place)
            content = _file.read(length)
        yield source, content.decode(errors="replace")
