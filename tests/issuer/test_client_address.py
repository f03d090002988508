"""Whose address counts: the one that the deployment's own proxies saw, never the client's word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.issuer_app import IssuerApp, granted
from harness.limits import OFF
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.middleware.proxy_fix import ProxyFix

from issuer.accounts import PasswordHasher
from issuer.http.client_address import ClientAddress
from issuer.networks import host_of, network_of, normalised

CLIENT = "203.0.113.7"
PROXIES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
VICTIM = "198.51.100.99"
CLAIMS = (
    "",
    VICTIM,
    f"{VICTIM}, {VICTIM}",
    f"{VICTIM},{VICTIM},{VICTIM},{VICTIM}",
    f'"{VICTIM}',
    f'"{VICTIM}, ',
    f'for="{VICTIM}"',
    f'"\\"{VICTIM}',
    "unknown",
    "_hidden",
    ",",
    ",,,,",
    " , ",
    "\t",
    f"{VICTIM}:80",
    f"[::ffff:{VICTIM}]:80",
    "[2001:db8::1",
    "2001:db8::1%eth0",
    "%",
    "\x00",
    "\xff\xfe",
    "\xb2.\xb9.1.1",
    "256.1.1.1",
    "0x7f.1",
    "127.0.0.1",
    "x" * 8000,
    ",".join([VICTIM] * 500),
    "' OR 1=1 --",
    "<script>",
)
"""What a client may put into `X-Forwarded-For`."""

Middleware = Callable[[Any, int], Any]


def seen(claim: str | None, hops: int, make: Middleware = ClientAddress, **environ: Any) -> str:
    """The address that counts, when a client's claim has come through so many proxies."""
    passed = [] if claim is None else [claim]
    peers = [CLIENT, *PROXIES][: hops + 1]
    # Each proxy appends whom it was asked by, as nginx, Caddy, Envoy and HAProxy do.
    header = ", ".join([*passed, *peers[:-1]])
    found: list[str] = []

    def app(given: dict[str, Any], _: Any) -> list[bytes]:
        found.append(given["REMOTE_ADDR"])
        return []

    given_environ = {"REMOTE_ADDR": peers[-1], **environ}
    if header:
        given_environ["HTTP_X_FORWARDED_FOR"] = header
    list(make(app, hops)(given_environ, None))
    return found[0]


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_no_claim_of_a_client_counts(hops: int) -> None:
    """Behind so many proxies each claim leaves the client's own address, to the letter."""
    assert {claim: seen(claim, hops) for claim in CLAIMS} == dict.fromkeys(CLAIMS, CLIENT)
    assert seen(None, hops) == CLIENT


@given(st.text(st.characters(max_codepoint=255), max_size=60), st.integers(0, 3))
def test_no_text_counts(claim: str, hops: int) -> None:
    """Nor does any other text."""
    assert seen(claim, hops) == CLIENT


def test_a_parser_of_quoted_lists_is_caught() -> None:
    """werkzeug's own middleware lets one quotation mark swallow what the proxy appended."""

    def fixed(app: Any, hops: int) -> Any:
        return ProxyFix(app, x_for=hops)

    assert seen(f'"{VICTIM}', 1, fixed) != CLIENT


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("203.0.113.7:5678", CLIENT),
        ("[2001:DB8:0::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("::ffff:203.0.113.7", CLIENT),
        ("[::FFFF:cb00:7107]:443", CLIENT),
        (" 203.0.113.7 ", CLIENT),
        # Not an address: the proxy itself is all that is known.
        ("unknown", PROXIES[0]),
        ("_gazonk", PROXIES[0]),
        ("203.0.113.7:x", PROXIES[0]),
        ("[203.0.113.7", PROXIES[0]),
        ("fe80::1%eth0", PROXIES[0]),
        ("", PROXIES[0]),
    ],
)
def test_proxies_spell_addresses_in_several_ways(written: str, address: str) -> None:
    """With a port, in brackets, IPv4 within IPv6: one spelling comes out, or the proxy's own."""
    environ = {"REMOTE_ADDR": PROXIES[0], "HTTP_X_FORWARDED_FOR": f"{VICTIM}, {written}"}
    found: list[str] = []
    app = ClientAddress(lambda given, _: [found.append(given["REMOTE_ADDR"])], 1)
    list(app(environ, None))
    assert found == [address]


def test_what_is_no_address_is_none() -> None:
    """A unix socket's peer has no address; its proxy's word counts all the same."""
    assert seen(VICTIM, 0, REMOTE_ADDR="") == ""
    assert seen(VICTIM, 1, REMOTE_ADDR="") == CLIENT
    assert seen(None, 0, REMOTE_ADDR="::ffff:203.0.113.7") == CLIENT
    assert seen(None, 0, REMOTE_ADDR="fe80::1%eth0") == "fe80::1"


def test_too_few_hops_leave_the_peer() -> None:
    """A request that did not come through every proxy has its peer's address."""
    environ = {"REMOTE_ADDR": PROXIES[0], "HTTP_X_FORWARDED_FOR": VICTIM}
    found: list[str] = []
    app = ClientAddress(lambda given, _: [found.append(given["REMOTE_ADDR"])], 2)
    list(app(environ, None))
    assert found == [PROXIES[0]]


@pytest.mark.parametrize(
    ("address", "host", "network"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2ff:3::4", "2001:db8:1:2ff::/64", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/56"),
        ("", "", ""),
        ("nobody", "", ""),
    ],
)
def test_networks(address: str, host: str, network: str) -> None:
    """A /24 of IPv4, a /56 of IPv6, and one network for all that have none; of a host, the /64."""
    assert network_of(address) == network
    assert host_of(address) == host
    assert normalised(normalised(address)) == normalised(address)


@stacks.anywhere
def test_session_and_queue_go_by_it(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session's address and the source in the queue are the proxy's word; nothing is a 500."""
    issuer = make_issuer(trusted_proxies=1, limits=OFF)
    sources: list[str] = []
    turn = PasswordHasher.turn

    def noted(self: PasswordHasher, source: str = "") -> Any:
        sources.append(source)
        return turn(self, source)

    monkeypatch.setattr(PasswordHasher, "turn", noted)
    for claim in CLAIMS:
        if not claim.isprintable():
            continue  # no server lets these through
        headers = {
            "X-Forwarded-For": f"{claim}, {CLIENT}",
            "Forwarded": f"for={VICTIM}",
            "X-Real-IP": VICTIM,
            "True-Client-IP": VICTIM,
            "X-Client-IP": VICTIM,
            "X-Forwarded-Proto": "javascript",
            "X-Forwarded-Host": "evil.example",
        }
        assert issuer.login("nobody", "wrong", headers=headers).status_code == 400
        grant = issuer.grant(headers=headers)
    changed = issuer.post(
        "/password/reset", {"token": "x", "new_password": "y" * 20}, headers=headers
    )
    assert changed.status_code == 400
    sessions = granted(issuer.sessions(grant["access_token"]))["sessions"]
    assert {session["address"] for session in sessions} == {CLIENT}
    assert set(sources) == {CLIENT}
