"""What a gateway reads of an issuer: keys, records, items, snapshots and events; and key files."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import mmap
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import fuzz_oracles as oracle
from fuzz_target import Finding, Target, agree
from token_targets import KID, PRIVATE, RING

from gateway.errors import KeysUnavailable
from gateway.jwks import _KeySet
from keys import (
    Envelope,
    Key,
    KeyRing,
    KeyState,
    UnreadableRing,
    envelope,
    generate,
    public_jwk,
    thumbprint,
)
from keys import codec as keys_codec
from keys import jwk as keys_jwk
from revocation import (
    DenylistState,
    DenylistUnavailable,
    Entry,
    FeedItem,
    Position,
    Probe,
    RevocationError,
    http_snapshot,
    http_stream,
    http_wire,
    packed_table,
)
from revocation import entry as feed_entry
from revocation.packed_table import PackedTable, Told, Word, size_of

SALT = bytes(32)
AT = Position("e", 7, "0" * 40)
CAPACITY = 8
MOST = 64
"""Entries of a snapshot at the most."""


def key_set(data: bytes) -> bool:
    """Whatever a JWKS holds, the keys taken from it are those that it spells."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    try:
        taken = _KeySet({}, {}).successor(document)
    except KeysUnavailable:
        return False
    for kid, jwk in taken.jwks.items():
        _, _, public = keys_jwk.load_public_jwk(jwk)
        agree(kid, jwk["kid"], "a kid")
        agree(oracle.jwk_is_good(jwk, keys_jwk.public_members(public)), True, "a JWK")
        thumbprint(jwk)
    return bool(taken.keys)


def records(data: bytes) -> bool:
    """`is_packed` says at once what `unpack` finds out, and packing gives the same again."""
    try:
        found = list(feed_entry.unpack(data))
    except ValueError:
        agree(feed_entry.is_packed(data), False, "records")
        return False
    agree(feed_entry.is_packed(data), True, "records")
    agree(feed_entry.pack(found), data, "records packed again")
    return bool(found)


def items(data: bytes) -> bool:
    """Items of the feed are all of the bytes, or none."""
    try:
        found = list(http_wire.unpack_items(data))
    except http_wire.BadMessage:
        return False
    agree(http_wire.pack_items(found), data, "items packed again")
    return bool(found)


def messages(data: bytes) -> bool:
    """A cursor, a state and a question are read to what writes the same again."""
    kind, text = data[:1], data[1:]
    try:
        if kind == b"c":
            at = http_wire.read_cursor(text.decode("utf-8", "surrogateescape"))
            agree(http_wire.read_cursor(http_wire.cursor(at)), at, "a cursor")
            return True
        value = oracle.strict_object(text)
        if value is None:
            return False
        if kind == b"s":
            state = http_wire.read_state(value)
            agree(http_wire.read_state(http_wire.state_claims(state)), state, "a state")
            agree(len(state.salt), 32, "a salt")
        else:
            probe, known = http_wire.read_lookup(value)
            again = http_wire.read_lookup(http_wire.lookup_question(probe, known))
            agree(again, (probe, known), "a question")
            agree({len(key) for key in probe.keys}, {17}, "keys")
    except http_wire.BadMessage:
        return False
    return True


def pieces(data: bytes) -> list[bytes]:
    """The bytes behind the first, in pieces as long as the first says."""
    size = max(1, data[0] % 32) if data else 1
    return [data[at : at + size] for at in range(1, len(data), size)]


def chunks(data: bytes) -> bool:
    """The chunked coding is undone alike, whatever pieces it comes in."""
    reader = http_stream._Dechunker()
    try:
        ours = b"".join(reader.feed(piece) for piece in pieces(data))
    except DenylistUnavailable:
        return False
    theirs = oracle.dechunked(data[1:])
    if theirs is None or not ours.startswith(theirs[: len(ours)]) or len(ours) > len(theirs):
        raise Finding("chunks are read otherwise")
    agree(ours, theirs, "chunks")
    return bool(ours)


def event_stream(data: bytes) -> bool:
    """Events are taken out alike, whatever pieces they come in."""
    reader = http_stream._EventParser()
    for piece in pieces(data):
        reader.feed(piece)
    ours = [event.data for event in iter(reader.take, None)]
    agree(ours, oracle.events(data[1:]), "events")
    return bool(ours)


