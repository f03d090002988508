"""Recovery codes: a short list, each good for one login (SP 800-63B-4 section 3.1.2)."""

from __future__ import annotations

import base64
import hashlib
import secrets

CODES = 10
GROUP = 4
_BYTES = 15
"""120 random bits: from 112 on a plain digest is enough to store (SP 800-63B-4 section 3.1.2.2)."""


def new_codes() -> list[str]:
    """Ten codes of 24 letters and digits in groups of four, none of them easily misread."""
    return [_grouped(base64.b32encode(secrets.token_bytes(_BYTES)).decode()) for _ in range(CODES)]


def _grouped(text: str) -> str:
    return "-".join(text[at : at + GROUP] for at in range(0, len(text), GROUP)).lower()


def digest(account_id: str, code: str) -> str:
    """What is stored of a code: typed in any case, with or without dashes and spaces."""
    letters = code.replace("-", "").replace(" ", "").upper()
    return hashlib.sha256(f"{account_id}:{letters}".encode()).hexdigest()
