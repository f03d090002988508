"""Gateways that check tokens themselves, kept in step by an agent, beside a real issuer."""

from __future__ import annotations

import json
import time
from contextlib import closing

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from harness.attack_surfaces import BearerSurface
from harness.attack_table import Place
from harness.attacks_all import ATTACKS
from harness.issuer_app import claims_of
from harness.jose_oracle import b64u
from harness.native_deployment import PAUSE, Deployment, refused
from harness.native_gateways import Haproxy
from harness.processes import until

from keys import NoActiveKey

# --- what passes, and what the backend is told --------------------------------------------------


def test_a_valid_token_passes_with_what_it_says(deployment: Deployment) -> None:
    """The backend is told the caller's claims, and `traceparent` goes through unchanged."""
    token = deployment.token()
    claims = claims_of(token)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = deployment.ask(token, "/a?b=c", headers={"traceparent": trace})
    assert answer.status == 200
    seen = deployment.backend.seen[-1]
    assert seen.path == "/a?b=c"
    assert seen.all("traceparent") == [trace]
    assert seen.all("x-gatepass-subject") == [claims["sub"]]
    assert seen.all("x-gatepass-session") == [claims["sid"]]
    assert seen.all("x-gatepass-client") == ["demo"]
    assert seen.all("x-gatepass-scope") == [claims["scope"]]
    assert seen.all("x-gatepass-token-id") == [claims["jti"]]
    assert seen.all("x-gatepass-acr") == [claims["acr"]]
    assert seen.all("x-gatepass-expires") == [str(claims["exp"])]


def test_what_is_no_plain_text_is_encoded(deployment: Deployment) -> None:
    """Names and roles of any characters reach the backend as gateway/identity.py writes them."""
    token = deployment.forged(sub="zoë, \r\nX-Evil: 1%", roles=["a b", "c,d"])
    assert deployment.ask(token).status == 200
    seen = deployment.backend.seen[-1]
    assert seen.all("x-gatepass-subject") == ["zo%C3%AB%2C%20%0D%0AX-Evil:%201%25"]
    assert seen.all("x-gatepass-roles") == ["a%20b,c%2Cd"]
    assert seen.all("x-evil") == []


def test_a_client_cannot_speak_for_the_gateway(deployment: Deployment) -> None:
    """Identity headers of the client's own are gone, whatever their spelling and number.

    The token says nothing of a level, so the gateway has none to put in its place.
    """
    forged = [
        ("X-Gatepass-Subject", "admin"),
        ("x-gatepass-subject", "root"),
        ("X_Gatepass_Subject", "admin"),
        ("x_gatepass-roles", "admin"),
        ("X-GATEPASS_ROLES", "admin"),
        ("X-Gatepass-Anything", "admin"),
        ("X-Gatepass-Acr", "root"),
        ("X_Gatepass_Acr", "root"),
    ]
    token = deployment.forged(acr=None)
    for path, sent in (("/", token), ("/public/", None)):
        bearer = [("Authorization", f"Bearer {sent}")] if sent else []
        assert deployment.send(path, [*forged, *bearer]) == 200
        seen = deployment.backend.seen[-1]
        assert seen.path == path
        subject = [claims_of(token)["sub"]] if sent else []
        assert seen.all("x-gatepass-subject") == subject
        assert not any(seen.all("x-gatepass-acr"))
        assert "admin" not in str(seen.headers)
        assert "root" not in str(seen.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/%6frders/1",
        "/%6Frders/%zz",
        "/orders/%zz",
        "/orders;a=b/1",
        "/public/..;/orders/1",
        "/public/..\\orders/1",
        "/public\\..\\orders/1",
    ],
)
def test_no_spelling_of_a_path_leads_past_its_scope(deployment: Deployment, path: str) -> None:
    """Escapes, semicolons and backslashes that a backend undoes do not change what is asked."""
    token, seen = deployment.forged(scope="orders:write"), len(deployment.backend.seen)
    assert deployment.ask(token, "/").status == 200
    for headers in ([("Authorization", f"Bearer {token}")], []):
        assert deployment.send(path, headers) in {400, 401, 403}
    assert len(deployment.backend.seen) == seen + 1


