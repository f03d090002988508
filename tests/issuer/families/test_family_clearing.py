"""What a restore needs of the families: their versions, and an end to those below one."""

from __future__ import annotations

from collections.abc import Callable

from harness.millisecond_clock import MillisecondClock

from issuer.families import FamilyStore, NewFamily, RotationRules

OpenStore = Callable[[RotationRules, MillisecondClock], FamilyStore]


def create(store: FamilyStore, clock: MillisecondClock, sub: str, sid: str, version: int) -> None:
    store.create(
        NewFamily(
            sub=sub,
            sid=sid,
            client_id="web",
            credential_version=version,
            auth_time=clock.ms // 1000,
            amr=("pwd",),
            scope="",
            idle=None,
            absolute_end=clock.ms // 1000 + 43_200,
        )
    )


def test_versions_of_every_family(open_store: OpenStore) -> None:
    """Each is told with its subject, whatever characters that has; none where there is none."""
    clock = MillisecondClock()
    store = open_store(RotationRules(), clock)
    assert list(store.versions()) == []
    create(store, clock, "ann", "one", 3)
    create(store, clock, "ann", "two", 7)
    create(store, clock, "b:{ö}*?", "three", 1 << 50)
    told = sorted(store.versions())
    assert told == [("ann", 3), ("ann", 7), ("b:{ö}*?", 1 << 50)]


def test_those_below_a_version_end(open_store: OpenStore) -> None:
    """They are gone from record and list; those at the version and above go on."""
    clock = MillisecondClock()
    store = open_store(RotationRules(), clock)
    for number in range(1500):
        create(store, clock, f"person-{number % 40}", f"sid-{number}", number % 3)
    assert store.clear(below=2) == 1000
    assert store.clear(below=2) == 0
    assert {version for _, version in store.versions()} == {2}
    assert store.get("person-0", "sid-0") is None
    assert store.get("person-2", "sid-2") is not None
    left = sum(len(store.of_subject(f"person-{number}")) for number in range(40))
    assert left == 500


def test_another_namespace_is_left_alone(open_store: OpenStore) -> None:
    """Two issuers on one Redis do not end each other's sessions."""
    clock = MillisecondClock()
    ours, theirs = (open_store(RotationRules(), clock) for _ in range(2))
    create(ours, clock, "ann", "one", 1)
    create(theirs, clock, "ann", "one", 1)
    assert ours.clear(below=9) == 1
    assert list(theirs.versions()) == [("ann", 1)]
