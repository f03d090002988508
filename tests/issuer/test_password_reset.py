"""POST /password/forgot and /password/reset."""

from __future__ import annotations

import queue
from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import NEW_PASSWORD, USERNAME, IssuerApp, granted, refused, same_headers
from structlog.testing import capture_logs

from issuer import resets
from issuer.accounts.sql_accounts import RESET_LIFETIME
from issuer.resets import ResetDesk, ResetMessage, load_sender
from issuer.settings import SettingsError


def reset(issuer: IssuerApp, token: str | None, new_password: str = NEW_PASSWORD) -> int:
    """Spend a token; the status."""
    assert token is not None
    answer = issuer.post("/password/reset", {"token": token, "new_password": new_password})
    if answer.status_code == 200:
        assert answer.get_json() == {"changed": True}
    else:
        assert answer.get_json()["error"] in {"invalid_grant", "invalid_request"}
    return answer.status_code


@stacks.everywhere
def test_a_reset_sets_the_password_and_ends_every_session(issuer: IssuerApp) -> None:
    """The delivered token sets a new password; every older token is refused."""
    old = issuer.grant()
    token = issuer.forgot()
    assert granted(issuer.refresh(old["refresh_token"])), "asking alone changes nothing"
    assert reset(issuer, token) == 200
    refused(issuer.login(), 400, "invalid_grant")
    refused(issuer.sessions(old["access_token"]), 401, "invalid_token")
    refused(issuer.refresh(old["refresh_token"]), 400, "invalid_grant")
    issuer.grant(password=NEW_PASSWORD)
    (row,) = issuer.rows("journal")
    assert (row["reason"], row["done"]) == ("password_reset", True)


def test_the_message_says_to_whom_and_for_how_long(issuer: IssuerApp) -> None:
    """The sender gets name, token and lifetime, and a message's repr hides the token."""
    token = issuer.forgot(USERNAME.upper())
    (message,) = issuer.sent
    assert (message.username, message.token) == (USERNAME, token)
    assert message.lifetime == RESET_LIFETIME
    assert str(token) not in repr(message)


def test_only_a_digest_of_the_token_is_stored(issuer: IssuerApp) -> None:
    """Whoever reads the database cannot reset a password."""
    token = issuer.forgot()
    (row,) = issuer.rows("password_resets")
    assert str(token) not in repr(row)
    assert reset(issuer, row["digest"]) == 400


def test_a_token_is_good_once(issuer: IssuerApp) -> None:
    """A spent token is refused."""
    token = issuer.forgot()
    assert reset(issuer, token) == 200
    assert reset(issuer, token, "one more unusual phrase 31") == 400
    issuer.grant(password=NEW_PASSWORD)


@pytest.mark.parametrize(("after", "status"), [(RESET_LIFETIME - 1, 200), (RESET_LIFETIME, 400)])
@stacks.anywhere
def test_a_token_is_good_for_a_while(issuer: IssuerApp, after: int, status: int) -> None:
    """A token works until its lifetime is over, to the second."""
    token = issuer.forgot()
    issuer.clock.advance(after)
    assert reset(issuer, token) == status


def test_a_newer_token_replaces_an_older_one(issuer: IssuerApp) -> None:
    """Only the token that was sent last works."""
    first, second = issuer.forgot(), issuer.forgot()
    assert reset(issuer, first) == 400
    assert reset(issuer, second) == 200


def test_a_password_change_overtakes_a_token(issuer: IssuerApp) -> None:
    """A token that was sent before the password changed by other means is worth nothing."""
    token = issuer.forgot()
    granted(issuer.change_password(issuer.grant()["access_token"]))
    assert reset(issuer, token, "one more unusual phrase 31") == 400
    issuer.grant(password=NEW_PASSWORD)


def test_a_refused_password_leaves_the_token_usable(issuer: IssuerApp) -> None:
    """Whoever chose too weak a password may choose again."""
    token = issuer.forgot()
    assert reset(issuer, token, "too short") == 400
    assert reset(issuer, token, "password123456789") == 400
    assert reset(issuer, token) == 200


def test_asking_never_says_whether_there_is_an_account(issuer: IssuerApp) -> None:
    """Known, unknown and disabled names get the same answer, and only a known one gets mail."""
    answers = [issuer.post("/password/forgot", {"username": name}) for name in (USERNAME, "nobody")]
    assert len({(a.status_code, a.data, same_headers(a)) for a in answers}) == 1
    issuer.deliver()
    assert [message.username for message in issuer.sent] == [USERNAME]
    issuer.services.accounts.set_enabled(issuer.account.id, False, expires=0)
    assert issuer.forgot() is None


def test_a_disabled_account_cannot_be_reset(issuer: IssuerApp) -> None:
    """A token that is out when the account is disabled is refused."""
    token = issuer.forgot()
    issuer.services.accounts.set_enabled(issuer.account.id, False, expires=0)
    assert reset(issuer, token) == 400
    issuer.services.accounts.set_enabled(issuer.account.id, True, expires=0)
    assert reset(issuer, token) == 400


@stacks.anywhere
def test_without_a_sender_there_is_no_reset(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer that cannot deliver says so, for every name alike."""
    monkeypatch.setattr(issuer.services.resets, "_sender", None)
    for name in (USERNAME, "nobody"):
        refused(issuer.post("/password/forgot", {"username": name}), 404, "not_found")


@stacks.anywhere
def test_too_many_waiting_requests_are_told_to_come_back(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue answers 503 with Retry-After rather than growing."""
    full: queue.Queue[object] = queue.Queue(1)
    full.put("somebody")
    monkeypatch.setattr(issuer.services.resets, "_requests", full)
    answer = issuer.post("/password/forgot", {"username": USERNAME})
    refused(answer, 503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "30"


@stacks.anywhere
def test_a_sender_that_fails_is_logged_without_the_token(issuer: IssuerApp) -> None:
    """A broken sender stops neither the desk nor the next request, and leaks nothing."""
    tokens: list[str] = []

    def broken(message: ResetMessage) -> None:
        tokens.append(message.token)
        raise RuntimeError(message.token)

    desk = ResetDesk(issuer.services.accounts, broken)
    with capture_logs() as lines:
        for _ in range(2):
            assert desk.request(USERNAME)
        desk.start()
        desk.stop()
    assert len(tokens) == 2
    assert [line["event"] for line in lines] == ["password_reset_not_delivered"] * 2
    assert not any(token in repr(lines) for token in tokens)


@pytest.mark.parametrize(
    "path", ["no_such_module:send", "json:no_such_name", "json:__name__", "json", ":x", "json:"]
)
def test_a_sender_that_is_none_names_its_setting(path: str) -> None:
    """A wrong `reset_sender` is one line that names the setting."""
    with pytest.raises(SettingsError, match=r"\AGATEPASS_RESET_SENDER \(reset_sender\): .+\Z"):
        load_sender(path)


def test_a_sender_is_found_by_its_name() -> None:
    """`module:function` names a callable; an empty path names none."""
    assert load_sender("issuer.resets:load_sender") is resets.load_sender
    assert load_sender("") is None


@stacks.anywhere
def test_the_setting_wires_the_sender(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer built from settings alone delivers through the function that they name."""
    from issuer.services import build_services

    issuer = make_issuer(reset_sender="issuer.resets:load_sender")
    services = build_services(issuer.services.settings)
    assert services.resets._sender is load_sender
    services.stop()
