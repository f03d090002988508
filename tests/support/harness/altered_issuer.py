"""`gatepass` with some things changed: what a `WarmProcess` may be told to be otherwise.

`clock=FILE`      time is the real one plus the seconds that the file holds
`own-clock=FILE`  the same of the issuer alone (`put_mapped_clock`): its stores go by theirs
`demo-clock=FILE` the same of `gatepass demo`, its gateway's verifier included
`demo-settings=JSON` settings that replace the demo's
`demo-absolute=SECONDS` when a session of the demo ends whatever happens
`gateway-clock=FILE` the same of `gatepass gateway`, for tokens: its copy of the denylist and its
                  keys age in the real time
`die-once=FILE`   the first process to complete a revocation dies by SIGKILL instead, while FILE is
                  there: between the SQL commit and the denylist
`kill-at=FILE`    SIGKILL for its whole process group at the crash point that FILE names, once
`stop-at=FILE`    SIGSTOP likewise; it goes on once it is continued and `go_file(FILE)` is there
`ticks=DIRECTORY` the key ring is read when the file of this process' port says so, as `Ticks` does
`quick`           the worker looks for undone rows and new keys several times a second
`no-origin-check` mutant: cookie mode believes every page
`real-denylist`   the denylist goes by its server's own time, and agrees, whatever the clock says
`no-completion`   mutant: the worker leaves undone rows alone
`late-time`       mutant: the time in a token is that of its signing
`no-denylist`     mutant: nothing reaches the denylist
`late-denylist`   mutant: it is told a moment after the answer
`no-replay`       mutant: a denylist that was lost is called ready without the journal's rows
`no-condition`    mutant: accounts are written whatever was read before
`stale-rehash`    mutant: the same, but rehashes only
`no-version`      mutant: a refresh does not compare the credential version
`no-journal`      mutant: revocations of tokens, sessions and keys are not written to the journal
`deaf-journal`    mutant: what cannot be written there is acknowledged all the same
`no-seq`          mutant: the position in SQL is not held against the store
`no-lone-beat`    mutant: no heartbeat while the database is away
`no-overlap`      mutant: a key that signs no more is not kept for what it has signed
`no-primary`      mutant: a store that was filled once is trusted under whatever primary
`stock-worker`    mutant: connections are closed, and at their limit left waiting, as gunicorn does
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Timer, local
from types import SimpleNamespace
from typing import Any

_SHIFT = struct.Struct("d")
DELAY = 0.2
"""Seconds by which `late-denylist` is late."""


def read_shift(path: Path) -> float:
    """The seconds that a clock file holds."""
    return float(path.read_text())


def shifted_clock(path: Path) -> Callable[[], float]:
    """Real time plus what the file holds at that moment."""
    return lambda: time.time() + read_shift(path)


def write_shift(path: Path, seconds: float) -> None:
    """Set the file in one step, so that no reader sees half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(repr(seconds))
    fresh.replace(path)


def put_mapped_clock(path: Path, seconds: float) -> None:
    """Set, in place, what a clock that maps this file is off by."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(_SHIFT.pack(seconds))


def _mapped_clock(path: Path) -> Callable[[], float]:
    # Mapped, since a process may have no descriptor left to read a file with.
    with path.open("rb") as file:
        shift = mmap.mmap(file.fileno(), _SHIFT.size, prot=mmap.PROT_READ)
    return lambda: time.time() + _SHIFT.unpack(shift[:])[0]


def _follow_clock(path: str) -> None:
    """Let whatever this process builds, server or command, live in the file's time."""
    from issuer.cli import output, serving

    for module in (serving, output):
        module.build_services = partial(module.build_services, clock=shifted_clock(Path(path)))


def _shift_own_clock(path: str) -> None:
    from issuer import services

    services.time = SimpleNamespace(time=_mapped_clock(Path(path)))


def _follow_clock_in_demo(path: str) -> None:
    from issuer import demo

    clock = shifted_clock(Path(path))
    demo.build_services = partial(demo.build_services, clock=clock)
    demo.Verifier = partial(demo.Verifier, clock=clock)  # type: ignore[assignment,misc]


def _follow_clock_in_gateway(path: str) -> None:
    from gateway import serving

    serving.Verifier = partial(serving.Verifier, clock=shifted_clock(Path(path)))  # type: ignore[assignment,misc]


def _rewrite_demo_settings(change: Callable[[dict[str, Any]], object]) -> None:
    from issuer import demo

    read = demo.read_settings

    def read_altered(path: Path) -> Any:
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))
        return read(path)

    demo.read_settings = read_altered


def _replace_demo_settings(changes: str) -> None:
    _rewrite_demo_settings(lambda values: values.update(json.loads(changes)))


def _end_demo_sessions(seconds: str) -> None:
    absolute = {"absolute": int(seconds)}
    _rewrite_demo_settings(lambda values: values["clients"]["demo"].update(absolute))


