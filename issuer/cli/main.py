"""The root of the command tree, and the one place where its errors become exit codes."""

from __future__ import annotations

import sys
from importlib import metadata

import click

from ..logs import configure_logs
from .administration import clients, denylist, journal, sessions, users
from .backup_commands import backup, restore_backup
from .config import config, migrate
from .key_commands import keys
from .output import BAD_SETTINGS, exit_code_of
from .revoking import revoke
from .serving import demo, serve


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage or setting, 3 not found,"
    " 4 a store does not answer.",
)
@click.version_option(metadata.version("gatepass"), prog_name="gatepass")
def cli() -> None:
    """Short-lived JWTs that gateways verify locally and that can be taken back at once.

    Settings come from GATEPASS_* variables, .env and gatepass.toml; see `gatepass config check`.
    """
    configure_logs("ERROR")


for command in (
    demo,
    serve,
    users,
    sessions,
    revoke,
    clients,
    keys,
    denylist,
    journal,
    config,
    migrate,
    backup,
    restore_backup,
):
    cli.add_command(command)


def main() -> None:
    """Run the command; an expected failure is one line on standard error, never a traceback."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        click.echo("gatepass: an argument is not text in this terminal's encoding", err=True)
        sys.exit(BAD_SETTINGS)
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
