"""User agents by family, so that an update is no other one."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 32
"""Characters of a family's name."""

# In this order: each of them also claims to be the ones below.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/")),
    ("Opera", re.compile(r"\b(?:OPR|Opera)/")),
    ("Samsung", re.compile(r"\bSamsungBrowser/")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/")),
    ("HeadlessChrome", re.compile(r"\bHeadlessChrome/")),
    ("Chrome", re.compile(r"\b(?:Chrome|CriOS|Chromium)/")),
    ("Safari", re.compile(r"\bSafari/")),
)
# A phone that asks for the desktop's page says that it is one of its maker's desktops.
_PLATFORMS = (
    ("Windows", re.compile(r"\bWindows\b")),
    ("Linux", re.compile(r"\b(?:Android|Linux|CrOS|X11)\b")),
    ("Apple", re.compile(r"\b(?:iPhone|iPad|Macintosh|Mac OS X|Darwin)\b")),
)
_HELD = re.compile(r"\b(?:Mobile|Android|iPhone|iPad)\b")
_PRODUCT = re.compile(r"[A-Za-z0-9._-]+")


@lru_cache(maxsize=4096)
def family_of(user_agent: str) -> str:
    """Browser and platform without versions, as `Chrome/Windows`; empty for an empty one."""
    browser = next((name for name, said in _BROWSERS if said.search(user_agent)), None)
    if browser is None:
        product = _PRODUCT.match(user_agent)
        browser = product[0] if product else "other" if user_agent else ""
    platform = next((name for name, said in _PLATFORMS if said.search(user_agent)), "")
    return f"{browser}/{platform}"[:LONGEST] if platform else browser[:LONGEST]


@lru_cache(maxsize=4096)
def device_of(user_agent: str) -> str:
    """The family, and whether it is a phone's: one maker's phone and computer are two devices."""
    family = family_of(user_agent)
    return f"{family}/phone" if _HELD.search(user_agent) else family
