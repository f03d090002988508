"""Identity headers hold what the token says, whatever that is, and nothing beside it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.identity import NAMES, PREFIX, identity_headers
from tokens import AccessClaims

CLAIMS = AccessClaims(
    iss="https://id.example",
    sub="somebody",
    aud=("api",),
    client_id="app",
    iat=1,
    exp=2,
    jti="A" * 22,
    sid="A" * 22,
    auth_time=1,
    sub_ver=1,
    amr=("pwd", "otp"),
    scope="read orders:write",
    roles=("editor", "chief"),
    acr="aal2",
)
# RFC 9110 section 5.5, without obs-text and tabs.
FIELD_VALUE = re.compile(rb"(?:[\x21-\x7e]+(?: [\x21-\x7e]+)*)?")


def headers(claims: AccessClaims) -> dict[str, bytes]:
    return {name.decode(): value for name, value in identity_headers(claims)}


def test_the_headers_of_an_ordinary_token() -> None:
    """Names and values as the docs have them, all of them, in the documented order."""
    found = headers(CLAIMS)
    assert list(found) == [f"{PREFIX}{name}".lower() for name in NAMES]
    assert list(found.values()) == [
        b"somebody",
        b"A" * 22,
        b"app",
        b"read orders:write",
        b"editor,chief",
        b"A" * 22,
        b"1",
        b"pwd,otp",
        b"aal2",
        b"2",
    ]


def test_what_is_empty_is_there() -> None:
    """A missing header would leave a client's own one in place at some gateways."""
    found = headers(replace(CLAIMS, roles=(), scope="", amr=(), acr=""))
    assert len(found) == len(NAMES)
    assert found["x-gatepass-roles"] == found["x-gatepass-scope"] == b""
    assert found["x-gatepass-acr"] == b""


@pytest.mark.parametrize(
    "page", ["gateway", "gateways/nginx", "gateways/caddy", "gateways/traefik"]
)
def test_what_lists_the_headers_lists_them_all(project_root: Path, page: str) -> None:
    """One left out of nginx's or Traefik's list would be passed on as the client sent it."""
    text = (project_root / "docs" / f"{page}.md").read_text()
    assert set(re.findall(rf"{PREFIX}(\w[\w-]*)", text)) == set(NAMES)


@given(st.text(min_size=1), st.lists(st.text(min_size=1), max_size=4))
@example("admin\r\nX-Gatepass-Roles: root", ["a,b", "a\nb", "a%2Cb", " a "])
@example("café \ud800 \x00 \x7f", ["\ud800", "%", ","])
def test_every_value_is_one_field_that_can_be_read_back(sub: str, roles: list[str]) -> None:
    """No text breaks out of its header, and no two texts look the same in it."""
    found = headers(replace(CLAIMS, sub=sub, client_id=sub, acr=sub, roles=tuple(roles)))
    for value in found.values():
        assert FIELD_VALUE.fullmatch(value), value
    assert decoded(found["x-gatepass-subject"]) == decoded(found["x-gatepass-acr"]) == sub
    parts = found["x-gatepass-roles"].split(b",") if roles else []
    assert [decoded(part) for part in parts] == roles


def decoded(value: bytes) -> str:
    return unquote_to_bytes(value).decode("utf-8", "surrogatepass")
