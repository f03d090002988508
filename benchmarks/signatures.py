"""Signing access tokens, and verifying fresh ones."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwt as joserfc_jwt
from joserfc.jwt import JWTClaimsRegistry

from keys import PublicKey
from tokens import sign as sign_ours

from .lab import Lab
from .material import AUDIENCE, ISSUER, Signer, claims
from .timing import Contender, Row

SIGN = "sign"
VERIFY = "verify"
SIGN_ALGORITHMS = ("ES256", "EdDSA")
VERIFY_ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
REQUIRED = ("iss", "sub", "aud", "client_id", "iat", "exp", "jti")
"""RFC 9068 section 2.2."""

_SHA256 = hashes.SHA256()
_ECDSA = ec.ECDSA(_SHA256)
_PADDING: dict[str, padding.AsymmetricPadding] = {
    "PS256": padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=padding.PSS.DIGEST_LENGTH),
    "RS256": padding.PKCS1v15(),
}


def sign(lab: Lab) -> Iterator[Row]:
    """Claims in, token out; keys ready in every library's own form."""
    for alg in SIGN_ALGORITHMS:
        signer = Signer.new(alg)
        many = [claims() for _ in range(lab.scale.slow)]
        payloads = [one.to_payload() for one in many]
        yield from lab.compare(
            SIGN,
            f"sign, {alg}",
            [
                Contender("tokens.sign", _sign_ours(signer), many),
                Contender("PyJWT", _sign_pyjwt(signer), payloads),
                Contender("joserfc", _sign_joserfc(signer), payloads),
            ],
        )


def _sign_ours(signer: Signer) -> Callable[[Any], object]:
    key = signer.key
    return lambda item: sign_ours(item, key)


def _sign_pyjwt(signer: Signer) -> Callable[[Any], object]:
    private, alg, headers = signer.private, signer.alg, dict(signer.header)
    return lambda payload: jwt.encode(payload, private, algorithm=alg, headers=headers)


def _sign_joserfc(signer: Signer) -> Callable[[Any], object]:
    key, algorithms, header = signer.joserfc, [signer.alg], dict(signer.header)
    return lambda payload: joserfc_jwt.encode(header, payload, key, algorithms=algorithms)


def verify(lab: Lab) -> Iterator[Row]:
    """Tokens that nobody has seen before: signature, issuer, audience, times, required claims."""
    for alg in VERIFY_ALGORITHMS:
        lab.say(f"signing {lab.scale.total_slow} tokens, {alg}")
        signer = Signer.new(alg)
        tokens = signer.tokens(lab.scale.total_slow)
        yield from lab.compare(
            VERIFY,
            f"verify, {alg}",
            [
                Contender("AccessVerifier", signer.verifier().verify, tokens),
                Contender("PyJWT", verify_pyjwt(signer), tokens),
                Contender("joserfc", verify_joserfc(signer), tokens),
                bare_cryptography(signer, tokens),
            ],
        )


def verify_pyjwt(signer: Signer) -> Callable[[str], dict[str, Any]]:
    """PyJWT told to check what it can of RFC 9068."""
    public, algorithms = signer.public, [signer.alg]

    def step(token: str) -> dict[str, Any]:
        return jwt.decode(
            token,
            public,
            algorithms=algorithms,
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": list(REQUIRED)},
        )

    return step


def verify_joserfc(signer: Signer) -> Callable[[Any], object]:
    key, algorithms = signer.joserfc, [signer.alg]
    checks: dict[str, Any] = {name: {"essential": True} for name in REQUIRED}
    checks["iss"]["value"] = ISSUER
    checks["aud"]["value"] = AUDIENCE

    def step(token: str) -> None:
        decoded = joserfc_jwt.decode(token, key, algorithms=algorithms)
        # Made for each token, as it holds the present time.
        JWTClaimsRegistry(**checks).validate(decoded.claims)

    return step


def bare_cryptography(signer: Signer, tokens: list[str]) -> Contender:
    """The floor: the signature alone, everything decoded and split beforehand."""
    inputs = []
    for token in tokens:
        signed, _, last = token.rpartition(".")
        signature = base64.urlsafe_b64decode(last + "==")
        if signer.alg == "ES256":
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            signature = encode_dss_signature(r, s)
        inputs.append((signature, signed.encode()))
    return Contender("cryptography alone", _check(signer.alg, signer.public), inputs)


def _check(alg: str, public: PublicKey) -> Callable[[tuple[bytes, bytes]], None]:
    if isinstance(public, ec.EllipticCurvePublicKey):
        return lambda item: public.verify(item[0], item[1], _ECDSA)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return lambda item: public.verify(item[0], item[1])
    assert isinstance(public, rsa.RSAPublicKey)
    scheme = _PADDING[alg]
    return lambda item: public.verify(item[0], item[1], scheme, _SHA256)
