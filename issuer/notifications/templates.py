"""What people are written, as plain text.

Nothing in it is of an attacker's choice: a browser is named by words of ours, an address is one or
is left out (OWASP: content spoofing).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime

from ..audit.event import Event, EventKind

_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
             ("Safari/", "Safari"), ("curl/", "curl"))  # fmt: skip
_SYSTEMS = (("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"),
            ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip

_NOT_YOU = (
    "If this was not you, change your password at once: that ends every session of your account."
)
_WAS_ENDED = "The session was ended. If you do not know why, change your password."

_TEXTS: dict[EventKind, tuple[str, str, str]] = {
    EventKind.ANOMALY: (
        "A new device has signed in",
        "Your account was signed in to from a device that it was not used on before.",
        _NOT_YOU,
    ),
    EventKind.REUSE_DETECTED: (
        "A session of yours was ended for your safety",
        "A token of one of your sessions was used twice, as happens when somebody has copied it.",
        _WAS_ENDED,
    ),
    EventKind.PASSWORD_CHANGED: (
        "Your password was changed",
        "The password of your account was changed, and every older session was ended.",
        "If this was not you, tell whoever runs this service.",
    ),
    EventKind.PASSWORD_RESET: (
        "Your password was reset",
        "A new password was set for your account by a reset, and every session was ended.",
        "If this was not you, tell whoever runs this service.",
    ),
    EventKind.LOGIN_LIMITED: (
        "Attempts to sign in were turned away",
        "There were too many wrong passwords for your account, so that further attempts are turned"
        " away for a while. You may be asked to wait, too.",
        "If this was not you, there is nothing to do as long as nobody else knows your password.",
    ),
    EventKind.FACTOR_ADDED: (
        "A way to sign in was added",
        "A further factor was added to your account.",
        _NOT_YOU,
    ),
    EventKind.FACTOR_REMOVED: (
        "A way to sign in was removed",
        "A further factor was removed from your account.",
        _NOT_YOU,
    ),
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A subject and a text."""

    subject: str
    text: str


def letter(event: Event, issuer: str) -> Letter:
    """What a person is written about an event. Raises `KeyError` for a kind without a text."""
    subject, happened, advice = _TEXTS[event.kind]
    when = datetime.fromtimestamp(event.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"{happened}", "", f"When: {when}"]
    if address := _address(event.address):
        lines.append(f"From: {address}")
    if event.user_agent:
        lines.append(f"With: {device(event.user_agent)}")
    lines += [f"Where: {issuer}", "", advice, ""]
    return Letter(subject, "\n".join(lines))


def reset_letter(token: str, lifetime: int, issuer: str, page: str | None) -> Letter:
    """How a person gets a new password. The token stands behind `#`, which no server is sent."""
    minutes = max(1, lifetime // 60)
    way = f"Open this page:\n\n{page}#token={token}" if page else f"Use this code:\n\n{token}"
    text = (
        f"Somebody asked for a new password for your account at {issuer}.\n\n{way}\n\n"
        f"It works once, within {minutes} minutes. If you did not ask for it, do nothing.\n"
    )
    return Letter("Set a new password", text)


def device(user_agent: str) -> str:
    """A browser and a system in our own words."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "a program")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "an unknown system")
    return f"{browser} on {system}"


def _address(text: str) -> str:
    """An address, or the network that is all that the log keeps of one."""
    for read in (ipaddress.ip_address, ipaddress.ip_network):
        try:
            return str(read(text))
        except ValueError:
            continue
    return ""
