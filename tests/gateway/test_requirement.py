"""What a path asks of a token, and that nobody but the gateway's configuration can say it."""

from __future__ import annotations

import pytest
from harness.local_issuer import LocalIssuer
from hypothesis import given
from hypothesis import strategies as st

from gateway import InsufficientAuthentication
from gateway.requirement import (
    Requirement,
    UnknownRequirement,
    _parse,
    requirement_of,
    segment_of,
)
from revocation import StalePolicy

WRITE = Requirement(frozenset({"orders:write"}), frozenset(), StalePolicy.ASK)


@pytest.mark.parametrize(
    ("path", "required"),
    [
        ("/verify", Requirement()),
        ("/verify/any", Requirement()),
        ("/verify/any/orders/1", Requirement()),
        ("/verify/scope=orders:write&policy=ask", WRITE),
        ("/verify/policy=ask&scope=orders%3Awrite/and/what/a/client/says", WRITE),
        ("/verify/scope=a&scope=b&role=x", Requirement(frozenset("ab"), frozenset("x"))),
        ("/verify/role=chief%20editor", Requirement(roles=frozenset({"chief editor"}))),
        ("/verify/role=a%2Fb", Requirement(roles=frozenset({"a/b"}))),
        ("/verify/role=caf%C3%A9", Requirement(roles=frozenset({"café"}))),
        ("/verify/acr=aal2&max_age=0", Requirement(acr="aal2", max_age=0)),
        ("/verify/max_age=300/x?max_age=9", Requirement(max_age=300)),
    ],
)
def test_a_path_asks(path: str, required: Requirement) -> None:
    """Scopes and roles add up; values are percent-encoded; what follows the segment is nothing."""
    assert requirement_of(path.encode()) == required


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "verify",
        "/verify/",
        "/verify//any",
        "/verifyany",
        "/Verify",
        "//verify",
        "/verify/ANY",
        "/verify/orders",
        "/verify/any*",
        "/verify/scope",
        "/verify/scope=",
        "/verify/scope=a b",
        "/verify/scope=a%20b",
        "/verify/scope=%22",
        "/verify/scope=a&",
        "/verify/role=%ff",
        "/verify/policy=ajar",
        "/verify/policy=open&policy=closed",
        "/verify/any&policy=open",
        "/verify/scopes=read",
        "/verify/acr=aal1&acr=aal2",
        "/verify/acr=a%22b",
        "/verify/acr=",
        "/verify/max_age=",
        "/verify/max_age=-1",
        "/verify/max_age=1.5",
        "/verify/max_age=%D9%A1",
        "/verify/max_age=007",
        "/verify/max_age=1000000000",
        "/verify/max_age=300&max_age=3000",
    ],
)
def test_what_is_no_requirement_is_none(path: str) -> None:
    """A slip of the pen asks for nothing that could pass; it is refused."""
    with pytest.raises(UnknownRequirement):
        requirement_of(path.encode())


@given(st.binary(max_size=60))
def test_whatever_a_client_appends_changes_nothing(client: bytes) -> None:
    """Behind a gateway's prefix and a slash no path of a client's asks for something else."""
    prefix = b"/verify/scope=orders:write&policy=ask"
    assert requirement_of(prefix + b"/" + client) == WRITE


def test_what_a_client_appends_is_not_kept() -> None:
    """Long paths, each another one, take no memory: Envoy puts them behind the requirement."""
    _parse.cache_clear()
    for number in range(50):
        assert requirement_of(b"/verify/policy=ask/%d/%b" % (number, b"x" * 60_000)).scopes == set()
    assert _parse.cache_info().currsize == 1


@pytest.mark.parametrize("leeway", [0, 10])
@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_a_login_is_recent_to_the_second(leeway: int, fraction: float) -> None:
    """`max_age` and the leeway are within, a moment more is not."""
    required = Requirement(max_age=300)
    for age, enough in ((0, True), (300 + leeway - 1, True), (300 + leeway, fraction == 0)):
        claims = LocalIssuer().claims(auth_time=1_800_000_000)
        now = claims.auth_time + age + fraction
        if enough:
            required.check(claims, now, leeway)
            continue
        with pytest.raises(InsufficientAuthentication):
            required.check(claims, now, leeway)
    with pytest.raises(InsufficientAuthentication) as refused:
        required.check(claims, claims.auth_time + 301 + leeway, leeway)
    assert (refused.value.acr, refused.value.max_age) == ("", 300)


def test_a_max_age_of_zero_is_one() -> None:
    """It asks for a login of this very moment, and is not taken for none."""
    claims = LocalIssuer().claims(auth_time=1_800_000_000)
    Requirement(max_age=0).check(claims, claims.auth_time, 0)
    with pytest.raises(InsufficientAuthentication):
        Requirement(max_age=0).check(claims, claims.auth_time + 1, 0)


TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
SCOPES = st.text(st.characters(min_codepoint=0x23, max_codepoint=0x5B), min_size=1, max_size=12)


@given(
    st.builds(
        Requirement,
        st.frozensets(SCOPES, max_size=3),
        st.frozensets(TEXT, max_size=3),
        st.none() | st.sampled_from(StalePolicy),
        st.just("") | SCOPES,
        st.none() | st.integers(0, 999_999_999),
    )
)
def test_every_requirement_can_be_written(required: Requirement) -> None:
    """What a segment is made of is what it is read as."""
    assert requirement_of(f"/verify/{segment_of(required)}".encode()) == required
