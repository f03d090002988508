"""The keys of remembered tokens: they are looked at each time, though no signature is checked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.local_issuer import LocalIssuer
from harness.remembering_gateway import NOW, Gateway

from gateway import KeysUnavailable
from gateway.jwks import COOL_DOWN, MAX_AGE, JwksClient
from tokens import BadSignature, UnknownKid, VerificationKey


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    made = Gateway(monkeypatch)
    yield made
    made.verifier.stop()


def test_a_remembered_token_is_refused_once_its_key_has_left_the_set(gateway: Gateway) -> None:
    """A newer JWKS without the key is enough; back in the set, it is trusted again."""
    token = gateway.issuer.token()
    gateway.verify(token)
    gateway.issuer.jwks = {"keys": []}
    assert gateway.verify(token)  # the newer copy is not here yet
    gateway.fetch_again()
    for _ in range(2):
        with pytest.raises(UnknownKid):
            gateway.verify(token)
    gateway.issuer.jwks = gateway.issuer.ring.jwks()
    gateway.steady.now += COOL_DOWN
    assert gateway.verify(token)


def test_a_remembered_token_is_refused_under_another_key_of_its_kid(gateway: Gateway) -> None:
    """A `kid` that comes to name another key makes the signature count for nothing."""
    token = gateway.issuer.token()
    gateway.verify(token)
    other = LocalIssuer(NOW).ring.jwks()["keys"]
    mine = gateway.issuer.ring.jwks()["keys"]
    gateway.issuer.jwks = {
        "keys": [{**theirs, "kid": ours["kid"]} for theirs, ours in zip(other, mine, strict=True)]
    }
    gateway.fetch_again()
    with pytest.raises(BadSignature):
        gateway.verify(token)


def test_an_unchanged_set_forgets_no_token(gateway: Gateway) -> None:
    """Every few minutes the keys are fetched; the same keys are the same."""
    token = gateway.issuer.token()
    gateway.verify(token)
    gateway.fetch_again()
    gateway.verify(token)
    assert gateway.issuer.jwks_fetches == 2
    assert gateway.signatures == 1


def test_a_remembered_token_needs_keys_that_are_young_enough(gateway: Gateway) -> None:
    """With the issuer gone for longer than a copy may be old: 503, remembered or not."""
    token = gateway.issuer.token(exp=NOW + 3600)
    gateway.verify(token)
    gateway.issuer.down = True
    gateway.steady.now += MAX_AGE
    assert gateway.verify(token)
    gateway.steady.now += 0.1
    with pytest.raises(KeysUnavailable):
        gateway.verify(token)


# --- mutants -------------------------------------------------------------------------------------


class _NeverNewer:
    """Says of the keys' first copy that it is still the present one."""

    fresh_until = 1.0

    def __init__(self, keys: JwksClient) -> None:
        self.cached = keys.cached

    def clock(self) -> float:
        return 0.0


def test_a_cache_that_outlives_its_keys_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of a key that left fails for a verifier that does not look at keys again."""
    gateway = Gateway(monkeypatch)
    found: dict[str, VerificationKey] = {}
    real = gateway.verifier.keys.find
    monkeypatch.setattr(
        gateway.verifier._tokens,
        "find_key",
        lambda kid: found.get(kid) or found.setdefault(kid, real(kid)),
    )
    with pytest.raises(pytest.fail.Exception):
        test_a_remembered_token_is_refused_once_its_key_has_left_the_set(gateway)


def test_a_cache_that_goes_by_an_old_copy_of_keys_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So does it for one that asks for a key and then looks at no newer copy."""
    gateway = Gateway(monkeypatch)
    gateway.verify(gateway.issuer.token())
    monkeypatch.setattr(gateway.verifier, "_keys", _NeverNewer(gateway.verifier.keys))
    with pytest.raises(pytest.fail.Exception):
        test_a_remembered_token_is_refused_once_its_key_has_left_the_set(gateway)
