"""`gatepass agent haproxy`: keeps one HAProxy's keys and denylist in step."""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from revocation import Follower
from revocation.follower import suspension_aware_clock
from revocation.latency import Latencies

from ..errors import KeysUnavailable
from .denylist_source import DenylistSource
from .haproxy_files import HaproxyFiles
from .haproxy_runtime import HaproxyUnavailable, reload
from .haproxy_sink import HaproxySink
from .issuer_keys import IssuerKeys
from .signals import Signals

if TYPE_CHECKING:
    from ..metrics import Watched

log = logging.getLogger("gatepass.agent")

_TICK = 0.05
"""Seconds after which a HAProxy that has restarted is noticed, at the latest."""
_BETWEEN_READS = 0.01
"""Seconds from one read of the feed to the next, at the least: HAProxy is told of all that came
meanwhile in one line of commands, which it carries out between two requests."""
_FIRST_KEYS = 2.0
"""Seconds between attempts to fetch the first keys, or to write some."""
_RELOAD_EVERY = 10.0
_RELOAD_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Reloading:
    """How to make HAProxy load a new key: over its master's socket, or by a command."""

    master: Path | None = None
    command: str | None = None

    @property
    def is_possible(self) -> bool:
        return self.master is not None or self.command is not None

    def __call__(self) -> None:
        """Raises `HaproxyUnavailable`."""
        if self.master is not None:
            reload(self.master)
        elif self.command is not None:
            try:
                subprocess.run(  # noqa: S602 - the operator's own words
                    self.command, shell=True, check=True, timeout=_RELOAD_TIMEOUT
                )
            except (subprocess.SubprocessError, OSError) as error:
                raise HaproxyUnavailable(f"reloading failed: {type(error).__name__}") from None
        else:
            raise HaproxyUnavailable("reload it by hand: neither socket nor command is set")


@dataclass(frozen=True, slots=True)
class HaproxyCopy:
    """The copy in HAProxy's maps, as `gateway.metrics.Watched` and `WatchedCopy`."""

    follower: Follower
    sink: HaproxySink
    keys: IssuerKeys
    max_staleness: float

    @property
    def replica(self) -> Self:
        return self

    @property
    def in_step(self) -> bool:
        """Whether HAProxy has been told all that the follower has, and that is young enough."""
        return self.sink.in_step and self.staleness() <= self.max_staleness

    @property
    def latencies(self) -> Latencies:
        return self.follower.latencies

    def staleness(self) -> float:
        return self.follower.staleness()

    def __len__(self) -> int:
        return len(self.sink)


