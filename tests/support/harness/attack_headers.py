"""Attacks on the header: its type, its key, and members that would steer a verifier."""

from __future__ import annotations

import json
from typing import Any

from harness.attack_material import Material, public_jwk, spelled, strangers_key
from harness.attack_table import Attack, Make, attacks
from harness.jose_oracle import b64u

from tokens.compact import MAX_HEADER

TYPES: tuple[Any, ...] = (
    "JWT", "jwt", "rt+jwt", "statuslist+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "id+jwt",
    "gatepass-state+jwt", "gatepass-snapshot+jwt", "gatepass-events+jwt", "gatepass-lookup+jwt",
    "at+jwt ", " at+jwt", "at jwt", "at+jwt\0", "application/jwt", "application/application/at+jwt",
    "at+jwt;x=1", "\uff41t+jwt", "APPL\u0130CATION/AT+JWT", "", None, True, 1,
    ["at+jwt"], {"at+jwt": 1},
)  # fmt: skip
KIDS: tuple[Any, ...] = (
    "../../../../etc/passwd", "/dev/null", "file:///dev/null", "..\\..\\key", "k\0", "\0",
    "' OR '1'='1", "x' UNION SELECT 'AA", "'; DROP TABLE accounts; --", "$(id)", "| id", "`id`",
    "{{7*7}}", "${jndi:ldap://127.0.0.1/x}", "http://127.0.0.1/key", "%2e%2e%2f", "\r\nX: a",
    "\u202etxt.yek", "\U0001f511", "k" * 256, "__proto__", "constructor", "*", "", " ", None, True,
    0, 7, -1, 1.5, ["k"], [], {}, {"$ne": None},
)  # fmt: skip


def _header(**changes: Any) -> Make:
    return lambda m: m.signed(m.header(**changes))


def _steered(name: str) -> Make:
    """A header that names a key of the attacker's, who signs with it."""

    def make(m: Material) -> str:
        key = strangers_key("ES256")
        jwk = public_jwk(key)
        value: Any = {
            "jwk": jwk,
            "jku": m.trap,
            "x5u": m.trap,
            "x5c": [b64u(b"a certificate")],
        }[name]
        return m.signed(m.header(kid=key.kid, **{name: value}), key=key)

    return make


def _written(more: str) -> Make:
    """A header with something written behind its members."""
    return lambda m: m.signed(spelled(m.header(), more))


def _b64_false(m: Material) -> str:
    """RFC 7797: the payload as it is, signed as it is."""
    payload = json.dumps(m.claims).replace(".", "\\u002e")  # a dot would end it
    return m.signed(m.header(b64=False, crit=["b64"]), payload)


def _amplifier(m: Material) -> str:
    """A large segment in the place of a detached payload, which nothing signs."""
    header, _, signature = m.token(header=m.header(b64=False, crit=["b64"])).split(".")
    return f"{header}.{'A' * 7000}.{signature}"


HEADERS: list[Attack] = [
    *attacks(
        "RFC 8725 section 3.10, RFC 7515 section 4.1: a key of the token's own choice",
        "header_refused",
        {
            **{
                f"{name} of the attacker's key": _steered(name)
                for name in ("jwk", "jku", "x5u", "x5c")
            },
            **{
                f"{name} over a good signature": _header(**{name: value})
                for name, value in {
                    "jwk": {"kty": "oct", "k": ""},
                    "jku": "file:///dev/null",
                    "x5u": "https://id.example/",
                    "x5c": [],
                }.items()
            },
        },
    ),
    *attacks(
        "RFC 7515 section 4.1.11: extensions that nobody here understands",
        "header_refused",
        {
            f"crit {value!r}": _header(crit=value, x=1)
            for value in (["exp"], ["x"], ["b64"], ["cnf"], [], ["alg"], "exp", None, {}, [1], True)
        },
    ),
    *attacks(
        "RFC 7797 section 6",
        "header_refused",
        {
            "b64 false without crit": _header(b64=False),
            "b64 true": _header(b64=True),
            "an unencoded payload": _b64_false,
            "a work amplifier for a detached payload": _amplifier,
        },
    ),
    *attacks(
        "RFC 8725 section 3.6, RFC 7516 section 4.1.3",
        "header_refused",
        {
            f"{name} in the header of a JWS": _header(**{name: value})
            for name, value in {
                "zip": "DEF",
                "enc": "A256GCM",
                "epk": {},
                "p2c": 2**31 - 1,
            }.items()
        },
    ),
    *attacks(
        "RFC 8725 section 3.11, RFC 9068 section 4, ASVS 9.2.2",
        "wrong_type",
        {
            **{f"typ {typ!r}": _header(typ=typ) for typ in TYPES},
            "no typ": lambda m: m.signed({"alg": "ES256", "kid": m.key().kid}),
        },
    ),
    *attacks(
        "RFC 8725 section 3.10: a kid is looked up and nothing else",
        "unknown_kid",
        {
            **{f"kid {kid!r:.60}": _header(kid=kid) for kid in KIDS},
            "no kid": lambda m: m.signed({"alg": "ES256", "typ": "at+jwt"}),
            "the sealing key's kid": lambda m: m.signed(m.header(kid=m.ring.sealing().kid)),
            "our kid in other letters": lambda m: m.signed(m.header(kid=m.key().kid.swapcase())),
            "our kid behind a space": lambda m: m.signed(m.header(kid=f" {m.key().kid}")),
            "our kid in a list": lambda m: m.signed(m.header(kid=[m.key().kid])),
        },
    ),
    *attacks("RFC 8725 section 2.5", "too_large", {"a huge kid": _header(kid="k" * MAX_HEADER)}),
    *attacks(
        "RFC 7515 section 4, RFC 7519 section 4: members are unique",
        "malformed",
        {
            "alg twice, none last": _written(',"alg":"none"'),
            "alg twice, the same": _written(',"alg":"ES256"'),
            "alg twice by an escape": _written(',"\\u0061lg":"none"'),
            "kid twice": _written(',"kid":"k"'),
            "typ twice": _written(',"typ":"JWT"'),
            "an unknown member twice": _written(',"x":1,"x":2'),
            "a member twice deeper down": _written(',"x":{"a":1,"a":2}'),
        },
    ),
    *attacks(
        "RFC 7515 section 5.2: the header is one JSON object",
        "malformed",
        {
            f"a header of {raw!r:.40}": (lambda m, raw=raw: m.signed(raw))
            for raw in (
                b"",
                b"[]",
                b"null",
                b'"ES256"',
                b"1",
                b"{",
                b"{}{}",
                b"\xff\xfe{}",
                b"\xef\xbb\xbf{}",
                b"{'alg':'ES256'}",
                b"{alg:1}",
                b"NaN",
            )
        },
    ),
    *attacks(
        "RFC 8259 sections 6 and 8.2, RFC 8725 section 3.7",
        "malformed",
        {
            "NaN in the header": _written(',"x":NaN'),
            "Infinity in the header": _written(',"x":Infinity'),
            "1e400 in the header": _written(',"x":1e400'),
            "an unpaired surrogate in the header": _written(',"x":"\\ud800"'),
            "an unpaired surrogate for a kid": _header(kid="\ud800"),
            "a deep header": _written(f',"x":{"[" * 260}{"]" * 260}'),
            "a deep unclosed header": _written(f',"x":{"[" * 500}'),
            "a huge integer in the header": _written(f',"x":{"9" * 600}e99999'),
        },
    ),
]
