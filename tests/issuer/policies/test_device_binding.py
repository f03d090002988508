"""What counts as another device."""

from __future__ import annotations

import pytest

from issuer.policies.binding import Device, changed

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
UPDATED = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0.2"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/148.0.0.0 Safari/537.36"
PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/148.0.0.0 Mobile"
BOTH = ("user_agent", "network")
HOME = Device("192.0.2.7", FIREFOX)


@pytest.mark.parametrize(
    ("binding", "now", "what"),
    [
        ((), Device("198.51.100.1", CHROME), None),
        (BOTH, HOME, None),
        (BOTH, Device("192.0.2.200", UPDATED), None),
        (BOTH, Device("::ffff:192.0.2.9", FIREFOX), None),
        (BOTH, Device("198.51.100.1", FIREFOX), "network"),
        (BOTH, Device("", FIREFOX), "network"),
        (BOTH, Device("192.0.2.7", CHROME), "user_agent"),
        (BOTH, Device("192.0.2.7", ""), "user_agent"),
        (("user_agent",), Device("198.51.100.1", UPDATED), None),
        (("network",), Device("192.0.2.7", PHONE), None),
    ],
)
def test_what_changed_is_named(binding: tuple[str, ...], now: Device, what: str | None) -> None:
    """An update of the browser is none, nor another address of the network."""
    assert changed(binding, HOME, now) == what
