"""`gatepass keys`: the ring's keys and their states."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import click

import keys as key_ring

from ..key_stores import key_maker, open_key_store, open_token
from .administration import moment
from .output import Cli, IdCommand, NotFound, command_options
from .revoking import revoke_key_everywhere


@click.group()
def keys() -> None:
    """The key ring: list, rotate, revoke, export the public half."""


@keys.command("list")
@command_options
def keys_list(cli: Cli) -> None:
    """List the keys with their states."""
    ring = open_key_store(cli.settings()).load()
    rows: list[dict[str, object]] = [
        {
            "kid": key.kid,
            "alg": key.alg,
            "state": str(key.state),
            "created": key.created if cli.as_json else moment(key.created),
            "activated": _when(cli, key.activated),
            "gone_at": _when(cli, key.gone_at),
            "private": _place(key),
        }
        for key in ring.keys
    ]
    cli.table("keys", rows, "no keys yet: the issuer makes the first ones when it starts")


def _place(key: key_ring.Key) -> str | None:
    if key.private is None:
        return None
    return "token" if key_ring.is_held(key) else "ring"


def _when(cli: Cli, seconds: int | None) -> object:
    return seconds if seconds is None or cli.as_json else moment(seconds)


@keys.command("rotate")
@click.option(
    "--early",
    is_flag=True,
    help="Do not wait for the key's time: publish its successor now, and, run again once every"
    " cached JWKS has run out, let that sign.",
)
@command_options
def keys_rotate(cli: Cli, early: bool) -> None:  # noqa: FBT001
    """Take every step of rotation that is due; the issuer does so by itself.

    For a key that somebody else may have, use `keys revoke`, which does not wait.
    """
    settings = cli.settings()
    store = open_key_store(settings)
    policy = settings.rotation_policy()
    if early:
        # The shortest period that the policy allows makes a signing key's time come now.
        policy = replace(policy, signing_period=policy.lead + 1)
    before = store.load()
    cli.operated("keys_rotate", early=early)
    ring = store.update(
        lambda ring: key_ring.rotate(ring, int(time.time()), policy, key_maker(store))
    )
    old, new = ({key.kid: str(key.state) for key in one.keys} for one in (before, ring))
    changed = {kid: new.get(kid, "gone") for kid in old | new if old.get(kid) != new.get(kid)}
    told = ", ".join(f"{kid} is {state}" for kid, state in changed.items())
    cli.emit({"changed": changed, "keys": len(ring.keys)}, told or "nothing is due")


@keys.command("revoke", cls=IdCommand)
@click.argument("kid")
@command_options
def keys_revoke(cli: Cli, kid: str) -> None:
    """Compromise: refuse every token under a key at once, and take it out of the ring."""
    revoke_key_everywhere(cli, kid)


@keys.command("orphans")
@click.option("--destroy", is_flag=True, help="Destroy them: where no other ring has this label.")
@command_options
def keys_orphans(cli: Cli, destroy: bool) -> None:  # noqa: FBT001
    """List the private keys in the PKCS#11 token that this ring does not know.

    A process killed at the wrong moment leaves one; another ring of the same label has many.
    """
    settings = cli.settings()
    token = open_token(settings)
    if token is None:
        raise NotFound("no PKCS#11 token is set: the signing keys lie in the ring")
    if destroy:
        cli.operated("keys_orphans_destroy")
    orphans: set[str] = set()

    def look(ring: key_ring.KeyRing) -> key_ring.KeyRing:
        # Under the ring's lock, or a key that is just being made would look like one.
        orphans.update(token.kids() - {key.kid for key in ring.keys})
        for kid in orphans if destroy else ():
            token.destroy(kid)
        return ring

    open_key_store(settings).update(look)
    told = ", ".join(sorted(orphans)) or "none"
    cli.emit({"orphans": sorted(orphans), "destroyed": destroy}, told)


@keys.command("export")
@command_options
def keys_export(cli: Cli) -> None:
    """Print the JWKS (RFC 7517): public keys only."""
    ring = open_key_store(cli.settings()).load()
    click.echo(json.dumps(ring.jwks(), indent=None if cli.as_json else 2))
