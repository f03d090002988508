"""`gatepass config` and `gatepass migrate`."""

from __future__ import annotations

import click

from ..database import migrate as migrate_schema
from ..database import open_engine
from .output import Cli, command_options


@click.group()
def config() -> None:
    """The settings: check them."""


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
    }
    cli.emit(shown, f"settings are in order: {settings.mode} issuer {settings.issuer}")


@click.command()
@command_options
def migrate(cli: Cli) -> None:
    """Bring the database's schema up to date; safe to run more than once."""
    engine = open_engine(cli.settings().database_url)
    migrate_schema(engine)
    engine.dispose()
    cli.emit({"migrated": True}, "the schema is up to date")
