"""Time in a token comes from before the first read, however long an issuer then pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness.issuer_app import (
    ACCESS_LIFETIME,
    NEW_PASSWORD,
    IssuerApp,
    claims_of,
    granted,
    refused,
)

PAUSE = 200


def pause_after(issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch, target: Any, name: str) -> None:
    """Let the clock run on by `PAUSE` once `target.name` has read what it reads."""
    real: Callable[..., Any] = getattr(target, name)

    def paused(*args: Any, **options: Any) -> Any:
        found = real(*args, **options)
        issuer.clock.advance(PAUSE)
        return found

    monkeypatch.setattr(target, name, paused)


@pytest.mark.parametrize("read", ["standing", "rotate"])
def test_a_pause_during_a_refresh_moves_no_time(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """An issuer stopped after reading account or family mints a token of before the stop."""
    token = issuer.grant()["refresh_token"]
    issuer.clock.advance(60)
    instant = int(issuer.clock())
    services = issuer.services
    target = services.accounts if read == "standing" else services.families
    pause_after(issuer, monkeypatch, target, read)
    claims = claims_of(granted(issuer.refresh(token))["access_token"])
    assert (claims["iat"], claims["exp"]) == (instant, instant + ACCESS_LIFETIME)


@pytest.mark.parametrize("read", ["authenticate", "standing", "create"])
def test_a_pause_during_a_login_moves_no_time(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """The same holds for a login, at each of its reads."""
    instant = int(issuer.clock())
    services = issuer.services
    target = services.families if read == "create" else services.accounts
    pause_after(issuer, monkeypatch, target, read)
    grant = issuer.grant()
    claims = claims_of(grant["access_token"])
    assert (claims["iat"], claims["exp"]) == (instant, instant + ACCESS_LIFETIME)
    assert issuer.opened(grant["refresh_token"]).exp == instant + 43_200


def test_a_pause_during_a_password_change_moves_no_time(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's new session dates from before the change was written."""
    token = issuer.grant()["access_token"]
    instant = int(issuer.clock())
    pause_after(issuer, monkeypatch, issuer.services.accounts, "change_password")
    claims = claims_of(granted(issuer.change_password(token))["access_token"])
    assert (claims["iat"], claims["exp"]) == (instant, instant + ACCESS_LIFETIME)


def test_a_token_minted_after_a_pause_cannot_outlive_the_entry_against_it(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password changed while an issuer stood still leaves no token once its entry expires."""
    first = issuer.grant()
    services = issuer.services
    standing = services.accounts.standing
    issuer.clock.advance(60)

    def overtaken(*args: Any, **options: Any) -> Any:
        found = standing(*args, **options)
        monkeypatch.setattr(services.accounts, "standing", standing)
        granted(issuer.change_password(first["access_token"]))
        issuer.clock.advance(PAUSE)
        return found

    monkeypatch.setattr(services.accounts, "standing", overtaken)
    # The family is of the version that was read, so that only the paused issuer lets it pass.
    late = granted(issuer.refresh(first["refresh_token"]))["access_token"]
    refused(issuer.sessions(late), 401, "invalid_token")
    (row,) = issuer.rows("journal")
    last_accepted = claims_of(late)["exp"] + services.settings.leeway
    assert row["expires"] > last_accepted
    assert issuer.grant(password=NEW_PASSWORD)


def test_a_pause_before_the_denylist_is_asked_revives_no_token(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revoked token is not active because its entry was over when the denylist was asked."""
    token = issuer.grant()["access_token"]
    granted(issuer.revoke(token))
    denylist = issuer.services.denylist
    state = denylist.state

    def late() -> Any:
        issuer.clock.advance(ACCESS_LIFETIME + 200)
        return state()

    monkeypatch.setattr(denylist, "state", late)
    refused(issuer.sessions(token), 401, "invalid_token")
    assert granted(issuer.introspect(token)) == {"active": False}
