"""The command tree: each command's module is loaded when the command is called.

So a host that has the extra `gateway` only runs `gatepass gateway`, and is told which extra another
command needs. Other packages' commands are the distribution's entry points, so that nothing here
imports them by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

import click

GROUP = "gatepass.commands"
"""Entry points of this group are commands; each is installed by the extra of its package's name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is, and the extra that installs what it imports."""

    module: str
    attribute: str
    extra: str


def declared() -> dict[str, Place]:
    """The commands that other packages of this distribution declare."""
    points = metadata.distribution("gatepass").entry_points.select(group=GROUP)
    return {
        point.name: Place(point.module, point.attr, point.module.partition(".")[0])
        for point in points
    }


class CommandTree(click.Group):
    """A group that loads a command when it is asked for."""

    def __init__(self, *arguments: Any, places: dict[str, Place], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return sorted(self.places)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        cmd_name: str,
    ) -> click.Command | None:
        place = self.places.get(cmd_name)
        if place is None:
            return None
        if cmd_name not in self.commands:
            try:
                command = getattr(import_module(place.module), place.attribute)
            except ModuleNotFoundError as missing:
                if missing.name is None or _is_ours(missing.name):
                    raise
                command = _not_installed(cmd_name, place.extra, missing.name)
            self.add_command(command, cmd_name)
        return self.commands[cmd_name]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as unknown:
            # click suggests among those that are loaded.
            raise click.NoSuchCommand(
                unknown.command_name, possibilities=self.places, ctx=ctx
            ) from None

    def load(self) -> None:
        """Load every command now, for a process that runs several of them."""
        for name in self.places:
            self.get_command(click.Context(self), name)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {"keys", "tokens", "revocation", "gateway", "issuer"}


def _not_installed(name: str, extra: str, module: str) -> click.Command:
    def fail(**_given: Any) -> None:
        raise click.UsageError(
            f"`gatepass {name}` needs {module}, which the extra `{extra}` installs:"
            f" pip install 'gatepass[{extra}]'"
        )

    anything: Iterable[click.Parameter] = (click.Argument(["given"], nargs=-1),)
    return click.Command(
        name,
        params=list(anything),
        callback=fail,
        help=f"Not installed: pip install 'gatepass[{extra}]'",
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )
