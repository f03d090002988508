"""The bearer token of a request (RFC 6750 section 2.1): in one header, and nowhere else.

A token in the query string or in a form is not taken: it ends up in logs, histories and referrers
(RFC 6750 sections 2.2, 2.3; RFC 9700 section 4.3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import RequestRefused, TokenRequired


def bearer_token(authorization: str | Sequence[str] | None) -> str:
    """The token of a request's `Authorization` header, or of the one among those given.

    Raises `TokenRequired` without one, `RequestRefused` for more than one.
    """
    if authorization is not None and not isinstance(authorization, str):
        if len(authorization) > 1:
            raise RequestRefused("the request carries more than one Authorization header")
        authorization = authorization[0] if authorization else None
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenRequired("the request carries no bearer token")
    if "," in token:
        # How servers join repeated headers (RFC 9110 section 5.3). Whoever else reads the request
        # might take the other one.
        raise RequestRefused("the request carries more than one credential")
    return token
