"""Gateways that may follow the denylist over HTTP, and how each proves who it is."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from .parties import Gateway


class Gateways:
    """The configured gateways; their names are apart from the clients'."""

    def __init__(self, configured: Mapping[str, Gateway]) -> None:
        self._configured = configured

    def authenticate(self, name: str, secret: str) -> bool:
        """Whether this is the gateway's secret.

        The comparison takes the same time for every name and secret; a secret is random, so a
        plain digest of it is enough, and an attempt costs no more than that.
        """
        gateway = self._configured.get(name)
        expected = "" if gateway is None else gateway.secret_sha256.get_secret_value()
        given = hashlib.sha256(secret.encode()).hexdigest()
        return hmac.compare_digest(given, expected or "0" * 64) and bool(expected)
