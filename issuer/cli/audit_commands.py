"""`gatepass audit`: verify the log, search and export it, and what the law asks for one person."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import Progress

from ..accounts import normalise_username
from ..audit import EventKind, Outcome, Recorded
from ..audit.export import FORMATS, plain
from ..audit.following import NotFollowed
from ..audit.search import Wanted, every, search
from ..audit.verifying import Verification, verify
from ..services import Services
from ..sessions.listing import list_sessions
from .administration import account_of
from .output import Cli, NotFound, Refused, command_options, session_id

_AGO = re.compile(r"(\d+)\s*([smhdw])\Z")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NOTED = re.compile(r"(\d+):([0-9a-f]{64})\Z")
_MOST_SEQ = (1 << 63) - 1
_PATIENCE = 30.0
"""Seconds for those who follow the log to come up to its end."""
_PROGRESS_FROM = 20_000
"""Events; fewer are verified in a moment."""


def _private(
    _context: click.Context, _option: click.Parameter, given: IO[str] | None
) -> IO[str] | None:
    """Refuse a directory before anything is read; nobody else may read what is written."""
    if given is not None and given.name != "-" and Path(given.name).is_dir():
        raise click.BadParameter("is a directory")
    os.umask(0o077)
    return given


_OUTPUT = click.option(
    "--output",
    type=click.File("w", atomic=True, lazy=True),
    callback=_private,
    default="-",
    help="A file in place of standard output, that nobody else may read.",
)


class Moment(click.ParamType[float]):
    """A time: ISO 8601, or how long ago (`90s`, `15m`, `2h`, `7d`)."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        ago = _AGO.match(value)
        try:
            if ago:
                now = datetime.now(UTC)
                return (now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])).timestamp()
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither ISO 8601 nor a time ago like 2h or 7d", param, ctx)


def _noted(
    _context: click.Context, _option: click.Parameter, given: str | None
) -> tuple[int, str] | None:
    if given is None:
        return None
    found = _NOTED.match(given)
    if found is None:
        raise click.BadParameter("is not SEQ:HASH, as `audit verify` prints it")
    return int(found[1]), found[2]


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which events are wanted."""
    options = (
        click.option("--user", help="About the account of this name."),
        click.option("--sub", help="About the account of this id, also if it is gone."),
        click.option("--sid", callback=session_id, help="About this session."),
        click.option(
            "--event",
            "kinds",
            multiple=True,
            type=click.Choice([kind.value for kind in EventKind]),
            metavar="EVENT",
            help="Of this kind; may be given several times (docs/audit.md lists them).",
        ),
        click.option(
            "--outcome", type=click.Choice([one.value for one in Outcome]), help="Of this outcome."
        ),
        click.option("--client", "client_id", help="Of this client."),
        click.option("--address", help="From this address, as it was kept."),
        click.option("--request-id", help="Of this request."),
        click.option("--since", type=Moment(), help="Not before: ISO 8601, or 2h, 7d ago."),
        click.option("--until", type=Moment(), help="Before: ISO 8601, or 2h, 7d ago."),
        click.option("--text", default="", help="That hold this anywhere."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _wanted(services: Services, *, user: str | None, **given: Any) -> Wanted:
    if user is not None:
        name = normalise_username(user)
        account = services.accounts.by_username(name)
        given["account"] = services.audit.account(name)
        if account is not None:
            given["sub"] = account.id
    kinds = tuple(EventKind(kind) for kind in given.pop("kinds"))
    outcome = given.pop("outcome")
    return Wanted(kinds=kinds, outcome=Outcome(outcome) if outcome else None, **given)


def _note_reading(services: Services, how: str, given: dict[str, Any]) -> None:
    """Reading the log is an administrator's action as well."""
    filters = {name: value for name, value in given.items() if value not in {None, "", ()}}
    # So that an erasure finds it: the name as failed logins have it, and no text of any kind.
    if "user" in filters:
        filters["account"] = services.audit.account(normalise_username(filters.pop("user")))
    if "text" in filters:
        filters["text"] = True
    services.audit.record(
        services.audit.happened(EventKind.AUDIT_READ, why=how, details={"filters": filters})
    )


