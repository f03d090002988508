"""The issuer's keys as gateways of other makes need them."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.agents.issuer_keys import IssuerKeys
from gateway.errors import KeysUnavailable
from gateway.fetching import Fetched
from gateway.jwks import MAX_AGE
from keys import generate
from keys.jwk import public_jwk
from revocation import suspension_aware_clock

ISSUER = "https://id.example"
METADATA = f"{ISSUER}/.well-known/oauth-authorization-server"
ES256 = generate("ES256", 0)


class Site:
    """Documents by URL, and a clock."""

    def __init__(self, *members: Any) -> None:
        self.now = 1000.0
        self.documents: dict[str, Any] = {
            METADATA: {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"},
            f"{ISSUER}/jwks": {"keys": list(members)},
        }

    def keys(self) -> IssuerKeys:
        return IssuerKeys(ISSUER, frozenset({"ES256"}), fetch=self.fetch, clock=lambda: self.now)

    def fetch(self, url: str) -> Fetched:
        if url not in self.documents:
            raise KeysUnavailable("nothing there")
        return Fetched(self.documents[url], 300)


def test_keys_are_written_as_pem() -> None:
    """Each key with its one algorithm, as a public key that other programs load."""
    keys = Site(public_jwk(ES256)).keys()
    keys.refresh()
    ((kid, key),) = keys.keys.items()
    assert (kid, key.alg) == (ES256.kid, "ES256")
    assert load_pem_public_key(key.pem.encode()) == ES256.public


def test_what_a_gateway_cannot_use_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """Another algorithm, a broken key, a kid that could end a line of configuration: told once."""
    es256 = public_jwk(ES256)
    site = Site(
        public_jwk(generate("EdDSA", 0)),
        {**es256, "kid": "a b"},
        {**es256, "kid": 'a"\n'},
        {**es256, "kid": "é"},
        {**es256, "x": "AA"},
        {**es256, "alg": "none"},
        "no key",
    )
    keys = site.keys()
    keys.refresh()
    said = len(caplog.records)
    keys.refresh()
    assert (keys.keys, len(caplog.records)) == ({}, said)
    assert said >= 5


def test_a_failed_fetch_keeps_the_last_copy_for_a_while() -> None:
    """Up to its greatest age, and at it; without a first copy nothing is trusted."""
    site = Site(public_jwk(ES256))
    keys = site.keys()
    assert not keys.ready
    keys.refresh()
    site.documents.clear()
    site.now += MAX_AGE
    with pytest.raises(KeysUnavailable):
        keys.refresh()
    assert keys.ready
    assert ES256.kid in keys.keys
    site.now += 0.001
    assert not keys.ready


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example", "jwks_uri": f"{ISSUER}/jwks"},
        {"issuer": ISSUER, "jwks_uri": "https://other.example/jwks"},
        {"issuer": ISSUER, "jwks_uri": f"{ISSUER}.evil.example/jwks"},
        {"issuer": ISSUER},
        [],
    ],
)
def test_others_keys_are_not_taken(metadata: Any) -> None:
    """Metadata of somebody else, or that points elsewhere (RFC 8414 section 3.3)."""
    site = Site(public_jwk(ES256))
    site.documents[METADATA] = metadata
    with pytest.raises(KeysUnavailable):
        site.keys().refresh()


def test_keys_that_have_moved_are_found_again() -> None:
    """After a failed fetch the metadata are asked where the keys are by now."""
    site = Site(public_jwk(ES256))
    keys = site.keys()
    keys.refresh()
    site.documents[f"{ISSUER}/elsewhere"] = site.documents.pop(f"{ISSUER}/jwks")
    site.documents[METADATA]["jwks_uri"] = f"{ISSUER}/elsewhere"
    with pytest.raises(KeysUnavailable):
        keys.refresh()
    keys.refresh()
    assert set(keys.keys) == {ES256.kid}


def test_the_age_of_a_copy_counts_while_the_machine_sleeps() -> None:
    """By default it goes by a clock that a suspension does not stop."""
    keys = IssuerKeys(ISSUER, frozenset({"ES256"}), fetch=Site().fetch)
    assert keys._clock is suspension_aware_clock
