"""The key ring: that it can be read, is protected, signs, and rotates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from keys import InsecureStore, KeyRing, KeyRingError, KeyState, NoActiveKey
from keys.rotation import rotation_due

from ..key_stores import open_key_store
from .deployment import Deployment
from .finding import Finding, fail, ok, warn

OVERDUE = 600.0
"""Seconds: an issuer looks every five."""


def key_ring(deployment: Deployment) -> Iterator[Finding]:
    """Protection, then states and ages."""
    settings = deployment.settings
    try:
        # Where the ring lies in the database, and there is none, that is told.
        opened = deployment.engine() if settings.key_store == "database" else nullcontext()
        with opened as engine:
            ring = open_key_store(settings, engine).load()
    except InsecureStore as error:
        yield fail(
            "ring-protection",
            str(error),
            "whoever reads the ring can make tokens; the issuer does not start with it",
            "do as it says, and revoke the keys if somebody else may have read them:"
            " docs/operations/runbooks.md#a-key-may-be-stolen",
        )
        return
    except KeyRingError as error:
        yield fail(
            "ring",
            str(error),
            "the issuer cannot sign",
            "compare keys_dir, keys_secret and the issuer's user with those of its last start",
        )
        return
    if settings.keys_secret is None:
        yield warn(
            "ring-protection",
            "the ring is stored in the clear",
            "whoever reads the file or a backup of it can make tokens",
            "set keys_secret: 22 random characters or more",
        )
    else:
        yield ok("ring-protection", "encrypted")
    if not ring.keys:
        yield fail(
            "ring", "no keys", "nothing can be signed", "start the issuer, which makes the first"
        )
        return
    yield _signing(ring, settings.algorithms[0])
    yield _rotation(deployment, ring)


def _signing(ring: KeyRing, algorithm: str) -> Finding:
    told = ", ".join(
        f"{len([key for key in ring.keys if key.state is state])} {state}" for state in KeyState
    )
    try:
        ring.active(algorithm)
        ring.sealing()
    except (NoActiveKey, KeyRingError):
        return warn(
            "ring",
            f"no active key of {algorithm} or for refresh tokens: {told}",
            "another algorithm signs until the first key of this one has been published",
            "wait for as long as jwks_cache; after that: gatepass keys rotate",
        )
    return ok("ring", told)


def _rotation(deployment: Deployment, ring: KeyRing) -> Finding:
    policy = deployment.settings.rotation_policy()
    oldest = min(key.activated or key.created for key in ring.keys if key.state is KeyState.ACTIVE)
    days = (deployment.clock() - oldest) / 86_400
    if rotation_due(ring, int(deployment.clock() - OVERDUE), policy):
        return fail(
            "rotation",
            f"a step has been due for more than {OVERDUE / 60:.0f} minutes;"
            f" the oldest active key is {days:.1f} days old",
            "no issuer rotates: one key signs for ever, and its theft is worth more each day",
            "see whether an issuer runs and may write the ring; then: gatepass keys rotate",
        )
    return ok("rotation", f"nothing is overdue; the oldest active key is {days:.1f} days old")
