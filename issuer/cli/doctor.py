"""`gatepass doctor`: looks at a deployment, and says what to do."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import IO

import click

from ..doctor import Deployment, Finding, State, examine
from ..settings import CONFIG_VARIABLE, DEFAULT_CONFIG, DEMO_SETTINGS, DOTENV
from .output import REFUSED, Cli, command_options

_MARKS = {State.OK: "ok", State.WARN: "WARN", State.FAIL: "FAIL", State.UNKNOWN: "?"}


@click.command()
@click.option(
    "--gateway",
    "gateways",
    multiple=True,
    metavar="URL",
    help="A forward-auth service that is looked at beside those of console.gateways; repeatable.",
)
@click.option(
    "--gateway-token-file",
    type=click.File(),
    help="A file whose first line opens /metrics of each --gateway; those of console.gateways have"
    " their own tokens.",
)
@click.option(
    "--issuer-url",
    default="",
    metavar="URL",
    help="Where this host reaches the issuer, if not under its own name.",
)
@click.option(
    "--issuer-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Authorities that may vouch for issuer and gateways (PEM), instead of the system's.",
)
@command_options
def doctor(
    cli: Cli,
    gateways: tuple[str, ...],
    gateway_token_file: IO[str] | None,
    issuer_url: str,
    issuer_ca: Path | None,
) -> None:
    """Look at a deployment, and say what to do about each thing that is wrong.

    Clocks, Redis, TLS, keys, database, journal, settings, and the copies of the denylist at the
    gateways that console.gateways in the settings and --gateway name. It changes nothing.
    Exit code 0: nothing has failed; 1: something has.
    """
    deployment = Deployment(
        settings=cli.settings(),
        gateways=gateways,
        issuer_url=issuer_url,
        cafile=issuer_ca,
        metrics_token=None if gateway_token_file is None else gateway_token_file.readline().strip(),
        files=_files(cli.state_dir),
    )
    findings = list(examine(deployment))
    counts = Counter(str(finding.state) for finding in findings)
    told = {str(state): counts[str(state)] for state in State}
    result = {"findings": [asdict(finding) for finding in findings], "counts": told}
    cli.emit(result, "\n".join([*map(_line, findings), _sum(told)]))
    if told[State.FAIL]:
        click.get_current_context().exit(REFUSED)


def _files(state_dir: Path | None) -> tuple[Path, ...]:
    if state_dir is not None:
        return (state_dir / DEMO_SETTINGS,)
    given = (Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG)), Path(DOTENV))
    return tuple(path for path in given if path.is_file())


def _line(finding: Finding) -> str:
    first = f"{_MARKS[finding.state]:4}  {finding.check}: {finding.what}"
    if finding.state is State.OK:
        return first
    return f"{first}\n      why: {finding.why}\n      do:  {finding.todo}"


def _sum(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())