def _drop_origin_check(_: str) -> None:
    from issuer.http import auth

    auth.require_own_origin = lambda _settings, _client_id: None


def _die_once(path: str) -> None:
    from issuer.revoker import Revoker

    complete = Revoker.complete

    def dies(self: Revoker, rows: Any) -> None:
        try:
            if rows:
                Path(path).unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        except FileNotFoundError:
            pass
        complete(self, rows)

    Revoker.complete = dies  # type: ignore[method-assign]


def signal_at(path: Path, number: signal.Signals) -> None:
    """Signal the process group at the crash point that the file names, while there is a file."""
    from issuer.crash_points import CrashPoint, watch

    def visit(point: CrashPoint) -> None:
        try:
            if path.read_text() != point:
                return
            path.unlink()
        except FileNotFoundError:
            return
        os.killpg(0, number)
        # Other threads may be stopped a moment before this one is.
        while not go_file(path).exists():
            time.sleep(0.001)

    watch(visit)


def go_file(path: Path) -> Path:
    """What lets an issuer that was stopped go on."""
    return path.with_suffix(".go")


def _kill_at(path: str) -> None:
    signal_at(Path(path), signal.SIGKILL)


def _stop_at(path: str) -> None:
    signal_at(Path(path), signal.SIGSTOP)


def _tick_on_demand(directory: str) -> None:
    from issuer import services
    from keys import RotationScheduler

    services.KEY_RING_INTERVAL = 1.0
    order = Path(directory) / os.environ["GATEPASS_PORT"]
    done = order.with_suffix(".done")

    def follow(self: RotationScheduler) -> None:
        last = ""
        while not self._stop.wait(0.002):
            wanted = order.read_text() if order.exists() else ""
            if wanted != last:
                self.tick()
                done.write_text(wanted)
                last = wanted

    RotationScheduler._run = follow  # type: ignore[method-assign]


