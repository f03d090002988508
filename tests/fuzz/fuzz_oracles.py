"""What our parsers must say, written once more from the RFCs and not from them; slow and plain."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

NOW = 1_750_000_000
LEEWAY = 10
MAX_LIFETIME = 3600
ISSUER = "https://id.example"
AUDIENCE = "orders"
MOST = 1 << 53
STEERING = {"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "epk", "p2c"}


def strict_object(raw: bytes) -> dict[str, Any] | None:
    """One JSON object without repeated members, what is no number to others, half surrogates or
    deep nesting, or None."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if sorted(set(names)) != sorted(names):
            raise ValueError("twice")
        return dict(pairs)

    def no_constant(name: str) -> None:
        raise ValueError(name)

    def finite(text: str) -> float:
        value = float(text)
        if value in {float("inf"), float("-inf")}:
            raise ValueError(text)
        return value

    def whole(text: str) -> int:
        finite(text)
        return int(text)

    if raw.count(b"{") + raw.count(b"[") > 256:
        return None
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=no_constant,
            parse_float=finite,
            parse_int=whole,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def header_is_good(raw: bytes, kid: str, alg: str) -> bool:
    """Whether an access token may have this JOSE header (RFC 9068 section 4)."""
    header = strict_object(raw)
    if header is None or len(base64.urlsafe_b64encode(raw).rstrip(b"=")) > 1024:
        return False
    typ = header.get("typ")
    return (
        not STEERING & header.keys()
        and header.get("alg") == alg
        and header.get("kid") == kid
        and isinstance(typ, str)
        and typ.lower() in {"at+jwt", "application/at+jwt"}
    )


def payload_is_good(raw: bytes) -> bool:
    """Whether these are the claims of a token that is valid now (RFC 9068 sections 2.2 and 4)."""
    claims = strict_object(raw)
    if claims is None:
        return False
    return (
        claims.get("iss") == ISSUER
        and all(_text(claims, name) for name in ("sub", "client_id"))
        and all(_number(claims, name) for name in ("iat", "exp", "auth_time", "sub_ver"))
        and all(_id(claims, name) for name in ("jti", "sid"))
        and _texts(claims.get("amr"))
        and ("roles" not in claims or _texts(claims["roles"]))
        and ("acr" not in claims or _text(claims, "acr"))
        and _scope(claims.get("scope"))
        and _audience(claims.get("aud"))
        and _times(claims)
    )


def refresh_is_good(raw: bytes) -> bool:
    """Whether these are the claims of an unexpired refresh token of a format that is known."""
    claims = strict_object(raw)
    if claims is None:
        return False
    version = claims.get("v", 1)
    return (
        type(version) is int
        and version == 1
        and claims.get("iss") == ISSUER
        and all(_text(claims, name) for name in ("sub", "client_id"))
        and _id(claims, "sid")
        and all(_number(claims, name) for name in ("gen", "exp"))
        and claims["exp"] > NOW
    )


def _times(claims: Mapping[str, Any]) -> bool:
    nbf = claims.get("nbf", 0)
    return (
        claims["exp"] + LEEWAY > NOW
        and max(claims["iat"], claims["auth_time"]) <= NOW + LEEWAY
        and 0 < claims["exp"] - claims["iat"] <= MAX_LIFETIME
        and type(nbf) is int
        and nbf <= NOW + LEEWAY
    )


def _text(claims: Mapping[str, Any], name: str) -> bool:
    value = claims.get(name)
    return isinstance(value, str) and value != ""


def _number(claims: Mapping[str, Any], name: str) -> bool:
    value = claims.get(name)
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST


def _id(claims: Mapping[str, Any], name: str) -> bool:
    value = claims.get(name)
    if not isinstance(value, str) or len(value) != 22 or not value.isascii():
        return False
    try:
        raw = base64.urlsafe_b64decode(value + "==")
    except ValueError:
        return False
    return len(raw) == 16 and base64.urlsafe_b64encode(raw) == value.encode() + b"=="


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def _scope(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    allowed = {chr(code) for code in range(0x21, 0x7F)} - {'"', "\\"}
    return value == "" or all(part and set(part) <= allowed for part in value.split(" "))


def _audience(value: Any) -> bool:
    if isinstance(value, str):
        return value == AUDIENCE
    return _texts(value) and AUDIENCE in value


def jwk_is_good(jwk: Any, members: Mapping[str, str]) -> bool:
    """Whether a key that was taken is the one that the JWK spells, for signatures alone."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
        return False
    private = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
    kinds = {"ES256": "EC", "EdDSA": "OKP", "PS256": "RSA", "RS256": "RSA"}
    return (
        0 < len(jwk["kid"]) <= 256
        and kinds.get(jwk.get("alg", "")) == members["kty"]
        and not private & jwk.keys()
        and jwk.get("use", "sig") == "sig"
        and jwk.get("key_ops", ["verify"]) == ["verify"]
        and all(jwk.get(name) == value for name, value in members.items())
    )


def traceparent_is_good(header: bytes) -> bool:
    """Whether a header has the form of W3C Trace Context, section 3.2."""
    parts = header.split(b"-")
    lower = set(b"0123456789abcdef")
    lengths = [len(part) for part in parts]
    return lengths == [2, 32, 16, 2] and all(set(part) <= lower for part in parts)


def dechunked(raw: bytes) -> bytes | None:
    """All that whole chunks hold (RFC 9112 section 7.1), None for a size that is none."""
    found = b""
    while b"\n" in raw:
        line, _, raw = raw.partition(b"\n")
        size = line.split(b";")[0].strip()
        if not size or len(size) > 8 or not set(size) <= set(b"0123456789abcdefABCDEF"):
            return None
        length = int(size, 16)
        if length == 0:
            break
        found += raw[:length]
        raw = raw[length + 2 :]
    return found


def events(raw: bytes) -> list[tuple[bytes, ...]]:
    """The data of each whole event of a stream (HTML section 9.2.6)."""
    found: list[tuple[bytes, ...]] = []
    data: list[bytes] = []
    for line in raw.split(b"\n")[:-1]:
        text = line.rstrip(b"\r")
        if not text:
            if data:
                found.append(tuple(data))
            data = []
        elif text == b"data" or text.startswith(b"data:"):
            value = text[5:]
            data.append(value[1:] if value.startswith(b" ") else value)
    return found
