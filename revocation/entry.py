"""Denylist entries: what each kind refuses, how it is stored, and how a token is held against it.

Every store and every replica keeps the same records, `key -> (level, expires)`, where `key` is one
byte for the kind and 16 bytes of identifier. Merging takes the maximum of both, so neither order
nor repetition matters.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Protocol

NEVER = (1 << 53) - 1
"""The expiry of an entry that stays for good: a thief who has a key chooses his own `exp`."""


class Kind(StrEnum):
    """What an entry refuses."""

    TOKEN = "token"  # noqa: S105 - the name of a kind
    """One access token, by `jti`."""
    SESSION = "session"
    """Every token of one login, by `sid`."""
    SUBJECT = "subject"
    """A person's tokens with a `sub_ver` below the level."""
    KEY = "key"
    """Every token under a key, by `kid`; never expires."""
    CLIENT = "client"
    """A relying party's tokens, by `client_id` or audience, issued at or before the watermark."""
    EPOCH = "epoch"
    """Every token issued at or before the watermark, whoever's it is."""


_PREFIX = {
    Kind.TOKEN: b"t",
    Kind.SESSION: b"s",
    Kind.SUBJECT: b"u",
    Kind.KEY: b"k",
    Kind.CLIENT: b"c",
    Kind.EPOCH: b"e",
}
_KIND = {prefix: kind for kind, prefix in _PREFIX.items()}
_KIND_BYTES = frozenset(b"".join(_KIND))


@dataclass(frozen=True, slots=True)
class Entry:
    """One revocation as an issuer states it; `expires` in seconds since the epoch.

    It must outlive every token that it can hit: leeway and clock skew included.
    """

    kind: Kind
    value: str
    level: int
    expires: int

    def __post_init__(self) -> None:
        # Redis scripts count in doubles, exact up to here.
        if not (0 <= self.level <= NEVER and 0 <= self.expires <= NEVER):
            raise ValueError(f"level and expiry of an entry lie between 0 and {NEVER}")

    @classmethod
    def token(cls, jti: str, expires: int) -> Entry:
        return cls(Kind.TOKEN, jti, 1, expires)

    @classmethod
    def session(cls, sid: str, expires: int) -> Entry:
        return cls(Kind.SESSION, sid, 1, expires)

    @classmethod
    def subject(cls, sub: str, least_version: int, expires: int) -> Entry:
        return cls(Kind.SUBJECT, sub, least_version, expires)

    @classmethod
    def key(cls, kid: str) -> Entry:
        return cls(Kind.KEY, kid, 1, NEVER)

    @classmethod
    def client(cls, client_id: str, watermark: int, expires: int) -> Entry:
        """Refuse a client's (or an audience's) tokens issued at or before `watermark`, seconds."""
        return cls(Kind.CLIENT, client_id, watermark, expires)

    @classmethod
    def epoch(cls, epoch_id: str, watermark: int) -> Entry:
        """Refuse every token issued at or before `watermark`, seconds."""
        return cls(Kind.EPOCH, epoch_id, watermark, NEVER)


@dataclass(frozen=True, slots=True)
class Record:
    """An entry as stores and replicas hold it."""

    key: bytes
    level: int
    expires: int

    @property
    def kind(self) -> Kind:
        return _KIND[self.key[:1]]


_WIRE = struct.Struct(">17sQQ")
RECORD_SIZE = _WIRE.size
"""Bytes of a record in the feed."""


def pack(records: Iterable[Record]) -> bytes:
    """Records as they stand in the feed: `RECORD_SIZE` bytes each."""
    return b"".join(_WIRE.pack(record.key, record.level, record.expires) for record in records)


def unpack(blob: bytes | memoryview) -> Iterator[Record]:
    """The records of one feed item. Raises `ValueError` for a blob of another form."""
    try:
        for key, level, expires in _WIRE.iter_unpack(blob):
            if key[:1] not in _KIND:
                raise ValueError("a feed record of unknown kind")
            yield Record(key, level, expires)
    except struct.error:
        raise ValueError("a feed item of broken length") from None


def is_packed(blob: bytes | memoryview) -> bool:
    """Whether `unpack` takes all of it; told at once, however long it is."""
    return len(blob) % RECORD_SIZE == 0 and _KIND_BYTES.issuperset(bytes(blob[::RECORD_SIZE]))


def record_key(kind: Kind, value: str, salt: bytes) -> bytes:
    """The 17-byte key of an identifier.

    Random identifiers (`jti`, `sid`) stand for themselves; names of people, clients and keys are
    stored as a keyed digest, so that the denylist names nobody.
    """
    prefix = _PREFIX[kind]
    if kind in _RANDOM_IDS:
        try:
            raw = binascii.a2b_base64(value.encode().translate(_TO_STANDARD) + b"==")
        except ValueError:
            raw = b""
        if len(raw) == 16:
            return prefix + raw
    return _digest_key(prefix, value, salt)


# The same clients and keys come again and again.
@lru_cache(maxsize=8192)
def _digest_key(prefix: bytes, value: str, salt: bytes) -> bytes:
    digest = _keyed(prefix, salt).copy()
    digest.update(value.encode())
    return prefix + digest.digest()


