"""`gatepass notifications`: what is on its way to receivers, and what was given up."""

from __future__ import annotations

from dataclasses import asdict

import click

from ..notifications.delivery import State
from .administration import moment
from .output import Cli, NotFound, command_options


@click.group()
def notifications() -> None:
    """What receivers are told: list it, and have it tried again."""


_TARGET = click.option("--target", help="Of one receiver: webhook:NAME, email, signals:NAME, …")


@notifications.command("list")
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Of one state.")
@_TARGET
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many at the most.",
)
@command_options
def notifications_list(cli: Cli, state: str | None, target: str | None, limit: int) -> None:
    """List deliveries, the newest first; those that are done for a week."""
    queue = cli.services().notifications.queue
    found = queue.listed(state=state, target=target, limit=limit)
    if cli.as_json:
        cli.table("notifications", [asdict(each) for each in found], "")
        return
    rows = [
        {
            "id": each.id,
            "target": each.target,
            "event": each.kind,
            "state": each.state,
            "attempts": each.attempts,
            "since": moment(each.created),
            "next_or_done": moment(each.due),
            "error": each.error,
        }
        for each in found
    ]
    cli.table("notifications", rows, "no notifications")


@notifications.command("retry")
@click.argument("ids", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were given up.")
@_TARGET
@command_options
def notifications_retry(
    cli: Cli,
    ids: tuple[int, ...],
    everything: bool,  # noqa: FBT001
    target: str | None,
) -> None:
    """Have deliveries tried now, and for their whole time again: those of IDS, or --all."""
    if bool(ids) == everything:
        raise click.UsageError("give IDS or --all")
    cli.operated("notifications_retry", ids=list(ids), target=target)
    retried = cli.services().notifications.queue.retry(ids or None, target=target)
    if ids and not retried:
        raise NotFound("there is no such delivery, or it is done")
    cli.emit({"retried": retried}, f"{retried} will be tried again")
