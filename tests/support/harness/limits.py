"""Limits under test: attempts from anywhere, and time that passes for what is counted."""

from __future__ import annotations

from typing import Any

import redis
from harness.issuer_app import PASSWORD, USERNAME, IssuerApp
from werkzeug.test import TestResponse

from issuer.limits.settings import LimitSettings

HOME = "198.51.100.7"
"""Where the person lives; what tests call elsewhere is not in this network."""
WRONG = "not the password of anybody"
OFF: dict[str, Any] = {
    name: "" if isinstance(field.default, str) else 0
    for name, field in LimitSettings.model_fields.items()
}
"""No limit at all, for tests that make on purpose what limits are there to refuse."""

WIDE: dict[str, Any] = {
    name: "1000000 per minute" if isinstance(field.default, str) else 10_000
    for name, field in LimitSettings.model_fields.items()
}
"""Limits that count and are never reached, for tests of what an answer costs."""


def limits(**changes: Any) -> dict[str, Any]:
    """Settings with these limits and no other."""
    return {**OFF, **changes}


def elsewhere(number: int) -> str:
    """An address in a network of its own."""
    return f"203.{number // 250}.{number % 250}.9"


def attempt(
    issuer: IssuerApp, address: str, username: str = USERNAME, password: str = WRONG
) -> TestResponse:
    """One login in body mode from an address."""
    body = {"username": username, "password": password, "transport": "body"}
    return issuer.post("/login", body, environ_base={"REMOTE_ADDR": address})


def log_in(issuer: IssuerApp, address: str = HOME, username: str = USERNAME) -> TestResponse:
    """One login with the right password."""
    return attempt(issuer, address, username, PASSWORD)


def statuses(answers: list[TestResponse]) -> list[int]:
    return [answer.status_code for answer in answers]


def wait_of(answer: TestResponse) -> int:
    """What a 429 says in `Retry-After`; it has no other header or text that tells limits apart."""
    assert answer.status_code == 429, answer.text
    assert answer.get_json() == {
        "error": "too_many_requests",
        "error_description": "too many attempts; wait, then try again",
    }
    assert answer.headers.getlist("Set-Cookie") == []
    return int(answer.headers["Retry-After"])


def pass_time(url: str, seconds: float) -> None:
    """Let time pass for every count: Redis keeps it as each key's time to live."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match="*:limits:LIMITER/*", count=500):
            left = client.pttl(key) - int(seconds * 1000)
            if left > 0:
                client.pexpire(key, left)
            else:
                client.delete(key)
