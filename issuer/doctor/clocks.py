"""The clocks that decide when a token or an entry is over, against each other."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from revocation import DenylistUnavailable
from revocation.redis_condition import conditions

from ..database import DatabaseUnavailable
from .deployment import Deployment
from .finding import Finding, fail, ok, unknown, warn
from .looking import NoAnswer

NOTICED = 1.0
"""Seconds that one may be off before it is told, beside what cannot be measured better."""
_DATE = 0.6
"""`Date` names whole seconds."""


def clocks(deployment: Deployment) -> Iterator[Finding]:
    """SQL's, Redis', the issuer's by its `Date`, and this host's."""
    offsets = {"this host": (0.0, 0.0)}
    for name, url in deployment.redis_urls.items():
        if not url.startswith("memory:"):
            before = deployment.clock()
            try:
                for number, one in enumerate(conditions(url)):
                    here = (before + deployment.clock()) / 2
                    label = f"the Redis of {name}" + (f", node {number}" if number else "")
                    offsets[label] = (one.time - here, (deployment.clock() - before) / 2)
            except DenylistUnavailable:
                pass  # told by the checks of Redis
    if deployment.database.get_backend_name() == "postgresql":
        before = deployment.clock()
        try:
            with deployment.connection() as connection:
                before = deployment.clock()
                there = connection.scalar(
                    sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")
                )
                here = (before + deployment.clock()) / 2
                offsets["the database"] = (float(there or 0.0) - here, 0.0)
        except DatabaseUnavailable:
            pass  # told by the checks of the database
    try:
        ahead = deployment.ask(f"{deployment.issuer}/healthz").ahead
    except NoAnswer:
        ahead = None  # told by the check of TLS
    if ahead is not None:
        offsets["the issuer"] = (ahead, _DATE)
    yield _judged(offsets, deployment.settings.issuer_skew)


def _judged(offsets: dict[str, tuple[float, float]], skew: float) -> Finding:
    told = ", ".join(f"{name} {offset:+.1f} s" for name, (offset, _) in offsets.items())
    if len(offsets) == 1:
        return unknown(
            "clocks",
            "no other clock could be read",
            "clocks that differ make tokens early, late or unrevocable",
            "run this where the stores and the issuer answer",
        )
    apart = max(offset - slack for offset, slack in offsets.values()) - min(
        offset + slack for offset, slack in offsets.values()
    )
    if apart > skew:
        return fail(
            "clocks",
            told,
            f"they are more than issuer_skew ({skew} s) apart: an entry of the denylist may"
            " expire before the last token that it is meant for, and good tokens are refused",
            "let chrony or systemd-timesyncd keep each of these hosts' time",
        )
    if apart > NOTICED:
        return warn(
            "clocks",
            told,
            "they drift apart; latencies are as wrong as they are",
            "let chrony or systemd-timesyncd keep each of these hosts' time",
        )
    return ok("clocks", told)
