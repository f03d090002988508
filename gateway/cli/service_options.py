"""Options of the commands that follow a denylist, each an environment variable as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from revocation import DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_MAX_STALENESS, MOST_ENTRIES
from tokens import DEFAULT_LEEWAY

from ..service_settings import BadSetting, ServiceSettings
from ..verifier import DEFAULT_MAX_LIFETIME

Command = TypeVar("Command", bound=Callable[..., Any])

SECONDS = click.FloatRange(min=0, min_open=True, max=3600)
READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)

_SHARED: dict[str, dict[str, Any]] = {
    "issuer": {"required": True, "metavar": "URL"},
    "audience": {"required": True, "help": "The API that the tokens are for."},
    "denylist": {
        "metavar": "URL",
        "help": "The denylist to follow; without a password here.",
    },
    "denylist-file": {
        "type": click.File(),
        "help": "A file whose first line is the denylist's URL; with a password in it, mode 0640 at"
        " most.",
    },
    "namespace": {
        "default": "gatepass",
        "show_default": True,
        "help": "Prefix of every Redis key.",
    },
    "most-entries": {
        "default": MOST_ENTRIES,
        "show_default": True,
        "type": click.IntRange(1),
        "help": "Entries of the denylist that the copy takes in; with more it ages.",
    },
    "max-staleness": {
        "default": DEFAULT_MAX_STALENESS,
        "show_default": True,
        "type": SECONDS,
    },
    "heartbeat-interval": {
        "default": DEFAULT_HEARTBEAT_INTERVAL,
        "show_default": True,
        "type": SECONDS,
        "help": "The issuer's, in seconds.",
    },
    "issuer-ca": {
        "type": READABLE,
        "help": "Authorities that may vouch for the issuer (PEM), instead of the system's.",
    },
    "plain-issuer": {
        "is_flag": True,
        "help": "Take keys over plain http from another machine.",
    },
    "leeway": {
        "default": DEFAULT_LEEWAY,
        "show_default": True,
        "type": click.IntRange(0, 60),
        "help": "Clock skew that is forgiven, in seconds.",
    },
    "max-lifetime": {
        "default": DEFAULT_MAX_LIFETIME,
        "show_default": True,
        "type": click.IntRange(1, 86_400),
        "help": "The longest life of a token that is accepted, in seconds.",
    },
    "json": {"is_flag": True, "help": "Print the first line and the log as JSON objects."},
}


class ServiceOptions:
    """Of one command, whose variables begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def variable(self, name: str) -> str:
        return self._prefix + name.upper().replace("-", "_")

    def __call__(self, name: str, **own: Any) -> Callable[[Command], Command]:
        """An option: of a name that commands share, as they have it, but for what is given."""
        given = _SHARED.get(name, {}) | own
        return click.option(f"--{name}", envvar=self.variable(name), show_envvar=True, **given)

    def check(self, settings: ServiceSettings) -> None:
        """Raises `click.BadParameter`, which names option and variable."""
        try:
            settings.check()
        except BadSetting as error:
            hint = f"'--{error.name}' ({self.variable(error.name)})"
            raise click.BadParameter(str(error), param_hint=hint) from None
