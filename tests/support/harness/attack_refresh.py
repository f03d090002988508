"""Attacks on refresh tokens, with and without the issuer's own key."""

from __future__ import annotations

import json
from typing import Any

from harness.attack_material import Material
from harness.attack_sealed import (
    NAMES,
    altered,
    flattened,
    flipped,
    headed,
    respelt,
)
from harness.attack_table import Attack, Make, attacks
from joserfc import jwe
from joserfc.jwk import OctKey

from tokens.sealing import MAX_REFRESH


def _any_refresh(m: Material) -> str:
    return m.refresh()


def _payload(**changes: Any) -> Make:
    """A refresh token that the issuer's own key made of claims like these."""

    def make(m: Material) -> str:
        claims = {**m.refresh_claims.to_payload(), **changes}
        return m.refresh_of({name: v for name, v in claims.items() if v is not ...})

    return make


def _written(more: str) -> Make:
    return lambda m: m.refresh_of(
        json.dumps(m.refresh_claims.to_payload())[:-1].encode() + more.encode() + b"}"
    )


def _under_another_key(m: Material) -> str:
    """Under our kid and a key of the attacker's."""
    header = {"alg": "dir", "enc": "A256GCM", "typ": "rt+jwt", "kid": m.ring.sealing().kid}
    content = json.dumps(m.refresh_claims.to_payload())
    key = OctKey.generate_key(256)
    return jwe.encrypt_compact(header, content, key, algorithms=["dir", "A256GCM"])


ANYTHING = ""
"""At the verifier it is refused for being no access token at all, in whatever words."""

REFRESH: list[Attack] = [
    *attacks(
        "RFC 7516 section 5.2",
        ANYTHING,
        {
            **{
                f"a refresh token with another {name}": altered(_any_refresh, at, flipped)
                for at, name in enumerate(NAMES)
            },
            **{
                f"a refresh token with a tag of {size} bytes": altered(
                    _any_refresh, 4, lambda raw, size=size: raw[:size]
                )
                for size in (0, 1, 4, 8, 12, 15)
            },
            **{
                f"a refresh token with its {name} {why}": respelt(_any_refresh, at, change)
                for at, name in enumerate(NAMES)
                for why, change in {
                    "padded too much": lambda text: f"{text}====",
                    "behind a space": lambda text: f" {text}",
                    "before a line break": lambda text: f"{text}\n",
                }.items()
            },
            "a refresh token under another key": _under_another_key,
            "flattened JSON of a refresh token": flattened(_any_refresh),
            "a large refresh token": lambda m: m.refresh_of(b"x" * MAX_REFRESH),
        },
    ),
    *attacks(
        "RFC 8725 sections 3.1, 3.6, 3.10",
        ANYTHING,
        {
            f"a refresh token with {name} {value!r:.40}": headed(_any_refresh, **{name: value})
            for name, value in (
                ("alg", "none"), ("alg", "A256KW"), ("alg", "ECDH-ES"), ("alg", None),
                ("alg", ["dir"]), ("enc", "A128GCM"), ("enc", "A256CBC-HS512"), ("enc", None),
                ("zip", "DEF"), ("crit", ["exp"]), ("jwk", {}), ("jku", "http://127.0.0.1:9"),
                ("p2c", 2**31 - 1), ("kid", "k"), ("kid", None), ("kid", ["k"]), ("kid", 7),
                ("kid", "../../dev/null"), ("kid", "\0"), ("kid", "k" * 500), ("typ", "JWT"),
                ("typ", None), ("x", "x" * 900),
            )
        },
    ),
    *attacks(
        "RFC 8725 sections 3.6, 3.11: under the issuer's own key",
        ANYTHING,
        {
            f"a refresh token made with {name} {value!r}": (
                lambda m, name=name, value=value: m.refresh_of(
                    m.refresh_claims.to_payload(), **{name: value}
                )
            )
            for name, value in (
                ("typ", "at+jwt"), ("typ", "JWT"), ("typ", "RT+JWT"), ("typ", ...), ("zip", "DEF"),
            )
        },
    ),
    *attacks(
        "RFC 7519 section 4, RFC 8259: under the issuer's own key",
        ANYTHING,
        {
            **{f"a refresh token without {name}": _payload(**{name: ...})
               for name in ("iss", "sub", "sid", "client_id", "gen", "exp")},
            **{
                f"a refresh token of {name} {value!r:.40}": _payload(**{name: value})
                for name, values in {
                    "gen": ("3", 3.0, True, None, -1, 2**60, 10**300, [3]),
                    "exp": ("2000000000", 2e9, True, None, -1, 0, 10**300),
                    "sub": ("", None, 1, []),
                    "sid": ("", None, "x", "S" * 21 + "B"),
                    "client_id": ("", None, 1),
                    "iss": ("", None, "https://other.example"),
                    "v": (0, 2, "1", True, None, 10**300),
                }.items()
                for value in values
            },
            "a refresh token with gen twice": _written(',"gen":9'),
            "a refresh token with NaN": _written(',"x":NaN'),
            "a refresh token with 1e400": _written(',"x":1e400'),
            "a refresh token with an unpaired surrogate": _written(',"x":"\\ud800"'),
            "a refresh token of no JSON": lambda m: m.refresh_of(b"{"),
            "a refresh token of a list": lambda m: m.refresh_of(b"[]"),
            "a refresh token of nothing": lambda m: m.refresh_of(b""),
            "an expired refresh token": lambda m: m.refresh(exp=m.now - 1),
            "a refresh token that ends now": lambda m: m.refresh(exp=m.now),
        },
    ),
]  # fmt: skip
