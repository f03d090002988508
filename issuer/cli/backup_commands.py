"""`gatepass backup` and `gatepass restore`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import click

from ..backup import BackupError, BackupFile, Progress, write_backup
from ..database import open_engine
from ..lost_time import Restored, describe
from ..restoring import restore
from ..settings import Settings
from .administration import moment
from .output import Cli, Refused, command_options


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@command_options
def backup(cli: Cli, file: Path, force: bool) -> None:  # noqa: FBT001
    """Write the whole database to FILE, as it is at one moment; issuers go on working.

    It holds password hashes: keep it as you keep the database.
    """
    settings = cli.settings()
    engine = open_engine(settings.database_url)
    now = int(time.time())
    cli.operated("backup")
    try:
        with _shown("backup") as progress, _refusals():
            counts = write_backup(
                engine, file, issuer=settings.issuer, now=now, force=force, progress=progress
            )
    finally:
        engine.dispose()
    cli.emit(
        {"file": str(file), "created": now, "rows": counts},
        f"wrote {sum(counts.values())} rows ({counts['accounts']} accounts) to {file}",
    )


@click.command("restore")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--in-place",
    is_flag=True,
    help="Make a database safe that was put back by other means, instead of loading FILE.",
)
@click.option("--replace", is_flag=True, help="Replace the rows of a database that is not empty.")
@click.option(
    "--without-redis",
    is_flag=True,
    help="Do the database's part alone; the next issuer that starts does the rest.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@command_options
def restore_backup(
    cli: Cli,
    file: Path | None,
    in_place: bool,  # noqa: FBT001
    replace: bool,  # noqa: FBT001
    without_redis: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
) -> None:
    """Load a backup, or take a database that is older than it was, and make it safe.

    Every session ends, and every token of before is refused for good. Stop the issuers first. A
    command that was interrupted is run again.
    """
    if (file is None) != in_place:
        raise click.UsageError("give either FILE or --in-place")
    if in_place and replace:
        raise click.UsageError("--replace is for a FILE")
    settings = cli.settings()
    with _refusals():
        found = None if file is None else BackupFile(file)
        _confirm(found, settings, yes=yes, replace=replace)
        with _shown("restore") as progress:
            report = restore(
                settings,
                found,
                replace_rows=replace,
                without_redis=without_redis or _in_memory(settings),
                progress=progress,
            )
    # Into the log as it is now: whatever was written before is gone with the rest.
    cli.operated("restore", in_place=in_place)
    if report.watermark is not None:
        # Whoever logs in from now on gets tokens that are good.
        time.sleep(max(0.0, report.watermark + 1 - time.time()))
    _tell(cli, report)


def _confirm(found: BackupFile | None, settings: Settings, *, yes: bool, replace: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask at: give --yes")
    if found is None:
        what = "Make this database safe"
    else:
        made = f"the backup of {moment(found.header.created)} ({found.counts['accounts']} accounts)"
        what = f"Replace every row with {made}" if replace else f"Restore {made}"
    # A restore into the wrong deployment ends that one's sessions.
    click.echo(f"database: {_without_secrets(settings.database_url)}", err=True)
    click.echo(f"Redis:    {_without_secrets(settings.redis_url)}", err=True)
    if settings.denylist != settings.redis_url:
        click.echo(f"denylist: {_without_secrets(settings.denylist)}", err=True)
    click.confirm(f"{what}, and end every session there?", abort=True, err=True)


def _without_secrets(url: str) -> str:
    """An address without user, password and options."""
    scheme, _, rest = url.partition("://")
    place = rest.partition("?")[0]
    # A file has nobody who logs in; elsewhere a password may hold any character but the last `@`.
    return f"{scheme}://{place if place.startswith('/') else place.rpartition('@')[2]}"


def _in_memory(settings: Settings) -> bool:
    # What an issuer keeps in its own memory ends with it.
    urls = (settings.redis_url, settings.denylist)
    return "memory" in {urlsplit(url).scheme for url in urls}


def _tell(cli: Cli, report: Restored) -> None:
    what = (
        "made the database safe"
        if report.made is None
        else (f"restored the backup of {moment(report.made)}")
    )
    lines = [f"{what}: {report.accounts} accounts", *describe(report, moment)]
    cli.emit({"restored": True, **asdict(report), "completed": report.completed}, "\n".join(lines))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except BackupError as error:
        raise Refused(str(error)) from None


@contextmanager
def _shown(verb: str) -> Iterator[Progress]:
    """Tells of long work on standard error, where that is a terminal."""
    shown = sys.stderr.isatty()

    def progress(table: str, rows: int) -> None:
        if shown:
            click.echo(f"\r{verb}: {table}: {rows} rows\033[K", nl=False, err=True)

    yield progress
    if shown:
        click.echo("\r\033[K", nl=False, err=True)
