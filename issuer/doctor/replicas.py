"""Gateways: that each is ready, and how old its copy of the denylist is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from .deployment import Deployment
from .finding import Finding, fail, ok, unknown
from .looking import NoAnswer

STALENESS = "gatepass_replica_staleness_seconds"


def replicas(deployment: Deployment) -> Iterator[Finding]:
    """Each that the command line names."""
    for url in deployment.gateways:
        yield _of(deployment, url.rstrip("/"))


def _of(deployment: Deployment, url: str) -> Finding:
    check = f"gateway:{url}"
    try:
        ready = deployment.ask(f"{url}/readyz")
    except NoAnswer as error:
        return fail(
            check,
            f"does not answer: {error}",
            "whoever is behind it gets 503 or 500",
            "start it, or correct the address",
        )
    if ready.status != 200:
        return fail(
            check,
            f"not ready: {_parts(ready.body)}",
            "it refuses every request with 503",
            "docs/operations/runbooks.md#a-gateway-is-not-in-step",
        )
    staleness = _staleness(deployment, url)
    if staleness is None:
        return unknown(
            check,
            "ready; its metrics may not be read from here",
            "how old its copy of the denylist is cannot be told",
            "run this on its host, or give --gateway-token-file",
        )
    return ok(check, f"ready; its copy is {staleness:.1f} s old at the most")


def _parts(body: bytes) -> str:
    try:
        found = json.loads(body)
        return ", ".join(f"{name} {found[name]}" for name in ("keys", "replica"))
    except (ValueError, KeyError, TypeError):
        return "it does not say why"


def _staleness(deployment: Deployment, url: str) -> float | None:
    try:
        answer = deployment.ask(f"{url}/metrics", deployment.metrics_token)
        families = list(text_string_to_metric_families(answer.body.decode()))
    except (NoAnswer, ValueError):
        return None
    if answer.status != 200:
        return None
    found = [one.value for family in families for one in family.samples if one.name == STALENESS]
    return found[0] if found and math.isfinite(found[0]) else None
