"""What a request asks about: what its path and its query name, if they name anything."""

from __future__ import annotations

from flask import abort, request

from ..accounts import Account
from ..http.current import services

LONGEST_NAME = 320
"""Characters of a name, or of anything else in a query."""


def given_query() -> dict[str, str]:
    """What the query string holds, without what no database takes."""
    plain = {name: _printable(value).strip() for name, value in request.args.items()}
    return {name: value[:LONGEST_NAME] for name, value in plain.items() if value}


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def page_number() -> int:
    """Of the pages of a list; the first where none is named."""
    given = request.args.get("page", "1")
    return max(1, int(given)) if given.isascii() and given.isdecimal() and len(given) < 8 else 1


def account_of(sub: str) -> Account:
    """The person whom a path names; 404 if there is none."""
    account = services().accounts.by_id(sub) if sub == _printable(sub) else None
    if account is None:
        abort(404)
    return account


def place_in_log() -> int | None:
    """The event before which a page of the audit log ends."""
    given = request.args.get("before", "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else None
