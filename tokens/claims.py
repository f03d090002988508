"""What a token says: the claims of each kind, checked for form when they are read or made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .errors import InvalidClaim, MissingClaim, NewerFormat

# 128 bits as canonical base64url: 22 characters whose last one holds two bits only.
ID_FORM = "[A-Za-z0-9_-]{21}[AQgw]"
_ID = re.compile(rf"{ID_FORM}\Z")
# RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ), separated by one space.
SCOPE_FORM = r"(?:[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*)?"
_SCOPE = re.compile(rf"{SCOPE_FORM}\Z")
_MAX_TIME = 1 << 53
_NO_CLAIMS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """The claims of an access token (RFC 9068 section 2.2), times in seconds since the epoch."""

    iss: str
    sub: str
    aud: tuple[str, ...]
    client_id: str
    iat: int
    exp: int
    jti: str
    """128 random bits, base64url."""
    sid: str
    """The login's session: 128 random bits, base64url."""
    auth_time: int
    sub_ver: int
    """The subject's version when this was issued; an older one is refused after a revocation."""
    amr: tuple[str, ...]
    scope: str
    """Space-separated (RFC 6749 section 3.3), possibly empty."""
    roles: tuple[str, ...] = ()
    acr: str = ""
    """How well the person was authenticated (RFC 9068 section 2.2.1); empty where it says nothing.

    Ours are the levels of `assurance.LEVELS`.
    """
    extra: Mapping[str, Any] = field(default_factory=lambda: _NO_CLAIMS)
    """Further claims, for sealed tokens above all; never one of the names above."""

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.scope.split())

    def to_payload(self) -> dict[str, Any]:
        """The JSON object of these claims. Raises `InvalidClaim` if `extra` names a known claim."""
        clash = _KNOWN.intersection(self.extra)
        if clash:
            raise InvalidClaim(min(clash), "may not be given as an extra claim")
        # What the tokens of one client share comes first, which `usual_payload` reads once.
        payload: dict[str, Any] = {
            "iss": self.iss,
            "aud": self.aud[0] if len(self.aud) == 1 else list(self.aud),
            "client_id": self.client_id,
            "amr": list(self.amr),
            "scope": self.scope,
        }
        if self.roles:
            payload["roles"] = list(self.roles)
        if self.acr:
            payload["acr"] = self.acr
        payload |= {
            "sub": self.sub,
            "iat": self.iat,
            "exp": self.exp,
            "jti": self.jti,
            "sid": self.sid,
            "auth_time": self.auth_time,
            "sub_ver": self.sub_ver,
        }
        payload.update(self.extra)
        return payload

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> AccessClaims:
        """Read claims, each of which must be there and of its form.

        Raises `MissingClaim` or `InvalidClaim`.
        """
        extra = {name: value for name, value in payload.items() if name not in _KNOWN}
        return cls(
            iss=_text(payload, "iss"),
            sub=_text(payload, "sub"),
            aud=_audience(payload),
            client_id=_text(payload, "client_id"),
            iat=_number(payload, "iat"),
            exp=_number(payload, "exp"),
            jti=_id(payload, "jti"),
            sid=_id(payload, "sid"),
            auth_time=_number(payload, "auth_time"),
            sub_ver=_number(payload, "sub_ver"),
            amr=_texts(payload, "amr"),
            scope=_scope(payload),
            roles=_texts(payload, "roles") if "roles" in payload else (),
            acr=_text(payload, "acr") if "acr" in payload else "",
            extra=MappingProxyType(extra) if extra else _NO_CLAIMS,
        )


_KNOWN = frozenset(AccessClaims.__dataclass_fields__) - {"extra"}


REFRESH_FORMAT = 1
"""Claim `v` of a refresh token, 1 where it is missing: what a program must know to read it.

Raised only for what an older program would get wrong; it ignores claims that are merely new.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshClaims:
    """The claims of a refresh token: which generation of which session it is."""

    iss: str
    sub: str
    sid: str
    client_id: str
    gen: int
    exp: int
    """The session's absolute end, the same for every generation (RFC 9700 section 4.14.2)."""

    def to_payload(self) -> dict[str, Any]:
        return {
            "v": REFRESH_FORMAT,
            "iss": self.iss,
            "sub": self.sub,
            "sid": self.sid,
            "client_id": self.client_id,
            "gen": self.gen,
            "exp": self.exp,
        }

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> RefreshClaims:
        """Read claims. Raises `MissingClaim`, `InvalidClaim` or `NewerFormat`."""
        version = _number(payload, "v") if "v" in payload else 1
        if version < 1:
            raise InvalidClaim("v", "is no format")
        if version > REFRESH_FORMAT:
            raise NewerFormat(version, REFRESH_FORMAT)
        return cls(
            iss=_text(payload, "iss"),
            sub=_text(payload, "sub"),
            sid=_id(payload, "sid"),
            client_id=_text(payload, "client_id"),
            gen=_number(payload, "gen"),
            exp=_number(payload, "exp"),
        )


def _get(payload: dict[str, Any], name: str) -> Any:
    try:
        return payload[name]
    except KeyError:
        raise MissingClaim(name) from None


def _text(payload: dict[str, Any], name: str) -> str:
    value = _get(payload, name)
    if type(value) is not str or not value:
        raise InvalidClaim(name, "is not a non-empty string")
    return value


def _id(payload: dict[str, Any], name: str) -> str:
    value = _get(payload, name)
    if type(value) is not str or _ID.match(value) is None:
        raise InvalidClaim(name, "is not 128 bits of base64url")
    return value


def _number(payload: dict[str, Any], name: str) -> int:
    value = _get(payload, name)
    # `type` rather than `isinstance`: true is no number.
    if type(value) is not int or not 0 <= value <= _MAX_TIME:
        raise InvalidClaim(name, "is not a whole number in range")
    return value


def _texts(payload: dict[str, Any], name: str) -> tuple[str, ...]:
    value = _get(payload, name)
    if type(value) is not list or not all(type(item) is str and item for item in value):
        raise InvalidClaim(name, "is not a list of non-empty strings")
    return tuple(value)


def _audience(payload: dict[str, Any]) -> tuple[str, ...]:
    value = _get(payload, "aud")
    if type(value) is str and value:
        return (value,)
    audiences = _texts(payload, "aud")
    if not audiences:
        raise InvalidClaim("aud", "is empty")
    return audiences


def _scope(payload: dict[str, Any]) -> str:
    value = _get(payload, "scope")
    if type(value) is not str or _SCOPE.match(value) is None:
        raise InvalidClaim("scope", "is not a list of scopes (RFC 6749 section 3.3)")
    return value
