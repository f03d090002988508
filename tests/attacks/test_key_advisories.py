"""Published advisories of other people's JOSE about keys, algorithms and cut-offs in time.

docs/advisories.md has the table; `test_advisory_table.py` holds the two together.
"""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from harness.attack_material import Material, quick_key
from harness.attacks_all import refused
from harness.local_issuer import LocalIssuer, freshen
from joserfc.jwk import ECKey, OKPKey

from gateway.errors import KeysUnavailable
from gateway.fetching import fetch_json
from gateway.jwks import COOL_DOWN, JwksClient
from keys import InvalidKey, load_public_jwk
from keys.jwk import public_members
from revocation import Entry, Probe, TokenRevoked, open_denylist
from tokens import (
    BadSignature,
    InvalidClaim,
    Recipient,
    TokenError,
    UnknownKid,
    VerificationKey,
)

# --- A public key as a shared secret, and other algorithms


def test_dsa_3293_pyjwt_public_key_as_hmac_secret(material: Material) -> None:
    """HS256 with the very text of a public key."""
    refused(material, "HS256 with the PEM of the RS256 key", "HS256 with the PEM of the ES256 key")


def test_cve_2017_11424_pkcs1_pem_as_hmac_secret(material: Material) -> None:
    """The same with the one PEM form that a list of forms had forgotten."""
    refused(material, "HS256 with the PKCS1 PEM of the RS256 key")


def test_cve_2022_29217_openssh_form_as_hmac_secret(material: Material) -> None:
    """The same with OpenSSH's form; there is no list of forms here, and no HMAC."""
    refused(material, "HS256 with the OpenSSH form of the EdDSA key")


def test_cve_2024_33663_ecdsa_openssh_form_as_hmac_secret(material: Material) -> None:
    """The same with an ECDSA key."""
    refused(material, "HS256 with the OpenSSH form of the ES256 key")


def test_cve_2024_37568_any_public_key_as_hmac_secret(material: Material) -> None:
    """The same where no algorithm was named: here a key has its own."""
    refused(material, "HS384 with the", "HS512 with the")


def test_cve_2026_48526_jwk_as_hmac_secret(material: Material) -> None:
    """The same with a JWK's text."""
    refused(material, "HS256 with the JWK of the")


def test_cve_2026_102273_jwk_set_as_hmac_secret(material: Material) -> None:
    """The same with a JWK set's text."""
    refused(material, "HS256 with the JWK set of the")


def test_cve_2026_102268_altered_pem_as_hmac_secret(material: Material) -> None:
    """The same with a PEM whose white space was changed."""
    refused(
        material, "HS256 with the PEM behind", "HS256 with the PEM with", "HS256 with the PEM in"
    )


def test_cve_2026_114615_prefixed_key_as_hmac_secret(material: Material) -> None:
    """The same with something in front of the PEM."""
    refused(material, "HS256 with the PEM behind a space", "HS256 with the PEM behind a byte order")


def test_cve_2026_85394_der_as_hmac_secret(material: Material) -> None:
    """The same with DER."""
    refused(material, "HS256 with the DER of the")


def test_cve_2026_102271_der_as_hmac_secret(material: Material) -> None:
    """The same in PyJWT."""
    refused(material, "HS256 with the DER of the", "HS384 with the DER of the")


def test_cve_2026_102272_jwk_behind_a_byte_order_mark_as_hmac_secret(material: Material) -> None:
    """The same with a JWK's text behind a mark that a parser passes over."""
    refused(material, "HS256 with the JWK behind a byte order mark of the")


def test_cve_2026_102270_pem_markers_without_an_end(material: Material) -> None:
    """Where a token or a JWK could bring them, nobody looks for what would be their end."""
    text = "-----BEGIN CERTIFICATE-----\n" * 20_000
    jwks = (
        {"kty": "RSA", "alg": "RS256", "n": text, "e": text},
        {"kty": "EC", "alg": "ES256", "crv": "P-256", "x": text, "y": text},
        {"kty": "OKP", "alg": "EdDSA", "crv": "Ed25519", "x": text},
    )
    began = time.thread_time()
    for jwk in jwks:
        with pytest.raises(InvalidKey):
            load_public_jwk({**jwk, "kid": "k"})
    for name in ("kid", "alg", "x5c", "jwk"):
        with pytest.raises(TokenError):
            material.verifier().verify(material.signed(material.header(**{name: text})))
    assert time.thread_time() - began < 1


def test_cve_2026_102266_empty_hmac_key(material: Material) -> None:
    """A MAC that takes no secret."""
    refused(material, "HS256 with no secret")


