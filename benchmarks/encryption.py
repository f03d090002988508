"""Sealing access tokens for one audience, and refresh tokens for the issuer itself."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jwt
from joserfc import jwe
from joserfc.jwk import ECKey, OctKey, OKPKey

from keys import KeyRing, RotationPolicy, rotate
from tokens import Recipient, RefreshClaims, RefreshSealer, seal, unseal

from .lab import Lab
from .material import ISSUER, Signer, random_id
from .timing import Contender, Row

SEAL = "seal"
REFRESH_TOKEN = "refresh-token"

_ENCRYPTION = "A256GCM"
_SESSION = 43_200


def seal_and_unseal(lab: Lab) -> Iterator[Row]:
    """A signed access token into a JWE, and out again."""
    tokens = Signer.new("ES256").tokens(lab.scale.slow)
    for alg, key in (
        ("ECDH-ES+A256KW", ECKey.generate_key("P-256")),
        ("ECDH-ES", OKPKey.generate_key("X25519")),
    ):
        recipient = Recipient.from_jwk({**key.as_dict(private=True), "kid": "api-1", "alg": alg})
        algorithms = [alg, _ENCRYPTION]
        header = {"alg": alg, "enc": _ENCRYPTION, "cty": "JWT", "kid": "api-1"}
        name = f"{alg}, {key.as_dict()['crv']}"
        yield from lab.compare(
            SEAL,
            f"seal, {name}",
            [
                Contender("tokens.seal", _seal(recipient), tokens),
                Contender("joserfc", _encrypt(header, key, algorithms), tokens),
            ],
        )
        sealed = [seal(token, recipient) for token in tokens]
        yield from lab.compare(
            SEAL,
            f"unseal, {name}",
            [
                Contender("tokens.unseal", _unseal(recipient), sealed),
                Contender("joserfc", _decrypt(key, algorithms), sealed),
            ],
        )


def _seal(recipient: Recipient) -> Callable[[Any], object]:
    return lambda token: seal(token, recipient)


def _unseal(recipient: Recipient) -> Callable[[Any], object]:
    recipients = {recipient.kid: recipient}
    return lambda token: unseal(token, recipients)


def _encrypt(
    header: Mapping[str, Any], key: ECKey | OKPKey | OctKey, algorithms: list[str]
) -> Callable[[Any], str]:
    # A copy each time, for joserfc writes `epk` into the header that it is given.
    return lambda text: jwe.encrypt_compact(dict(header), text, key, algorithms=algorithms)


def _decrypt(key: ECKey | OKPKey | OctKey, algorithms: list[str]) -> Callable[[Any], bytes]:
    return lambda token: jwe.decrypt_compact(token, key, algorithms=algorithms).plaintext or b""


def refresh_tokens(lab: Lab) -> Iterator[Row]:
    """Claims in, sealed token out, and back.

    The second peer is what flask-jwt-extended's default amounts to: signed only, readable by
    whoever holds it.
    """
    now = int(time.time())
    ring = rotate(KeyRing(), now, RotationPolicy())
    sealer = RefreshSealer(ISSUER, lambda: ring)
    many = [
        RefreshClaims(
            iss=ISSUER, sub=random_id(), sid=random_id(), client_id="web", gen=1, exp=now + _SESSION
        )
        for _ in range(lab.scale.slow)
    ]
    payloads = [one.to_payload() for one in many]
    secret = ring.sealing().private
    assert isinstance(secret, bytes)
    key, algorithms = OctKey.import_key(secret), ["dir", _ENCRYPTION]
    header = {"alg": "dir", "enc": _ENCRYPTION, "typ": "rt+jwt", "kid": ring.sealing().kid}
    encrypt, decrypt = _encrypt(header, key, algorithms), _decrypt(key, algorithms)
    hmac_key = secrets.token_bytes(32)
    yield from lab.compare(
        REFRESH_TOKEN,
        "mint a refresh token",
        [
            Contender("RefreshSealer.mint", sealer.mint, many),
            Contender("joserfc", lambda payload: encrypt(json.dumps(payload)), payloads),
            Contender(
                "PyJWT HS256, readable",
                lambda payload: jwt.encode(payload, hmac_key, algorithm="HS256"),
                payloads,
            ),
        ],
    )
    minted = [sealer.mint(one) for one in many]
    readable = [jwt.encode(payload, hmac_key, algorithm="HS256") for payload in payloads]
    yield from lab.compare(
        REFRESH_TOKEN,
        "open a refresh token",
        [
            Contender("RefreshSealer.open", lambda token: sealer.open(token, time.time()), minted),
            Contender("joserfc", lambda token: json.loads(decrypt(token)), minted),
            Contender(
                "PyJWT HS256, readable",
                lambda token: jwt.decode(token, hmac_key, algorithms=["HS256"], issuer=ISSUER),
                readable,
            ),
        ],
    )