def snapshot(data: bytes) -> bool:
    """A snapshot is decompressed within its limit, and as gzip itself would."""
    encoding, blob = ("identity", data[1:]) if data[:1] == b"i" else ("gzip", data[1:])
    come = itertools.chain(pieces(blob), itertools.repeat(b""))
    try:
        content = http_snapshot._decoded(lambda _: next(come), encoding, MOST)
    except RevocationError:
        return False
    agree(len(content) <= 8192 + MOST * feed_entry.RECORD_SIZE, True, "a snapshot's size")
    sent = b"".join(pieces(blob))
    if encoding == "identity":
        theirs = sent
    else:
        try:
            theirs = gzip.decompress(sent)
        except (OSError, EOFError, zlib.error) as error:
            raise Finding(f"gzip refuses what we take: {error}") from None
    agree(bytes(content), theirs, "a snapshot")
    _, _, body = content.partition(b"\n")
    try:
        list(http_snapshot.SnapshotRecords(memoryview(body), MOST))
    except (ValueError, RevocationError):
        return False
    return True


def table(data: bytes) -> bool:
    """A file whose header and blocks are damaged is no table, or is read without harm."""
    with mmap.mmap(-1, size_of(CAPACITY)) as buffer:
        words, block = data[:WORDS], data[WORDS : WORDS + packed_table.BLOCK_SIZE]
        buffer[: len(words)] = words
        for at in (packed_table.BLOCKS_AT, packed_table.BLOCKS_AT + packed_table.BLOCK_SIZE):
            buffer[at : at + len(block)] = block
        held = None
        try:
            held = PackedTable(buffer)
            held.told()
            held.may_hold_ids(bytes(54))
            agree(any(held.level_of(key) for key in KEYS), False, "an empty table")
            agree(len(held) <= CAPACITY and not list(held.records()), True, "an empty table")
        except ValueError:
            return False
        finally:
            del held
    return True


def ring_file(data: bytes) -> bool:
    """A ring is read whole or not at all; what is read is written and read to the same."""
    try:
        ring = PLAIN.open(data)
    except UnreadableRing:
        return False
    for key in ring.keys:
        if key.public is not None:
            agree(key.kid, thumbprint(keys_jwk.public_members(key.public)), "a kid")
        agree(key.private is None, key.state is KeyState.RETIRING, "a private half")
        agree(key.activated is None, key.state is KeyState.PENDING, "a time")
    again = keys_codec.encode_ring(ring)
    agree(keys_codec.encode_ring(keys_codec.decode_ring(again)), again, "a ring")
    return bool(ring.keys)


def sealed_ring_file(data: bytes) -> bool:
    """Under a secret only what was written under it opens, in its one spelling."""
    try:
        LOCKED.open(data)
    except UnreadableRing:
        agree(data == LOCKED_RING, False, "a sealed ring")
        return False
    agree(data, LOCKED_RING, "a sealed ring")
    return True


PLAIN = Envelope(Path("keyring"), None, development=True)
LOCKED = Envelope(Path("keyring"), b"\x04" * 32, development=True)
LOCKED_RING = LOCKED.close(RING)
WORDS = 8 * (Word.OWNER + 2)
"""Bytes of a table's header that say anything."""
_ED25519 = Key(
    thumbprint(keys_jwk.public_members(PRIVATE.public_key())),
    "EdDSA", KeyState.ACTIVE, created=1, activated=2, public=PRIVATE.public_key(), private=PRIVATE,
)  # fmt: skip
KEYS = [kind.encode() + bytes(16) for kind in "tsukc"]


def _key_sets() -> list[bytes]:
    found = [generate(alg, 1) for alg in ("ES256", "PS256")]
    sets = [[public_jwk(key)] for key in (*found, _ED25519)]
    sets.append([public_jwk(found[0]) | {"e": "A" * 43, "key_ops": ["verify"]}])
    return [json.dumps({"keys": jwks}).encode() for jwks in sets]


def _record_blob() -> bytes:
    entries = [Entry.session("S" * 21 + "A", 9), Entry.key(KID), Entry.client("app", 3, 9)]
    return feed_entry.pack(feed_entry.to_record(one, SALT) for one in entries)


def _messages() -> list[bytes]:
    state = http_wire.state_claims(DenylistState(AT, 3, SALT, ready=True))
    question = http_wire.lookup_question(Probe.of_keys(SALT, tuple(KEYS), 1, 2), AT)
    said = [b"c" + http_wire.cursor(AT).encode()]
    return [*said, b"s" + json.dumps(state).encode(), b"q" + json.dumps(question).encode()]