def test_cve_2026_49852_empty_hmac_key(material: Material) -> None:
    """The same in joserfc, which we use for encryption."""
    refused(material, "HS256 with no secret", "HS256 with a zero byte")


def test_cve_2026_114616_empty_hmac_key(material: Material) -> None:
    """The same in Authlib."""
    refused(material, "HS256 with no secret")


def test_cve_2026_120459_empty_hmac_key(material: Material) -> None:
    """The same in python-jose."""
    refused(material, "HS256 with no secret")


def test_cve_2026_28802_none_with_a_blank_signature(material: Material) -> None:
    """`none` and nothing behind it."""
    refused(material, "alg 'none' without a signature", "an unsecured form")


def test_cve_2025_61152_none_is_decoded(material: Material) -> None:
    """`none`, however it is spelt."""
    refused(material, *(f"alg {name!r}" for name in ("none", "None", "NONE", "nOnE")))


def test_cve_2026_48523_algorithm_bound_to_the_key(material: Material) -> None:
    """The header names an allowed algorithm, and the key signs by its own."""
    refused(material, "alg EdDSA over a good signature of ES256", "alg RS256 over a good")


def test_cve_2026_84185_kid_binding(material: Material) -> None:
    """With two keys of one algorithm, only the one that the `kid` names verifies."""
    other = quick_key("ES256")

    def find_key(kid: str) -> VerificationKey:
        key = other if kid == other.kid else material.key()
        assert key.public is not None
        return VerificationKey.of(kid, "ES256", key.public)

    verifier = material.verifier(find_key=find_key)
    assert verifier.verify(material.signed(material.header(kid=other.kid), key=other))
    with pytest.raises(BadSignature):
        verifier.verify(material.signed(material.header(), key=other))
    with pytest.raises(BadSignature):
        verifier.verify(material.signed(material.header(kid=other.kid)))


@pytest.fixture(scope="module")
def weak() -> rsa.RSAPublicKey:
    """An RSA key that is too short."""
    return rsa.generate_private_key(65537, 1024).public_key()


def test_cve_2025_45768_weak_keys(weak: rsa.RSAPublicKey) -> None:
    """An RSA key below 2048 bits verifies nothing."""
    for alg in ("RS256", "PS256"):
        with pytest.raises(InvalidKey):
            load_public_jwk({**public_members(weak), "kid": "k", "alg": alg})
        with pytest.raises(TokenError):
            VerificationKey.of("k", alg, weak)


def test_cve_2025_45767_weak_keys(material: Material, weak: rsa.RSAPublicKey) -> None:
    """The same of jose for Node; short secrets for HMAC are no keys here at all."""
    with pytest.raises(InvalidKey):
        load_public_jwk({**public_members(weak), "kid": "k", "alg": "RS256"})
    with pytest.raises(InvalidKey):
        load_public_jwk({"kty": "oct", "k": "c2hvcnQ", "kid": "k", "alg": "HS256"})
    refused(material, "HS256 with a word")


def test_cve_2022_21449_zero_signatures(material: Material) -> None:
    """R and S of 0, with which Java verified everything."""
    refused(material, "an ES256 signature R 0 and S 0", "an ES256 signature of R 0")


# --- Keys of the token's own choice


def test_cve_2018_0114_embedded_key(material: Material) -> None:
    """A key in the header, and its signature."""
    refused(material, "jwk of the attacker's key")


def test_cve_2026_27962_embedded_key(material: Material) -> None:
    """The same in Authlib, where no key was given."""
    refused(material, "jwk of the attacker's key", "jwk over a good signature")


def test_cve_2026_48522_addresses_that_are_no_http(tmp_path: Any) -> None:
    """Keys come over HTTP, and from below the issuer's own address."""
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    for url in (f"file://{tmp_path}/jwks.json", "ftp://127.0.0.1/x", "data:,%7B%7D", "//x", "x"):
        with pytest.raises(KeysUnavailable):
            fetch_json(url)


class Redirects(http.server.BaseHTTPRequestHandler):
    """Sends everybody somewhere else."""

    target = ""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        """Say nothing."""


@pytest.fixture
def redirecting(trap: socket.socket) -> Iterator[str]:
    """A server that redirects to where nobody may go."""
    Redirects.target = f"http://127.0.0.1:{trap.getsockname()[1]}/keys"
    server = http.server.HTTPServer(("127.0.0.1", 0), Redirects)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    server.shutdown()
    server.server_close()
    thread.join()


