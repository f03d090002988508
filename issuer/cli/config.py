"""`gatepass config` and `gatepass migrate`."""

from __future__ import annotations

import json
from typing import Any

import click

from ..database import migrate as migrate_schema
from ..database import open_engine
from ..parties import Client
from ..policies import PRESETS, RULES
from ..policies.policy import KINDS
from ..settings import Settings
from .output import Cli, command_options


@click.group()
def config() -> None:
    """The settings: check them, and see the policies that clients follow."""


@config.command("check")
@command_options
def config_check(cli: Cli) -> None:
    """Read every setting; one line names each that is bad or missing. Touches no store."""
    settings = cli.settings()
    shown = {
        "issuer": settings.issuer,
        "mode": str(settings.mode),
        "clients": sorted(settings.clients),
        "algorithms": list(settings.algorithms),
        "access_lifetime": settings.longest_access,
        "deviations": {
            name: dict(client.deviates)
            for name, client in settings.clients.items()
            if client.deviates
        },
    }
    lines = [f"settings are in order: {settings.mode} issuer {settings.issuer}"]
    lines += [
        f"clients.{name} deviates from policy {client.policy}: {rule}, because {reason}"
        for name, client in settings.clients.items()
        for rule, reason in client.deviates.items()
    ]
    cli.emit(shown, "\n".join(lines))


@config.command("policies")
@command_options
def config_policies(cli: Cli) -> None:
    """Show the presets, each rule with its clause, and what each client's sessions get."""
    settings = cli.settings()
    if cli.as_json:
        presets = {
            name: {
                rule: {"value": policy.rule(rule).value, "clause": policy.rule(rule).clause}
                for rule in RULES
            }
            for name, policy in PRESETS.items()
        }
        clients = {
            name: {
                "policy": client.policy,
                "deviates": dict(client.deviates),
                **{rule: _kept(settings, client, rule) for rule in RULES},
            }
            for name, client in settings.clients.items()
        }
        click.echo(json.dumps({"presets": presets, "clients": clients}))
        return
    rows: list[dict[str, Any]] = [
        {
            "policy": name,
            "rule": rule,
            "value": KINDS[rule].told(policy.rule(rule).value),
            "clause": policy.rule(rule).clause,
        }
        for name, policy in PRESETS.items()
        for rule in RULES
    ]
    cli.table("presets", rows, "")
    click.echo("")
    rows = [
        {
            "client": name,
            "policy": client.policy,
            "rule": rule,
            "value": KINDS[rule].told(_kept(settings, client, rule)),
            "deviates, because": client.deviates.get(rule),
        }
        for name, client in settings.clients.items()
        for rule in RULES
    ]
    cli.table("clients", rows, "")


def _kept(settings: Settings, client: Client, rule: str) -> Any:
    """What a client keeps to."""
    return getattr(client if hasattr(client, rule) else settings, rule)


@click.command()
@command_options
def migrate(cli: Cli) -> None:
    """Bring the database's schema up to date; safe to run more than once."""
    engine = open_engine(cli.settings().database_url)
    migrate_schema(engine)
    engine.dispose()
    cli.operated("migrate")
    cli.emit({"migrated": True}, "the schema is up to date")
