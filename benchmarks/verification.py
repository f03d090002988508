"""What a gateway pays for a token, revocation check included: one that is new, one seen before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway import Verifier
from gateway.fetching import Fetched
from keys.jwk import public_jwk
from revocation.packed_copy import PackedCopy

from .lab import Lab
from .material import AUDIENCE, ISSUER, Signer
from .revoked import is_blocked, peer_gateway, revoked
from .signatures import bare_cryptography, verify_joserfc, verify_pyjwt
from .timing import Contender, Row

VERIFICATION = "verification"
ALGORITHMS = ("ES256", "EdDSA")
_SEEN = 200
"""Tokens that come again and again; each time as a new string, as from a request."""


def verification(lab: Lab) -> Iterator[Row]:
    """The whole verifier with its cache on, beside peers that check less."""
    with revoked(lab, lab.scale.gateway_entries[-1]) as both:
        in_redis = is_blocked(both.blocklist)
        for alg in ALGORITHMS:
            lab.say(f"signing {lab.scale.total_slow} tokens, {alg}")
            signer = Signer.new(alg)
            tokens = signer.tokens(lab.scale.total_slow)
            verifier = _verifier(signer, both.url, both.namespace)
            with verifier:
                if not verifier.replica.wait_in_step(30):
                    raise RuntimeError("the replica did not come into step")
                yield from lab.compare(
                    VERIFICATION,
                    f"a new token, revocation check included, {alg}",
                    [
                        Contender("Verifier", verifier.verify, tokens),
                        bare_cryptography(signer, tokens),
                        Contender("PyJWT, no revocation check", verify_pyjwt(signer), tokens),
                        Contender("joserfc, no revocation check", verify_joserfc(signer), tokens),
                        Contender("PyJWT + redis-py GET", peer_gateway(signer, in_redis), tokens),
                    ],
                )
                seen = [f"{token[:9]}{token[9:]}" for token in tokens[-_SEEN:]]
                changing = _after_a_change(verifier)
                yield from lab.compare(
                    VERIFICATION,
                    f"a token seen before, revocation check included, {alg}",
                    [
                        Contender("Verifier", verifier.verify, seen),
                        Contender("PyJWT + redis-py GET", peer_gateway(signer, in_redis), seen),
                    ],
                    count=lab.scale.fast,
                )
                yield from lab.compare(
                    VERIFICATION,
                    f"the same, something else revoked since, {alg}",
                    [
                        Contender("Verifier", changing, seen),
                        Contender("PyJWT + redis-py GET", peer_gateway(signer, in_redis), seen),
                    ],
                    count=lab.scale.fast,
                )


def _after_a_change(verifier: Verifier) -> Callable[[str], object]:
    """Verifies as if an entry had come in since the token was last seen."""
    copy = verifier.replica._copy
    assert isinstance(copy, PackedCopy)

    def verify(token: str) -> object:
        copy.count_change()
        return verifier.verify(token)

    return verify


def _verifier(signer: Signer, denylist: str, namespace: str) -> Verifier:
    documents = {
        f"{ISSUER}/.well-known/oauth-authorization-server": {
            "issuer": ISSUER,
            "jwks_uri": f"{ISSUER}/jwks.json",
        },
        f"{ISSUER}/jwks.json": {"keys": [public_jwk(signer.key)]},
    }
    return Verifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        denylist=denylist,
        namespace=namespace,
        max_staleness=60.0,
        fetch=lambda url: Fetched(documents[url], 300),
    )