def test_cve_2026_102267_redirects_are_not_followed(redirecting: str, trap: socket.socket) -> None:
    """Keys come from where the issuer is, not from where somebody sends us."""
    with pytest.raises(KeysUnavailable, match="302"):
        fetch_json(redirecting)
    with pytest.raises(BlockingIOError):
        trap.accept()


class HandClock:
    """Seconds, moved by the test."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def flood(client: JwksClient) -> None:
    """Ask for many keys that nobody has."""
    for number in range(300):
        with pytest.raises(UnknownKid):
            client.find(f"nobody's {number}")


def test_cve_2026_48524_unknown_kids_and_failed_fetches() -> None:
    """A flood costs one fetch in each cool-down, and a fetch that fails costs no key."""
    issuer, clock = LocalIssuer(), HandClock()
    client = JwksClient("https://id.example", fetch=issuer.fetch, clock=clock)
    client.load()
    flood(client)
    assert issuer.jwks_fetches == 1
    issuer.down = True
    clock.now += COOL_DOWN + 1
    flood(client)
    assert len(issuer.fetches) <= 4
    assert client.find(issuer.key.kid)


def test_ghsa_2gx3_rcp4_g85q_repeated_refreshes() -> None:
    """However long a flood lasts, fetches are as rare as the cool-down lets them be."""
    issuer, clock = LocalIssuer(), HandClock()
    client = JwksClient("https://id.example", fetch=issuer.fetch, clock=clock)
    for _ in range(5):
        flood(client)
        clock.now += COOL_DOWN
    assert issuer.jwks_fetches <= 5


def test_cve_2026_102274_one_malformed_key_in_a_set() -> None:
    """It is passed over; the others verify."""
    issuer = LocalIssuer()
    broken = {"kty": "RSA", "kid": "broken", "alg": "RS256"}
    members = [
        {**broken, "n": "AA", "e": "AQAB"},
        {**broken, "n": 7, "e": []},
        broken,
        None,
        7,
        "x",
    ]
    issuer.jwks = {"keys": [*members, *issuer.ring.jwks()["keys"]]}
    client = JwksClient("https://id.example", fetch=issuer.fetch)
    assert client.find(issuer.key.kid).alg == "ES256"
    with pytest.raises(UnknownKid):
        client.find("broken")


def test_cve_2026_102275_halves_of_two_keys() -> None:
    """A private JWK whose public half is another key's is none."""
    for make in (lambda: ECKey.generate_key("P-256"), lambda: OKPKey.generate_key("X25519")):
        one, two = (make().as_dict(private=True) for _ in range(2))
        assert Recipient.from_jwk({**one, "kid": "k"})
        with pytest.raises(InvalidClaim):
            Recipient.from_jwk({**one, "d": two["d"], "kid": "k"})


# --- Cut-offs in time

MINUTE = 60


def cut_off(everywhere: int, client: int, issued: int) -> bool:
    """Whether a token is refused, by a gateway's replica and by the denylist itself.

    Seconds ago: when everything, and when one client was revoked, and when the token was issued.
    """
    issuer = LocalIssuer()
    denylist = open_denylist(f"memory://advisory-{everywhere}-{client}-{issued}")
    denylist.initialise(watermark=issuer.now - everywhere)
    denylist.mark_ready()
    denylist.add([Entry.client("app", issuer.now - client, issuer.now + 3600)])
    verifier = issuer.verifier(denylist, max_staleness=3600)
    freshen(denylist, verifier.replica)
    claims = issuer.claims(iat=issuer.now - issued, auth_time=issuer.now - issued)
    found = denylist.lookup(Probe.of(claims, issuer.key.kid, denylist.state().salt))
    try:
        verifier.verify(issuer.token(iat=claims.iat, auth_time=claims.iat))
    except TokenRevoked:
        gateway = True
    else:
        gateway = False
    denylist.close()
    assert gateway == (found is not None)
    return gateway


def test_cve_2026_18218_an_older_cut_off_hides_no_newer_one() -> None:
    """All was revoked long ago and a client just now: its tokens from between are refused."""
    assert cut_off(everywhere=4 * MINUTE, client=MINUTE, issued=2 * MINUTE)
    assert not cut_off(everywhere=4 * MINUTE, client=2 * MINUTE, issued=MINUTE)


def test_cve_2026_8922_a_clients_cut_off_hides_no_general_one() -> None:
    """A client was revoked long ago and all just now: its tokens from between are refused."""
    assert cut_off(everywhere=MINUTE, client=4 * MINUTE, issued=2 * MINUTE)
    assert cut_off(everywhere=MINUTE, client=4 * MINUTE, issued=MINUTE)
