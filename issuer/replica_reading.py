"""A gateway's replica as it is now, by its metrics or in this process."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from revocation import Replica


class NotReached(Exception):
    """A gateway did not answer, or not with metrics of a replica."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A replica as it is now."""

    staleness: float | None
    """Seconds by which it may lag behind; None where it has no copy yet."""
    in_step: bool
    entries: int
    latency: tuple[tuple[float | None, int], ...] = ()
    """How many revocations took so many seconds at the most, ever since; None is any time."""
    keys_ready: bool = True
    """Whether it trusts its copy of the issuer's keys, if it has one."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        fields["latency"] = tuple((bound, count) for bound, count in fields["latency"])
        return cls(**fields)


def reading_of(replica: Replica, *, in_step: bool) -> Reading:
    """Of a replica in this process."""
    latencies = replica.latencies
    return Reading(
        staleness=_finite(replica.staleness()),
        in_step=in_step,
        entries=len(replica),
        latency=()
        if latencies is None
        else tuple((_finite(bound), count) for bound, count in latencies.buckets()),
    )


def parse_metrics(text: str) -> Reading:
    """Of metrics in the text format of Prometheus. Raises `NotReached` without a replica's.

    Where several processes tell their own, the worst of them counts, and latencies add up.
    """
    gauges: dict[str, list[float]] = {}
    buckets: dict[float | None, int] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "gatepass_revocation_latency_seconds_bucket":
                    bound = _finite(float(sample.labels["le"]))
                    buckets[bound] = buckets.get(bound, 0) + int(sample.value)
                else:
                    gauges.setdefault(sample.name, []).append(float(sample.value))
        return Reading(
            staleness=_finite(max(gauges["gatepass_replica_staleness_seconds"])),
            in_step=min(gauges["gatepass_replica_in_step"]) >= 1,
            entries=int(max(gauges["gatepass_replica_entries"])),
            latency=tuple(sorted(buckets.items(), key=lambda each: _bound(each[0]))),
            keys_ready=min(gauges.get("gatepass_keys_ready", [1.0])) >= 1,
        )
    except (KeyError, ValueError, OverflowError):
        raise NotReached("it tells nothing of a replica") from None


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the revocations between two readings: how many, and what half and all of them took."""

    count: int
    half: float | None
    """Seconds at the most; None is longer than the largest bound."""
    all: float | None


def latency_between(earlier: Reading, later: Reading) -> Latency | None:
    """None where nothing was revoked in between."""
    before = dict(earlier.latency)
    counts = [(bound, count - before.get(bound, 0)) for bound, count in later.latency]
    if any(count < 0 for _, count in counts):
        counts = list(later.latency)  # it has been restarted meanwhile
    if not counts or not (total := counts[-1][1]):
        return None
    return Latency(total, _reached(counts, total / 2), _reached(counts, total))


def _reached(counts: Sequence[tuple[float | None, int]], wanted: float) -> float | None:
    return next(bound for bound, count in counts if count >= wanted)


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def _bound(bound: float | None) -> float:
    return math.inf if bound is None else bound
