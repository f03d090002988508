"""The ring as octets: what the store encrypts. Version 1 is a JSON object, private halves PKCS #8.

A private half that lies in a token is `{"held": "pkcs11"}`; a release that knows none refuses it.

Reading is strict although the octets are authenticated, because a ring of an unknown version or
one edited by hand in development must fail here and not at the next signature.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from .algorithms import SEALING_ALGORITHM, SEALING_KEY_BYTES, PrivateKey, check_fit
from .errors import InvalidKey, InvalidRing
from .held import Held, Hold
from .jwk import (
    b64url_decode,
    b64url_encode,
    load_public_jwk,
    public_jwk,
    public_members,
    thumbprint,
)
from .ring import Key, KeyRing, KeyState

_VERSION: Final = 1
_TIMES: Final = ("created", "activated", "demoted", "gone_at")
_HELD: Final = {"held": "pkcs11"}
_MEMBERS: Final = frozenset({"kid", "alg", "state", "public", "private", *_TIMES})


def encode_ring(ring: KeyRing) -> bytes:
    """Write a ring, private halves included, in the clear."""
    keys = [_encode_key(key) for key in ring.keys]
    return json.dumps({"version": _VERSION, "keys": keys}, separators=(",", ":")).encode("ascii")


def decode_ring(octets: bytes, hold: Hold | None = None) -> KeyRing:
    """Read what `encode_ring` wrote; `hold` gives the private halves that lie elsewhere.

    Raises InvalidKey or InvalidRing; neither quotes the octets.
    """
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError):
        raise InvalidRing("not JSON") from None
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise InvalidRing(f"not a key ring of version {_VERSION}")
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise InvalidRing("the list of keys is missing")
    return KeyRing(tuple(_decode_key(key, hold) for key in keys))


def _encode_key(key: Key) -> dict[str, object]:
    return {
        "kid": key.kid,
        "alg": key.alg,
        "state": key.state.value,
        **{name: getattr(key, name) for name in _TIMES},
        "public": None if key.public is None else public_jwk(key),
        "private": _encode_private(key.private),
    }


def _encode_private(private: PrivateKey | bytes | None) -> str | dict[str, str] | None:
    if private is None:
        return None
    if isinstance(private, Held):
        return _HELD
    if isinstance(private, bytes):
        return b64url_encode(private)
    return b64url_encode(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _decode_key(entry: object, hold: Hold | None) -> Key:
    if not isinstance(entry, dict) or entry.keys() != _MEMBERS:
        raise InvalidRing("a key has missing or unknown members")
    try:
        state = KeyState(entry["state"])
    except ValueError:
        raise InvalidRing("a key has an unknown state") from None
    _check_times(entry, state)
    if entry["alg"] == SEALING_ALGORITHM:
        return _decode_sealing(entry, state)
    return _decode_asymmetric(entry, state, hold)


def _check_times(entry: Mapping[str, object], state: KeyState) -> None:
    needed = {
        KeyState.PENDING: {"created"},
        KeyState.ACTIVE: {"created", "activated"},
        KeyState.RETIRING: set(_TIMES),
    }[state]
    for name in _TIMES:
        if (type(entry[name]) is int) is not (name in needed):
            raise InvalidRing(f"{name} does not fit the state {state}")


def _decode_sealing(entry: Mapping[str, object], state: KeyState) -> Key:
    kid, secret = entry["kid"], entry["private"]
    if not isinstance(kid, str) or not isinstance(secret, str) or entry["public"] is not None:
        raise InvalidKey("the sealing key has the wrong members")
    try:
        private = b64url_decode(secret)
    except ValueError:
        raise InvalidKey("the sealing key is unreadable") from None
    if len(private) != SEALING_KEY_BYTES:
        raise InvalidKey("the sealing key has the wrong length")
    return replace(_bare(kid, SEALING_ALGORITHM, state, entry), private=private)


def _decode_asymmetric(entry: Mapping[str, object], state: KeyState, hold: Hold | None) -> Key:
    jwk = entry["public"]
    if not isinstance(jwk, dict):
        raise InvalidKey("a public key is missing")
    kid, alg, public = load_public_jwk(jwk)
    if (kid, alg) != (entry["kid"], entry["alg"]) or kid != thumbprint(public_members(public)):
        raise InvalidKey("kid or alg differ from the public key")
    bare = _bare(kid, alg, state, entry)
    if state is KeyState.RETIRING:
        if entry["private"] is not None:
            raise InvalidKey("a retiring key has a private half")
        return replace(bare, public=public)
    if entry["private"] == _HELD:
        if hold is None:
            raise InvalidKey("a private half lies in a PKCS#11 token, and no token is set")
        return replace(bare, public=public, private=hold(kid, alg, public))
    private = _load_private(entry["private"])
    if public_members(check_fit(alg, private.public_key())) != public_members(public):
        raise InvalidKey("the private half belongs to another key")
    return replace(bare, public=public, private=private)


def _load_private(text: object) -> PrivateKey:
    if not isinstance(text, str):
        raise InvalidKey("a private half is missing")
    try:
        private = load_der_private_key(b64url_decode(text), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        # The last is what OpenSSL's less usual refusals become.
        raise InvalidKey("a private half is unreadable") from None
    if not isinstance(private, PrivateKey):
        raise InvalidKey("a private half has an unknown type")
    return private


def _bare(kid: str, alg: str, state: KeyState, entry: Mapping[str, object]) -> Key:
    # `_check_times` has seen to which of them are there.
    times = {name: value for name in _TIMES if isinstance(value := entry[name], int)}
    return Key(
        kid,
        alg,
        state,
        created=times["created"],
        activated=times.get("activated"),
        demoted=times.get("demoted"),
        gone_at=times.get("gone_at"),
    )
