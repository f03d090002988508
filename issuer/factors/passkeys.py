"""Passkeys: WebAuthn's two ceremonies, with the user verified in each (Web Authentication 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tokens import Malformed
from tokens.base64url import decode, encode

from .factor import Factor, FactorRefused, Kind

TIMEOUT = 300
"""Seconds for which a challenge may be answered."""
CHALLENGE_BYTES = 32
LONGEST_CREDENTIAL_ID = 1023
"""Bytes (section 4, Credential ID)."""
_TRANSPORTS = frozenset({"ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb"})
_LONGEST_CHALLENGE = 128


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """What a registration tells of a credential."""

    credential_id: str
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    synced: bool


class RelyingParty:
    """The issuer as browsers know it: a domain, and the origins of pages that belong to it."""

    def __init__(self, rp_id: str, origins: Sequence[str], name: str) -> None:
        """Of the origins only those at or below the domain count."""
        self.rp_id = rp_id
        self.origins = [
            origin
            for origin in origins
            if f".{urlsplit(origin).hostname or ''}".endswith(f".{rp_id}")
        ]
        self._name = name

    def registration_options(
        self, challenge: bytes, *, account_id: str, username: str, held: Sequence[Factor]
    ) -> dict[str, Any]:
        """What `navigator.credentials.create()` takes, as JSON; `held` are not offered again.

        No attestation: nothing here goes by the make of an authenticator.
        """
        import webauthn
        from webauthn.helpers import structs

        options = webauthn.generate_registration_options(
            rp_id=self.rp_id,
            rp_name=self._name,
            user_id=account_id.encode(),
            user_name=username,
            challenge=challenge,
            timeout=TIMEOUT * 1000,
            authenticator_selection=structs.AuthenticatorSelectionCriteria(
                resident_key=structs.ResidentKeyRequirement.PREFERRED,
                user_verification=structs.UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(held),
        )
        return _as_json(webauthn.options_to_json(options))

    def assertion_options(self, challenge: bytes, held: Sequence[Factor]) -> dict[str, Any]:
        """What `navigator.credentials.get()` takes, as JSON."""
        import webauthn
        from webauthn.helpers import structs

        options = webauthn.generate_authentication_options(
            rp_id=self.rp_id,
            challenge=challenge,
            timeout=TIMEOUT * 1000,
            allow_credentials=_descriptors(held),
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        )
        return _as_json(webauthn.options_to_json(options))

    def registered(self, credential: Mapping[str, Any], challenge: bytes) -> NewPasskey:
        """Verify the answer to `registration_options` (section 7.1). Raises `FactorRefused`."""
        import webauthn

        try:
            found = webauthn.verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=self.origins,
                require_user_verification=True,
            )
        except Exception:
            # Of any kind: it is a parser of what a stranger sends, and its text may quote that.
            raise FactorRefused("ceremony") from None
        if len(found.credential_id) > LONGEST_CREDENTIAL_ID:
            raise FactorRefused("credential_id")
        return NewPasskey(
            encode(found.credential_id),
            found.credential_public_key,
            found.sign_count,
            _transports(credential),
            synced=found.credential_device_type.value == "multi_device",
        )

    def asserted(self, credential: Mapping[str, Any], challenge: bytes, held: Factor) -> int:
        """Verify an assertion by one passkey (section 7.2); returns its new sign count.

        Raises `FactorRefused`: also for a count that has not risen, the sign of a copy.
        """
        import webauthn

        try:
            found = webauthn.verify_authentication_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=self.origins,
                credential_public_key=held.public_key or b"",
                credential_current_sign_count=held.sign_count,
                require_user_verification=True,
            )
        except Exception:
            raise FactorRefused("ceremony") from None
        return found.new_sign_count


def challenge_in(credential: Mapping[str, Any]) -> bytes:
    """The challenge that a browser says it has answered. Raises `FactorRefused`.

    Nothing is trusted yet; it is what the stored challenge is found by. A ceremony in a frame of
    another origin is refused: no page of ours does that (section 7.2).
    """
    try:
        data = json.loads(decode(credential["response"]["clientDataJSON"].encode()))
        text = data["challenge"].encode()
        if data.get("crossOrigin") or not 0 < len(text) <= _LONGEST_CHALLENGE:
            raise FactorRefused("client_data")
        return decode(text)
    except (Malformed, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise FactorRefused("client_data") from None


def credential_id_in(credential: Mapping[str, Any]) -> str:
    """Which credential answered. Raises `FactorRefused`."""
    found = credential.get("id")
    if not isinstance(found, str):
        raise FactorRefused("credential_id")
    return found


def _transports(credential: Mapping[str, Any]) -> tuple[str, ...]:
    response = credential.get("response")
    told = response.get("transports") if isinstance(response, Mapping) else None
    if not isinstance(told, list):
        return ()
    return tuple(sorted({one for one in told if isinstance(one, str)} & _TRANSPORTS))


def _descriptors(held: Sequence[Factor]) -> list[Any]:
    from webauthn.helpers import structs

    return [
        structs.PublicKeyCredentialDescriptor(
            id=decode((factor.credential_id or "").encode()),
            transports=[structs.AuthenticatorTransport(one) for one in factor.transports] or None,
        )
        for factor in held
        if factor.kind is Kind.WEBAUTHN
    ]


def _as_json(text: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(text)
    return made