class Ticks:
    """The other end of `ticks`: lets an issuer read the key ring, and waits until it has."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._number = 0

    def order(self, port: int) -> None:
        """Let the issuer of a port tick; back when it has."""
        self._number += 1
        order = self.directory / str(port)
        fresh = order.with_suffix(".new")
        fresh.write_text(str(self._number))
        fresh.replace(order)
        done = order.with_suffix(".done")
        over = time.monotonic() + 30
        while not done.exists() or done.read_text() != str(self._number):
            if time.monotonic() > over:
                raise TimeoutError(f"the issuer at {port} does not read the key ring")
            time.sleep(0.001)


def _hurry(_: str) -> None:
    from issuer import pulse, services

    pulse.COMPLETION_INTERVAL = 0.1
    services.KEY_RING_INTERVAL = 0.2
    from issuer.audit import keeper, recorder

    keeper.INTERVAL = keeper.SOON = 0.2
    recorder.YOUNG = 0.5


def _leave_denylist_its_time(_: str) -> None:
    from issuer import services

    real, pulse = services.open_denylist, services.Pulse

    def opened(url: str, *, clock: object = None, wall_clock: object = None, **options: Any) -> Any:
        return real(url, **options)

    def beating(*parts: Any, wall_clock: object, steady: object, **options: Any) -> Any:
        return pulse(*parts, **options)

    services.open_denylist, services.Pulse = opened, beating  # type: ignore[assignment,misc]


def _drop_completion(_: str) -> None:
    from issuer.revoker import Revoker

    Revoker.complete_undone = lambda _self: 0  # type: ignore[method-assign]


def _take_time_late(_: str) -> None:
    from issuer.crash_points import CrashPoint, reach
    from issuer.sessions import grant as granting

    grant = granting.grant

    def late(services: Any, family: Any, account: Any, _instant: float) -> Any:
        reach(CrashPoint.GRANT_MINTING)
        return grant(services, family, account, services.clock())

    # The package's `login` and `refresh` are the functions of these names.
    for name in ("login", "refresh"):
        setattr(sys.modules[f"issuer.sessions.{name}"], "grant", late)  # noqa: B010


def _drop_denylist(_: str) -> None:
    from issuer.revoker import Revoker

    Revoker.complete = lambda _self, _rows: None  # type: ignore[method-assign]


def _drop_replay(_: str) -> None:
    from issuer.journal import Journal

    Journal.in_force = lambda _self: []  # type: ignore[method-assign]


def _delay_denylist(_: str) -> None:
    from issuer.revoker import Revoker

    complete = Revoker.complete
    Revoker.complete = lambda self, rows: Timer(DELAY, complete, (self, rows)).start()  # type: ignore[method-assign]


def _drop_condition(_: str) -> None:
    from issuer.accounts import sql_accounts
    from issuer.database.tables import accounts

    sql_accounts._unchanged = lambda read: accounts.c.id == read.id


def _drop_rehash_condition(_: str) -> None:
    from issuer.accounts import sql_accounts
    from issuer.database.tables import accounts

    unchanged = sql_accounts._unchanged
    rehash = sql_accounts.SqlAccounts._rehash

    def careless(self: Any, read: Any, password: str) -> Any:
        condition.kept = False
        try:
            return rehash(self, read, password)
        finally:
            condition.kept = True

    def sometimes(read: Any) -> Any:
        kept = getattr(condition, "kept", True)
        return unchanged(read) if kept else accounts.c.id == read.id

    condition = local()
    sql_accounts._unchanged = sometimes
    sql_accounts.SqlAccounts._rehash = careless  # type: ignore[method-assign]


def _drop_version(_: str) -> None:
    from issuer.families.redis_families import RedisFamilies

    rotate = RedisFamilies.rotate

    def careless(self: Any, sub: str, sid: str, gen: int, **options: Any) -> Any:
        family = self.get(sub, sid)
        if family is not None:
            options["credential_version"] = family.credential_version
        return rotate(self, sub, sid, gen, **options)

    RedisFamilies.rotate = careless  # type: ignore[method-assign]


def _drop_journal(_: str) -> None:
    from issuer.journal import Journal

    Journal.append = lambda _self, *_args, **_options: 0  # type: ignore[method-assign]


def _ignore_refusals(_: str) -> None:
    from issuer.database import DatabaseUnavailable
    from issuer.journal import Journal

    append, mark_done = Journal.append, Journal.mark_done

    def careless_append(self: Any, *args: Any, **options: Any) -> int:
        try:
            return append(self, *args, **options)
        except DatabaseUnavailable:
            return 0

    def careless_mark(self: Any, *args: Any, **options: Any) -> bool:
        try:
            return mark_done(self, *args, **options)
        except DatabaseUnavailable:
            return True

    Journal.append = careless_append  # type: ignore[method-assign]
    Journal.mark_done = careless_mark  # type: ignore[method-assign]


def _ignore_position(_: str) -> None:
    from revocation import redis_denylist

    redis_denylist._seen = lambda _known: ("", "0", "")


def _beat_with_the_database_alone(_: str) -> None:
    from issuer.pulse import Pulse

    heartbeat = Pulse._heartbeat

    def careful(self: Pulse) -> Any:
        self._positions.read()
        return heartbeat(self)

    Pulse._heartbeat = careful  # type: ignore[method-assign]


def _drop_keys_early(_: str) -> None:
    from keys import RotationPolicy

    RotationPolicy.keep = lambda _self, _alg: 0  # type: ignore[method-assign]


def _ignore_primary(_: str) -> None:
    from revocation import redis_denylist

    redis_denylist.load_script = trusting_any_primary(redis_denylist.load_script)


def trusting_any_primary(load: Callable[[str, str], str]) -> Callable[[str, str], str]:
    """The denylist's scripts without their look at the replication id; gateways run them too."""
    compared = "m[2] == primary()"

    def careless(package: str, name: str) -> str:
        text = load(package, name)
        assert name != "prelude" or compared in text
        return text.replace(compared, "true")

    return careless


def _stock_worker(_: str) -> None:
    from gunicorn.workers.gthread import ThreadWorker

    from issuer.patient_worker import PatientWorker

    PatientWorker.finish_request = ThreadWorker.finish_request  # type: ignore[method-assign]
    PatientWorker._make_room = lambda _self, _count: 0  # type: ignore[method-assign]


_ALTERATIONS = {
    "clock": _follow_clock,
    "own-clock": _shift_own_clock,
    "demo-clock": _follow_clock_in_demo,
    "demo-settings": _replace_demo_settings,
    "demo-absolute": _end_demo_sessions,
    "gateway-clock": _follow_clock_in_gateway,
    "die-once": _die_once,
    "kill-at": _kill_at,
    "stop-at": _stop_at,
    "ticks": _tick_on_demand,
    "quick": _hurry,
    "real-denylist": _leave_denylist_its_time,
    "no-origin-check": _drop_origin_check,
    "no-completion": _drop_completion,
    "late-time": _take_time_late,
    "no-denylist": _drop_denylist,
    "no-replay": _drop_replay,
    "late-denylist": _delay_denylist,
    "no-condition": _drop_condition,
    "stale-rehash": _drop_rehash_condition,
    "no-version": _drop_version,
    "no-journal": _drop_journal,
    "deaf-journal": _ignore_refusals,
    "no-seq": _ignore_position,
    "no-lone-beat": _beat_with_the_database_alone,
    "no-overlap": _drop_keys_early,
    "no-primary": _ignore_primary,
    "stock-worker": _stock_worker,
}


def alter(alterations: list[str]) -> None:
    """Change what they say in this process."""
    for alteration in alterations:
        name, _, value = alteration.partition("=")
        _ALTERATIONS[name](value)