class HaproxyAgent:
    """Writes what HAProxy loads, and fills its maps while it runs."""

    def __init__(
        self,
        files: HaproxyFiles,
        keys: IssuerKeys,
        denylist: DenylistSource,
        *,
        runtime: Path,
        reloading: Reloading,
        keys_interval: float,
        max_staleness: float,
        heartbeat_interval: float,
    ) -> None:
        """`keys_interval` is how often the issuer is asked for its keys, in seconds."""
        self._files = files
        self._keys = keys
        self._denylist = denylist
        self._reloading = reloading
        self._keys_interval = keys_interval
        self._max_staleness = max_staleness
        self._heartbeat_interval = heartbeat_interval
        self.sink = HaproxySink(files, runtime, most=denylist.most_entries)
        self._written: dict[str, str] | None = None
        self._unwritten = False
        self._next_keys = 0.0
        self._next_reload = 0.0
        self._reload_asked = False
        self._patience = 0.0
        self._forget_at = float("inf")
        self._announced = False

    def prepare(self) -> None:
        """Write what HAProxy needs to start, with the issuer's keys. Raises `KeysUnavailable`."""
        self._files.prepare()
        self._keys.refresh()
        self._write()

    def run(
        self,
        signals: Signals,
        on_step: Callable[[], None],
        watch: Callable[[Watched], object] | None = None,
    ) -> None:
        """Keep HAProxy in step until a signal comes; `on_step` is called when it first is.

        With SIGHUP it reloads HAProxy, or at least saves what that needs not to close: whoever
        reloads it by hand does so right then.
        `watch` is given what tells how HAProxy stands, before that.
        """
        self._files.prepare()
        with self._denylist.open() as denylist, closing(self.sink):
            follower = Follower(
                denylist,
                self.sink,
                max_staleness=self._max_staleness,
                heartbeat_interval=self._heartbeat_interval,
                between_reads=_BETWEEN_READS,
            )
            if watch is not None:
                watch(HaproxyCopy(follower, self.sink, self._keys, self._max_staleness))
            follower.start()
            self._patience = suspension_aware_clock() + self._max_staleness
            try:
                while True:
                    came = signals.wait(_TICK)
                    if came is signal.SIGHUP:
                        self._reload_asked = True
                    elif came is not None:
                        break
                    self._tend_keys()
                    self.sink.tend()
                    self._reload_if_needed()
                    self._forget_what_is_too_old()
                    if not self._announced and self.sink.in_step:
                        self._announced = True
                        on_step()
            finally:
                follower.stop()

    def _tend_keys(self) -> None:
        now = suspension_aware_clock()
        if now < self._next_keys:
            return
        try:
            self._keys.refresh()
            self._write()
            self._unwritten = False
        except KeysUnavailable as error:
            log.warning("keeping the last good keys: %s", error)
        except OSError as error:
            log.warning("the issuer's keys were not written: %s", error)
            self._unwritten = True
        is_well = self._keys.ready and not self._unwritten
        pause = self._keys_interval if is_well else _FIRST_KEYS
        self._next_keys = suspension_aware_clock() + pause
        self.sink.serve_keys(self._entries(), trusted=self._keys.ready)

    def _write(self) -> None:
        entries = self._entries()
        if entries != self._written:
            self._files.write_keys(self._keys.keys)
            self._written = entries

    def _entries(self) -> dict[str, str]:
        return {kid: self._files.entry(key) for kid, key in self._keys.keys.items()}

    def _reload_if_needed(self) -> None:
        now = suspension_aware_clock()
        why = "it was asked for" if self._reload_asked else self.sink.why_reload
        waits = (
            now < self._next_reload
            # No reload brings a key that lies in no file.
            or self._unwritten
            # One with other settings has some time until there is a copy for it to start with.
            or (not self.sink.is_vouched_for and now < self._patience)
        )
        if why is None or (waits and not self._reload_asked):
            return
        log.info("HAProxy has to be reloaded: %s", why)
        try:
            # By hand it may be days until somebody does, and what is saved is soon too old.
            if self._reload_asked or self._reloading.is_possible:
                self._save()
            self._reloading()
        except HaproxyUnavailable as error:
            log.warning("HAProxy was not reloaded: %s", error)
        self._reload_asked = False
        # After it: to save a large copy takes long, and all else waits meanwhile.
        self._next_reload = suspension_aware_clock() + _RELOAD_EVERY

    def _save(self) -> None:
        try:
            saved = self.sink.save(self._max_staleness - self._heartbeat_interval)
        except OSError as error:
            log.warning("the copy was not saved for a reload: %s", error)
            saved = False
        else:
            if saved:
                log.info("the copy is saved for a reload")
            else:
                log.warning("there is no copy that is young enough for a reload: HAProxy closes")
        # What was not saved whole is in the way.
        self._forget_at = suspension_aware_clock() + (self._max_staleness if saved else 0)

    def _forget_what_is_too_old(self) -> None:
        if suspension_aware_clock() < self._forget_at:
            return
        try:
            self._files.forget_copy()
        except OSError as error:
            log.warning("a saved copy was not removed: %s", error)
            self._forget_at = suspension_aware_clock() + _RELOAD_EVERY
        else:
            self._forget_at = float("inf")
