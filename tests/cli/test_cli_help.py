"""Each command explains itself."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

import click
import pytest
from harness.gatepass_command import Gatepass, run_program

from issuer.cli.main import cli


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command below a group, groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


EVERY = sorted(commands(cli))
PROMISED = """
    serve demo migrate backup restore
    users-add users-list users-disable users-enable users-passwd users-roles users-sessions
    sessions-end
    revoke-token revoke-session revoke-subject revoke-key revoke-client
    clients-list clients-enable
    denylist-stats journal-complete
    keys-list keys-rotate keys-revoke keys-export
    config-check
    gateway
    agent-haproxy agent-envoy
"""


def test_every_promised_command_is_there() -> None:
    """What design and docs name exists."""
    assert {"-".join(path) for path in EVERY} >= set(PROMISED.split())


@pytest.mark.parametrize("path", EVERY, ids="-".join)
def test_help(gatepass: Gatepass, path: tuple[str, ...]) -> None:
    """Help needs no settings, says how the command is called, and explains each option."""
    text = gatepass(*path, "--help").done().out
    assert text.startswith(f"Usage: gatepass {' '.join(path)} ")
    paragraph = text.split("\n\n")[1]
    assert paragraph.startswith("  ")
    assert len(paragraph.strip()) > 10
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[0] in text


def test_root_lists_commands_and_exit_codes(gatepass: Gatepass) -> None:
    """`gatepass --help` names every command at the top, and what the exit codes mean."""
    text = gatepass("--help").done().out
    assert gatepass("-h").done().out == text
    for name in cli.places:
        assert f"\n  {name} " in text
    assert "Exit codes: 0 done, 1 refused, 2 wrong usage" in text


def test_version(gatepass: Gatepass) -> None:
    """`--version` tells the distribution's own."""
    assert gatepass("--version").done().out == f"gatepass, version {metadata.version('gatepass')}\n"


@pytest.mark.parametrize(
    "arguments", [(), ("users",), ("nonsense",), ("users", "nonsense"), ("users", "--nonsense")]
)
def test_wrong_usage(gatepass: Gatepass, arguments: tuple[str, ...]) -> None:
    """An unknown or unfinished command is exit code 2 with the usage on standard error."""
    assert "Usage: gatepass" in gatepass(*arguments).failed(2)


def test_a_misspelt_command_is_suggested(gatepass: Gatepass) -> None:
    """Also one that is not loaded yet, in the program itself; nothing is run in its place."""
    root = run_program("gatway", directory=gatepass.directory).failed(2)
    assert "Did you mean 'gateway'?" in root
    assert "Did you mean 'disable'?" in gatepass("users", "disabel").failed(2)
    assert "Did you mean" not in gatepass("nonsense").failed(2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("users", "add"),
        ("users", "disable"),
        ("users", "enable"),
        ("users", "passwd"),
        ("users", "roles"),
        ("users", "sessions"),
        ("sessions", "end", "--user"),
        ("revoke", "session"),
        ("revoke", "subject"),
        ("revoke", "key"),
        ("revoke", "client"),
        ("clients", "enable"),
        ("backup",),
        ("restore",),
        ("keys", "revoke"),
        ("keys", "list", "surplus"),
        ("demo", "--port", "65536"),
        ("demo", "--port", "http"),
        ("serve", "surplus"),
    ],
    ids="-".join,
)
def test_missing_or_surplus_argument(gatepass: Gatepass, arguments: tuple[str, ...]) -> None:
    """What a command cannot do with is exit code 2, before any setting is read."""
    text = gatepass(*arguments).failed(2)
    assert "Error: " in text
    assert "GATEPASS_" not in text


def test_argument_that_is_no_text(gatepass: Gatepass) -> None:
    """Bytes that are no text in an argument are told in one line by the program itself."""
    done = run_program("users", "disable", "b\udcffb", directory=gatepass.directory)
    assert "an argument is not text" in done.refused(2)
