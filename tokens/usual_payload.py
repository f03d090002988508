"""The claims of a payload in the very words that our issuer writes, read in one step.

What is written otherwise, in another order say, with a space, an escape or a further claim, is left
to the JSON parser. Whatever is taken here, the parser reads alike; a form this strict has no room
for a duplicate member or a number out of range. It costs a third of parsing, which counts beside
a signature check.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from .claims import ID_FORM, SCOPE_FORM, AccessClaims

_TEXT = r'[^"\\\x00-\x1f]+'
_NUMBER = "(0|[1-9][0-9]{0,14})"
_TEXTS = rf'\[(?:"{_TEXT}"(?:,"{_TEXT}")*)?\]'
_PARTIES = rf'"aud":"{_TEXT}","client_id":"{_TEXT}"'
_RIGHTS = rf'"amr":{_TEXTS},"scope":"{SCOPE_FORM}"(?:,"roles":{_TEXTS})?'
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
    iss, aud, client_id, amr, scope, roles = _common(iss, parties, rights)
    claims = object.__new__(AccessClaims)
    _set_iss(claims, iss)
    _set_sub(claims, sub)
    _set_aud(claims, aud)
    _set_client_id(claims, client_id)
    _set_iat(claims, int(iat))
    _set_exp(claims, int(exp))
    _set_jti(claims, jti)
    _set_sid(claims, sid)
    _set_auth_time(claims, int(auth_time))
    _set_sub_ver(claims, int(sub_ver))
    _set_amr(claims, amr)
    _set_scope(claims, scope)
    _set_roles(claims, roles)
    _set_extra(claims, _NO_CLAIMS)
    return claims


class _Common(NamedTuple):
    iss: str
    aud: tuple[str, ...]
    client_id: str
    amr: tuple[str, ...]
    scope: str
    roles: tuple[str, ...]


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
    )


_NO_CLAIMS: MappingProxyType[str, Any] = MappingProxyType({})
# A frozen dataclass initialises itself by way of `object.__setattr__`, twice as slowly as this.
_set_iss = AccessClaims.__dict__["iss"].__set__
_set_sub = AccessClaims.__dict__["sub"].__set__
_set_aud = AccessClaims.__dict__["aud"].__set__
_set_client_id = AccessClaims.__dict__["client_id"].__set__
_set_iat = AccessClaims.__dict__["iat"].__set__
_set_exp = AccessClaims.__dict__["exp"].__set__
_set_jti = AccessClaims.__dict__["jti"].__set__
_set_sid = AccessClaims.__dict__["sid"].__set__
_set_auth_time = AccessClaims.__dict__["auth_time"].__set__
_set_sub_ver = AccessClaims.__dict__["sub_ver"].__set__
_set_amr = AccessClaims.__dict__["amr"].__set__
_set_scope = AccessClaims.__dict__["scope"].__set__
_set_roles = AccessClaims.__dict__["roles"].__set__
_set_extra = AccessClaims.__dict__["extra"].__set__
