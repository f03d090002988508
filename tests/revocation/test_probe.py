"""A token's record keys, made in one go: the same as each entry's own."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from revocation import Candidate, Kind, Probe
from revocation.copy import MemoryCopy
from revocation.entry import Record, record_key


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


ids = st.one_of(
    st.text("ABgwxyz019-_+/", min_size=22, max_size=22),
    st.text("ABgw-_=!é", min_size=20, max_size=24),
    st.text(max_size=24),
)


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


def test_a_candidate_keeps_its_probe_for_as_long_as_the_salt_is_the_same() -> None:
    """Another epoch's salt makes other keys, and going back makes the first again."""
    claims = Claims("A" * 22, "B" * 22)
    candidate = Candidate(claims, "kid")
    first = candidate.probe_for(b"one")
    assert candidate.probe_for(b"one") is first == Probe.of(claims, "kid", b"one")
    assert candidate.probe_for(b"two") == Probe.of(claims, "kid", b"two") != first
    assert candidate.probe_for(b"one") == first


@given(
    st.sets(st.binary(min_size=17, max_size=17), max_size=5),
    st.sets(st.binary(min_size=17, max_size=17)),
)
def test_what_a_copy_may_hold_is_never_missed(held: set[bytes], asked: set[bytes]) -> None:
    """False is said only where none of the keys has a level."""
    copy = MemoryCopy()
    copy.merge(Record(key, 1, 2_000) for key in held)
    for keys in (tuple(asked), tuple(held), (*asked, *held)):
        if not copy.holds_any(keys):
            assert not any(copy.level_of(key) for key in keys)
