"""`/password/rules`: what a page needs to judge a new password while it is typed.

The page judges by itself, so that no half-typed password, nor one meant for elsewhere, leaves the
browser; the issuer's own verdict comes when the password is set.
"""

from __future__ import annotations

from functools import cache

from flask import Blueprint, Response, jsonify, request

from ..accounts.passwords import MAX_PASSWORD, common_passwords, common_words
from .current import services

blueprint = Blueprint("password_rules", __name__)

RULES_CACHE = "public, max-age=86400"


@cache
def _rules(min_length: int) -> dict[str, object]:
    # A shorter password is refused for its length, so the list has no need of those.
    blocked = sorted(word for word in common_passwords() if len(word) >= min_length)
    return {
        "min_length": min_length,
        "max_length": MAX_PASSWORD,
        "blocked": blocked,
        "common_words": list(common_words()),
    }


@blueprint.get("/password/rules")
def password_rules() -> Response:
    response = jsonify(_rules(services().settings.password_min_length))
    response.headers["Cache-Control"] = RULES_CACHE
    response.add_etag()
    response.make_conditional(request)
    return response
