"""Other people's JOSE, as oracles for ours: PyJWT, joserfc, and ECDH-ES written out by hand."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from joserfc import jwe, jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry

# What an oracle may raise on bad input; both let errors of json, base64 and cryptography through.
REFUSALS = (jwt.PyJWTError, JoseError, ValueError, TypeError, KeyError, AttributeError)

KEY_TYPES = {"ES": "EC", "Ed": "OKP", "PS": "RSA", "RS": "RSA", "HS": "oct"}


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


_SHA256 = hashes.SHA256()
_ECDSA: dict[str, tuple[hashes.HashAlgorithm, int]] = {
    "ES256": (_SHA256, 32),
    "ES384": (hashes.SHA384(), 48),
}


def raw_signature(alg: str, private: Any, data: bytes) -> bytes:
    """A signature as RFC 7518 section 3 and RFC 8037 write it, by `cryptography` alone."""
    if alg in _ECDSA:
        digest, size = _ECDSA[alg]
        halves = decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
        return b"".join(half.to_bytes(size, "big") for half in halves)
    if alg == "EdDSA":
        return bytes(private.sign(data))
    scheme = padding.PSS(padding.MGF1(_SHA256), 32) if alg == "PS256" else padding.PKCS1v15()
    return bytes(private.sign(data, scheme, _SHA256))


@contextmanager
def deprecated_algorithms() -> Iterator[None]:
    """joserfc warns of `none`, RSA1_5 and EdDSA, and the RFCs' examples use all three."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield


def pyjwt_payload(token: str, key: Any, alg: str) -> bytes | None:
    """The payload that PyJWT verifies in a compact JWS, None where it refuses."""
    try:
        return bytes(jwt.PyJWS().decode(token, key, algorithms=[alg]))
    except REFUSALS:
        return None


def joserfc_payload(token: str, key: Any, alg: str) -> bytes | None:
    """The payload that joserfc verifies in a compact JWS, None where it refuses."""
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    try:
        with deprecated_algorithms():
            return jws.deserialize_compact(token, key, registry=registry).payload
    except REFUSALS:
        return None


def key_finder(jwk: Mapping[str, Any] | None) -> Callable[[Any], Any]:
    """A joserfc key look-up in a JWK or JWK Set, by `kid` and then by what the `alg` needs."""
    members: list[Mapping[str, Any]] = [] if jwk is None else jwk.get("keys") or [jwk]

    def find(recipient: Any) -> Any:
        header = recipient.headers()
        if header["alg"] == "none":
            return JWKRegistry.import_key({"kty": "oct", "k": ""})
        wanted = [key for key in members if key.get("kid") == header.get("kid")] or members
        kty = KEY_TYPES.get(header["alg"][:2])
        return JWKRegistry.import_key(next(k for k in wanted if k["kty"] == kty or len(wanted) < 2))

    return find


def joserfc_verified(vector: Mapping[str, Any]) -> bytes:
    """The payload of an RFC's JWS example of any serialization and algorithm. Raises."""
    token, find = vector["token"], key_finder(vector["key"])
    with deprecated_algorithms():
        if vector["serialization"] in {"general", "flattened"}:
            registry = jws.JWSRegistry(algorithms=_algorithms(vector))
            return jws.deserialize_json(json.loads(token), find, registry=registry).payload
        if vector["serialization"] == "detached":  # RFC 7515 appendix F
            header, _, signature = token.split(".")
            token = f"{header}.{b64u(vector['payload_utf8'].encode())}.{signature}"
        return jws.deserialize_compact(token, find, algorithms=_algorithms(vector)).payload


def joserfc_decrypted(vector: Mapping[str, Any]) -> bytes:
    """The plaintext of an RFC's JWE example of any serialization and algorithm. Raises."""
    find = key_finder(vector["key"])
    algorithms = [*_algorithms(vector), vector["encryption"], "DEF"]
    with deprecated_algorithms():
        if vector["serialization"] == "compact":
            opened = jwe.decrypt_compact(vector["token"], find, algorithms=algorithms)
            return opened.plaintext or b""
        value = json.loads(vector["token"])
        if "protected" not in value:
            return _all_headers_unprotected(value, unb64u(vector["key"]["k"]))
        return jwe.decrypt_json(value, find, algorithms=algorithms).plaintext or b""


def _all_headers_unprotected(value: dict[str, Any], kek: bytes) -> bytes:
    # RFC 7516 section 5.2, step 15: without a protected header the AAD is empty.
    assert value["unprotected"]["alg"] == "A128KW"
    (recipient,) = value["recipients"]
    cek = aes_key_unwrap(kek, unb64u(recipient["encrypted_key"]))
    sealed = unb64u(value["ciphertext"]) + unb64u(value["tag"])
    return AESGCM(cek).decrypt(unb64u(value["iv"]), sealed, b"")


def _algorithms(vector: Mapping[str, Any]) -> list[str]:
    algorithm = vector["algorithm"]
    return list(algorithm) if isinstance(algorithm, list) else [algorithm]


def concat_kdf(shared_secret: bytes, header: Mapping[str, Any]) -> bytes:
    """RFC 7518 section 4.6.2, for ECDH-ES and ECDH-ES+A128KW/A256KW with AES-GCM."""
    direct = header["alg"] == "ECDH-ES"
    name = header["enc"] if direct else header["alg"]
    bits = 256 if "256" in name else 128

    def sized(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    algorithm_id = sized(name.encode())
    parties = sized(unb64u(header.get("apu", ""))) + sized(unb64u(header.get("apv", "")))
    other = algorithm_id + parties + bits.to_bytes(4, "big")
    return ConcatKDFHash(hashes.SHA256(), bits // 8, other).derive(shared_secret)


def seal_with_secret(header: Mapping[str, Any], shared_secret: bytes, plaintext: bytes) -> str:
    """A compact ECDH-ES token from an RFC's agreed secret, with a fixed CEK and IV (a test's)."""
    derived = concat_kdf(shared_secret, header)
    iv = bytes(range(12))
    if header["alg"] == "ECDH-ES":
        cek, wrapped = derived, b""
    else:
        cek = bytes(range(32 if header["enc"] == "A256GCM" else 16))
        wrapped = aes_key_wrap(derived, cek)
    protected = b64u(json.dumps(header, separators=(",", ":")).encode())
    sealed = AESGCM(cek).encrypt(iv, plaintext, protected.encode())
    return ".".join([protected, b64u(wrapped), b64u(iv), b64u(sealed[:-16]), b64u(sealed[-16:])])
