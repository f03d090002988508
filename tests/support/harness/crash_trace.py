"""Records each step that an operation takes on a store, and each crash point it passes between."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import redis
import sqlalchemy as sa
from click.testing import CliRunner
from harness.crash_operations import Reply, relying_parties
from harness.gatepass_command import Completed
from harness.issuer_app import IssuerApp, bearer

from issuer.cli import key_commands, output
from issuer.cli.output import exit_code_of
from issuer.crash_points import CrashPoint, watch
from issuer.services import build_services
from keys.store import RING_FILE

# The package's `main` is the function of that name.
_cli = importlib.import_module("issuer.cli.main")


@dataclass(frozen=True, slots=True)
class Step:
    """One effect on a store."""

    what: str


Event = Step | CrashPoint


@dataclass
class Trace:
    """What happened, in order."""

    events: list[Event] = field(default_factory=list)

    @property
    def points(self) -> tuple[CrashPoint, ...]:
        return tuple(event for event in self.events if isinstance(event, CrashPoint))

    @property
    def steps(self) -> list[str]:
        return [event.what for event in self.events if isinstance(event, Step)]

    def gaps(self) -> list[str]:
        """Each step that no crash point separates from the next, or from the answer."""
        return gaps(self.events)


def gaps(events: Sequence[Event]) -> list[str]:
    """The same for any events."""
    found = []
    for event, following in zip(events, [*events[1:], Step("the answer")], strict=True):
        if isinstance(event, Step) and isinstance(following, Step):
            found.append(f"{event.what}, then {following.what}")
    return found


class TracedStage:
    """Implements `Stage` in process; `recording` gives what is done within it."""

    def __init__(self, issuer: IssuerApp) -> None:
        self.issuer = issuer
        self._clients = iter(relying_parties())

    @property
    def database_url(self) -> str:
        return self.issuer.services.settings.database_url

    def ask(
        self,
        method: str,
        path: str,
        json: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        headers = {} if token is None else bearer(token)
        body: dict[str, Any] = {} if json is None else {"json": json}
        if form is not None:
            body = {"data": form}
        answer = self.issuer.ask(method, path, headers=headers, **body)
        self.issuer.deliver()
        return Reply(answer.status_code, answer.get_json(silent=True) or {})

    def command(self, *arguments: str, stdin: str = "") -> Completed:
        services = self.issuer.services
        with ExitStack() as patches:
            for target, name, value in (
                (output.Cli, "settings", lambda _cli: services.settings),
                (output, "build_services", partial(build_services, clock=services.clock)),
                (_cli, "configure_logs", lambda _level: None),
                # No key is due to be rotated within the second in which it was made.
                (key_commands, "time", SimpleNamespace(time=lambda: services.clock() + 2)),
            ):
                patches.enter_context(mock.patch.object(target, name, value))
            done = CliRunner().invoke(_cli.cli, arguments, input=stdin)
        code, err = done.exit_code, done.stderr
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            code = cast("int", exit_code_of(cast("Exception", done.exception)))
            assert code is not None, done.exception
            err = f"gatepass: {done.exception}"
        return Completed(code, done.stdout if code == 0 else "", err)

    def take_client(self) -> str:
        return next(self._clients)

    def mail(self, username: str) -> str | None:
        tokens = [each.token for each in self.issuer.sent if each.username == username]
        return tokens[-1] if tokens else None

    @contextmanager
    def recording(self) -> Iterator[Trace]:
        """Take down every step and every point, until it is left."""
        trace = Trace()
        with ExitStack() as undo:
            watch(trace.events.append)
            undo.callback(watch)
            undo.enter_context(_database_steps(trace, self.database_url))
            undo.enter_context(_redis_steps(trace, self.issuer.services.settings.redis_url))
            undo.enter_context(_file_steps(trace))
            yield trace


# Both see every store of this process; another test's issuer may be beating on stores of its own.


@contextmanager
def _database_steps(trace: Trace, url: str) -> Iterator[None]:
    """Commits of transactions that have changed a row of this database."""

    def executed(_conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        verb = statement.split(None, 1)[0].upper()
        ours = _conn.engine.url == sa.make_url(url)
        if ours and verb in {"INSERT", "UPDATE", "DELETE"} and cursor.rowcount:
            _conn.info.setdefault("changed", []).append(" ".join(statement.split()[:3]))

    def committed(connection: sa.Connection) -> None:
        changed = connection.info.pop("changed", None)
        if changed:
            trace.events.append(Step(f"commit ({', '.join(changed)})"))

    listeners: list[tuple[str, Callable[..., None]]] = [
        ("after_cursor_execute", executed),
        ("commit", committed),
    ]
    for name, listener in listeners:
        sa.event.listen(sa.Engine, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners:
            sa.event.remove(sa.Engine, name, listener)


@contextmanager
def _redis_steps(trace: Trace, url: str) -> Iterator[None]:
    """Commands, scripts and pipelines after which this server counts another change of its data."""
    observer = redis.Redis.from_url(url)
    socket = observer.connection_pool.connection_kwargs["path"]
    ask = redis.Redis.execute_command
    execute = redis.client.Pipeline.execute

    def changes() -> int:
        info = cast("dict[str, Any]", ask(observer, "INFO", "persistence"))
        return int(info["rdb_changes_since_last_save"])

    def around(real: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def run(client: Any, *args: Any, **options: Any) -> Any:
            if client.connection_pool.connection_kwargs.get("path") != socket:
                return real(client, *args, **options)
            before = changes()
            what = name(client, *args)
            try:
                return real(client, *args, **options)
            finally:
                if changes() != before and "confirmed" not in what:
                    trace.events.append(Step(f"Redis: {what}"))

        return run

    def said(_client: Any, *args: Any) -> str:
        # A script's first key says what it writes to.
        parts = [
            part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in args
        ]
        return " ".join(parts[0:1] + parts[3:4])

    def piped(client: Any, *_: Any) -> str:
        # What only has earlier writes confirmed is no step: it changes nothing that anybody reads.
        return "; ".join(" ".join(map(str, args[0])) for args in client.command_stack)

    try:
        with (
            mock.patch.object(redis.Redis, "execute_command", around(ask, said)),
            mock.patch.object(redis.client.Pipeline, "execute", around(execute, piped)),
        ):
            yield
    finally:
        observer.close()


@contextmanager
def _file_steps(trace: Trace) -> Iterator[None]:
    """The renaming that replaces the key ring's file."""
    rename = os.rename

    def renamed(source: Any, target: Any, **options: Any) -> None:
        rename(source, target, **options)
        if os.fspath(target) == RING_FILE:
            trace.events.append(Step("the key ring's file"))

    with mock.patch.object(os, "rename", renamed):
        yield
