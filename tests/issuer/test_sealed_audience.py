"""Access tokens for an audience that has registered an encryption key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import ISSUER, IssuerApp, granted, refused
from joserfc.jwk import ECKey, OKPKey

from issuer.ring import RingKeys
from tokens import AccessVerifier, Recipient

pytestmark = stacks.anywhere

KEYS = {
    "P-256": ECKey.generate_key("P-256", {"kid": "api-1"}),
    "X25519": OKPKey.generate_key("X25519", {"kid": "api-1"}),
}


@pytest.mark.parametrize("curve", KEYS)
def test_only_the_audience_reads_its_tokens(
    make_issuer: Callable[..., IssuerApp], curve: str
) -> None:
    """The access token is a JWE that the audience's key opens, with a signed token inside."""
    key = KEYS[curve]
    audiences = {"api": {"encryption_jwk": key.as_dict(private=False)}}
    issuer = make_issuer(audiences=audiences)
    grant = issuer.grant()
    assert grant["access_token"].count(".") == 4
    verifier = AccessVerifier(
        issuer=ISSUER,
        audience="api",
        find_key=RingKeys(lambda: issuer.services.keys.ring),
        recipients={"api-1": Recipient.from_jwk(key.as_dict(private=True))},
        require_sealed=True,
        clock=issuer.clock,
    )
    assert verifier.verify(grant["access_token"]).sub == issuer.account.id
    # Other audiences are not affected.
    assert issuer.grant(client_id="kiosk")["access_token"].count(".") == 2


def test_what_the_issuer_cannot_read_is_never_acknowledged(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """A sealed token cannot be revoked by itself, and the answer says so; its session can."""
    audiences = {"api": {"encryption_jwk": KEYS["P-256"].as_dict(private=False)}}
    issuer = make_issuer(audiences=audiences)
    grant = issuer.grant()
    refused(issuer.revoke(grant["access_token"]), 400, "unsupported_token_type")
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    assert granted(issuer.introspect(grant["access_token"])) == {"active": False}
    assert issuer.rows("journal") == []
    assert granted(issuer.revoke(grant["refresh_token"])) == {}
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
