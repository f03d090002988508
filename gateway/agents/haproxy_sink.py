"""A copy of the denylist in HAProxy's own maps, kept in step through its runtime API."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from revocation import MOST_ENTRIES, NEVER, Record, ReplicaFull
from revocation.follower import suspension_aware_clock
from revocation.table_storage import boot_id

from .haproxy_files import SAVED, SHARDS, HaproxyFiles
from .haproxy_maps import NOT_SAVED, PROTOCOL, HaproxyUnusable, State, entry_of, name_of, record_of
from .haproxy_runtime import HaproxyUnavailable, Runtime

log = logging.getLogger("gatepass.agent")

_OLDER_SALTS = 8
_CLOCK_TOLERANCE = 0.05
_SWEEP_STEP = 100
"""Entries deleted at once: each makes HAProxy walk a map, and revocations wait meanwhile."""
_MERGE_STEP = 1000
_RETRY = 0.05


class HaproxySink:
    """Implements `revocation.Sink`.

    HAProxy is vouched for only while everything that this holds is in its maps. Where it does not
    answer, or another process has taken its place, the maps are read back and filled again; until
    that has been done it refuses by itself, unless it was started with what has just been saved.
    """

    def __init__(self, files: HaproxyFiles, path: Path, *, most: int = MOST_ENTRIES) -> None:
        """`path` is HAProxy's runtime socket, at level admin; `most` entries are taken in."""
        self._files = files
        self._path = path
        self._most = most
        self._lock = threading.RLock()
        self._runtime: Runtime | None = None
        self._records: dict[bytes, tuple[int, int]] = {}
        self._salts: tuple[bytes, ...] = ()
        self._watermark = -1
        self._dropped = 0
        self._times_lowered = 0
        self._fresh_at: float | None = None
        self._inherited = True
        """Whether HAProxy still goes by what an agent before this one vouched for."""
        self._keys: dict[str, str] = {}
        self._keys_trusted = False
        self._missing: frozenset[str] = frozenset()
        self._expired: Iterator[bytes] = iter(())
        self._swept_at = 0.0
        self._retry_at = 0.0
        self._has_state = False
        self._unusable: str | None = None
        self._told = ""

    # What the follower says.

    def begin(self, salt: bytes) -> None:
        with self._lock:
            older = [old for old in self._salts if old != salt]
            self._salts = (salt, *older)[: 1 + _OLDER_SALTS]
            # What a clock that was ahead took for over may be in what is merged now.
            self._expired = iter(())
            self._attempt(state=True)

    def merge(self, records: Iterable[Record]) -> None:
        """As `Sink.merge`. Raises `ReplicaFull` where more come than it was made for."""
        pending = iter(records)
        while batch := list(islice(pending, _MERGE_STEP)):
            with self._lock:
                fitting = list(self._fitting(batch))
                self._attempt(list(self._taken(fitting)))
                if len(fitting) < len(batch):
                    raise ReplicaFull(len(self._records))

    def raise_watermark(self, watermark: int) -> None:
        with self._lock:
            if watermark > self._watermark:
                self._watermark = watermark
                self._attempt(state=True)

    def vouch(self, fresh_at: float | None) -> None:
        with self._lock:
            if fresh_at is None and self._inherited:
                return  # what was complete as of a moment stays so; HAProxy counts from there
            self._inherited = False
            self._fresh_at = fresh_at
            self._attempt(state=True)

    def hold_all_since(self, second: int) -> None:
        with self._lock:
            self._dropped = second
            self._times_lowered += 1

    def sweep(self, now: float) -> None:
        with self._lock:
            self._swept_at = now
            self._expired = iter([key for key in self._records if self._has_expired(key)])

    # What the agent says.

    def serve_keys(self, entries: Mapping[str, str], *, trusted: bool) -> None:
        """Take these keys as the issuer's, by `kid`; one that is not among them is taken out."""
        with self._lock:
            self._keys = dict(entries)
            self._keys_trusted = trusted
            if self._runtime is not None:
                self._attempt(keys=True, state=True)

    def tend(self) -> None:
        """Find HAProxy again if need be, and delete a few of the entries that have expired."""
        with self._lock:
            self._attempt(list(self._deletions()), greet=True)

    def save(self, longest: float) -> bool:
        """Write all of it to where HAProxy loads it from, so that one that reloads need not close.

        HAProxy may go by it for as long as by the copy of this moment: False where there is none to
        be gone by, or it is `longest` seconds old before it has been written. Raises `OSError`.
        """
        with self._lock:
            state = self._state(f"{boot_id().hex()}.{secrets.token_hex(16)}")
            # The keys alone: of a million records there would be no room for a second copy.
            held, times_lowered = list(self._records), self._times_lowered
        for number, keys in enumerate(_by_shard(held)):
            if state.fresh_at is None or suspension_aware_clock() - state.fresh_at > longest:
                return False
            self._files.save_shard(number, state.saving, self._entries(keys))
        with self._lock:
            ended = self._state(state.saving)
        if ended.fresh_at is None or self._times_lowered != times_lowered:
            return False
        # What has been let go meanwhile may be missing; what has come is more than is said.
        self._files.save_state(replace(ended, fresh_at=state.fresh_at).spelled())
        return True

    def _entries(self, keys: Iterable[bytes]) -> Iterator[str]:
        for key in keys:
            record = self._records.get(key)
            if record is not None:
                yield entry_of(key, *record)

    @property
    def in_step(self) -> bool:
        """Whether HAProxy holds all that this holds, and may be gone by."""
        # Without the lock: whoever asks must not wait for a HAProxy that hangs.
        return self._runtime is not None and self._fresh_at is not None

    @property
    def is_vouched_for(self) -> bool:
        """Whether this holds what may be gone by, HAProxy or not."""
        return self._fresh_at is not None and not self._inherited

    @property
    def why_reload(self) -> str | None:
        """What HAProxy lacks that it reads only when it starts; None for nothing."""
        if self._runtime is not None and self._missing:
            return f"new keys: {', '.join(sorted(self._missing))}"
        return self._unusable

    def __len__(self) -> int:
        return len(self._records)

    def close(self) -> None:
        """Leave HAProxy with what it has; it refuses once that is too old."""
        with self._lock:
            self._drop()

    # Towards HAProxy.

    def _attempt(
        self,
        commands: Iterable[str] = (),
        *,
        greet: bool = False,
        state: bool = False,
        keys: bool = False,
    ) -> None:
        """Carry out commands, or fill a HAProxy that is new; a failure is logged, and mended by
        a later call."""
        begun = suspension_aware_clock()
        try:
            if self._runtime is not None and self._runtime.replaced:
                self._drop()
            if self._runtime is None:
                if suspension_aware_clock() >= self._retry_at:
                    self._fill(Runtime(self._path))
                return
            if greet:
                self._greet(self._runtime)
            self._runtime.run(commands)
            if keys:
                self._put_keys(self._runtime)
            if state:
                self._put_state(self._runtime)
        except HaproxyUnavailable as error:
            self._drop()
            self._unusable = str(error) if isinstance(error, HaproxyUnusable) else None
            # One that hangs must not hold up the follower for more than half of its time.
            ended = suspension_aware_clock()
            self._retry_at = ended + max(_RETRY, ended - begun)
            if str(error) != self._told:
                log.warning("HAProxy is not in step: %s", error)
            self._told = str(error)

    def _drop(self) -> None:
        if self._runtime is not None:
            self._runtime.close()
        self._runtime = None

    def _fill(self, runtime: Runtime) -> None:
        """Bring a HAProxy of unknown content in step; nothing that it holds is dropped."""
        try:
            self._greet(runtime)
            fresh_at = self._adopt_state(runtime)
            runtime.run(self._differences(runtime))
            # Not before: of what was read in part, what is missing here nobody could tell.
            if self._inherited and fresh_at is not None:
                self._fresh_at = fresh_at
            self._put_keys(runtime)
            self._put_state(runtime)
        except BaseException:
            runtime.close()
            raise
        self._runtime = runtime
        self._unusable = None
        self._told = ""
        log.info("HAProxy holds all %d entries", len(self._records))

    def _greet(self, runtime: Runtime) -> None:
        """Raises `HaproxyUnavailable` where it runs other rules, or by another clock."""
        asked_at = suspension_aware_clock()
        words = runtime.ask("gatepass status").split()
        answered_at = suspension_aware_clock()
        if len(words) != 5 or words[0] != "gatepass":
            raise HaproxyUnavailable("it has not loaded gatepass.lua")
        if words[4] != "0":
            raise HaproxyUnavailable("that process is stopping")
        if words[1:3] != [str(PROTOCOL), self._files.digest]:
            raise HaproxyUnusable("it was started with other settings than the agent's")
        if not asked_at - _CLOCK_TOLERANCE <= float(words[3]) <= answered_at + _CLOCK_TOLERANCE:
            raise HaproxyUnavailable("its /proc/uptime is not this machine's")

    def _adopt_state(self, runtime: Runtime) -> float | None:
        """As of when its maps are complete by the word of an agent before this one, if by any."""
        self._has_state = False
        fresh_at = None
        for _, text in runtime.entries(self._files.state_map):
            self._has_state = True
            try:
                state = State.read(text)
            except ValueError:
                raise HaproxyUnusable("its state cannot be read") from None
            if self._inherited:
                # Later on it is this agent's own word, which may have been lowered since.
                self._dropped = max(self._dropped, state.dropped)
            self._watermark = max(self._watermark, state.watermark)
            new = [salt for salt in state.salts if salt not in self._salts]
            self._salts = (*self._salts, *new)[: 1 + _OLDER_SALTS]
            # Of files nobody here knows that they were all of one saving.
            if self._inherited and state.saving == NOT_SAVED:
                fresh_at = state.fresh_at
        return fresh_at

    def _differences(self, runtime: Runtime) -> Iterator[str]:
        """The commands that give HAProxy what it lacks, having taken in what it holds."""
        held: set[bytes] = set()
        for number in range(SHARDS):
            for name, value in runtime.entries(self._files.shard(number)):
                if name == SAVED:
                    continue
                record = record_of(name, value)
                known = self._records.get(record.key, (0, 0))
                merged = max(known[0], record.level), max(known[1], record.expires)
                self._records[record.key] = merged
                if merged != (record.level, record.expires) or record.key in held:
                    yield self._command("set", record.key)
                held.add(record.key)
        for key in self._records:
            if key not in held:
                yield self._command("add", key)

    def _fitting(self, records: Iterable[Record]) -> Iterator[Record]:
        """Those for which there is room: what changes a record that is held needs none."""
        room = self._most - len(self._records)
        for record in records:
            if record.key not in self._records:
                room -= 1
                if room < 0:
                    continue
            yield record

    def _taken(self, records: Iterable[Record]) -> Iterator[str]:
        """Take records in; the commands that tell HAProxy."""
        for record in records:
            known = self._records.get(record.key)
            level, expires = known or (0, 0)
            merged = max(level, record.level), max(expires, record.expires)
            if merged != known:
                self._records[record.key] = merged
                yield self._command("set" if known else "add", record.key)

    def _deletions(self) -> Iterator[str]:
        deleted = []
        for key in islice(self._expired, _SWEEP_STEP):
            if self._has_expired(key):
                self._dropped = max(self._dropped, self._records.pop(key)[1])
                deleted.append(f"del map {self._files.shard(key[1])} {name_of(key)}")
        if deleted:
            # First: by a clock that was put back, what it refuses may be alive again.
            yield self._state_command()
        yield from deleted

    def _has_expired(self, key: bytes) -> bool:
        record = self._records.get(key)
        return record is not None and record[1] != NEVER and record[1] <= self._swept_at

    def _command(self, verb: str, key: bytes) -> str:
        return f"{verb} map {self._files.shard(key[1])} {entry_of(key, *self._records[key])}"

    def _put_keys(self, runtime: Runtime) -> None:
        loaded = dict(runtime.entries(self._files.keys_map))
        # A file of another name may hold another key: it counts as another one.
        wrong = [kid for kid, entry in loaded.items() if self._keys.get(kid) != entry]
        if self._keys_trusted:
            runtime.run(f"del map {self._files.keys_map} {kid}" for kid in wrong)
        self._missing = frozenset(
            kid for kid, entry in self._keys.items() if loaded.get(kid) != entry
        )

    def _put_state(self, runtime: Runtime) -> None:
        if not self._salts:
            return
        runtime.run([self._state_command("set" if self._has_state else "add")])
        self._has_state = True

    def _state_command(self, verb: str = "set") -> str:
        return f"{verb} map {self._files.state_map} state {self._state().spelled()}"

    def _state(self, saving: str = NOT_SAVED) -> State:
        fresh_at = self._fresh_at if self._keys_trusted or self._inherited else None
        return State(fresh_at, self._dropped, self._watermark, self._salts, saving)


def _by_shard(keys: Iterable[bytes]) -> list[list[bytes]]:
    shards: list[list[bytes]] = [[] for _ in range(SHARDS)]
    for key in keys:
        shards[key[1]].append(key)
    return shards