@lru_cache(maxsize=64)
def _keyed(prefix: bytes, salt: bytes) -> hashlib.blake2b:
    # Half of the work is taking in the key.
    return hashlib.blake2b(digest_size=16, key=salt, person=prefix)


def _random_ids(jti: str, sid: str, salt: bytes) -> bytes:
    """The first two of `Probe.ids`: what `record_key` says of them, in one step."""
    if len(jti) == len(sid) == 22:
        try:
            raw = binascii.a2b_base64(f"{jti}AA{sid}AA".encode().translate(_TO_STANDARD))
        except ValueError:
            raw = b""
        if len(raw) == 36:  # fewer bytes come of characters that are none of base64's
            return raw
    keys = record_key(Kind.TOKEN, jti, salt), record_key(Kind.SESSION, sid, salt)
    return b"%b\0\0%b\0\0" % (keys[0][1:], keys[1][1:])


@lru_cache(maxsize=1024)
def _keys_of_parties(
    kid: str, client_id: str, audiences: tuple[str, ...], salt: bytes
) -> tuple[bytes, ...]:
    """The keys of the signing key, the client and the audiences."""
    parties = (record_key(Kind.CLIENT, party, salt) for party in (client_id, *audiences))
    return (record_key(Kind.KEY, kid, salt), *parties)


_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_RANDOM_IDS = frozenset({Kind.TOKEN, Kind.SESSION, Kind.EPOCH})


def to_record(entry: Entry, salt: bytes) -> Record:
    return Record(record_key(entry.kind, entry.value, salt), entry.level, entry.expires)


class Revocable(Protocol):
    """The claims that revocation looks at; `tokens.AccessClaims` has them."""

    @property
    def jti(self) -> str: ...
    @property
    def sid(self) -> str: ...
    @property
    def sub(self) -> str: ...
    @property
    def sub_ver(self) -> int: ...
    @property
    def client_id(self) -> str: ...
    @property
    def aud(self) -> tuple[str, ...]: ...
    @property
    def iat(self) -> int: ...
    @property
    def exp(self) -> int: ...


class Probe(NamedTuple):
    """A token's record keys, ready to be looked up in the denylist that `salt` belongs to."""

    salt: bytes
    ids: bytes
    """16 bytes each of the token, its session and its subject, with two that say nothing after."""
    parties: tuple[bytes, ...]
    """The keys of its signing key, its client and its audiences, which many tokens share."""
    sub_ver: int
    iat: int

    @classmethod
    def of(cls, claims: Revocable, kid: str, salt: bytes) -> Probe:
        return cls(*_identified(claims, kid, salt), claims.sub_ver, claims.iat)

    @classmethod
    def of_keys(cls, salt: bytes, keys: tuple[bytes, ...], sub_ver: int, iat: int) -> Probe:
        """Of keys in the order of `keys`."""
        ids = b"".join(b"%b\0\0" % key[1:] for key in keys[:3])
        return cls(salt, ids, keys[3:], sub_ver, iat)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Those of the token, its session and subject, then of its parties."""
        ids = self.ids
        return (b"t" + ids[:16], b"s" + ids[18:34], b"u" + ids[36:52], *self.parties)


Identified = tuple[bytes, bytes, tuple[bytes, ...]]
"""The first three of a probe."""


def _identified(claims: Revocable, kid: str, salt: bytes) -> Identified:
    digest = _keyed(b"u", salt).copy()
    digest.update(claims.sub.encode())
    ids = _random_ids(claims.jti, claims.sid, salt) + digest.digest() + b"\0\0"
    return salt, ids, _keys_of_parties(kid, claims.client_id, claims.aud, salt)


class Candidate:
    """A token to be held against a denylist, once or again and again."""

    __slots__ = ("claims", "identified", "kid", "passed_at", "passed_by")

    def __init__(self, claims: Revocable, kid: str) -> None:
        self.claims = claims
        self.kid = kid
        self.identified: Identified = NOT_IDENTIFIED
        """For the denylist of its salt; a plain tuple, which the garbage collector forgets."""
        self.passed_by: object = None
        """The copy that last let it pass."""
        self.passed_at = -1
        """The number of changes that this copy had taken in by then."""

    def identify(self, salt: bytes) -> Identified:
        """What it is looked up by in a denylist of this salt, which hardly ever changes."""
        identified = self.identified = _identified(self.claims, self.kid, salt)
        self.passed_by = None
        return identified

    def probe(self, identified: Identified) -> Probe:
        return Probe(*identified, self.claims.sub_ver, self.claims.iat)


NOT_IDENTIFIED: Identified = (b"", b"", ())


def refusal(probe: Probe, level_of: Callable[[bytes], int], watermark: int) -> Kind | None:
    """The kind of the first entry that refuses the token, or None.

    `level_of` gives a record's level, 0 where there is none; `watermark` is the epoch's.
    """
    token, session, subject, key, *parties = probe.keys
    kind: Kind | None = None
    if level_of(token):
        kind = Kind.TOKEN
    elif level_of(session):
        kind = Kind.SESSION
    elif level_of(subject) > probe.sub_ver:
        kind = Kind.SUBJECT
    elif level_of(key):
        kind = Kind.KEY
    elif any(level_of(party) >= probe.iat for party in parties):
        kind = Kind.CLIENT
    elif probe.iat <= watermark:
        kind = Kind.EPOCH
    return kind
