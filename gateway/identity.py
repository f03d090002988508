"""What a backend is told about the caller: headers that no header parser can be misled by."""

from __future__ import annotations

from urllib.parse import quote

from tokens import AccessClaims

PREFIX = "X-Gatepass-"
# RFC 9110 section 5.5: visible ASCII. The percent sign and the comma have a meaning here.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "%,")

NAMES = (
    "Subject",
    "Session",
    "Client",
    "Scope",
    "Roles",
    "Token-Id",
    "Auth-Time",
    "Amr",
    "Acr",
    "Expires",
)
"""After `X-Gatepass-`; a gateway removes each of them from what a client sends."""


def identity_headers(claims: AccessClaims) -> list[tuple[bytes, bytes]]:
    """All of the headers, an empty one too: what is missing could not replace a client's own.

    Scopes are apart by a space and roles by a comma; whatever is not visible ASCII is
    percent-encoded UTF-8, so that no value can begin a header of its own.
    """
    return [
        (b"x-gatepass-subject", _text(claims.sub)),
        (b"x-gatepass-session", _text(claims.sid)),
        (b"x-gatepass-client", _text(claims.client_id)),
        (b"x-gatepass-scope", claims.scope.encode("ascii")),
        (b"x-gatepass-roles", _list(claims.roles)),
        (b"x-gatepass-token-id", _text(claims.jti)),
        (b"x-gatepass-auth-time", b"%d" % claims.auth_time),
        (b"x-gatepass-amr", _list(claims.amr)),
        (b"x-gatepass-acr", _text(claims.acr)),
        (b"x-gatepass-expires", b"%d" % claims.exp),
    ]


def _text(value: str) -> bytes:
    # An identifier of letters and digits needs no look at each character.
    return (value if value.isalnum() and value.isascii() else _encoded(value)).encode("ascii")


def _encoded(value: str) -> str:
    # A lone surrogate is legal JSON and no text; two subjects must not become one, nor an error.
    return quote(value, safe=_SAFE, errors="surrogatepass")


def _list(values: tuple[str, ...]) -> bytes:
    return b",".join(map(_text, values))
