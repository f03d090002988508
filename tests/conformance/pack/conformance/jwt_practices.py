"""RFC 8725: how an issuer makes JWTs, and what an API must refuse."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
from conformance.forging import (
    altered,
    b64u,
    claims_of,
    header_of,
    unb64u,
    unsigned,
    with_header,
    with_mac,
)
from conformance.registry import check, requirement
from conformance.target import Target
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SYMMETRIC = ("HS", "none")
CURRENT = {
    *("ES256", "ES384", "ES512", "ES256K", "PS256", "PS384", "PS512"),
    *("RS256", "RS384", "RS512", "EdDSA", "Ed25519", "Ed448"),
    *("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"),
}


@requirement(
    "RFC 8725", "3.1", "MUST", "Only algorithms of the verifier's own list count: `none` does not."
)
@requirement("ASVS 5", "9.1.2", "L1", "The `none` algorithm is on no list.")
@check(needs="api", fails_on="credulous API, deaf API")
def none_is_refused(target: Target) -> None:
    token = target.login().access
    target.accepts(token)
    for alg in ("none", "None", "NONE", "nOnE", ""):
        for forged in unsigned(token, alg):
            target.refuses(forged, f"a token under {alg!r}")


@requirement(
    "RFC 8725",
    "3.1",
    "MUST",
    "The header's algorithm is the one that is computed: no MAC keyed with a public key.",
)
@requirement("ASVS 5", "9.1.2", "L1", "Symmetric and asymmetric keys cannot be confused.")
@check(needs="api metadata", fails_on="credulous API, deaf API")
def public_key_is_no_secret(target: Target) -> None:
    token = target.login().access
    target.accepts(token)
    for published in target.jwks():
        public = jwt.PyJWK.from_dict(published).key
        forms = [json.dumps(published).encode()]
        if hasattr(public, "public_bytes"):
            forms += [
                public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
                public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            ]
        for secret in forms:
            target.refuses(with_mac(token, secret), "a MAC keyed with the public key")


@requirement("RFC 8725", "3.1", "MUST", "Each key is published for exactly one algorithm.")
@check(needs="metadata", fails_on="vague JWKS")
def one_key_one_algorithm(target: Target) -> None:
    algorithms: dict[str, str] = {}
    for published in target.jwks():
        alg = published.get("alg", "")
        members = {name: published.get(name) for name in ("kty", "crv", "x", "y", "n", "e", "pub")}
        known = algorithms.setdefault(json.dumps(members), alg)
        assert known == alg, f"one key is published for {known} and for {alg}"


@requirement(
    "RFC 8725", "3.1", "MUST", "A verifier refuses a key under another algorithm than its own."
)
@check(needs="api key", fails_on="credulous API, deaf API")
def key_under_another_algorithm_is_refused(target: Target) -> None:
    forge = target.forge()
    target.accepts(forge.token())
    for alg in {"ES256", "ES384", "RS256", "PS256", "EdDSA"} - {forge.header["alg"]}:
        target.refuses(forge.token(header={"alg": alg}), f"a token that says {alg}")


@requirement("RFC 8725", "3.2", "MUST", "Tokens are signed by a current algorithm.")
@requirement("RFC 8725", "3.2", "SHOULD NOT", "No token is made under `none`.")
@requirement(
    "RFC 8725", "3.5", "MUST NOT", "No key that a person could remember makes MACs: none are made."
)
@check(fails_on="junk tokens")
def algorithm_is_current(target: Target) -> None:
    alg = header_of(target.login().access).get("alg")
    assert alg in CURRENT, f"the token is under {alg!r}"


@requirement("RFC 8725", "3.3", "MUST", "A token of which any part was changed is refused.")
@requirement("ASVS 5", "9.1.1", "L1", "The signature is verified before the contents count.")
@check(needs="api", fails_on="credulous API, deaf API")
def changed_token_is_refused(target: Target) -> None:
    token = target.login().access
    target.accepts(token)
    head, payload, signature = token.split(".")
    other = target.login().access.split(".")[2]
    flipped = bytearray(unb64u(signature))
    flipped[7] ^= 1
    for forged in (
        altered(token, sub="somebody-else"),
        altered(token, exp=claims_of(token).get("exp", 0) + 60),
        with_header(token, crit=["b64"]),
        f"{head}.{payload}.{b64u(bytes(flipped))}",
        f"{head}.{payload}.{other}",
        f"{head}.{payload}.{b64u(bytes(len(flipped)))}",
        f"{head}.{payload}.",
        f"{head}.{payload}",
    ):
        target.refuses(forged, "a changed token")


@requirement(
    "RFC 8725", "3.5", "MUST", "Keys are long enough: RSA from 2048 bits, curves from 256."
)
@check(needs="metadata", fails_on="vague JWKS")
def keys_are_long_enough(target: Target) -> None:
    for published in target.jwks():
        assert published["kty"] != "oct", "a symmetric key is published"
        if published["kty"] == "RSA":
            bits = len(unb64u(published["n"])) * 8
            assert bits >= 2048, f"an RSA key of {bits} bits"
        if published["kty"] == "EC":
            assert published["crv"] in {"P-256", "P-384", "P-521", "secp256k1"}, published["crv"]


@requirement("RFC 8725", "3.6", "SHOULD NOT", "Nothing is compressed before it is encrypted.")
@check(needs="body", fails_on="compressed refresh")
def nothing_is_compressed(target: Target) -> None:
    tokens = target.login()
    for token in (tokens.access, tokens.refresh):
        if token.count(".") == 4:
            assert "zip" not in header_of(token), "an encrypted token is compressed"


@requirement(
    "RFC 8725", "3.7", "MUST", "No other encoding than UTF-8 is read, in header or claims."
)
@check(needs="api key", fails_on="credulous API, deaf API")
def other_encodings_are_refused(target: Target) -> None:
    forge = target.forge()
    claims = json.dumps(forge.claims)
    target.accepts(forge.signed(claims.encode()))
    for encoding in ("utf-16", "utf-16-be", "utf-32-le"):
        target.refuses(forge.signed(claims.encode(encoding)), f"claims in {encoding}")
        signed = forge.signed(claims.encode(), encoding=encoding)
        target.refuses(signed, f"a header in {encoding}")


@requirement("RFC 8725", "3.8", "MUST", "A key that is not the issuer's makes no valid token.")
@check(needs="api", fails_on="credulous API, deaf API")
def other_key_is_refused(target: Target) -> None:
    token = target.login().access
    target.accepts(token)
    header = header_of(token)
    fields = {name: value for name, value in header.items() if name != "alg"}
    stranger = ec.generate_private_key(ec.SECP256R1())
    forged = jwt.encode(claims_of(token), stranger, algorithm="ES256", headers=fields)
    target.refuses(forged, "a token under a stranger's key")


@requirement("RFC 8725", "3.8", "MUST", "A token that names another issuer is refused.")
@check(needs="api key", fails_on="credulous API, deaf API")
def other_issuer_is_refused(target: Target) -> None:
    forge = target.forge()
    target.accepts(forge.token())
    for issuer in ("https://id.example", None, "", [forge.claims["iss"]]):
        target.refuses(forge.token(iss=issuer), f"a token of issuer {issuer!r}")


@requirement("RFC 8725", "3.8", "MUST", "A token whose subject is not a valid one is refused.")
@check(needs="api key", fails_on="credulous API, deaf API")
def token_without_subject_is_refused(target: Target) -> None:
    forge = target.forge()
    target.accepts(forge.token())
    for subject in (None, "", 7, ["a", "b"]):
        target.refuses(forge.token(sub=subject), f"a token of subject {subject!r}")


@requirement("RFC 8725", "3.9", "MUST", "A token says which audience it is for.")
@check(fails_on="junk tokens")
def audience_is_named(target: Target) -> None:
    audience = target.login().claims.get("aud")
    assert isinstance(audience, str | list), "aud is missing"
    assert audience, "aud is empty"


@requirement("RFC 8725", "3.9", "MUST", "A token for another audience, or for none, is refused.")
@requirement("ASVS 5", "9.2.3", "L2", "An API takes tokens that are meant for it alone.")
@check(needs="api key", fails_on="credulous API, deaf API")
def other_audience_is_refused(target: Target) -> None:
    forge = target.forge()
    target.accepts(forge.token())
    for audience in ("another-api", None, [], ["another-api", "a-third"]):
        target.refuses(forge.token(aud=audience), f"a token for {audience!r}")


@requirement(
    "RFC 8725", "3.10", "advice", "A `kid` is only ever looked up: no path, no SQL, no LDAP."
)
@check(needs="api", fails_on="credulous API, deaf API")
def kid_is_only_a_name(target: Target) -> None:
    token = target.login().access
    target.accepts(token)
    for kid in (
        "../../../../dev/null",
        "x' UNION SELECT 'k",
        "*)(uid=*))(|(uid=*",
        "",
        None,
        7,
        "k" * 2000,
        "\x00",
    ):
        target.refuses(with_header(token, kid=kid), f"a token with kid {str(kid)[:20]!r}")


@requirement("RFC 8725", "3.10", "SHOULD", "No address in a header is followed.")
@requirement("ASVS 5", "9.1.3", "L1", "`jku` and `x5u` lead to no key.")
@check(needs="api", fails_on="credulous API, deaf API")
def addresses_in_headers_are_not_followed(target: Target) -> None:
    token = target.login().access
    target.accepts(token)
    with _Listener() as listener:
        stranger = ec.generate_private_key(ec.SECP256R1())
        for name in ("jku", "x5u"):
            headers = {**header_of(token), name: listener.url}
            headers.pop("alg")
            forged = jwt.encode(claims_of(token), stranger, algorithm="ES256", headers=headers)
            target.refuses(forged, f"a token with {name}")
        assert listener.asked == [], "the verifier has followed an address"


@requirement("ASVS 5", "9.1.3", "L1", "A key that a token brings along verifies nothing.")
@check(needs="api", fails_on="credulous API, deaf API")
def embedded_key_is_not_trusted(target: Target) -> None:
    token = target.login().access
    target.accepts(token)
    stranger = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    headers = {"typ": header_of(token).get("typ"), "jwk": {**public, "alg": "ES256"}}
    for kid in ("stranger", header_of(token).get("kid", "x")):
        forged = jwt.encode(
            claims_of(token), stranger, algorithm="ES256", headers={**headers, "kid": kid}
        )
        target.refuses(forged, "a token with its own key")


@requirement("RFC 8725", "3.11", "RECOMMENDED", "A token says what kind of JWT it is.")
@requirement("RFC 8725", "3.11", "RECOMMENDED", "The type is written without `application/`.")
@check(fails_on="junk tokens")
def type_is_explicit(target: Target) -> None:
    typ = header_of(target.login().access).get("typ", "")
    assert typ.lower().endswith("+jwt"), f"typ is {typ!r}"
    assert not typ.lower().startswith("application/"), f"typ is {typ!r}"


@requirement(
    "RFC 8725", "3.12", "MUST", "A refresh token passes for no access token, nor the other way."
)
@requirement("ASVS 5", "9.2.2", "L2", "A token of another purpose is refused, whoever made it.")
@check(needs="api", fails_on="credulous API, forgiving refresh")
def kinds_do_not_mix(target: Target) -> None:
    tokens = target.login()
    target.accepts(tokens.access)
    if tokens.refresh:
        target.refuses(tokens.refresh, "a refresh token")
    answer = target.refresh(tokens.access)
    assert 400 <= answer.status < 500, f"an access token refreshes: {answer.status}"


class _Listener:
    """A server that serves a key and notes who asks for it."""

    def __enter__(self) -> _Listener:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(404)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
