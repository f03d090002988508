"""The claims of a payload in the very words that our issuer writes, read in one step.

What is written otherwise, in another order say, with a space, an escape or a further claim, is left
to the JSON parser. Whatever is taken here, the parser reads alike; a form this strict has no room
for a duplicate member or a number out of range. It costs a third of parsing, which counts beside
a signature check.
"""

from __future__ import annotations

import json
import re
from dataclasses import make_dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from .claims import ID_FORM, SCOPE_FORM, AccessClaims

# Possessive where what follows cannot begin alike: there is nothing to go back to.
_TEXT = r'[^"\\\x00-\x1f]++'
_NUMBER = "(0|[1-9][0-9]{0,14}+)"
_TEXTS = rf'\[(?:"{_TEXT}"(?:,"{_TEXT}")*+)?\]'
_PARTIES = rf'"aud":"{_TEXT}","client_id":"{_TEXT}"'
_RIGHTS = rf'"amr":{_TEXTS},"scope":"{SCOPE_FORM}"(?:,"roles":{_TEXTS})?(?:,"acr":"{_TEXT}")?'
_USUAL = re.compile(
    rf'{{"iss":"({_TEXT})","sub":"({_TEXT})",({_PARTIES}),"iat":{_NUMBER},"exp":{_NUMBER},'
    rf'"jti":"({ID_FORM})","sid":"({ID_FORM})","auth_time":{_NUMBER},"sub_ver":{_NUMBER},'
    rf"({_RIGHTS})}}\Z"
)


def read(raw: bytes) -> AccessClaims | None:
    """The claims, or None where it takes the parser to tell."""
    try:
        found = _USUAL.match(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    iss, sub, parties, iat, exp, jti, sid, auth_time, sub_ver, rights = found.groups()
    iss, aud, client_id, amr, scope, roles, acr = _common(iss, parties, rights)
    issued_at = int(iat)
    claims: AccessClaims = _thawed(
        iss,
        sub,
        aud,
        client_id,
        issued_at,
        int(exp),
        jti,
        sid,
        # At the first token of a login they are one number, which takes no room twice.
        issued_at if auth_time == iat else int(auth_time),
        int(sub_ver),
        amr,
        scope,
        roles,
        acr,
        _NO_CLAIMS,
    )
    _freeze(claims, "__class__", AccessClaims)
    return claims


class _Common(NamedTuple):
    iss: str
    aud: tuple[str, ...]
    client_id: str
    amr: tuple[str, ...]
    scope: str
    roles: tuple[str, ...]
    acr: str


# The same few come again and again; kept once, they take no memory in each remembered token.
@lru_cache(maxsize=1024)
def _common(iss: str, parties: str, rights: str) -> _Common:
    members = json.loads(f"{{{parties},{rights}}}")
    return _Common(
        iss=iss,
        aud=(members["aud"],),
        client_id=members["client_id"],
        amr=tuple(members["amr"]),
        scope=members["scope"],
        roles=tuple(members.get("roles", ())),
        acr=members.get("acr", ""),
    )


_NO_CLAIMS: MappingProxyType[str, Any] = MappingProxyType({})
# A frozen dataclass initialises itself by way of `object.__setattr__`, three times as slowly.
_thawed: Any = make_dataclass("_thawed", AccessClaims.__dataclass_fields__, slots=True)
_freeze = object.__setattr__