@click.group()
def audit() -> None:
    """The audit log: verify, search, export, and what concerns one person."""


@audit.command("verify")
@click.option(
    "--expect",
    "expected",
    metavar="SEQ:HASH",
    callback=_noted,
    help="An end of the log that was noted before, elsewhere: it must still be in it.",
)
@command_options
def audit_verify(cli: Cli, expected: tuple[int, str] | None) -> None:
    """Verify that no event was altered, removed, added or moved; exit code 1 if one was.

    Note the end that it prints where nobody who writes to the database can alter it (each event
    is also in the issuer's own log, with its hash), and give it to --expect later: so a log shows
    that was cut off at its end.
    """
    services = cli.services()
    _note_reading(services, "verify", {})
    services.audit.gather()
    found = _verified(cli, services, expected)
    result = {
        "intact": found.intact,
        "events": found.verified,
        "redacted": found.redacted,
        "head": {"seq": found.head.seq, "hash": found.head.hash},
        "keyed": found.keyed,
        "problems": found.problems,
    }
    told = f"{found.verified} events are as they were written"
    if found.redacted:
        told += f", {found.redacted} were taken out as the log says"
    told += f"; the log ends at {found.head.seq}:{found.head.hash}"
    if not found.keyed:
        told += "\nwithout a secret anybody could have made this chain (development only)"
    if found.intact:
        cli.emit(result, told)
        return
    if cli.as_json:
        click.echo(json.dumps(result))
    raise Refused("the audit log is not intact: " + "; ".join(found.problems))


def _verified(cli: Cli, services: Services, expected: tuple[int, str] | None) -> Verification:
    head = services.audit.log.head()
    if cli.as_json or head.seq - head.base_seq < _PROGRESS_FROM:
        return verify(services.engine, services.audit.keys, expected=expected)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("verifying", total=None)
        return verify(
            services.engine,
            services.audit.keys,
            expected=expected,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


@audit.command("search")
@_filters
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="No more than this.",
)
@click.option("--before", type=click.IntRange(1, _MOST_SEQ), help="Before this seq: the next page.")
@command_options
def audit_search(cli: Cli, limit: int, **given: Any) -> None:
    """Find events, the newest first."""
    services = cli.services()
    services.audit.gather()
    found = search(services.engine, _wanted(services, **given), limit=limit)
    _note_reading(services, "search", given)
    if cli.as_json:
        cli.table("events", [plain(one) for one in found], "")
        return
    names = {account.id: account.username for account in services.accounts.everyone()}
    cli.table("events", [_row(one, names) for one in found], "no such events")


def _row(recorded: Recorded, names: dict[str, str]) -> dict[str, Any]:
    event = recorded.event
    details = " ".join(
        f"{name}={json.dumps(value)}" for name, value in event.details.items() if value is not None
    )
    return {
        "seq": recorded.seq,
        "time": plain(recorded)["time"],
        "event": event.kind.value,
        "outcome": event.outcome.value,
        "why": event.why or None,
        "who": names.get(event.sub or "", event.sub),
        "session": event.sid,
        "client": event.client_id,
        "address": event.address or None,
        "by": event.actor or None,
        "details": details or None,
    }


@audit.command("export")
@_filters
@click.option(
    "--format",
    "form",
    type=click.Choice(sorted(FORMATS)),
    default="jsonl",
    show_default=True,
    help="What is written.",
)
@_OUTPUT
@command_options
def audit_export(cli: Cli, form: str, output: IO[str], **given: Any) -> None:
    """Write every event that fits, the oldest first: JSON lines, CSV, or syslog (RFC 5424)."""
    services = cli.services()
    services.audit.gather()
    _note_reading(services, f"export {form}", given)
    written = _write(output, FORMATS[form], every(services.engine, _wanted(services, **given)))
    if output.name not in {"-", "<stdout>"}:
        cli.emit({"events": written, "file": output.name}, f"wrote {written} events")


