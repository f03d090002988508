"""Attacks on claims: whose token it is, for whom, when, and of which kind; all well signed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.attack_material import Material, neighbours_recipient, opaque, other_tenant
from harness.attack_table import EVERYWHERE, NOT_AT_REFRESH, Attack, Make, Place, attacks

from issuer.feed.signer import FeedSigner
from issuer.status_lists.status_list import STATUS_TYPE
from revocation.http_wire import EVENTS_TYPE, LOOKUP_TYPE, SNAPSHOT_TYPE, STATE_TYPE
from tokens import DEFAULT_LEEWAY, RefreshSealer, seal
from tokens.strict_json import dumps

FOR_ONE_AUDIENCE = EVERYWHERE - {Place.ISSUER}
"""The issuer takes back its own tokens, whichever API they are for."""
HOUR = 3600
FEED_TYPES = (EVENTS_TYPE, LOOKUP_TYPE, SNAPSHOT_TYPE, STATE_TYPE)


def _claims(**changes: Any) -> Make:
    return lambda m: m.token(**changes)


def _issuer(change: Any) -> Make:
    return lambda m: m.token(iss=change(m.issuer))


def _timed(**offsets: float) -> Make:
    """Times in seconds from now."""
    return lambda m: m.token(**{name: m.now + offset for name, offset in offsets.items()})


def _tenants(m: Material, **claims: Any) -> str:
    """A token that the other tenant's key signs, under its own kid."""
    key = other_tenant().active("ES256")
    return m.signed(m.header(kid=key.kid), m.with_(claims), key=key)


def _tenants_under_our_kid(m: Material) -> str:
    return m.signed(m.header(), key=other_tenant().active("ES256"))


def _tenants_refresh(m: Material) -> str:
    return RefreshSealer(m.issuer, other_tenant).mint(m.refresh_claims)


def _feed_message(typ: str) -> Make:
    """What the issuer signs on its feed."""

    def make(m: Material) -> str:
        signer = FeedSigner(m.issuer, m.key, lambda: m.now)
        return signer.sign(typ, {"epoch": "e", "sha256": "x"})

    return make


def _of_type(typ: str) -> Make:
    """Honest claims of an access token, signed as another kind."""
    return lambda m: m.token(header=m.header(typ=typ))


ISSUERS = {
    "with a slash": lambda iss: f"{iss}/",
    "in capitals": str.upper,
    "without a scheme": lambda iss: iss.partition("//")[2],
    "of another port": lambda iss: f"{iss}1",
    "with a path": lambda iss: f"{iss}/tenant",
    "with a query": lambda iss: f"{iss}?x",
    "with a fragment": lambda iss: f"{iss}#x",
    "cut by a character": lambda iss: iss[:-1],
    "behind a space": lambda iss: f" {iss}",
    "before a zero byte": lambda iss: f"{iss}\0",
    "with a user": lambda iss: iss.replace("//", "//x@"),
    "of a neighbour": lambda _: "https://other.example",
}
WRONG_AUDIENCES: dict[str, Any] = {
    "of nobody": "nobody-api",
    "of nobodies": ["nobody-api", "no-api"],
    "in capitals": "API",
    "with a suffix": "api2",
    "with a prefix": "the-api",
    "cut by a character": "ap",
    "behind a space": " api",
    "of one text with both": "api kiosk-api",
    "with a comma": "api,kiosk-api",
    "before a zero byte": "api\0",
    "of a wildcard": "*",
    "of a letter": ["a", "p", "i"],
}
AUDIENCES_OF_NO_FORM: dict[str, Any] = {
    "null": None, "a number": 1, "true": True, "empty": "", "an empty list": [],
    "a list in a list": [["api"]], "an object": {"api": 1}, "a list with null": ["api", None],
    "a list with an empty text": ["api", ""],
}  # fmt: skip
ODD_TIMES: dict[str, Any] = {
    "a text": "2000000000", "a float": 2_000_000_000.0, "a fraction": 2_000_000_000.5,
    "true": True, "null": None, "negative": -1, "a list": [2_000_000_000], "an object": {},
    "beyond 2^53": 2**53 + 1, "huge": 10**300, "negative and huge": -(10**300), "1e30": 1e30,
    "an empty text": "", "in ISO 8601": "2033-05-18T03:33:20Z",
}  # fmt: skip
FORMS: dict[str, tuple[Any, ...]] = {
    "sub": (None, "", 1, ["somebody"], {}, True),
    "client_id": (None, "", 1, ["demo"]),
    "jti": (None, "", "x", 7, "J" * 21 + "B", "J" * 22 + "=", "J" * 21 + "A\n", "J" * 43),
    "sid": (None, "", "x", 7, "S" * 21 + "B", ["S" * 21 + "A"]),
    "sub_ver": (None, "1", 1.0, -1, True, 2**60, [1]),
    "amr": (None, "pwd", [1], [""], {}),
    "scope": (None, ["read"], "a  b", " a", "a ", 'a"b', "a\\b", "\u00e9", 1),
    "roles": (None, "root", [1], [""], {}),
    "acr": (None, "", 3, ["aal3"], {}),
    "iss": (None, "", 1, ["https://id.example"]),
}
REQUIRED = (
    "iss", "sub", "aud", "client_id", "iat", "exp", "jti", "sid", "auth_time", "sub_ver", "amr",
    "scope",
)  # fmt: skip

