"""Honest keys and tokens of one issuer, and the means to spoil them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from harness.jose_oracle import b64u, raw_signature, seal_with_secret, unb64u
from joserfc import jwe
from joserfc.jwk import ECKey, OctKey, OKPKey

from keys import SIGNING_ALGORITHMS, Key, KeyRing, KeyState, RotationPolicy, generate, rotate
from keys.jwk import public_members, thumbprint
from tokens import (
    AccessClaims,
    AccessVerifier,
    Recipient,
    RefreshClaims,
    RefreshSealer,
    UnknownKid,
    VerificationKey,
    seal,
)

NOW = 1_900_000_000
"""The time of material that no real clock takes part in."""
ISSUER = "https://id.example"
AUDIENCE = "api"
OTHER_AUDIENCE = "kiosk-api"
ALG = "ES256"
HONEST_ID = "H" * 21 + "A"
GCM = "A256GCM"

Segment = Mapping[str, Any] | bytes | str
"""An object or bytes, to be encoded, or a text that is a segment already."""


def quick_key(alg: str) -> Key:
    """An active key; of RSA the shortest that is allowed, which is made in a tenth of the time."""
    made = _rsa_key(alg) if alg in {"PS256", "RS256"} else generate(alg, NOW)
    return replace(made, state=KeyState.ACTIVE, activated=NOW)


def _rsa_key(alg: str) -> Key:
    private = rsa.generate_private_key(65537, 2048)
    kid = thumbprint(public_members(private.public_key()))
    state = KeyState.ACTIVE
    return Key(kid, alg, state, NOW, public=private.public_key(), private=private)


@cache
def strangers_key(alg: str) -> Key:
    """A key of somebody else's."""
    return quick_key(alg)


@cache
def other_tenant() -> KeyRing:
    """The keys of another issuer."""
    return rotate(KeyRing(), NOW, RotationPolicy())


@cache
def decryption_keys() -> tuple[dict[str, Any], ...]:
    """Private JWKs of our audience, one for each suite."""
    p256, x25519 = ECKey.generate_key("P-256"), OKPKey.generate_key("X25519")
    return tuple(
        {**key.as_dict(private=True), "kid": f"{curve}.{alg}", "alg": alg}
        for curve, key in (("P-256", p256), ("X25519", x25519))
        for alg in ("ECDH-ES+A256KW", "ECDH-ES")
    )


@cache
def neighbours_recipient(kid: str) -> Recipient:
    """The decryption key of another audience."""
    return Recipient.from_jwk({**ECKey.generate_key("P-256").as_dict(private=True), "kid": kid})


def encoded(segment: Segment) -> str:
    """A segment in base64url."""
    if isinstance(segment, str):
        return segment
    return b64u(segment if isinstance(segment, bytes) else json.dumps(segment).encode())


def spelled(members: Mapping[str, Any], more: str) -> bytes:
    """An object's JSON with something written in front of its last brace."""
    return f"{json.dumps(members)[:-1]}{more}}}".encode()


