"""The root of the command tree, and the one place where its errors become exit codes."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import metadata

import click

from .command_tree import CommandTree, Place, declared

BAD_ARGUMENT = 2


def _ours(module: str, attribute: str) -> Place:
    return Place(f"issuer.cli.{module}", attribute, "issuer")


PLACES = {
    "demo": _ours("serving", "demo"),
    "serve": _ours("serving", "serve"),
    "users": _ours("administration", "users"),
    "sessions": _ours("administration", "sessions"),
    "revoke": _ours("revoking", "revoke"),
    "clients": _ours("administration", "clients"),
    "keys": _ours("key_commands", "keys"),
    "denylist": _ours("administration", "denylist"),
    "audit": _ours("audit_commands", "audit"),
    "journal": _ours("administration", "journal"),
    "notifications": _ours("notification_commands", "notifications"),
    "config": _ours("config", "config"),
    "doctor": _ours("doctor", "doctor"),
    "migrate": _ours("config", "migrate"),
    "backup": _ours("backup_commands", "backup"),
    "restore": _ours("backup_commands", "restore_backup"),
}


@click.group(
    cls=CommandTree,
    places={**declared(), **PLACES},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage or setting, 3 not found,"
    " 4 a store does not answer.",
)
@click.version_option(metadata.version("gatepass"), prog_name="gatepass")
@click.pass_context
def cli(context: click.Context) -> None:
    """Short-lived JWTs that gateways verify locally and that can be taken back at once.

    Settings come from GATEPASS_* variables, .env and gatepass.toml; see `gatepass config check`.
    """
    if context.invoked_subcommand in PLACES:
        configure_logs("ERROR")


def configure_logs(level: str) -> None:
    """Set the issuer's logs up, if the issuer is installed; the command says so if it is not."""
    with suppress(ModuleNotFoundError):
        from .. import logs

        logs.configure_logs(level)


def exit_code_of(error: Exception) -> int | None:
    """As `output.exit_code_of`, None where the issuer is not installed."""
    try:
        from . import output
    except ModuleNotFoundError:
        return None
    return output.exit_code_of(error)


def main() -> None:
    """Run the command; an expected failure is one line on standard error, never a traceback."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        click.echo("gatepass: an argument is not text in this terminal's encoding", err=True)
        sys.exit(BAD_ARGUMENT)
    try:
        cli(prog_name="gatepass")
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        text = "; ".join([str(error) or type(error).__name__, *getattr(error, "__notes__", [])])
        for line in text.splitlines():
            click.echo(f"gatepass: {line}", err=True)
        sys.exit(code)
