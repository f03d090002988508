"""Our check of claims against PyJWT's and joserfc's, by the same rule as that of signatures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from freezegun import freeze_time
from harness import jose_oracle as oracle
from harness.differential import ES, explore, signer
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt

from tokens import verifier
from tokens.errors import Expired, TokenError

NOW = 1_750_000_000
FROZEN = "2025-06-15T15:06:40Z"  # the same instant, for PyJWT, which asks the machine
LEEWAY = 5
MAX_LIFETIME = 300
ISSUER, AUDIENCE = "https://issuer.example", "https://api.example"
ID = "AAAAAAAAAAAAAAAAAAAAAA"


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to good claims, and the code that we owe for it (None: nothing is wrong)."""

    name: str
    code: str | None
    members: dict[str, Any] = field(default_factory=dict)
    dropped: str | None = None


REQUIRED = (
    "iss", "sub", "aud", "client_id", "iat", "exp", "jti", "sid", "auth_time", "sub_ver", "amr",
    "scope",
)  # fmt: skip


def good_claims() -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "client_id": "demo",
        "iat": NOW - 10,
        "exp": NOW + 100,
        "jti": ID,
        "sid": ID,
        "auth_time": NOW - 20,
        "sub_ver": 1,
        "amr": ["pwd"],
        "scope": "read write",
    }


def lived(exp: int) -> dict[str, int]:
    """A token of 60 seconds that ends at `exp`, so that only its end is at the boundary."""
    return {"exp": exp, "iat": exp - 60, "auth_time": exp - 60}


# Both libraries refuse these too.
COMMON = [
    Change("nothing", None),
    Change("audience in a list", None, {"aud": ["https://other.example", AUDIENCE]}),
    Change("further claims", None, {"roles": ["admin"], "tenant": {"id": 7}}),
    Change("valid from now", None, {"nbf": NOW}),
    Change("a second before exp", None, lived(NOW - LEEWAY + 1)),
    Change("at exp", "expired", lived(NOW - LEEWAY)),
    Change("a second after exp", "expired", lived(NOW - LEEWAY - 1)),
    Change("issued at the leeway", None, {"iat": NOW + LEEWAY}),
    Change("issued beyond the leeway", "not_yet_valid", {"iat": NOW + LEEWAY + 1}),
    Change("nbf at the leeway", None, {"nbf": NOW + LEEWAY}),
    Change("nbf beyond the leeway", "not_yet_valid", {"nbf": NOW + LEEWAY + 1}),
    Change("another issuer", "wrong_issuer", {"iss": "https://evil.example"}),
    Change("another audience", "wrong_audience", {"aud": "https://other.example"}),
    Change("other audiences", "wrong_audience", {"aud": [ISSUER, "https://other.example"]}),
    Change("audience a prefix", "wrong_audience", {"aud": AUDIENCE + "/x"}),
    Change("subject a number", "invalid_claim", {"sub": 7}),
    Change("jti a number", "invalid_claim", {"jti": 7}),
    Change("exp a word", "invalid_claim", {"exp": "soon"}),
    Change("exp a list", "invalid_claim", {"exp": [NOW + 100]}),
    Change("issuer a list", "invalid_claim", {"iss": [ISSUER]}),
    Change("no audience", "invalid_claim", {"aud": []}),
    *(Change(f"without {name}", "missing_claim", dropped=name) for name in REQUIRED),
]
# At least one library accepts these, with every claim named as required.
OURS_ALONE = [
    Change("exp a fraction", "invalid_claim", {"exp": NOW + 100.5}),
    Change("exp a whole float", "invalid_claim", {"exp": NOW + 100.0}),
    Change("exp digits", "invalid_claim", {"exp": str(NOW + 100)}),
    Change("iat a fraction", "invalid_claim", {"iat": NOW - 10.5}),
    Change("iat true", "invalid_claim", {"iat": True}),
    Change("iat negative", "invalid_claim", {"iat": -1}),
    Change("nbf a fraction", "invalid_claim", {"nbf": NOW - 1.5}),
    Change("exp in another era", "invalid_claim", {"exp": 1 << 60}),
    Change("auth_time a fraction", "invalid_claim", {"auth_time": NOW - 20.5}),
    Change("auth_time in the future", "invalid_claim", {"auth_time": NOW + LEEWAY + 1}),
    Change("a lifetime too long", "lifetime_too_long", {"exp": NOW - 10 + MAX_LIFETIME + 1}),
    Change("jti of 127 bits", "invalid_claim", {"jti": ID[:-1]}),
    Change("jti with unused bits", "invalid_claim", {"jti": ID[:-1] + "B"}),
    Change("sid of another form", "invalid_claim", {"sid": "session"}),
    Change("sub_ver a word", "invalid_claim", {"sub_ver": "1"}),
    Change("amr a word", "invalid_claim", {"amr": "pwd"}),
    Change("scope a list", "invalid_claim", {"scope": ["read"]}),
    Change("scope with two spaces", "invalid_claim", {"scope": "read  write"}),
    Change("client a number", "invalid_claim", {"client_id": 7}),
    Change("roles a word", "invalid_claim", {"roles": "admin"}),
    Change("acr a list", "invalid_claim", {"acr": ["aal2"]}),
]  # fmt: skip
CHANGES = {change.name: change for change in [*COMMON, *OURS_ALONE]}


