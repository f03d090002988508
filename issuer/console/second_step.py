"""The second factor as a form brings it: a code that was typed, or a passkey's answer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tokens import Malformed
from tokens.strict_json import loads_object

from ..errors import invalid_request
from ..factors import GivenFactor
from ..http.given_factor import LONGEST_CODE

_OF_AN_APP = re.compile(r"[\d ]{6,}\Z", re.ASCII)


def given_factor(filled: Mapping[str, str]) -> GivenFactor:
    """What somebody filled in. Raises `OAuthError` 400 for what no page of ours sends."""
    passkey, code = filled.get("passkey"), filled.get("code", "").strip()
    if passkey is not None:
        try:
            return GivenFactor(webauthn=loads_object(passkey.encode()))
        except Malformed:
            raise invalid_request("passkey is not acceptable JSON") from None
    if not code:
        return GivenFactor()
    if len(code) > LONGEST_CODE or not code.isprintable():
        raise invalid_request(f"code is longer than {LONGEST_CODE} characters, or none")
    return GivenFactor(otp=code) if _OF_AN_APP.match(code) else GivenFactor(recovery_code=code)
