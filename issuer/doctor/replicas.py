"""Gateways: that each is ready, and how old its copy of the denylist is."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..replica_reading import NotReached, parse_metrics
from .deployment import Deployment
from .finding import Finding, fail, ok, unknown
from .looking import NoAnswer

NOT_READY = "it refuses requests with 503, or lets revoked tokens pass where it is told to"
RUNBOOK = "docs/operations/runbooks.md#a-gateway-is-not-in-step"


@dataclass(frozen=True, slots=True)
class _Watched:
    """A gateway and where it tells of itself."""

    name: str
    metrics: str
    token: str | None = field(repr=False)
    readiness: str | None = None
    """A forward-auth service's; an application that verifies by itself need not have it."""


def replicas(deployment: Deployment) -> Iterator[Finding]:
    """Each that the settings of the console or the command line name, once."""
    for gateway in _watched(deployment):
        yield _of(deployment, gateway)


def _watched(deployment: Deployment) -> Iterator[_Watched]:
    known = {
        each.url: None if each.token is None else each.token.get_secret_value()
        for each in deployment.settings.console.gateways.values()
    }
    named = set()
    for url in dict.fromkeys(given.rstrip("/") for given in deployment.gateways):
        metrics = f"{url}/metrics"
        named.add(metrics)
        token = deployment.metrics_token or known.get(metrics)
        yield _Watched(url, metrics, token, f"{url}/readyz")
    for name, each in deployment.settings.console.gateways.items():
        if each.url not in named:
            yield _Watched(name, each.url, known[each.url])


def _of(deployment: Deployment, gateway: _Watched) -> Finding:
    check = f"gateway:{gateway.name}"
    try:
        if gateway.readiness is not None:
            ready = deployment.ask(gateway.readiness)
            if ready.status != http.client.OK:
                return fail(check, f"not ready: {_parts(ready.body)}", NOT_READY, RUNBOOK)
        answer = deployment.ask(gateway.metrics, gateway.token)
    except NoAnswer as error:
        return fail(
            check,
            f"does not answer: {error}",
            "whoever is behind it gets 503 or 500",
            "start it, or correct the address",
        )
    if answer.status != http.client.OK:
        return unknown(
            check,
            f"its metrics may not be read from here: status {answer.status}",
            "how old its copy of the denylist is cannot be told",
            "run this on its host, or give its token: --gateway-token-file, or console.gateways",
        )
    return _judged(check, answer.body)


def _judged(check: str, body: bytes) -> Finding:
    try:
        reading = parse_metrics(body.decode("utf-8", "replace"))
    except NotReached:
        return unknown(
            check,
            "its metrics tell nothing of a replica",
            "how old its copy of the denylist is cannot be told",
            "correct the address: it is that of a gateway's own /metrics",
        )
    known = reading.staleness is not None
    age = f"{reading.staleness:.1f} s old at the most" if known else "of no known age"
    if not reading.in_step:
        return fail(check, f"not in step: its copy is {age}", NOT_READY, RUNBOOK)
    if not reading.keys_ready:
        return fail(check, "it has no keys of the issuer's that it trusts", NOT_READY, RUNBOOK)
    return ok(check, f"in step; its copy is {age}")


def _parts(body: bytes) -> str:
    try:
        found = json.loads(body)
        return ", ".join(f"{name} {found[name]}" for name in ("keys", "replica"))
    except (ValueError, KeyError, TypeError):
        return "it does not say why"