def changed(*changes: Change) -> dict[str, Any]:
    claims = good_claims()
    for change in changes:
        claims.update(change.members)
    for change in changes:
        claims.pop(change.dropped, None)
    return claims


def our_verdict(token: str) -> str | None:
    """The code of our refusal, None where we accept."""
    access = verifier.AccessVerifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        find_key=lambda _kid: signer("ES256").ours,
        leeway=LEEWAY,
        max_lifetime=MAX_LIFETIME,
        clock=lambda: NOW,
    )
    try:
        access.verify(token)
    except TokenError as refusal:
        return refusal.code
    return None


def pyjwt_accepts(token: str) -> bool:
    """By PyJWT with every claim required that we require. Its clock is the machine's: freeze it."""
    try:
        jwt.decode(
            token,
            signer("ES256").private.public_key(),
            algorithms=["ES256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY,
            options={"require": list(REQUIRED)},
        )
    except oracle.REFUSALS:
        return False
    return True


def joserfc_accepts(token: str) -> bool:
    """By joserfc with every claim required that we require."""
    required: dict[str, Any] = {name: {"essential": True} for name in REQUIRED}
    required["iss"]["value"], required["aud"]["value"] = ISSUER, AUDIENCE
    required["scope"]["allow_blank"] = required["amr"]["allow_blank"] = True
    registry = joserfc_jwt.JWTClaimsRegistry(now=NOW, leeway=LEEWAY, **required)
    try:
        decoded = joserfc_jwt.decode(token, signer("ES256").joserfc, algorithms=["ES256"])
        registry.validate(decoded.claims)
    except oracle.REFUSALS:
        return False
    return True


def check_claims_verdict(changes: list[Change]) -> None:
    """We accept what both oracles accept and what no change of ours has spoilt."""
    token = signer("ES256").sign(ES, json.dumps(changed(*changes)).encode())
    spoilt = any(change.code for change in changes if change in OURS_ALONE)
    accepted = pyjwt_accepts(token) and joserfc_accepts(token)
    assert (our_verdict(token) is None) == (accepted and not spoilt), f"{changes}"


@pytest.mark.parametrize("change", COMMON, ids=lambda change: change.name)
def test_same_verdict_on_one_change(change: Change) -> None:
    """On each of these claims, at each boundary, we and both oracles agree, and we say why."""
    token = signer("ES256").sign(ES, json.dumps(changed(change)).encode())
    with freeze_time(FROZEN):
        verdicts = [pyjwt_accepts(token), joserfc_accepts(token)]
    assert our_verdict(token) == change.code
    assert verdicts == [change.code is None] * 2


@pytest.mark.parametrize("change", OURS_ALONE, ids=lambda change: change.name)
def test_stricter_on_claims(change: Change) -> None:
    """These claims pass another library, and we refuse them by the code named here."""
    token = signer("ES256").sign(ES, json.dumps(changed(change)).encode())
    with freeze_time(FROZEN):
        assert pyjwt_accepts(token) or joserfc_accepts(token), "this is no difference"
    assert our_verdict(token) == change.code


def test_stricter_on_duplicate_claims() -> None:
    """A claim given twice passes other libraries with its last value, and is malformed to us."""
    payload = '{"sub":"mallory",' + json.dumps(good_claims())[1:]
    token = signer("ES256").sign(ES, payload.encode())
    with freeze_time(FROZEN):
        assert pyjwt_accepts(token)
        assert joserfc_accepts(token)
    assert our_verdict(token) == "malformed"


def hold_claims(run: Any) -> None:
    names = st.lists(st.sampled_from(sorted(CHANGES)), max_size=3, unique=True)
    combinations = names.map(lambda chosen: _compatible([CHANGES[name] for name in chosen]))
    # Hypothesis times its own work by the real clock.
    with freeze_time(FROZEN, ignore=["hypothesis"]):
        run(given(combinations)(check_claims_verdict))()


def _compatible(changes: list[Change]) -> list[Change]:
    """Drop a change that another one has overwritten, since then it no longer spoils anything."""
    kept: list[Change] = []
    touched: set[str] = set()
    for change in changes:
        names = {*change.members, *([change.dropped] if change.dropped else [])}
        # A lifetime is judged by two claims together.
        names |= {"exp", "iat", "auth_time"} if names & {"exp", "iat", "auth_time"} else set()
        if not names & touched:
            kept.append(change)
            touched |= names
    return kept


def test_same_verdict_on_several_changes() -> None:
    """On several changes at once, we and both oracles agree, less our stated reasons."""
    hold_claims(explore(300))


def _accept_at_exp(monkeypatch: pytest.MonkeyPatch) -> None:
    original = verifier.AccessVerifier.check_claims

    def check(self: Any, claims: Any) -> None:
        try:
            original(self, claims)
        except Expired:
            if claims.exp + LEEWAY != NOW:
                raise

    monkeypatch.setattr(verifier.AccessVerifier, "check_claims", check)


def _check_no_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier.AccessVerifier, "check_claims", lambda self, claims: None)


@pytest.mark.parametrize(
    "mutate", [_accept_at_exp, _check_no_claims], ids=lambda mutate: mutate.__name__[1:]
)
def test_rule_notices_unchecked_claims(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each deliberate fault in our checking of claims breaks the rule."""
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        hold_claims(explore(500, repeatable=True))
