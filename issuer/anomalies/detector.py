"""Follows the audit log and asks the rules about each event.

One record holds what all rules keep of one session (or account, or network), and the number of the
last event in it: an event that is seen again changes nothing that it has changed. Records are
written once everything that they gave rise to is done, so that what a process that died has left
undone is found again by the next.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from ..audit import EventKind, Recorded
from .alarm import Alarm
from .rules import Rule, Scope
from .rules.rule import remember
from .sighting import Digest, Sighting, sighting_of
from .states import States

FAMILIAR_FOR = 90 * 86_400
"""Seconds for which a network on which an account has logged in is its own."""
MOST_FAMILIAR = 16
FORMAT = 1
"""Of records. Where a rule keeps something else than before, it rises, and all begin anew."""

_KEPT = 60
"""Seconds by which a record outlives what is in it."""


class AnomalyDetector:
    """Implements `Consumer`."""

    def __init__(
        self,
        rules: Sequence[Rule],
        states: States,
        digest: Digest,
        respond: Callable[[Sequence[Alarm]], None],
    ) -> None:
        """`respond` is given the alarms of a batch, and may be given one again."""
        self._states = states
        # The same few accounts and networks come again and again.
        self._digest = lru_cache(maxsize=8192)(digest)
        self._respond = respond
        self._kinds = {kind for rule in rules for kind in rule.kinds}
        self._by_kind: dict[tuple[EventKind, Scope], list[Rule]] = defaultdict(list)
        for rule in rules:
            for kind in rule.kinds:
                self._by_kind[kind, rule.scope].append(rule)
        # The account's record is read for whatever a session does: it knows its networks.
        self._scopes = {
            kind: {Scope.ACCOUNT, *(scope for scope in Scope if (kind, scope) in self._by_kind)}
            for kind in self._kinds
        }

    @property
    def name(self) -> str:
        return "anomalies"

    def consume(self, batch: Sequence[Recorded]) -> None:
        """Judge events in order. Raises what the store of records and the responses raise."""
        sightings = [
            sighting_of(each.seq, each.event, self._digest)
            for each in batch
            if each.event.kind in self._kinds
        ]
        names = {name for each in sightings for name in self._names(each).values()}
        records = _Records(self._states.load(names))
        alarms = [alarm for each in sightings for alarm in self._judge(each, records)]
        if alarms:
            self._respond(alarms)
        self._states.save(records.changed())

    def _names(self, sighting: Sighting) -> dict[Scope, str]:
        """The records that an event concerns, in the order in which they are brought up to date."""
        of = {
            Scope.SESSION: sighting.event.sid and f"s:{sighting.event.sid}",
            Scope.ACCOUNT: sighting.account and f"a:{sighting.account}",
            Scope.NETWORK: sighting.place and f"n:{sighting.place}",
            Scope.EVERYWHERE: "everywhere",
        }
        wanted = self._scopes[sighting.event.kind]
        return {scope: name for scope, name in of.items() if name and scope in wanted}

    def _judge(self, sighting: Sighting, records: _Records) -> Iterable[Alarm]:
        names = self._names(sighting)
        if Scope.ACCOUNT in names:
            networks = records.of(names[Scope.ACCOUNT]).familiar
            seen = networks.get("p", {}).get(sighting.place)
            sighting.familiar = seen is not None and sighting.time - seen < FAMILIAR_FOR
        for scope, name in names.items():
            rules = self._by_kind.get((sighting.event.kind, scope), [])
            record = records.of(name)
            if record.seq >= sighting.seq or not (rules or _is_login(scope, sighting)):
                continue
            record.seq = sighting.seq
            record.touched = True
            for rule in rules:
                evidence = rule.judge(sighting, record.state(rule))
                if evidence is not None and record.may_tell(rule, sighting.time):
                    yield Alarm(rule.name, sighting.seq, sighting.event, evidence, scope)
            if _is_login(scope, sighting):
                record.lasts(FAMILIAR_FOR)
                remember(record.familiar, "p", sighting.place, sighting.time, most=MOST_FAMILIAR)


def _is_login(scope: Scope, sighting: Sighting) -> bool:
    started = sighting.event.kind is EventKind.SESSION_STARTED
    return scope is Scope.ACCOUNT and started and bool(sighting.place)


class _Record:
    """What is kept of one session, account or network."""

    def __init__(self, text: str | None) -> None:
        kept = _read(text)
        self.seq: int = kept.get("seq", 0)
        self.touched = False
        self._states: dict[str, dict[str, Any]] = kept.get("rules", {})
        self._told: dict[str, float] = kept.get("told", {})
        self._lifetime: int = kept.get("for", 0)

    def state(self, rule: Rule) -> dict[str, Any]:
        self.lasts(rule.lifetime)
        return self._states.setdefault(rule.name, {})

    @property
    def familiar(self) -> dict[str, Any]:
        """Networks on which an account has logged in."""
        return self._states.setdefault("familiar", {})

    def lasts(self, seconds: int) -> None:
        """Keep it for as long as whatever is in it."""
        self._lifetime = max(self._lifetime, seconds)

    def may_tell(self, rule: Rule, now: float) -> bool:
        """Whether the rule has told nothing about it for a while; from now on it has."""
        if now - self._told.get(rule.name, float("-inf")) < rule.quiet:
            return False
        self._told[rule.name] = round(now)
        return True

    def packed(self) -> tuple[str, int]:
        kept = {
            "v": FORMAT,
            "seq": self.seq,
            "rules": {name: state for name, state in self._states.items() if state},
            "told": self._told,
            "for": self._lifetime,
        }
        return json.dumps(kept, separators=(",", ":")), self._lifetime + _KEPT


def _read(text: str | None) -> dict[str, Any]:
    """What was kept; nothing where a program of another format, or none of ours, wrote it."""
    try:
        kept = json.loads(text or "{}")
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) and kept.get("v") == FORMAT else {}


class _Records:
    """Those of one batch, each read once."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts
        self._records: dict[str, _Record] = {}

    def of(self, name: str) -> _Record:
        if name not in self._records:
            self._records[name] = _Record(self._texts.get(name))
        return self._records[name]

    def changed(self) -> dict[str, tuple[str, int]]:
        return {name: record.packed() for name, record in self._records.items() if record.touched}
