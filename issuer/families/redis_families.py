"""Families on Redis: one hash each, every change one Lua call, spread by subject."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, cast

import redis

from revocation.redis_circuit import Circuits
from revocation.redis_client import Link, load_script

from .family import (
    MILLISECONDS,
    Draft,
    Elevation,
    Family,
    FamilyUnavailable,
    LeftDraft,
    NewFamily,
    RotationOutcome,
    RotationRules,
    Status,
)
from .outcome import outcome_of

_SCAN_BATCH = 1000
_NO_DRAFT = ("", "")
FORMAT = 1
"""The format of records that this program knows; the scripts' prelude says the same."""


class RedisFamilies:
    """Implements `FamilyStore`."""

    def __init__(
        self,
        client: redis.Redis,
        rules: RotationRules,
        *,
        namespace: str = "gatepass",
        clock: Callable[[], float] | None = None,
        circuits: Circuits | None = None,
        scripts: Callable[[str], str] | None = None,
    ) -> None:
        """`clock` (seconds) replaces the server's own time and `scripts` its Lua, for tests."""
        self._client = client
        self._link = Link(client, FamilyUnavailable, circuits)
        self._rules = rules
        self._namespace = namespace
        self._clock = clock
        load = scripts or (lambda name: load_script("issuer.families", name))
        self._create, self._rotate, self._mark, self._lower = (
            client.register_script(load("prelude") + load(name))
            for name in ("create", "rotate", "mark", "lower")
        )

    def _keys(self, sub: str, sid: str) -> list[str]:
        # The subject's digest is the hash tag: one slot for all of a person's sessions, whatever
        # characters a directory's ids have.
        digest = hashlib.blake2b(sub.encode(), digest_size=16).digest()
        tag = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return [
            f"{self._namespace}:{{{tag}}}:family:{sid}",
            f"{self._namespace}:{{{tag}}}:sessions",
            f"{self._namespace}:{{{tag}}}:drafts",
        ]

    def _run(self, script: Any, sub: str, sid: str, *args: Any) -> Any:
        now = "" if self._clock is None else str(int(self._clock() * MILLISECONDS))
        keys = self._keys(sub, sid)
        with self._link.use(keys[0]):
            return script(keys=keys, args=[now, *args])

    def create(self, new: NewFamily, *, draft: Draft | None = None) -> Family:
        fields: dict[str, str | int] = {
            "sub": new.sub,
            "sid": new.sid,
            "client": new.client_id,
            "version": new.credential_version,
            "auth_time": new.auth_time,
            "amr": " ".join(new.amr),
            "scope": new.scope,
            "idle": -1 if new.idle is None else new.idle * MILLISECONDS,
            "absolute": new.absolute_end * MILLISECONDS,
            "label": new.label,
            "address": new.address,
            "agent": new.user_agent,
            **_raised(new.elevation),
        }
        pairs = [part for field in fields.items() for part in field]
        given = (new.sid, *(draft or _NO_DRAFT), *pairs)
        return _family(_pairs(self._run(self._create, new.sub, new.sid, *given)))

    def rotate(
        self,
        sub: str,
        sid: str,
        gen: int,
        *,
        credential_version: int,
        active_ago: float | None = None,
        draft: Draft | None = None,
    ) -> RotationOutcome:
        retry_window = self._rules.retry_window
        name, fields = self._run(
            self._rotate,
            sub,
            sid,
            gen,
            credential_version,
            -1 if active_ago is None else max(int(active_ago * MILLISECONDS), 0),
            int(self._rules.reuse_interval * MILLISECONDS),
            -1 if retry_window is None else int(retry_window * MILLISECONDS),
            *(draft or _NO_DRAFT),
        )
        return outcome_of(name.decode(), _family(_pairs(fields)) if fields else None)

    def get(self, sub: str, sid: str) -> Family | None:
        key = self._keys(sub, sid)[0]
        with self._link.use(key):
            fields = cast("dict[bytes, bytes]", self._client.hgetall(key))
        return _family(fields) if fields else None

    def of_subject(self, sub: str) -> list[Family]:
        index = self._keys(sub, "")[1]
        with self._link.use(index):
            sids = cast("list[bytes]", self._client.zrange(index, 0, -1))
            pipeline = self._client.pipeline(transaction=False)
            for sid in sids:
                pipeline.hgetall(self._keys(sub, sid.decode())[0])
            found = pipeline.execute()
        families = [_family(fields) for fields in found if fields]
        live = [family for family in families if family.status is Status.LIVE]
        return sorted(live, key=lambda family: family.auth_time)

    def mark(self, sub: str, sid: str, status: Status) -> None:
        self._run(self._mark, sub, sid, sid, status)

    def lower(self, sub: str, sid: str) -> bool:
        return bool(self._run(self._lower, sub, sid))

    def versions(self) -> Iterator[tuple[str, int]]:
        for _, sub, version in self._scan():
            yield sub, version

    def clear(self, *, below: int) -> int:
        cleared = 0
        old = (key for key, _, version in self._scan() if version < below)
        while batch := list(islice(old, _SCAN_BATCH)):
            with self._link.use(self._namespace):
                pipeline = self._client.pipeline(transaction=False)
                for key in batch:
                    owner, _, sid = key.partition(b":family:")
                    pipeline.unlink(key)
                    pipeline.zrem(owner + b":sessions", sid)
                cleared += sum(pipeline.execute()[::2])
        return cleared

    def _scan(self) -> Iterator[tuple[bytes, str, int]]:
        """Key, subject and version of every family; on a cluster those of every primary."""
        pattern = f"{self._namespace}:{{*}}:family:*"
        keys = self._client.scan_iter(match=pattern, count=_SCAN_BATCH)
        while batch := self._read(keys):
            for key, (sub, version) in batch:
                if version is not None:  # it has ended meanwhile otherwise
                    yield key, sub.decode("utf-8", "replace"), int(version)

    def _read(self, keys: Iterator[bytes]) -> list[tuple[bytes, list[Any]]]:
        with self._link.use(self._namespace):
            batch = list(islice(keys, _SCAN_BATCH))
            pipeline = self._client.pipeline(transaction=False)
            for key in batch:
                pipeline.hmget(key, ["sub", "version"])
            return list(zip(batch, pipeline.execute(), strict=True))

    def drop_drafts(self, drafts: Iterable[tuple[str, str]]) -> None:
        with self._link.use(self._namespace):
            pipeline = self._client.pipeline(transaction=False)
            for sub, draft_id in drafts:
                pipeline.hdel(self._keys(sub, "")[2], draft_id)
            pipeline.execute()

    def left_drafts(self) -> Iterator[LeftDraft]:
        keys = self._client.scan_iter(match=f"{self._namespace}:{{*}}:drafts", count=_SCAN_BATCH)
        while True:
            with self._link.use(self._namespace):
                batch = list(islice(keys, _SCAN_BATCH))
                pipeline = self._client.pipeline(transaction=False)
                for key in batch:
                    pipeline.hgetall(key)
                found = pipeline.execute()
            for drafts in found:
                for draft_id, noted in drafts.items():
                    outcome, _, text = noted.decode("utf-8", "replace").partition("\n")
                    yield LeftDraft(draft_id.decode("utf-8", "replace"), outcome, text)
            if not batch:
                return

    def ping(self) -> None:
        # One key, hence one node of a Cluster: when another is down, this issuer is still ready.
        key = f"{self._namespace}:ping"
        with self._link.use(key):
            self._client.exists(key)

    def close(self) -> None:
        self._client.close()


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _family(fields: dict[bytes, bytes]) -> Family:
    record = {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
    _require_known(record.get("v", "1"))
    idle = int(record["idle"])
    return Family(
        sub=record["sub"],
        sid=record["sid"],
        client_id=record["client"],
        credential_version=int(record["version"]),
        gen=int(record["gen"]),
        status=Status(record["status"]),
        auth_time=int(record["auth_time"]),
        amr=tuple(record["amr"].split()),
        scope=record["scope"],
        idle=None if idle < 0 else idle // MILLISECONDS,
        last_active=int(record["active"]) / MILLISECONDS,
        last_refresh=int(record["refreshed"]) / MILLISECONDS,
        absolute_end=int(record["absolute"]) // MILLISECONDS,
        label=record["label"],
        address=record["address"],
        user_agent=record["agent"],
        elevation=_elevation(record),
    )


def _raised(elevation: Elevation | None) -> dict[str, str | int]:
    """An elevation's fields: by the side of what the session is without it."""
    if elevation is None:
        return {}
    return {
        "raised": elevation.until,
        "raised_at": elevation.auth_time,
        "raised_amr": " ".join(elevation.amr),
        "raised_scope": elevation.scope,
        "raised_version": elevation.sub_ver,
    }


def _elevation(record: dict[str, str]) -> Elevation | None:
    until = int(record.get("raised", 0))
    if until == 0:
        return None
    return Elevation(
        until=until,
        auth_time=int(record["raised_at"]),
        amr=tuple(record["raised_amr"].split()),
        scope=record["raised_scope"],
        sub_ver=int(record["raised_version"]),
    )


def _require_known(version: str) -> None:
    # Neither a refusal, which would end the session for its owner, nor a guess: a newer issuer
    # answers, now or later.
    if not version.isdecimal() or int(version) > FORMAT:
        raise FamilyUnavailable("the session's record is of a newer version's format")