def test_a_route_asks_for_a_scope(deployment: Deployment) -> None:
    """403 with the scope that is missing (RFC 6750 section 3.1); a part of a scope is none."""
    enough = deployment.forged(scope="orders:write orders:read")
    assert deployment.ask(enough, "/orders/1").status == 200
    for scope in ("", "orders:write", "orders:reader", "my-orders:read"):
        answer = deployment.ask(deployment.forged(scope=scope), "/orders/1")
        assert answer.status == 403
        assert answer.headers["www-authenticate"] == (
            'Bearer error="insufficient_scope", scope="orders:read"'
        )


@pytest.mark.parametrize(
    "path", ["/public/../orders/1", "/public/%2e%2e/orders/1", "/public/%2F..%2Forders/1"]
)
def test_no_spelling_of_a_path_opens_another(deployment: Deployment, path: str) -> None:
    """What is asked of a route is asked of each path that the backend may take for it."""
    assert deployment.send(path, []) in (400, 401)


# --- what is refused ----------------------------------------------------------------------------


def test_no_token_is_asked_for(deployment: Deployment) -> None:
    """Without a bearer token the challenge names no error (RFC 6750 section 3.1)."""
    for headers in ({}, {"Authorization": "Basic YTpi"}):
        answer = deployment.ask(None, headers=headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    token = deployment.token()
    assert deployment.ask(None, f"/?access_token={token}").status == 401


READ_BY_ENVOY = frozenset(
    {
        "crit None",
        "a trailing comma",
        "a control character in the payload",
        "sub_ver 1.0",
        "amr {}",
        "acr None",
        "roles None",
        "roles {}",
    }
)
"""What Envoy's own parser evens out before our filter sees it; only the issuer could sign it."""


def test_every_attack_of_the_table_is_refused(deployment: Deployment) -> None:
    """Of more than a thousand tokens, those that its one key can be attacked with."""
    material = deployment.material()
    taken, odd, asked = set(), {}, 0
    with closing(BearerSurface(Place.GATEWAY, deployment.gateway.port, "/")) as surface:
        for attack in ATTACKS.values():
            try:
                token = attack.make(material)
            except NoActiveKey:
                continue
            if Place.GATEWAY not in attack.at or not surface.can_be_asked(token):
                continue
            asked += 1
            for _ in until(15, "another answer than 503", PAUSE):
                answer = surface.ask(token)
                if answer.status != 503:
                    break
            if answer.status == 200:
                taken.add(attack.name)
            elif surface.judge(token, answer):
                odd[attack.name] = answer.status
        assert surface.takes(material.token())
    assert taken == (frozenset() if isinstance(deployment.gateway, Haproxy) else READ_BY_ENVOY)
    assert odd == {}
    assert asked > 900


def test_claims_at_the_limit_pass(deployment: Deployment) -> None:
    """A list of audiences with ours, a spent lifetime within the leeway, the longest lifetime."""
    now = int(time.time())
    for changes in (
        {"aud": ["other-api", "api"]},
        {"iat": now - 100, "exp": now - 5},
        {"exp": now + 3590},
        {"iat": now + 5},
        {"nbf": now + 5},
    ):
        assert deployment.ask(deployment.forged(**changes)).status == 200, changes


def test_types_in_other_spellings_pass(deployment: Deployment) -> None:
    """RFC 9068 section 4 takes the long form; RFC 7515 section 4.1.9 ignores case."""
    for typ in ("AT+JWT", "application/at+jwt"):
        assert deployment.ask(deployment.forged(headers={"typ": typ})).status == 200


def test_two_authorizations_are_refused(deployment: Deployment) -> None:
    """Which of them counts is not for a guess: not even the same one twice passes."""
    token = deployment.token()
    for second in (f"Bearer {token}", "Bearer x", "Basic YTpi"):
        for order in ((f"Bearer {token}", second), (second, f"Bearer {token}")):
            headers = [("Authorization", value) for value in order]
            assert deployment.send("/", headers) in (400, 401)


def test_a_payload_with_a_member_twice_is_refused(deployment: Deployment) -> None:
    """RFC 7519 section 4: which of the two counts is not for each reader to choose."""
    key, token = deployment.key(), deployment.token()
    payload = json.dumps(claims_of(token))
    head = token.split(".")[0]
    for text in (payload[:-1] + ', "sub": "admin"}', payload + "{}", payload + " x", "[]"):
        signed = f"{head}.{b64u(text.encode())}"
        der = key.private.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr, call-arg, arg-type]
        r, s = decode_dss_signature(der)
        refused(deployment.ask(f"{signed}.{b64u(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"))