def _chunked(blob: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (blob[:5], blob[5:])) + b"0\r\n"


def _table() -> bytes:
    with mmap.mmap(-1, size_of(CAPACITY)) as buffer:
        held = PackedTable(buffer, capacity=CAPACITY)
        held.tell(Told(3, (SALT,), AT))
        held.words[Word.CHANGES] = 1
        del held
        words, block = buffer[:WORDS], buffer[packed_table.BLOCKS_AT + packed_table.BLOCK_SIZE :]
        return words + block[: packed_table.BLOCK_SIZE]


def _lenient(text: str) -> bytes:
    """A decoder to which a value has many spellings."""
    return base64.urlsafe_b64decode(text + "==")


_take_line = http_stream._EventParser._take_line


def _strip_line(parser: http_stream._EventParser, line: bytes) -> None:
    """A reader that takes all spaces away, where the format takes one."""
    name, colon, value = line.partition(b":")
    _take_line(parser, name + colon + value.strip(b" "))


def _decoded_at_once(read: Callable[[int], bytes], encoding: str, most: int) -> bytearray:
    """A reader that does not look whether a snapshot is whole."""
    come = b"".join(iter(partial(read, 1), b""))
    try:
        return bytearray(
            come if encoding == "identity" else zlib.decompressobj(31).decompress(come, 8192)
        )
    except zlib.error:
        raise DenylistUnavailable("damaged") from None


_ITEM = FeedItem(8, "1" * 40, _record_blob(), 5)
_EVENTS = b":\n\ndata: one\ndata:two\nid: 4\n\nevent: x\r\ndata\r\n\r\ndata: cut"
_RETIRING = KeyRing(
    (
        Key(
            _ED25519.kid, "EdDSA", KeyState.RETIRING,
            created=1, activated=2, demoted=3, gone_at=4, public=_ED25519.public,
        ),
    )
)  # fmt: skip

TARGETS = [
    Target(
        "jwks",
        key_set,
        _key_sets,
        lambda: patch.object(keys_jwk, "b64url_decode", _lenient),
    ),
    Target(
        "records",
        records,
        lambda: [_record_blob()],
        lambda: patch.object(
            feed_entry, "is_packed", lambda blob: not blob or blob[0] in b"tsukce"
        ),
    ),
    Target(
        "items",
        items,
        lambda: [http_wire.pack_items([_ITEM, FeedItem(9, "2" * 40, b"", 6)])],
        lambda: patch.object(http_wire, "_ITEM", struct.Struct(">QQ20sH2x")),
    ),
    Target(
        "messages",
        messages,
        _messages,
        lambda: patch.object(http_wire, "read_hex", bytes.fromhex),
    ),
    Target(
        "chunks",
        chunks,
        lambda: [b"\x03" + _chunked(b"hello, world"), b"\x00" + _chunked(b"")],
        lambda: patch.object(http_stream, "int", lambda text, base: int(text), create=True),
    ),
    Target(
        "events",
        event_stream,
        lambda: [b"\x02" + _EVENTS, b"\x1f" + _EVENTS],
        lambda: patch.object(http_stream._EventParser, "_take_line", _strip_line),
    ),
    Target(
        "snapshot",
        snapshot,
        lambda: [
            b"i\x09" + b"head\n" + _record_blob(),
            b"g\x10" + gzip.compress(b"head\n" + _record_blob(), mtime=0),
        ],
        lambda: patch.object(http_snapshot, "_decoded", _decoded_at_once),
    ),
    Target(
        "table",
        table,
        lambda: [_table()],
        lambda: patch.object(packed_table, "size_of", lambda capacity: size_of(CAPACITY)),
        longest=WORDS + packed_table.BLOCK_SIZE,
    ),
    Target(
        "ring",
        ring_file,
        lambda: [keys_codec.encode_ring(ring) for ring in (RING, KeyRing((_ED25519,)), _RETIRING)],
        lambda: patch.object(envelope, "InvalidKey", ZeroDivisionError),
    ),
    Target(
        "sealed-ring",
        sealed_ring_file,
        lambda: [LOCKED_RING],
        lambda: patch.object(envelope, "JoseError", ZeroDivisionError),
    ),
]
