"""POST /login."""

from __future__ import annotations

from harness.issuer_app import IssuerApp


def test_x(issuer: IssuerApp) -> None:
    """A login answers."""
    r=issuer.grant()
    issuer.sessions(r["access_token"])
    assert issuer.introspect(r["access_token"]).json["active"]
