"""The denylist's URL from an option, a variable or a file, and no password on a command line."""

from __future__ import annotations

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
        url = file.readline().strip()
    if not url:
        raise click.UsageError(f"Missing option '--denylist' (or {variable}, or --denylist-file).")
    return url
