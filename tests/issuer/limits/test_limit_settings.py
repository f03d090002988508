"""Limits as they are written down: the defaults, and what the page says of them."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest

from issuer.limits import address_of, network_of, parse_windows
from issuer.settings import LimitSettings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "limits.md"


def test_the_page_has_the_defaults() -> None:
    """What docs/limits.md shows as the defaults is the defaults, all of them."""
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    given = LimitSettings().model_dump()
    assert dict(rows) == {name: str(value) for name, value in given.items()}


def test_the_defaults_stay_under_the_hundred() -> None:
    """SP 800-63B-4 section 3.2.2: strangers have fewer than 100 tries in the longest window."""
    given = LimitSettings()
    for text in (given.guesses_account, given.guesses_account_network):
        *_, longest = sorted(parse_windows(text), key=lambda item: item.get_expiry())
        assert longest.get_expiry() >= 86_400
        assert longest.amount < 100
    assert all(parse_windows(text) for text in given.model_dump(exclude={"sessions"}).values())
    assert parse_windows("") == parse_windows("  ") == ()


@pytest.mark.parametrize(
    ("given", "address", "network"),
    [
        ("203.0.113.9", "203.0.113.9/32", "203.0.113.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.9/32", "203.0.113.0/24"),
        ("2001:db8:1:2fe:a::9", "2001:db8:1:2fe::/64", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/56"),
        ("::1", "::/64", "::/56"),
        ("", None, None),
        ("unix:", None, None),
        ("203.0.113.9:443", None, None),
        ("1.2.3", None, None),
    ],
)
def test_addresses_are_what_one_host_has_and_networks_what_one_line(
    given: str, address: str | None, network: str | None
) -> None:
    """IPv6 written for IPv4 is IPv4; what is no address is none."""
    assert (address_of(given), network_of(given)) == (address, network)
    assert address is None or ipaddress.ip_network(address)
