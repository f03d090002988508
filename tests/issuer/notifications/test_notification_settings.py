"""Settings of notifications: what is refused, and in which words."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from harness.receivers import WEBHOOK_SECRET
from pydantic import SecretStr

from issuer.notifications.settings import signing_secret
from issuer.notifications.webhook import signature
from issuer.notifications.worker import RetryRules
from issuer.settings import SettingsError, load_settings

HOOK = {"url": "https://siem.example/hook", "secret": WEBHOOK_SECRET}
MAIL = {"host": "mail.example", "sender": "no-reply@id.example"}
PUSH = {"audience": "rp", "push_url": "https://rp.example/events"}
POLL = {"audience": "rp", "secret_sha256": "0" * 64}
PASSPHRASE = "a passphrase of 22 or more characters"


def settings(production: bool = True, client: str | None = None, **notifications: Any) -> Any:
    """An issuer's settings with these notifications."""
    more = {} if client is None else {"backchannel_logout_uri": client}
    return load_settings(
        issuer="https://id.example",
        mode="production" if production else "development",
        database_url="postgresql+psycopg://db/gatepass",
        redis_url="rediss://redis:6379/0",
        keys_dir="/var/lib/gatepass/keys",
        keys_secret=PASSPHRASE,
        clients={"demo": {"audience": "api", **more}},
        behind_tls_proxy=True,
        notifications=notifications,
    )


def test_good_settings_are_taken() -> None:
    """Of each channel, in production."""
    taken = settings(
        client="https://rp.example/logout",
        webhooks={"siem": HOOK},
        email=MAIL,
        signals={"push": PUSH, "poll": POLL},
    )
    assert list(taken.notifications.polling()) == ["poll"]
    assert taken.all_threads == taken.threads + taken.hashing.waiting + 1


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"webhooks": {"a": {**HOOK, "url": "http://siem.example/"}}}, "webhooks.a.url"),
        ({"signals": {"a": {**PUSH, "push_url": "http://rp.example/"}}}, "signals.a.push_url"),
        ({"email": {**MAIL, "security": "plain"}}, "email.security"),
        ({"email": {**MAIL, "reset_page": "http://app.example/"}}, "email.reset_page"),
        ({"client": "http://rp.example/logout"}, "clients.demo.backchannel_logout_uri"),
    ],
)
def test_production_tells_nobody_in_the_clear(given: dict[str, Any], word: str) -> None:
    """Each is named; in development all are taken."""
    with pytest.raises(SettingsError, match="production needs") as raised:
        settings(**given)
    assert word in str(raised.value)
    settings(production=False, **given)


SHORT = "whsec_" + base64.b64encode(b"x" * 23).decode()
LONG = "whsec_" + base64.b64encode(b"x" * 65).decode()


@pytest.mark.parametrize(
    "given",
    [
        *({"webhooks": {"a": {**HOOK, "url": url}}} for url in (
            "", "siem.example", "ftp://siem.example/", "https://", "https://u:p@siem.example/",
            "https://siem.example/#x", "https://siem.example:0/", "https://siem.example:x/",
            "https://siem.example/a b", "https://siem.example/\r\nX: y", "https://[::1", 1)),
        *({"webhooks": {"a": {**HOOK, "secret": secret}}} for secret in (
            "", "secret", SHORT, LONG, WEBHOOK_SECRET[6:], WEBHOOK_SECRET + "!", 1)),
        {"webhooks": {"a": {**HOOK, "previous_secret": "whsec_"}}},
        {"webhooks": {"a": {**HOOK, "events": ["no such event"]}}},
        {"webhooks": {"a": {**HOOK, "events": ["login:new_device"]}}},
        {"webhooks": {"a b": HOOK}},
        {"webhooks": {"x" * 65: HOOK}},
        {"webhooks": {"a": {**HOOK, "retries": 3}}},
        *({"email": {**MAIL, "sender": sender}} for sender in (
            "", "x", "a@b\r\nBcc: c@d.example", "A <a@b.example>", "a@b.example, c@d.example")),
        {"email": {**MAIL, "username": "x"}},
        {"email": {**MAIL, "password": "x"}},
        {"email": {**MAIL, "security": "plain", "username": "x", "password": "y"}},
        {"email": {**MAIL, "security": "none"}},
        {"email": {**MAIL, "events": ["login"]}},
        {"email": {**MAIL, "port": 0}},
        {"signals": {"a": {"audience": "rp"}}},
        {"signals": {"a": {**PUSH, **POLL}}},
        {"signals": {"a": {**POLL, "secret_sha256": "x"}}},
        {"signals": {"a": {**PUSH, "authorization": "Bearer a\r\nX: y"}}},
        {"signals": {"a": {**PUSH, "events": ["login"]}}},
        {"attempt_timeout": 0},
        {"attempt_timeout": 61},
        {"first_retry": 10, "longest_retry": 5},
        {"max_age": 0},
        {"concurrency": 0},
        {"poll_wait": 56},
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_without_being_shown(given: dict[str, Any]) -> None:
    """The line names the setting, and no secret."""
    with pytest.raises(SettingsError) as raised:
        settings(**given)
    text = str(raised.value)
    assert "notifications" in text
    assert "eHh4" not in text
    assert WEBHOOK_SECRET[6:] not in text


def test_secrets_may_come_from_the_environment_and_the_rest_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page says; a variable goes before the file."""
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).resolve().parents[3] / "docs" / "notifications.md"
    (block,) = re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "gatepass.toml").write_text(block)
    monkeypatch.setenv("GATEPASS_NOTIFICATIONS__EMAIL__PASSWORD", "from the environment")
    monkeypatch.setenv("GATEPASS_NOTIFICATIONS__WEBHOOKS__SIEM__SECRET", WEBHOOK_SECRET)
    taken = load_settings().notifications
    assert taken.email is not None
    assert taken.email.password is not None
    assert taken.email.password.get_secret_value() == "from the environment"
    assert taken.email.host == "mail.internal"
    assert taken.webhooks["siem"].secret.get_secret_value() == WEBHOOK_SECRET


def test_resets_by_mail_need_a_mail_server() -> None:
    """`reset_sender = "smtp"` alone is no way."""
    with pytest.raises(SettingsError, match=r"smtp needs notifications\.email"):
        load_settings(
            issuer="http://127.0.0.1:8000",
            mode="development",
            database_url="sqlite:///x.db",
            redis_url="memory://",
            workers=1,
            keys_dir="keys",
            clients={"demo": {"audience": "api"}},
            reset_sender="smtp",
        )


def test_a_signature_is_that_of_the_reference_libraries() -> None:
    """The vector that the libraries of Standard Webhooks are tested with."""
    key = signing_secret(SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    signed = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    assert signature(key, signed) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_delays_double_and_none_is_like_another() -> None:
    """Between a half and the whole of first * 2 ** n, up to the longest."""
    rules = RetryRules(first=5, longest=3600)
    assert [rules.delay(n, 0.0) for n in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert [rules.delay(n, 1.0) for n in (1, 2, 3)] == [2.5, 5, 10]
    assert rules.delay(40, 0.0) == rules.delay(10_000, 0.0) == 3600
    assert rules.delay(1, 0.5) == 3.75
