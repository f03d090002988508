"""How commands print, how they fail, and the exit codes that a script can go by."""

from __future__ import annotations

import json
import os
import pwd
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keys import HsmUnavailable, KeyRingError
from revocation import RevocationError

from ..accounts.account import AccountError, HashingBusy, UnknownAccount
from ..audit import EventKind
from ..audit.origin import Origin, coming_from
from ..audit.outbox import happened, pend
from ..database import DatabaseUnavailable, SchemaMismatch, open_engine, require_schema
from ..database.engine import writing
from ..embedded_redis import EmbeddedRedisError
from ..errors import OAuthError
from ..families import FamilyUnavailable
from ..services import Services, build_services
from ..settings import DEMO_SETTINGS, Settings, SettingsError, load_settings, read_settings

REFUSED = 1
"""Understood, and not done."""
BAD_SETTINGS = 2
"""A wrong command line (click's own code), setting or schema: a person has to mend it first."""
NOT_FOUND = 3
UNAVAILABLE = 4
"""A store does not answer; the same command may succeed later."""


_SID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]\Z")
# A session's id or the sealing key's has 22 characters, a thumbprint 43; no option of ours has.
_DASHED_ID = re.compile(r"-(?:[A-Za-z0-9_-]{21}|[A-Za-z0-9_-]{42})\Z")


class NotFound(Exception):
    """What a command names does not exist."""


class Refused(Exception):
    """A command that will not be carried out."""


@dataclass(slots=True)
class Cli:
    """What every command has: its settings and its way of printing."""

    as_json: bool
    state_dir: Path | None

    def settings(self) -> Settings:
        """The settings, from the demo's state directory if one is named."""
        if self.state_dir is None:
            return load_settings()
        path = self.state_dir / DEMO_SETTINGS
        if not path.is_file():
            raise SettingsError(f"--state-dir: {self.state_dir} holds no demo (no {path.name})")
        return read_settings(path)

    def services(self) -> Services:
        """The issuer's parts, released when the command ends.

        Raises what building them raises, and `SchemaMismatch`.
        """
        settings = self.settings()
        engine = open_engine(settings.database_url)
        try:
            require_schema(engine)  # before anything is read that it may not have yet
        finally:
            engine.dispose()
        services = build_services(settings)
        click.get_current_context().call_on_close(services.stop)
        return services

    def operated(self, why: str, **details: Any) -> None:
        """Write down that a command is carried out, before it is: what nobody can write down is
        not done. A database that has no such log yet has none of it.

        Raises `DatabaseUnavailable`.
        """
        engine = open_engine(self.settings().database_url)
        try:
            require_schema(engine)
            with writing(engine) as connection:
                event = happened(EventKind.OPERATED, time.time(), why=why, details=details)
                pend(connection, event)
        except SchemaMismatch:
            return
        finally:
            engine.dispose()

    def emit(self, result: dict[str, Any], text: str) -> None:
        """Print a result: one JSON object, or a line for a person."""
        click.echo(json.dumps(result) if self.as_json else text)

    def table(self, name: str, rows: Sequence[dict[str, Any]], empty: str) -> None:
        """Print rows: one JSON object holding a list, or a table."""
        if self.as_json:
            click.echo(json.dumps({name: rows}))
            return
        if not rows:
            click.echo(empty)
            return
        table = Table(box=None, pad_edge=False)
        for column in rows[0]:
            table.add_column(column.replace("_", " "), overflow="fold")
        for row in rows:
            # As text: what a user chose as a label may look like rich's markup.
            table.add_row(*(Text(_cell(value)) for value in row.values()))
        # As wide as it needs where nobody's terminal is: a pipe must not fold identifiers.
        width = None if sys.stdout.isatty() else 200
        Console(width=width, highlight=False).print(table)


def read_line(longest: int) -> str:
    """The first line of standard input without its end. Raises `click.UsageError`."""
    raw = sys.stdin.buffer.readline(longest)
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8") from None


def session_id(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """Refuse what cannot be a session's id: a slip of the pen must not look like a success."""
    if given is not None and not _SID.match(given):
        raise click.BadParameter("a session id has 22 characters; see `gatepass users sessions`")
    return given


class IdCommand(click.Command):
    """A command about an id, which is base64url and may begin like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ids = [argument for argument in args if _DASHED_ID.match(argument)]
        if ids and "--" not in args:
            args = [*(argument for argument in args if argument not in ids), "--", *ids]
        return super().parse_args(ctx, args)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(_cell(item) for item in value) or "-"
    # A terminal obeys control characters, and some of this is what callers sent (ASVS 1.2).
    return "".join(one if one.isprintable() else "\ufffd" for one in str(value))


def unix_user() -> str:
    """Who runs this process, by the system's word and not the environment's."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def command_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--json` and `--state-dir`, and hand it a `Cli` as its first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @click.option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Work on the demo whose state is here, instead of the settings' issuer.",
    )
    def wrapped(as_json: bool, state_dir: Path | None, **arguments: Any) -> Any:  # noqa: FBT001
        with coming_from(Origin(actor=f"cli:{unix_user()}")):
            return function(Cli(as_json, state_dir), **arguments)

    # Options that the command itself declared stay first in its help.
    wrapped.__click_params__ += getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    options = wrapped.__click_params__  # type: ignore[attr-defined]
    update_wrapper(wrapped, function, updated=())
    wrapped.__click_params__ = options  # type: ignore[attr-defined]
    return wrapped


def exit_code_of(error: Exception) -> int | None:
    """The exit code of an expected error, None for one that nobody expected."""
    if isinstance(error, SettingsError | SchemaMismatch):
        return BAD_SETTINGS
    if isinstance(error, NotFound | UnknownAccount):
        return NOT_FOUND
    if isinstance(
        error,
        DatabaseUnavailable
        | RevocationError
        | FamilyUnavailable
        | EmbeddedRedisError
        | HsmUnavailable
        | HashingBusy,
    ):
        return UNAVAILABLE
    if isinstance(error, Refused | AccountError | KeyRingError | OAuthError):
        return REFUSED
    return None
