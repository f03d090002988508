"""The address of the client: what the outermost of the deployment's own proxies saw.

Each proxy appends to `X-Forwarded-For` whom it was asked by, so the address that counts is found
from the right; what stands left of it is the client's own claim. `Forwarded` (RFC 7239) and every
other header of this kind is ignored: a proxy that does not write one passes on the client's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..networks import normalised

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
"""`[2001:db8::1]`, the same with a port, and an IPv4 address with one, as some proxies write."""


class ClientAddress:
    """WSGI middleware that leaves the client's address in `REMOTE_ADDR`, in its one spelling."""

    def __init__(self, app: WSGIApplication, trusted_proxies: int) -> None:
        self._app = app
        self._hops = trusted_proxies

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Where there are fewer hops than there should be, or there is no address in that place,
        # the peer is all that is known.
        told = forwarded(environ.get("HTTP_X_FORWARDED_FOR", ""), self._hops)
        environ["REMOTE_ADDR"] = told or normalised(environ.get("REMOTE_ADDR") or "")
        return self._app(environ, start_response)


def forwarded(header: str, hops: int) -> str:
    """The address that `hops` proxies vouch for; empty where they vouch for none."""
    values = header.rsplit(",", hops)[-hops:] if hops else []
    if len(values) < hops or not values:
        return ""
    value = values[0].strip()
    with_port = _WITH_PORT.fullmatch(value)
    if with_port is not None:
        value = with_port[1] or with_port[2]
    return "" if "%" in value else normalised(value)