CLAIMS: list[Attack] = [
    *attacks(
        "RFC 8725 section 3.8, ASVS 9.2.4",
        "wrong_issuer",
        {f"the issuer {why}": _issuer(change) for why, change in ISSUERS.items()},
    ),
    *attacks(
        "RFC 8725 section 3.9, RFC 9068 section 4, ASVS 9.2.3",
        "wrong_audience",
        {f"an audience {why}": _claims(aud=aud) for why, aud in WRONG_AUDIENCES.items()},
    ),
    *attacks(
        "RFC 8725 section 3.9: substitution between audiences",
        "wrong_audience",
        {
            "another audience's token": lambda m: m.token(aud=m.other_audience),
            "another audience's token in a list": lambda m: m.token(aud=[m.other_audience]),
        },
        at=FOR_ONE_AUDIENCE,
    ),
    *attacks(
        "RFC 7519 section 4.1.3",
        "invalid_claim",
        {f"aud {why}": _claims(aud=aud) for why, aud in AUDIENCES_OF_NO_FORM.items()},
    ),
    *attacks(
        "RFC 9068 section 2.2",
        "missing_claim",
        {f"without {name}": _claims(**{name: ...}) for name in REQUIRED},
    ),
    *attacks(
        "RFC 7519 section 4.1, RFC 8725 section 3.8",
        "invalid_claim",
        {
            f"{name} {value!r:.40}": _claims(**{name: value})
            for name, values in FORMS.items()
            for value in values
        },
    ),
]

TIMES: list[Attack] = [
    *attacks(
        "RFC 7519 section 4.1.4, ASVS 9.2.1",
        "expired",
        {
            "expired by the leeway exactly": _timed(iat=-300, exp=-DEFAULT_LEEWAY, auth_time=-300),
            "expired by a second more": _timed(iat=-300, exp=-DEFAULT_LEEWAY - 1, auth_time=-300),
            "expired long ago": _timed(iat=-9000, exp=-8700, auth_time=-9000),
            "expired at the epoch": _claims(iat=0, exp=0, auth_time=0),
        },
    ),
    *attacks(
        "RFC 7519 sections 4.1.5 and 4.1.6",
        "not_yet_valid",
        {
            "issued in an hour": _timed(iat=HOUR, exp=HOUR + 300),
            "not before an hour": _timed(nbf=HOUR),
            "not before the end of days": _claims(nbf=2**53),
            "not before a huge number": _claims(nbf=10**300),
        },
    ),
    *attacks(
        "a denylist entry outlives every token: design, section Denylist",
        "lifetime_too_long",
        {
            "a lifetime of a second too many": _timed(iat=0, exp=HOUR + 1),
            "a lifetime of years": _claims(exp=2**40),
            "issued at the epoch": _claims(iat=0),
            "ending when it begins": _timed(iat=0, exp=0),
            "ending before it begins": _timed(iat=5, exp=4),
        },
    ),
    *attacks(
        "RFC 7519 section 2, NumericDate; RFC 8725 section 3.8",
        "invalid_claim",
        {
            **{
                f"{name} {why}": _claims(**{name: value})
                for name in ("exp", "iat", "auth_time", "nbf")
                for why, value in ODD_TIMES.items()
                # What lies in the past for ever says nothing, and is refused elsewhere.
                if name != "nbf" or type(value) is not int
            },
            "authenticated in an hour": _timed(auth_time=HOUR),
        },
    ),
]

