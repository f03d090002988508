"""What issuer and gateway say to each other over the HTTP feed; docs/feed.md describes it.

Every message is a small JWS, made by the issuer and checked before anything is believed. Where a
body belongs to it, its claims hold the body's SHA-256.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .entry import Probe
from .feed import DenylistState, FeedItem, Position

STATE_TYPE = "gatepass-state+jwt"
SNAPSHOT_TYPE = "gatepass-snapshot+jwt"
EVENTS_TYPE = "gatepass-events+jwt"
LOOKUP_TYPE = "gatepass-lookup+jwt"
"""`typ` of each message, so that none passes for another (RFC 8725 section 3.11)."""

MAX_EVENT = 1 << 20
"""Bytes of an event's items at most; a single item that is longer takes a snapshot to learn."""
EVENT_SPLIT = 1 << 17
"""Bytes of items from which on the next ones go into another event."""

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
_CHAIN = re.compile(r"[0-9a-f]{40}\Z")
_EPOCH = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_MOST_KEYS = 64
_MOST = (1 << 53) - 1
_ITEM = struct.Struct(">QQ20sI")
_POSITION = ("epoch", "seq", "chain")


class BadMessage(ValueError):
    """Not of the form that the two ends have agreed upon; the text quotes nothing of it."""


def audience(issuer: str) -> str:
    """`aud` of every message of this issuer's feed."""
    return f"{issuer}/revocations"


def check_nonce(text: str) -> str:
    """Raises `BadMessage`."""
    if not _NONCE.match(text):
        raise BadMessage("a nonce is 16 to 64 characters of base64url")
    return text


def digest(body: bytes | memoryview) -> str:
    """What a message says of its body."""
    return hashlib.sha256(body).hexdigest()


# Positions.


def cursor(position: Position) -> str:
    """A position as one word; also the `id` of the event that leads there."""
    return f"{position.epoch}.{position.seq}.{position.chain}"


def read_cursor(text: str) -> Position:
    """Raises `BadMessage`."""
    parts = text.split(".")
    if len(parts) != 3:
        raise BadMessage("a cursor has three parts")
    epoch, seq, chain = parts
    if not (seq.isascii() and seq.isdecimal() and len(seq) <= 16):
        raise BadMessage("a number of another form")
    return read_position({"epoch": epoch, "seq": int(seq), "chain": chain})


def position_claims(position: Position) -> dict[str, Any]:
    return {name: getattr(position, name) for name in _POSITION}


def read_position(claims: Mapping[str, Any]) -> Position:
    """Raises `BadMessage`."""
    epoch, seq, chain = (claims.get(name) for name in _POSITION)
    if not (isinstance(epoch, str) and _EPOCH.match(epoch)):
        raise BadMessage("an epoch of another form")
    if not (isinstance(chain, str) and (_CHAIN.match(chain) or not chain)):
        raise BadMessage("a chain of another form")
    return Position(epoch, _number(seq), chain)


def state_claims(state: DenylistState) -> dict[str, Any]:
    return {
        **position_claims(state.position),
        "watermark": state.watermark,
        "salt": state.salt.hex(),
        "ready": state.ready,
    }


def read_state(claims: Mapping[str, Any]) -> DenylistState:
    """Raises `BadMessage`."""
    salt, ready = claims.get("salt"), claims.get("ready")
    if not isinstance(salt, str) or not isinstance(ready, bool) or len(salt) != 64:
        raise BadMessage("a state of another form")
    return DenylistState(
        position=read_position(claims),
        watermark=_number(claims.get("watermark")),
        salt=read_hex(salt),
        ready=ready,
    )


def read_hex(text: str) -> bytes:
    """Raises `BadMessage`."""
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise BadMessage("not hexadecimal") from None


def _number(value: Any) -> int:
    # `type` rather than `isinstance`: true is no number.
    if type(value) is not int or not 0 <= value <= _MOST:
        raise BadMessage("a number out of range")
    return value


# Questions about one token.


def lookup_question(probe: Probe, known: Position | None) -> dict[str, Any]:
    """What is asked; its answer holds the digest of the question's bytes."""
    return {
        "salt": probe.salt.hex(),
        "keys": [key.hex() for key in probe.keys],
        "sub_ver": probe.sub_ver,
        "iat": probe.iat,
        "known": None if known is None else position_claims(known),
    }


def read_lookup(question: Mapping[str, Any]) -> tuple[Probe, Position | None]:
    """Raises `BadMessage`."""
    keys, salt, known = (question.get(name) for name in ("keys", "salt", "known"))
    if not isinstance(keys, list) or not 4 <= len(keys) <= _MOST_KEYS:
        raise BadMessage("keys of another form")
    texts = [*keys, salt]
    if not all(isinstance(text, str) and 0 < len(text) <= 128 for text in texts):
        raise BadMessage("keys of another form")
    if not (known is None or isinstance(known, dict)):
        raise BadMessage("a position of another form")
    read = tuple(read_hex(text) for text in keys)
    kinds = b"".join(key[:1] for key in read)
    if kinds != b"tsuk".ljust(len(read), b"c") or any(len(key) != 17 for key in read):
        raise BadMessage("keys of another form")
    probe = Probe.of_keys(
        salt=read_hex(str(salt)),
        keys=read,
        sub_ver=_number(question.get("sub_ver")),
        iat=_number(question.get("iat")),
    )
    return probe, None if known is None else read_position(known)


# Items.


def pack_items(items: Iterable[FeedItem]) -> bytes:
    """Items of the feed, one after the other."""
    return b"".join(
        _ITEM.pack(item.seq, item.sent, bytes.fromhex(item.chain), len(item.records)) + item.records
        for item in items
    )


def unpack_items(blob: bytes) -> Iterator[FeedItem]:
    """Raises `BadMessage`."""
    at = 0
    while at < len(blob):
        if at + _ITEM.size > len(blob):
            raise BadMessage("items cut short")
        seq, sent, chain, length = _ITEM.unpack_from(blob, at)
        at += _ITEM.size
        records = blob[at : at + length]
        if len(records) < length:
            raise BadMessage("items cut short")
        at += length
        yield FeedItem(seq, chain.hex(), records, sent)
