"""Public keys, each bound to the one algorithm that it serves, and the checks of their signatures.

`cryptography` can do all of them. The extra `fast` brings libraries that check two of them in less
time: AWS-LC, as `awscrt` wraps it, and libsodium, as PyNaCl does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from keys import SIGNING_ALGORITHMS, InvalidKey, PublicKey
from keys.algorithms import check_fit

from .errors import AlgorithmRefused, BadSignature

Check = Callable[[bytes, bytes], None]
"""Of a signature and what it is over; raises `BadSignature`."""
Verifies = Callable[[bytes, bytes], bool]
"""Of what was signed, or its digest, and a signature in the library's own form."""

# `hashlib` takes half as long for the digest as `cryptography` itself.
_ECDSA_SHA256 = ec.ECDSA(Prehashed(hashes.SHA256()))
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
_PKCS1 = padding.PKCS1v15()
_SHA256 = hashes.SHA256()


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key bound to the one algorithm it serves (RFC 8725 section 3.1)."""

    kid: str
    alg: str
    verify: Check
    """`verify(signature, signing_input)`; raises `BadSignature`."""

    @classmethod
    def of(cls, kid: str, alg: str, public: PublicKey) -> VerificationKey:
        """Bind `public` to `alg`.

        Raises `AlgorithmRefused` where the algorithm is not allowed or not this key's.
        """
        try:
            return cls(kid, alg, _check(alg, public))
        except InvalidKey as error:
            raise AlgorithmRefused(error.reason) from None


def signature_libraries() -> dict[str, str]:
    """Which library checks the signatures of each algorithm in this environment.

    It loads them, which takes a tenth of a second. Whoever binds keys in a thread calls it before
    there is one: a fork during an import leaves the child waiting for its end.
    """
    libraries = dict.fromkeys(sorted(SIGNING_ALGORITHMS), "OpenSSL")
    if _aws_lc():
        libraries["ES256"] = "AWS-LC"
    if _libsodium():
        libraries["EdDSA"] = "libsodium"
    return libraries


@cache
def _aws_lc() -> Any:
    """`awscrt.crypto.EC`, or None where it is not installed."""
    if sys.platform != "linux":
        return None  # there `awscrt` asks the system's own library
    try:
        from awscrt.crypto import EC
    except ImportError:
        return None
    return EC


@cache
def _libsodium() -> Any:
    """`nacl.signing.VerifyKey`, or None where it is not installed."""
    try:
        from nacl.signing import VerifyKey
    except ImportError:
        return None
    return VerifyKey


def _check(alg: str, public: PublicKey) -> Check:
    match check_fit(alg, public):
        case ec.EllipticCurvePublicKey() as p256:
            return _es256(p256)
        case ed25519.Ed25519PublicKey() as ed25519_key:
            return _eddsa(ed25519_key)
        case rsa_key:
            return _rsa(rsa_key, _PSS if alg == "PS256" else _PKCS1)


def _es256(public: ec.EllipticCurvePublicKey) -> Check:
    aws_lc = _aws_lc()
    verifies = _by_openssl(public, _ECDSA_SHA256) if aws_lc is None else _by_aws_lc(public, aws_lc)

    def verify(signature: bytes, data: bytes) -> None:
        # RFC 7518 section 3.4: R and S as 32 octets each, never DER and never shorter.
        if len(signature) != 64:
            raise BadSignature("an ES256 signature is 64 bytes")
        if not verifies(sha256(data).digest(), _der(signature)):
            raise BadSignature("the signature does not verify")

    return verify


def _by_aws_lc(public: ec.EllipticCurvePublicKey, key_type: Any) -> Verifies:
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        verifies: Verifies = key_type.new_key_from_der_data(public.public_bytes(*form)).verify
    except (RuntimeError, ValueError):
        raise AlgorithmRefused("AWS-LC takes no such key") from None
    return verifies


# X.690 sections 8.3 and 8.9: an integer has a zero in front where its highest bit would read as a
# sign, and a sequence begins with its length.
_INTEGER = (b"\x02\x20", b"\x02\x21\x00")
_SEQUENCE = tuple(
    tuple(bytes((0x30, 68 + r + s)) + _INTEGER[r] for s in (False, True)) for r in (False, True)
)


def _der(signature: bytes) -> bytes:
    """R and S as the DER that libraries take."""
    r, s = signature[0], signature[32]
    if not r or not s:
        # Leading zeros, which DER leaves out: one signature in 128.
        halves = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        return encode_dss_signature(*halves)
    r, s = r >> 7, s >> 7
    return b"".join((_SEQUENCE[r][s], signature[:32], _INTEGER[s], signature[32:]))


def _eddsa(public: ed25519.Ed25519PublicKey) -> Check:
    libsodium = _libsodium()
    verifies = _by_openssl(public) if libsodium is None else _by_libsodium(public, libsodium)

    def verify(signature: bytes, data: bytes) -> None:
        # RFC 8032 section 5.1.7. libsodium takes both in one piece and would cut it elsewhere.
        if len(signature) != 64:
            raise BadSignature("an EdDSA signature is 64 bytes")
        if not verifies(data, signature):
            raise BadSignature("the signature does not verify")

    return verify


def _by_libsodium(public: ed25519.Ed25519PublicKey, key_type: Any) -> Verifies:
    from nacl.exceptions import BadSignatureError

    check = key_type(public.public_bytes_raw()).verify

    def verifies(data: bytes, signature: bytes) -> bool:
        try:
            check(data, signature)
        except BadSignatureError:
            return False
        return True

    return verifies


def _rsa(public: rsa.RSAPublicKey, scheme: padding.AsymmetricPadding) -> Check:
    verifies = _by_openssl(public, scheme, _SHA256)

    def verify(signature: bytes, data: bytes) -> None:
        if not verifies(data, signature):
            raise BadSignature("the signature does not verify")

    return verify


def _by_openssl(public: Any, *scheme: Any) -> Verifies:
    check = public.verify

    def verifies(data: bytes, signature: bytes) -> bool:
        try:
            check(signature, data, *scheme)
        except InvalidSignature:
            return False
        return True

    return verifies
