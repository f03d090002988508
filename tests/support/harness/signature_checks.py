"""Signatures checked with and without the libraries of the extra `fast`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from tokens import BadSignature, VerificationKey, verification_key


@contextmanager
def openssl_alone() -> Iterator[None]:
    """Keys that are bound within are as where the extra is not installed."""
    with (
        patch.object(verification_key, "_aws_lc", lambda: None),
        patch.object(verification_key, "_libsodium", lambda: None),
    ):
        yield


def accepted(key: VerificationKey, signature: bytes, data: bytes) -> bool:
    """Whether it verifies; any exception but our own is a failure."""
    try:
        key.verify(signature, data)
    except BadSignature:
        return False
    return True