@dataclass
class Material:
    """What an attacker of one issuer starts from, and what he could not know: its keys.

    He need not know them for his attack; a token that only lacks in one thing shows that this is
    what is refused.
    """

    issuer: str
    ring: KeyRing
    claims: dict[str, Any]
    """Of an honest access token that holds now."""
    refresh_claims: RefreshClaims
    now: int
    trap: str = "http://127.0.0.1:9/keys"
    """An address that nobody may ask."""
    other_audience: str = OTHER_AUDIENCE
    recipients: Mapping[str, Recipient] = field(
        default_factory=lambda: {jwk["kid"]: Recipient.from_jwk(jwk) for jwk in decryption_keys()}
    )

    @classmethod
    def in_process(cls) -> Material:
        """Of an issuer that exists in this process alone."""
        claims = AccessClaims(
            iss=ISSUER,
            sub="somebody",
            aud=(AUDIENCE,),
            client_id="demo",
            iat=NOW,
            exp=NOW + 300,
            jti=HONEST_ID,
            sid="S" * 21 + "A",
            auth_time=NOW,
            sub_ver=1,
            amr=("pwd",),
            scope="read",
            roles=("editor",),
        )
        refresh = RefreshClaims(
            iss=ISSUER, sub="somebody", sid=claims.sid, client_id="demo", gen=3, exp=NOW + 9000
        )
        return cls(ISSUER, _ring(), claims.to_payload(), refresh, NOW)

    # --- signed ------------------------------------------------------------------------------

    def key(self, alg: str = ALG) -> Key:
        """The key that signs with an algorithm."""
        return self.ring.active(alg)

    def header(self, key: str = ALG, /, **changes: Any) -> dict[str, Any]:
        """The header of an honest token under the key of that algorithm, changed."""
        return {"alg": key, "typ": "at+jwt", "kid": self.key(key).kid, **changes}

    def token(self, alg: str = ALG, header: Segment | None = None, **claims: Any) -> str:
        """A token that the issuer's key signs, of honest claims but for these."""
        return self.signed(self.header(alg) if header is None else header, self.with_(claims), alg)

    def with_(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Honest claims, changed; what is changed to `...` is left out."""
        changed = {**self.claims, **changes}
        return {name: value for name, value in changed.items() if value is not ...}

    def signed(
        self,
        header: Segment,
        payload: Segment | None = None,
        alg: str = ALG,
        key: Key | None = None,
    ) -> str:
        """A token over these segments as they are, under a key that signs by its own algorithm."""
        body = f"{encoded(header)}.{encoded(self.claims if payload is None else payload)}"
        private = (key or self.key(alg)).private
        return f"{body}.{b64u(raw_signature(alg, private, body.encode()))}"

    def unsigned(
        self, header: Segment, signature: Segment = b"", payload: Segment | None = None
    ) -> str:
        """A token with whatever stands for its signature."""
        segments = (header, self.claims if payload is None else payload, signature)
        return ".".join(map(encoded, segments))

    # --- sealed ------------------------------------------------------------------------------

    def recipient(self, suite: str = "P-256.ECDH-ES+A256KW") -> Recipient:
        """One of our audience's keys: anybody may encrypt to it."""
        return self.recipients[suite]

    def sealed(self, inner: str | None = None, suite: str = "P-256.ECDH-ES+A256KW") -> str:
        """A token sealed for our audience."""
        return seal(self.token() if inner is None else inner, self.recipient(suite))

    def encrypted(self, content: str | bytes, **changes: Any) -> str:
        """Something sealed for our audience, rightly but for a header of one's own."""
        own = self.recipient()
        recipients = ec.EllipticCurvePublicNumbers(
            *(int.from_bytes(unb64u(own.key.as_dict()[name]), "big") for name in "xy"),
            ec.SECP256R1(),
        )
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        epk = ECKey(ephemeral, ephemeral.public_key()).as_dict(private=False)
        header = {"alg": own.alg, "enc": GCM, "cty": "JWT", "kid": own.kid, "epk": epk, **changes}
        kept = {name: value for name, value in header.items() if value is not ...}
        secret = ephemeral.exchange(ec.ECDH(), recipients.public_key())
        raw = content if isinstance(content, bytes) else content.encode()
        return seal_with_secret(kept, secret, raw)

    # --- refresh -----------------------------------------------------------------------------

    def refresh(self, **changes: Any) -> str:
        """A refresh token of the issuer's making."""
        claims = replace(self.refresh_claims, **changes)
        return RefreshSealer(self.issuer, lambda: self.ring).mint(claims)

    def refresh_of(self, payload: Segment, **changes: Any) -> str:
        """Any content under the sealing key and a header of one's own."""
        key = self.ring.sealing()
        header = {"alg": "dir", "enc": GCM, "typ": "rt+jwt", "kid": key.kid, **changes}
        kept = {name: value for name, value in header.items() if value is not ...}
        content = json.dumps(payload).encode() if isinstance(payload, Mapping) else payload
        return jwe.encrypt_compact(
            kept, content, OctKey.import_key(key.private), algorithms=["dir", kept["enc"], "DEF"]
        )

    # --- who reads them ----------------------------------------------------------------------

    def find_key(self, kid: str) -> VerificationKey:
        """As gateways find keys."""
        key = self.ring.verification_keys().get(kid)
        if key is None or key.public is None:
            raise UnknownKid(kid)
        return VerificationKey.of(kid, key.alg, key.public)

    def verifier(
        self, make: Callable[..., AccessVerifier] = AccessVerifier, **options: Any
    ) -> AccessVerifier:
        """A verifier of this issuer's tokens at the time of the material."""
        usual: dict[str, Any] = {
            "issuer": self.issuer,
            "audience": AUDIENCE,
            "find_key": self.find_key,
            "recipients": self.recipients,
            "clock": lambda: self.now,
        }
        return make(**{**usual, **options})


@cache
def _ring() -> KeyRing:
    sealing = rotate(KeyRing(), NOW, RotationPolicy()).sealing()
    return KeyRing((*map(quick_key, SIGNING_ALGORITHMS), sealing))


def high_s(token: str) -> str:
    """The twin of an ES256 token whose signature has the other S, which anybody can compute."""
    head, _, signature = token.rpartition(".")
    raw = unb64u(signature)
    s = P256_ORDER - int.from_bytes(raw[32:], "big")
    return f"{head}.{b64u(raw[:32] + s.to_bytes(32, 'big'))}"


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def opaque() -> str:
    """A token of the form that resets of passwords have."""
    return secrets.token_urlsafe(32)


def public_jwk(key: Key) -> dict[str, str]:
    """The public JWK of a key, as a token might carry it."""
    return next(iter(KeyRing((key,)).jwks()["keys"]))


def p384_signature(data: bytes) -> bytes:
    """A signature of another curve, R and S as long as ES384 has them."""
    return raw_signature("ES384", ec.generate_private_key(ec.SECP384R1()), data)
