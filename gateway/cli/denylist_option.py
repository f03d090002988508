"""The denylist's URL from an option, a variable or a file, and no password for others to read."""

from __future__ import annotations

import os
import stat
from typing import IO

import click

from ..service_settings import has_password


def denylist_url(
    context: click.Context, url: str | None, file: IO[str] | None, *, variable: str
) -> str:
    """The URL that was given; `variable` names its environment variable.

    Raises `click.UsageError`.
    """
    source = context.get_parameter_source("denylist")
    if url and source is click.core.ParameterSource.COMMANDLINE and has_password(url):
        raise click.BadParameter(
            "it holds a password, and every user of this machine sees a command line: use"
            f" {variable} or --denylist-file",
            param_hint="'--denylist'",
        )
    if file is not None:
        if url is not None:
            raise click.UsageError("--denylist and --denylist-file exclude each other")
        url = _first_line(file)
        mode = _mode(file)
        if mode & 0o022:
            raise click.BadParameter(
                f"its group or others may write {file.name}, and so choose another denylist:"
                " its mode has to be 0644 at the most",
                param_hint="'--denylist-file'",
            )
        if has_password(url) and mode & 0o007:
            raise click.BadParameter(
                f"{file.name} holds a password, and others may read it:"
                " its mode has to be 0640 at the most",
                param_hint="'--denylist-file'",
            )
    if not url:
        raise click.UsageError(f"Missing option '--denylist' (or {variable}, or --denylist-file).")
    return url


def _first_line(file: IO[str]) -> str:
    try:
        return file.readline().strip()
    except UnicodeDecodeError:
        raise click.BadParameter(
            f"{file.name} is no text", param_hint="'--denylist-file'"
        ) from None


def _mode(file: IO[str]) -> int:
    """The permissions of a file or named pipe (OWASP ASVS 13.3.2); those of a terminal are none.

    A pipe without a name has mode 0600 on Linux.
    """
    mode = os.fstat(file.fileno()).st_mode
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) or stat.S_ISFIFO(mode) else 0
