"""A refresh token says which format it is of; what is merely new in it does no harm."""

from __future__ import annotations

from typing import Any

import pytest

from keys import KeyRing, RotationPolicy, rotate
from tokens import NewerFormat, RefreshClaims, RefreshSealer, TokenError
from tokens.claims import REFRESH_FORMAT

NOW = 1_800_000_000
ISSUER = "https://id.example"
RING = rotate(KeyRing(), NOW, RotationPolicy())
SEALER = RefreshSealer(ISSUER, lambda: RING)
REFRESH = RefreshClaims(
    iss=ISSUER, sub="somebody", sid="B" * 21 + "A", client_id="app", gen=3, exp=NOW + 1000
)


def minted(**changes: Any) -> str:
    """A token whose claims are changed or added to; None takes one out."""
    payload = {**REFRESH.to_payload(), **changes}

    class Written(RefreshClaims):
        def to_payload(self) -> dict[str, Any]:
            return {name: value for name, value in payload.items() if value is not None}

    claims = {name: getattr(REFRESH, name) for name in RefreshClaims.__dataclass_fields__}
    return SEALER.mint(Written(**claims))


def test_a_token_says_its_format() -> None:
    """In claim `v`."""
    assert REFRESH.to_payload()["v"] == REFRESH_FORMAT


def test_a_token_without_a_format_is_of_the_first() -> None:
    """Those that 0.1.0 has given out go on."""
    assert SEALER.open(minted(v=None), NOW) == REFRESH


def test_claims_that_are_merely_new_are_ignored() -> None:
    """A later version may add claims within the format."""
    token = minted(cnf={"jkt": "x"}, tenant="north", alg="none", iat=NOW)
    assert SEALER.open(token, NOW) == REFRESH


@pytest.mark.parametrize("changes", [{}, {"sid": None, "exp": None}, {"gen": "seven", "exp": 1}])
def test_a_later_format_is_refused_by_name(changes: dict[str, Any]) -> None:
    """Whatever else it holds: of a later format nothing else is known."""
    with pytest.raises(NewerFormat) as refused:
        SEALER.open(minted(v=REFRESH_FORMAT + 1, **changes), NOW)
    assert refused.value.code == "newer_format"
    assert (refused.value.found, refused.value.known) == (REFRESH_FORMAT + 1, REFRESH_FORMAT)


@pytest.mark.parametrize("version", ["1", 1.0, True, 0, -1, [1], 1 << 60])
def test_a_format_that_is_no_number_is_refused(version: Any) -> None:
    """As any other claim of the wrong form."""
    with pytest.raises(TokenError) as refused:
        SEALER.open(minted(v=version), NOW)
    assert refused.value.code == "invalid_claim"
