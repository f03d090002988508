"""A token's record keys, made in one go: the same as each entry's own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from revocation import Candidate, Denylist, Entry, Kind, Probe, Replica, TokenRevoked, open_denylist
from revocation.entry import Record, record_key
from revocation.packed_copy import PackedCopy


@dataclass(frozen=True)
class Claims:
    """A token's claims, of any form."""

    jti: str
    sid: str
    sub: str = "somebody"
    sub_ver: int = 1
    client_id: str = "app"
    aud: tuple[str, ...] = field(default=("orders", "files"))
    iat: int = 1_000
    exp: int = 1 << 40


ids = st.one_of(
    st.text("ABgwxyz019-_+/", min_size=22, max_size=22),
    st.text("ABgw-_=!é", min_size=20, max_size=24),
    st.text(max_size=24),
)


@example("0" * 22, "=" * 9 + "A" * 13, "", [], b"\0")
@example("A" * 21 + "=", "A" * 23, "", [], b"\0")
@example("A" * 22, "A" * 22 + "=", "", [], b"\0")
@given(ids, ids, st.text(), st.lists(st.text(), max_size=3), st.binary(min_size=1, max_size=32))
def test_a_probe_has_the_keys_of_the_entries(
    jti: str, sid: str, name: str, audiences: list[str], salt: bytes
) -> None:
    """What an entry is stored under is what a token is looked for by, whatever the identifiers."""
    claims = Claims(jti, sid, sub=name, client_id=name, aud=tuple(audiences))
    try:
        name.encode()
        "".join([jti, sid, *audiences]).encode()
    except UnicodeEncodeError:
        return
    probe = Probe.of(claims, name, salt)
    assert probe.keys == (
        record_key(Kind.TOKEN, jti, salt),
        record_key(Kind.SESSION, sid, salt),
        record_key(Kind.SUBJECT, name, salt),
        record_key(Kind.KEY, name, salt),
        *(record_key(Kind.CLIENT, party, salt) for party in (name, *audiences)),
    )
    assert (probe.salt, probe.sub_ver, probe.iat) == (salt, claims.sub_ver, claims.iat)


def test_a_candidate_is_identified_for_one_salt() -> None:
    """Another epoch's salt makes other keys, and going back makes the first again."""
    claims = Claims("A" * 22, "B" * 22)
    candidate = Candidate(claims, "kid")
    first = candidate.identify(b"one")
    assert candidate.identified is first
    assert candidate.probe(first) == Probe.of(claims, "kid", b"one")
    other = candidate.identify(b"two")
    assert candidate.probe(other) == Probe.of(claims, "kid", b"two") != candidate.probe(first)
    assert candidate.identify(b"one") == first


keys_of_a_table = st.sets(
    st.builds(
        lambda prefix, start, last: prefix + start * 8 + b"\0" * 7 + last,
        st.sampled_from([b"t", b"s"]),
        st.binary(min_size=1, max_size=1),
        st.sampled_from([b"\0", b"\1", b"\xfe", b"\xff"]),
    ),
    max_size=8,
)


@given(keys_of_a_table, keys_of_a_table, st.booleans())
def test_what_a_copy_may_hold_is_never_missed(
    held: set[bytes], asked: set[bytes], swept: bool
) -> None:
    """False is said only where none of the keys has a level, however crowded the place."""
    copy = PackedCopy()
    copy.merge(Record(key, 1, 60) for key in sorted(held)[:3])
    copy.merge(Record(key, 1, 2_000) for key in held)
    while swept and copy.sweep(61):
        pass
    assert all(copy.may_hold((key,)) for key in held)
    for keys in (tuple(asked), (*asked, *held)):
        if not copy.may_hold(keys):
            assert not any(copy.level_of(key) for key in keys)


def test_an_empty_copy_holds_nothing() -> None:
    """No key, whatever it is, takes a look."""
    copy = PackedCopy()
    assert not copy.may_hold(tuple(b"t" + secrets.token_bytes(16) for _ in range(100)))


def followed(url: str, *entries: Entry) -> tuple[Denylist, Replica]:
    """A new denylist of these entries, and a replica in step with it."""
    denylist = open_denylist(url)
    denylist.initialise(watermark=0)
    denylist.add(entries)
    denylist.mark_ready()
    replica = Replica(denylist, max_staleness=600)
    replica.step(block=0.01)
    denylist.heartbeat(0)
    replica.step(block=1)
    return denylist, replica


def in_memory() -> str:
    return f"memory://{secrets.token_hex(8)}"


def test_a_candidate_that_passed_is_looked_up_again_after_any_change(redis_url: str) -> None:
    """Nothing is asked while nothing changes; one more entry, and everything is."""
    denylist, replica = followed(redis_url)
    candidate = Candidate(Claims("A" * 22, "B" * 21 + "A"), "kid")
    replica.check_candidate(candidate)
    passed = candidate.passed_at
    denylist.heartbeat(0)
    replica.step(block=1)
    replica.check_candidate(candidate)
    assert candidate.passed_at == passed
    denylist.add([Entry.token("C" * 21 + "A", 4 << 30)])
    replica.step(block=1)
    replica.check_candidate(candidate)
    assert candidate.passed_at != passed
    denylist.add([Entry.session("B" * 21 + "A", 4 << 30)])
    replica.step(block=1)
    for _ in range(2):
        with pytest.raises(TokenRevoked):
            replica.check_candidate(candidate)
    denylist.close()


@pytest.mark.parametrize(
    "entry",
    [Entry.key("kid"), Entry.client("app", 2_000, 4 << 30), Entry.client("files", 2_000, 4 << 30)],
    ids=lambda entry: f"{entry.kind} {entry.value}",
)
def test_parties_that_passed_are_looked_up_again_after_any_change(entry: Entry) -> None:
    """Key, client and audiences of many tokens are looked up once, until something changes."""
    denylist, replica = followed(in_memory())
    for _ in range(2):
        replica.check(Claims(secrets.token_urlsafe(16), secrets.token_urlsafe(16)), "kid")
    replica.check(Claims("A" * 22, "B" * 22, client_id="other", aud=("other",)), "other")
    denylist.add([entry])
    replica.step(block=1)
    for _ in range(2):
        with pytest.raises(TokenRevoked) as refused:
            replica.check(Claims(secrets.token_urlsafe(16), secrets.token_urlsafe(16)), "kid")
        assert refused.value.kind is entry.kind
        replica.check(Claims("A" * 22, "B" * 22, client_id="other", aud=("other",)), "other")


def test_the_parties_that_passed_are_kept_in_bounds() -> None:
    """Clients by the thousand take no memory for good."""
    _, replica = followed(in_memory())
    for number in range(3_000):
        replica.check(Claims("A" * 22, "B" * 22, client_id=f"app {number}"), "kid")
    assert len(replica._parties_passed_at) <= 1_024


def test_a_candidate_that_one_replica_let_pass_is_looked_up_by_another() -> None:
    """Two copies may have taken in the same number of changes, and not the same."""
    candidate = Candidate(Claims("A" * 22, "B" * 21 + "A"), "kid")
    for entry in (
        Entry.token("C" * 21 + "A", 4 << 30),
        Entry.session("B" * 21 + "A", 4 << 30),
    ):
        _, replica = followed(in_memory(), entry)
        if entry.kind is Kind.TOKEN:
            replica.check_candidate(candidate)
        else:
            with pytest.raises(TokenRevoked):
                replica.check_candidate(candidate)
