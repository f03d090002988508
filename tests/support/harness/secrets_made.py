"""Every secret that a test process has made or seen, and whether a text shows one of them.

Long secrets are kept as keyed hashes of short windows, so that looking through megabytes for tens
of thousands of them takes seconds; nothing of them is written anywhere.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

WINDOW = 16
"""Characters; of a long secret as it stands any 31 in a row are found."""
SHORTEST = 8
"""Characters; what is shorter would be found by accident."""

_OPAQUE = re.compile(r"[\w+/=%~.-]{24,}\Z", re.ASCII)
_COMPACT = re.compile(r"[\w-]+(?:\.[\w-]*){2,4}\Z", re.ASCII)
_RUN = re.compile(r"[\w+/=%~-]{16,}", re.ASCII)
# What is a secret by its form alone, whoever made it.
_FORMS = {
    "a token": re.compile(r"\beyJ[\w-]{10,}\.[\w-]*\.[\w-]*", re.ASCII),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a password's hash": re.compile(r"\$argon2id?\$v="),
}


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret of this kind, at this place; never the secret."""

    kind: str
    place: int
    before: str


class Secrets:
    """The secrets of one process. `hash` is keyed by the interpreter, anew in each process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._windows: dict[int, str] = {}
        self._phrases: dict[str, str] = {}
        self._seen: set[int] = set()

    @property
    def total(self) -> int:
        """How many different ones it knows."""
        return self.counts.total()

    def add(self, kind: str, secret: str | bytes) -> None:
        """Remember one, in each form in which it might be written. What is too short is not."""
        if len(secret) < SHORTEST or hash(secret) in self._seen:
            return
        if len(set(secret)) < 4:
            return  # zeros that stand for a digest: Redis writes the like by itself
        self._seen.add(hash(secret))
        self.counts[kind] += 1
        if isinstance(secret, bytes):
            number = str(int.from_bytes(secret, "big"))
            for form in (secret.hex(), secret.hex().upper(), number, *_base64(secret)):
                self._add_windows(kind, form, 1)
        elif _COMPACT.match(secret):
            # The header is everybody's; payload, signature, key, ciphertext and tag are not.
            for part in secret.split(".")[1:]:
                self._add_opaque(kind, part)
        elif _OPAQUE.match(secret):
            self._add_opaque(kind, secret)
        else:
            for form in _written(secret):
                self._phrases.setdefault(form, kind)

    def leaks(self, text: str) -> Iterator[Leak]:
        """Each place where a text shows a secret."""
        for phrase, kind in list(self._phrases.items()):
            if (place := text.find(phrase)) >= 0:
                yield _leak(kind, text, place)
        for kind, form in _FORMS.items():
            if found := form.search(text):
                yield _leak(kind, text, found.start())
        windows = self._windows
        for run in _RUN.finditer(text):
            characters = run.group()
            for start in range(len(characters) - WINDOW + 1):
                if hash(characters[start : start + WINDOW]) in windows:
                    kind = windows[hash(characters[start : start + WINDOW])]
                    yield _leak(kind, text, run.start() + start)
                    break

    def _add_opaque(self, kind: str, text: str) -> None:
        self._add_windows(kind, text, 1)
        octets = text.encode()
        for form in (octets.hex(), *_base64(octets)):
            self._add_windows(kind, form, 4)

    def _add_windows(self, kind: str, text: str, every: int) -> None:
        last = len(text) - WINDOW
        if last >= 0:
            for start in (*range(0, last, WINDOW * every), last):
                self._windows.setdefault(hash(text[start : start + WINDOW]), kind)


def _written(secret: str) -> Iterator[str]:
    octets = secret.encode()
    yield from {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret)}
    yield from {quote_plus(secret), octets.hex(), *_base64(octets)}


def _base64(octets: bytes) -> Iterator[str]:
    """Base64 in both alphabets, as part of something longer too: at each of three places."""
    for shift in range(3):
        text = binascii.b2a_base64(bytes(shift) + octets, newline=False).decode().rstrip("=")
        # The first and last characters belong to the neighbours as well.
        inner = text[(0, 2, 3)[shift] : -1]
        yield inner
        if "+" in inner or "/" in inner:
            yield inner.replace("+", "-").replace("/", "_")
    yield base64.b32encode(octets).decode().rstrip("=")[:-1]


def _leak(kind: str, text: str, place: int) -> Leak:
    return Leak(kind, place, text[max(0, place - 60) : place].rpartition("\n")[2])
