"""What another thread or process does between two steps of a check is never missed for good."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from harness.processes import short_directory

from revocation import (
    Candidate,
    Entry,
    Record,
    Replica,
    TokenRevoked,
    open_denylist,
    suspension_aware_clock,
)
from revocation.entry import to_record
from revocation.packed_copy import PackedCopy
from revocation.packed_table import PackedTable
from revocation.shared_reader import SharedReader
from revocation.table_storage import SharedFile

LATE = 1 << 33
SALT = bytes(range(32))
OWNER = "tests"


@dataclass(frozen=True)
class Claims:
    """A token's claims: each one another login."""

    jti: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    sid: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    sub: str = "somebody"
    sub_ver: int = 1
    client_id: str = "app"
    aud: tuple[str, ...] = ("orders",)
    iat: int = 1_000
    exp: int = 1 << 40


@dataclass
class Sharing:
    """One who writes a copy's file, and a replica that reads it."""

    writer: PackedCopy
    replica: Replica
    between: list[Callable[[], None]]
    """What happens in the midst of the next check."""

    def vouch(self) -> None:
        self.writer.vouch(suspension_aware_clock())

    @property
    def reader(self) -> SharedReader:
        copy = self.replica._copy
        assert isinstance(copy, SharedReader)
        return copy

    def refuses(self, claims: Claims) -> None:
        with pytest.raises(TokenRevoked):
            self.replica.check(claims, "kid")


@pytest.fixture
def sharing() -> Iterator[Sharing]:
    """Both in step, nothing revoked."""
    directory = short_directory("gp-between-")
    between: list[Callable[[], None]] = []

    def clock() -> float:
        now = suspension_aware_clock()
        if between:
            between.pop()()
        return now

    replica = Replica(
        open_denylist(f"memory://{secrets.token_hex(8)}"),
        shared=directory / "replica",
        owner=OWNER,
        max_staleness=600,
        clock=clock,
    )
    owner = hashlib.blake2b(OWNER.encode(), digest_size=16).digest()
    made = Sharing(PackedCopy(SharedFile(directory / "replica", owner)), replica, between)
    made.writer.begin(SALT)
    made.vouch()
    yield made
    shutil.rmtree(directory)


def test_a_watermark_that_comes_during_a_check_is_seen_by_the_next(sharing: Sharing) -> None:
    """The check in whose midst it comes may miss it, and may not remember that it passed."""
    candidate = Candidate(Claims(), "kid")
    sharing.between.append(lambda: sharing.writer.raise_watermark(2_000))
    sharing.replica.check_candidate(candidate)
    assert not sharing.between
    sharing.vouch()
    for _ in range(2):
        with pytest.raises(TokenRevoked):
            sharing.replica.check_candidate(candidate)


def test_what_passed_by_the_old_file_is_looked_up_in_the_new(sharing: Sharing) -> None:
    """A reader that slept while the table was made anew goes by no number of the old one.

    Else a token that was revoked meanwhile would pass as unchanged, by the age of the new file.
    """
    candidate, other = Candidate(Claims(), "kid"), Candidate(Claims(), "kid")
    for each in (other, candidate):
        sharing.replica.check_candidate(each)
    entry = Entry.session(candidate.claims.sid, LATE)
    many = [Entry.session(secrets.token_urlsafe(16), LATE) for _ in range(3000)]
    sharing.writer.merge([to_record(each, SALT) for each in (*many, entry)])
    sharing.vouch()
    with pytest.raises(TokenRevoked):
        sharing.replica.check_candidate(candidate)
    sharing.replica.check_candidate(other)


@pytest.mark.parametrize(
    "entry", [Entry.client("app", 2_000, LATE), Entry.subject("somebody", 2, LATE)]
)
def test_an_entry_that_comes_during_a_check_is_seen_by_the_next(
    sharing: Sharing, entry: Entry
) -> None:
    """So it is for entries, and for other tokens of the same client."""
    claims = Claims()
    sharing.between.append(lambda: sharing.writer.merge([to_record(entry, SALT)]))
    for _ in range(2):
        try:
            sharing.replica.check(claims, "kid")
        except TokenRevoked:
            break
    sharing.refuses(claims)
    sharing.refuses(Claims())


def test_a_slow_thread_puts_no_older_table_back(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has opened the file before it was replaced, and goes on in the midst of a check."""
    opened, resume = threading.Event(), threading.Event()
    open_file = sharing.reader._file.open_with_inode

    def slowly() -> tuple[PackedTable | None, object]:
        found = open_file()
        if threading.current_thread().name == "slow":
            opened.set()
            resume.wait(30)
        return found

    monkeypatch.setattr(sharing.reader._file, "open_with_inode", slowly)
    slow = threading.Thread(target=sharing.reader._open, name="slow")
    slow.start()
    assert opened.wait(30)
    # Another table takes the place of the one that it has opened.
    sharing.writer.merge(Record(b"t" + os.urandom(16), 1, LATE) for _ in range(3_000))
    sharing.writer.merge([to_record(Entry.client("app", 5_000, LATE), SALT)])
    sharing.vouch()
    look = SharedReader.may_hold_ids

    def in_the_midst(reader: SharedReader, ids: bytes) -> bool:
        resume.set()
        slow.join(30)
        return look(reader, ids)

    monkeypatch.setattr(SharedReader, "may_hold_ids", in_the_midst)
    # Where a check waits for it, it goes on by itself.
    timer = threading.Timer(0.3, resume.set)
    timer.start()
    claims = Claims()
    sharing.refuses(claims)
    slow.join(30)
    timer.join()
    sharing.refuses(claims)
    sharing.refuses(Claims())


def test_a_fork_leaves_no_lock_behind(sharing: Sharing) -> None:
    """A thread of the parent that held it is not in the child."""
    sharing.replica.check(Claims(), "kid")
    held = sharing.reader._lock
    with held:
        sharing.replica.go_on_after_fork()
        assert sharing.reader._lock is not held
