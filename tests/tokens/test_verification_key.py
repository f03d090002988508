"""Signatures are judged alike by whichever library checks them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from hashlib import sha512
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from harness.differential import signer
from harness.signature_checks import accepted, openssl_alone
from hypothesis import given
from hypothesis import strategies as st

from tokens import AlgorithmRefused, VerificationKey, signature_libraries
from tokens.verification_key import _der

ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "EdDSA": 2**252 + 27742317777372353535851937790883648493,
}
"""Of the group's base point: FIPS 186-5 and SP 800-186 section 3.2.1.3, RFC 8032 section 5.1."""
DATA = b"what is signed"


@pytest.fixture(params=["fast", "OpenSSL"])
def libraries(request: pytest.FixtureRequest) -> Iterator[str]:
    """With the extra `fast`, and as without it."""
    with nullcontext() if request.param == "fast" else openssl_alone():
        yield request.param


def key_of(alg: str) -> VerificationKey:
    return VerificationKey.of("k", alg, signer(alg).private.public_key())


def altered(signature: bytes, order: int, byteorder: Any) -> dict[str, bytes]:
    """Signatures that are none of the key's."""
    first, second = signature[:32], signature[32:]
    scalar = int.from_bytes(second, byteorder)
    zero, largest = bytes(32), b"\xff" * 32
    several = {
        "nothing": b"",
        "one byte less": signature[:-1],
        "one byte more": signature + b"\0",
        "what is signed, in part": signature + DATA[:1],
        "the first half": first,
        "twice": signature * 2,
        "its halves changed over": second + first,
        "zeros": zero + zero,
        "ones": largest + largest,
        "no first half": zero + second,
        "no second half": first + zero,
        "a first half too large": largest + second,
        "a second half too large": first + largest,
        "a second half of the order": first + order.to_bytes(32, byteorder),
        "another second half": first + ((scalar + 1) % order).to_bytes(32, byteorder),
    }
    if scalar + order < 1 << 256:
        several["a second half beyond the order"] = first + (scalar + order).to_bytes(32, byteorder)
    return several


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_each_library_takes_what_the_key_has_signed(libraries: str, alg: str) -> None:
    """And nothing else: of other data, of another key, cut, grown, moved or out of range."""
    key, own = key_of(alg), signer(alg)
    signature = own.signature(DATA)
    assert accepted(key, signature, DATA)
    assert not accepted(key, signature, DATA + b"\0")
    assert not accepted(key, signature, DATA[1:])
    assert not accepted(key, signature + DATA[:1], DATA[1:])
    assert not accepted(key, signature[:-1], signature[-1:] + DATA)
    assert not accepted(key, signer(alg, "another").signature(DATA), DATA)
    tried = altered(signature, ORDERS[alg], "big" if alg == "ES256" else "little")
    assert [name for name, other in tried.items() if accepted(key, other, DATA)] == []


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
@given(data=st.binary(max_size=300), bit=st.integers(0, 511))
def test_libraries_agree(alg: str, data: bytes, bit: int) -> None:
    """About a signature, and about one with a bit changed."""
    signature = signer(alg).signature(data)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    fast = key_of(alg)
    with openssl_alone():
        openssl = key_of(alg)
    for one, verdict in ((signature, True), (bytes(changed), False)):
        assert accepted(fast, one, data) is accepted(openssl, one, data) is verdict


def test_both_signatures_of_es256_are_taken(libraries: str) -> None:
    """S and n - S (RFC 7518 section 3.4), by either library."""
    signature = signer("ES256").signature(DATA)
    other = ORDERS["ES256"] - int.from_bytes(signature[32:], "big")
    assert accepted(key_of("ES256"), signature[:32] + other.to_bytes(32, "big"), DATA)


@pytest.mark.parametrize("octets", [b"\1" + bytes(31), bytes(32)])
def test_a_key_of_small_order_is_bound_to_nothing(libraries: str, octets: bytes) -> None:
    """Under the first OpenSSL takes one signature for any message; no library is asked."""
    public = ed25519.Ed25519PublicKey.from_public_bytes(octets)
    with pytest.raises(AlgorithmRefused):
        VerificationKey.of("k", "EdDSA", public)


def test_libsodium_alone_refuses_a_signature_from_a_small_order(libraries: str) -> None:
    """The key's own owner makes one whose R is the neutral element (RFC 8032 section 5.1.6)."""
    private = signer("EdDSA").private
    public, neutral = private.public_key().public_bytes_raw(), b"\1" + bytes(31)
    scalar = bytearray(sha512(private.private_bytes_raw()).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 63 | 64
    digest = int.from_bytes(sha512(neutral + public + DATA).digest(), "little")
    product = digest * int.from_bytes(scalar, "little") % ORDERS["EdDSA"]
    signature = neutral + product.to_bytes(32, "little")
    assert accepted(key_of("EdDSA"), signature, DATA) is (libraries == "OpenSSL")


@given(st.binary(min_size=64, max_size=64), st.sampled_from([b"", b"\0", b"\x80", b"\0\x80"]))
def test_signatures_are_written_as_der(signature: bytes, start: bytes) -> None:
    """R and S in the form that the library makes of them, leading zeros and sign bits included."""
    raw = (start + signature)[:32] + (start + signature[32:])[:32]
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    assert _der(raw) == encode_dss_signature(r, s)


def test_the_libraries_are_told(libraries: str) -> None:
    """As an operator reads them in the log of the forward-auth service."""
    fast = libraries == "fast"
    assert signature_libraries() == {
        "ES256": "AWS-LC" if fast else "OpenSSL",
        "EdDSA": "libsodium" if fast else "OpenSSL",
        "PS256": "OpenSSL",
        "RS256": "OpenSSL",
    }


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_threads_share_a_key(alg: str) -> None:
    """Eight of them at once get the right answer each time."""
    key, own = key_of(alg), signer(alg)
    good = own.signature(DATA)
    bad = own.signature(b"something else")

    def look(number: int) -> bool:
        return accepted(key, bad if number % 2 else good, DATA)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(look, range(4000))) == [True, False] * 2000


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_a_key_from_before_a_fork_is_one_after_it(alg: str) -> None:
    """Servers load their application, and perhaps its keys, before they fork their workers."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", FORKED, alg],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "True False\n" * 3), done.stderr


FORKED = """
import os, sys
from harness.differential import signer
from harness.signature_checks import accepted

own = signer(sys.argv[1])
key = own.ours
signature = own.signature(b"a")
assert accepted(key, signature, b"a")

for fork in range(2):
    child = os.fork()
    if not child:
        print(accepted(key, signature, b"a"), accepted(key, signature, b"b"), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print(accepted(key, signature, b"a"), accepted(key, signature, b"b"))
"""