def _write(
    output: IO[str],
    form: Callable[[Iterable[Recorded]], Iterable[str]],
    events: Iterable[Recorded],
) -> int:
    count = 0

    def counted() -> Iterable[Recorded]:
        nonlocal count
        for count, event in enumerate(events, 1):  # noqa: B007 - what it came to
            yield event

    for line in form(counted()):
        output.write(line)
    return count


@audit.command("expire")
@command_options
def audit_expire(cli: Cli) -> None:
    """Take out events whose time is over now; an issuer does so by itself every hour."""
    services = cli.services()
    taken_out = services.audit.redaction.by_age()
    cli.emit({"taken_out": taken_out}, f"took out {taken_out} events")


@audit.group("person")
def person() -> None:
    """What the log and the sessions say of one person (GDPR articles 15 and 17)."""


def _person(services: Services, username: str | None, sub: str | None) -> tuple[str, str]:
    """Account id, and the pseudonym of the name. Raises `NotFound`."""
    if username is not None and sub is None:
        account = account_of(services, username)
        return account.id, services.audit.account(account.username)
    if username is None and sub:
        known = services.accounts.by_id(sub)
        return sub, "" if known is None else services.audit.account(known.username)
    raise click.UsageError("give either a USERNAME or --sub")


_MOST_NOTIFICATIONS = 10_000
"""The newest; each is there for a week at most."""


@person.command("export")
@click.argument("username", required=False)
@click.option("--sub", help="The account's id, where the account is gone.")
@_OUTPUT
@command_options
def person_export(cli: Cli, username: str | None, sub: str | None, output: IO[str]) -> None:
    """Write one JSON object: the account, factors, sessions, notifications, and every event."""
    services = cli.services()
    services.audit.gather()
    sub, pseudonym = _person(services, username, sub)
    account = services.accounts.by_id(sub)
    wanted = Wanted(sub=sub, account=pseudonym or None)
    document = {
        "account": account
        and {
            "sub": account.id,
            "username": account.username,
            "enabled": account.enabled,
            "roles": list(account.roles),
        },
        "sessions": [asdict(one) for one in list_sessions(services, account)] if account else [],
        "factors": [one.described() for one in services.factors.of(sub)],
        "recovery_codes_left": services.factors.store.codes_left(sub),
        "notifications": [
            asdict(one)
            for one in services.notifications.queue.listed(sub=sub, limit=_MOST_NOTIFICATIONS)
        ],
        "events": [plain(one) for one in every(services.engine, wanted)],
    }
    if account is None and not document["events"]:
        raise NotFound(f"nothing is known of {sub!r}")
    services.audit.record(services.audit.happened(EventKind.PERSON_EXPORTED, sub=sub))
    output.write(json.dumps(document, indent=2, sort_keys=True) + "\n")
    if output.name not in {"-", "<stdout>"}:
        cli.emit({"sub": sub, "file": output.name}, f"wrote what is known of {sub}")


@person.command("erase")
@click.argument("username", required=False)
@click.option("--sub", help="The account's id, where the account is gone.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command_options
def person_erase(cli: Cli, username: str | None, sub: str | None, yes: bool) -> None:  # noqa: FBT001
    """Take every event about a person out of the log; the chain can still be verified.

    Notifications about the person are forgotten, too, and no mail or webhook is sent any more.

    Sessions and the account stay: end and disable them before, and keep in mind that backups and
    exported logs hold what they held.
    """
    services = cli.services()
    sub, pseudonym = _person(services, username, sub)
    if not yes:
        click.confirm(f"Erase every event about {username or sub}?", abort=True, err=True)
    try:
        erased = services.audit.erase(sub, pseudonym, patience=_PATIENCE)
    except NotFollowed as error:
        raise Refused(
            f"{error} has not dealt with every event yet: nothing is erased; try again, and if it "
            "stays so, look for audit_follower_failing in the issuers' logs"
        ) from None
    services.notifications.queue.erase(sub)
    services.audit.record(
        services.audit.happened(EventKind.PERSON_ERASED, details={"events": erased})
    )
    cli.emit({"sub": sub, "erased": erased}, f"erased {erased} events about {username or sub}")