KINDS: list[Attack] = [
    *attacks(
        "RFC 8725 sections 3.11 and 3.12: token kinds never mix",
        "wrong_type",
        {
            **{f"a message of the feed, {typ}": _feed_message(typ) for typ in FEED_TYPES},
            **{
                f"access claims signed as {typ}": _of_type(typ)
                for typ in (*FEED_TYPES, STATUS_TYPE)
            },
        },
    ),
    *attacks(
        "RFC 8725 section 3.12",
        "algorithm_refused",
        {"a refresh token": lambda m: m.refresh()},
        at=NOT_AT_REFRESH,
    ),
    *attacks(
        "RFC 8725 section 3.12",
        "malformed",
        {
            "a token for a password's reset": lambda _: opaque(),
            "a session's id": lambda m: m.claims["sid"],
            "a token's id": lambda m: m.claims["jti"],
            "the claims as they are": lambda m: dumps(m.claims),
            "a public key": lambda m: dumps(m.ring.jwks()),
            "a refresh token sealed for an audience": lambda m: m.sealed(m.refresh()),
        },
    ),
    *attacks(
        "RFC 8725 section 3.12: an access token is no refresh token",
        "",
        {
            "an honest access token": lambda m: m.token(),
            "an honest sealed token": lambda m: m.sealed(),
        },
        at=frozenset({Place.REFRESH}),
    ),
    *attacks(
        "RFC 7519 section 5.2: whoever cannot open it learns nothing",
        "",
        {"a sealed token": lambda m: m.sealed()},
        at=frozenset({Place.ISSUER, Place.REFRESH, Place.INTROSPECTION}),
    ),
]

TENANTS: list[Attack] = [
    *attacks(
        "RFC 8725 section 3.8: substitution between issuers",
        "unknown_kid",
        {
            "another tenant's token": lambda m: _tenants(m, iss="https://other.example"),
            "another tenant's key in our name": _tenants,
        },
    ),
    *attacks(
        "RFC 8725 section 3.8",
        "bad_signature",
        {"another tenant's key under our kid": _tenants_under_our_kid},
    ),
    *attacks(
        "RFC 8725 section 3.8",
        "algorithm_refused",
        {
            "another tenant's refresh token": _tenants_refresh,
            "our refresh token in another tenant's name": lambda m: RefreshSealer(
                m.issuer, lambda: m.ring
            ).mint(replace(m.refresh_claims, iss="https://other.example")),
        },
    ),
    *attacks(
        "RFC 8725 section 3.9: substitution between sealed audiences",
        "wrong_audience",
        {
            "a neighbour's token sealed for us": lambda m: m.sealed(
                m.token(aud="nobody-api"),
            ),
        },
    ),
    *attacks(
        "RFC 8725 section 3.9",
        "unknown_kid",
        {
            "a token sealed for a neighbour": lambda m: seal(
                m.token(), neighbours_recipient("neighbour")
            ),
        },
    ),
    *attacks(
        "RFC 8725 section 3.9",
        "bad_signature",
        {
            "a token sealed for a neighbour under our kid": lambda m: seal(
                m.token(), neighbours_recipient(m.recipient().kid)
            ),
        },
    ),
]
