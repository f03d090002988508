"""Whatever happens on the way, a replica keeps its promises; and this would notice a breach.

The oracle is a plain list of what was acknowledged when. Hypothesis drives the real code, and so
do random walks, always the same ones. Each mutant breaks one line of the real code, in Lua or in
Python, and must be caught by the walks.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
import redis
from harness.denylists import (
    BUCKET,
    FAR_BUCKET,
    KID,
    FaultyDenylist,
    HandClock,
    Model,
    Token,
    contents,
    held_by,
    merged,
)
from harness.processes import short_directory
from harness.redis_server import RedisServer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from revocation import (
    NEVER,
    Candidate,
    Denylist,
    DenylistLost,
    DenylistUnavailable,
    Entry,
    FeedItem,
    Follower,
    Kind,
    Position,
    Probe,
    Record,
    Replica,
    RevocationError,
    StalePolicy,
    TokenRevoked,
    redis_denylist,
)
from revocation.entry import record_key, unpack
from revocation.memory_denylist import MemoryDenylist
from revocation.packed_copy import PackedCopy
from revocation.packed_table import PackedTable
from revocation.redis_client import load_script
from revocation.redis_denylist import RedisDenylist

Mutant = type[Follower] | type[PackedCopy] | type[PackedTable]

MAX_STALENESS = 5.0
EXAMPLES = 30
STEPS = 60

_numbers = itertools.count()

KINDS = list(Kind)
NAMES = ["ann", "ann", "bob"]
LIFETIMES = [1, 60, 90, 300, 700, None]
WAITS = [0, 0.25, 1, 2, 3, 20, 61]
BATCHES = [1, 2, 3, None]
FAULTS = ["none"] * 8 + ["lost", "lost", "swapped", "repeated", "down", "torn"]
HARMS = ["nothing", "trim", "trim all", "lose", "lose the journal too"]

entries = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from(NAMES),
        st.integers(1, 4),
        st.sampled_from(LIFETIMES),
    ),
    min_size=1,
    max_size=3,
)


class World(Protocol):
    """A denylist and what may befall it."""

    walks: int
    """As many for the real code as for a mutant, so that no mutant is caught by a false alarm."""

    def open(self, clock: HandClock) -> Denylist:
        """An empty one."""

    def trim(self, left: int) -> None:
        """Its feed loses all but the last `left` items."""

    def lose(self) -> None:
        """It loses everything."""

    def end(self, expires: int) -> int:
        """When it lets a record of that expiry go."""


class MemoryWorld:
    walks = 100

    def open(self, clock: HandClock) -> Denylist:
        self._denylist = MemoryDenylist(clock=clock)
        return self._denylist

    def trim(self, left: int) -> None:
        feed = self._denylist._feed
        while len(feed) > left:
            feed.popleft()

    def lose(self) -> None:
        self._denylist._state = None
        self._denylist._records.clear()
        self._denylist._feed.clear()

    def end(self, expires: int) -> int:
        return expires


class RedisWorld:
    walks = 40

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def open(self, clock: HandClock) -> Denylist:
        self.lose()
        self._clock = clock
        return RedisDenylist(self._client, clock=clock)

    def trim(self, left: int) -> None:
        self._client.xtrim("gatepass:{denylist}:feed", left, approximate=False)

    def lose(self) -> None:
        self._client.flushall()

    def end(self, expires: int) -> int:
        if expires == NEVER:
            return expires
        bucket = FAR_BUCKET if expires - self._clock.now > 600 else BUCKET
        return -(-expires // bucket) * bucket


def token_hit_by(kind: Kind, name: str, level: int) -> tuple[Token, str]:
    """A token and its kid that an entry of that name and level refuses, and nothing else does."""
    clean = {"sub_ver": 9, "iat": 9}
    match kind:
        case Kind.TOKEN:
            return Token(jti=name, **clean), KID
        case Kind.SESSION:
            return Token(sid=name, **clean), KID
        case Kind.SUBJECT:
            return Token(sub=name, sub_ver=level - 1, iat=9), KID
        case Kind.KEY:
            return Token(**clean), name
        case Kind.CLIENT:
            return Token(client_id=name, sub_ver=9, iat=level), KID
        case Kind.EPOCH:
            return Token(sub_ver=9, iat=level), KID


@dataclass
class Acknowledged:
    """An entry and when its `add` returned."""

    entry: Entry
    at: float
    known: bool = field(default=False)
    """Whether the replica has been seen to hold it."""


class Following(RuleBasedStateMachine):
    """One issuer, one denylist, one replica on a bad line."""

    world: ClassVar[World]
    mutant: ClassVar[Mutant | None] = None
    directory: ClassVar[Path | None] = None
    """Where its copy is kept, in a file that whoever follows takes over from the one before."""

    @initialize()
    def begin(self) -> None:
        self.clock = HandClock()
        self.denylist = self.world.open(self.clock)
        self.line = FaultyDenylist(self.denylist)
        self.replica = Replica(
            self.line,
            max_staleness=MAX_STALENESS,
            clock=self.clock,
            wall_clock=self.clock,
            policy=StalePolicy.OPEN,
            shared=self.directory and self.directory / f"replica-{next(_numbers)}",
        )
        self.candidates: dict[Any, Candidate] = {}
        if self.directory is None:
            self.plant(self.replica._follower, self.replica._copy)
        else:
            self.take_over()
        self.acknowledged: list[Acknowledged] = []
        self.salts: list[bytes] = []
        self.model = Model(self.world.end)
        self.refill([])

    def refill(self, journal: list[Entry]) -> None:
        """What an issuer does with a new epoch: all that is in its journal, then ready."""
        state = self.denylist.initialise(watermark=0)
        self.salts.append(state.salt)
        self.denylist.add(journal)
        self.stored = list(journal)
        self.denylist.mark_ready(state.position.epoch)

    def plant(self, follower: Any, copy: Any) -> None:
        """Put the mutant in the place of what it breaks."""
        if self.mutant is not None:
            parts = [follower, copy, copy._table]
            (part,) = (one for one in parts if issubclass(self.mutant, type(one)))
            part.__class__ = self.mutant

    @precondition(lambda self: self.directory)
    @rule()
    def take_over(self) -> None:
        """Who followed is gone; somebody else goes on with what is in the file."""
        leader = self.replica._follower
        copy = PackedCopy(leader._file, held=leader._file.open(write=True))
        leader._follower = leader._follow(copy)
        self.plant(leader._follower, copy)

    # --- the issuer --------------------------------------------------------------------------

    @rule(batches=st.lists(entries, min_size=1, max_size=3))
    def add(self, batches: list[list[tuple[Kind, str, int, int]]]) -> None:
        for batch in batches:
            made = [
                Entry(kind, name, level, NEVER if lifetime is None else self.clock.after(lifetime))
                for kind, name, level, lifetime in batch
            ]
            self.denylist.add(made)
            self.acknowledged += [Acknowledged(entry, self.clock.now) for entry in made]
            self.stored += made
            self.model.add(made)

    @precondition(lambda self: self.stored)
    @rule(picks=st.lists(st.integers(0, 1_000), min_size=1, max_size=5))
    def add_again(self, picks: list[int]) -> None:
        before = self.denylist.state().position
        self.denylist.add([self.stored[pick % len(self.stored)] for pick in picks])
        assert self.denylist.state().position == before

    # --- time and trouble --------------------------------------------------------------------

    @rule(beats=st.integers(0, 2), seconds=st.sampled_from(WAITS))
    def go_on(self, beats: int, seconds: float) -> None:
        for _ in range(beats):
            self.denylist.heartbeat(0)
        self.clock.advance(seconds)
        self.acknowledged = [ack for ack in self.acknowledged if self.in_force(ack.entry)]

    @rule(what=st.sampled_from(HARMS))
    def harm(self, what: str) -> None:
        """The feed loses its oldest items, or the store loses everything."""
        if what.startswith("trim"):
            self.world.trim(0 if what == "trim all" else 1)
        elif what.startswith("lose") and len(self.salts) < 4:
            self.world.lose()
            with pytest.raises(DenylistLost):
                self.denylist.state()
            if what == "lose":
                self.refill([ack.entry for ack in self.acknowledged])
            else:
                # What nobody can bring back can still be asked of a replica that knew it.
                self.acknowledged = [ack for ack in self.acknowledged if ack.known]
                self.refill([])

    # --- the replica -------------------------------------------------------------------------

    @rule(batch=st.sampled_from(BATCHES), fault=st.sampled_from(FAULTS))
    def step(self, batch: int | None, fault: str) -> None:
        faults: dict[str, Callable[[list[FeedItem]], list[FeedItem]]] = {
            "lost": lambda items: items[1:],
            "swapped": lambda items: items[::-1],
            "repeated": lambda items: [items[0], *items],
        }
        self.line.batch = batch
        self.line.disturb = faults.get(fault)
        self.line.down = fault == "down"
        self.line.snapshot_ends_after = 1 if fault == "torn" else None
        try:
            self.replica.step(block=0)
        except DenylistUnavailable:
            assert fault in ("down", "torn")
        except RevocationError as error:
            raise AssertionError(f"a step that nothing disturbed: {error!r}") from error
        finally:
            self.line.batch = self.line.disturb = self.line.snapshot_ends_after = None
            self.line.down = False

    @rule()
    def catch_up(self) -> None:
        """On a good line three steps and a heartbeat bring it in step, with all that is held."""
        for _ in range(3):
            self.replica.step(block=0)
        self.denylist.heartbeat(0)
        self.replica.step(block=0)
        assert self.replica.staleness() <= MAX_STALENESS
        held = held_by(self.replica)
        for key, (level, expires) in contents(self.denylist).items():
            if expires > self.clock.now:
                known = held.get(key, (-1, -1))
                assert known[0] >= level, (key, known, level, expires)
                assert known[1] >= expires, (key, known, level, expires)

    # --- what holds at any moment ------------------------------------------------------------

    def refuses(self, entry: Entry) -> bool:
        token, kid = token_hit_by(entry.kind, entry.value, entry.level)
        name = (entry.kind, entry.value, entry.level)
        again = self.candidates.setdefault(name, Candidate(token, kid))
        verdicts = [self.refuses_candidate(one) for one in (Candidate(token, kid), again)]
        assert verdicts[0] == verdicts[1], "checked before, and so not looked up again"
        return verdicts[0]

    def refuses_candidate(self, candidate: Candidate) -> bool:
        try:
            self.replica.check_candidate(candidate, StalePolicy.OPEN)
        except TokenRevoked:
            return True
        except RevocationError:
            return False
        return False

    def knows(self, entry: Entry) -> bool:
        """Whether the copy holds the entry; a shorter one of that name refuses just the same."""
        if entry.kind is Kind.EPOCH:
            return self.replica._copy.watermark >= entry.level
        for salt in self.salts:
            key = record_key(entry.kind, entry.value, salt)
            level, expires = held_by(self.replica).get(key, (-1, -1))
            if level >= entry.level and expires >= entry.expires:
                return True
        return False

    @invariant()
    def what_was_acknowledged_before_its_age_is_known(self) -> None:
        """The claim that staleness makes, taken by its word."""
        horizon = self.clock.now - self.replica.staleness()
        for ack in self.acknowledged:
            if ack.at <= horizon:
                assert self.refuses(ack.entry), (ack, self.replica.staleness())

    @invariant()
    def what_it_once_refused_it_refuses(self) -> None:
        """Nothing known is forgotten before its time, however the store changes."""
        for ack in self.acknowledged:
            knows = self.knows(ack.entry)
            assert knows or not ack.known, ack
            assert self.refuses(ack.entry) or not knows, ack
            ack.known = knows

    def in_force(self, entry: Entry) -> bool:
        return entry.kind is Kind.EPOCH or entry.expires > self.clock.now

    @invariant()
    def nothing_is_made_up(self) -> None:
        """No level and no expiry is higher than somebody asked for."""
        allowed = merged(
            Record(key, level, expires)
            for salt in self.salts
            for key, (level, expires) in self.model.contents(salt).items()
        )
        for key, (level, expires) in held_by(self.replica).items():
            most = allowed[key]
            assert level <= most[0]
            assert expires == NEVER or expires < most[1] + 60
        assert self.replica._copy.watermark <= self.model.watermark


# --- mutants -------------------------------------------------------------------------------------


class IgnoresGaps(Follower):
    """Takes whatever item comes next."""

    def _apply(self, items: list[FeedItem]) -> None:
        assert self._position is not None
        for item in items:
            records = list(unpack(item.records))
            self._sink.merge(record for record in records if record.kind is not Kind.EPOCH)
            for record in records:
                if record.kind is Kind.EPOCH:
                    self._sink.raise_watermark(record.level)
            self._position = Position(self._position.epoch, item.seq, item.chain)


class IgnoresHistory(Follower):
    """Looks at numbers alone: a feed of another history passes for a continuation."""

    def _load(self) -> None:
        if self._fresh_at is None:
            super()._load()
        else:
            self._position = self._denylist.state().position


class CountsAnyHeartbeat(Follower):
    """Is fresh by a heartbeat that had lain in the feed."""

    def _note_heartbeats(self, items: list[FeedItem]) -> None:
        if any(item.is_heartbeat for item in items):
            self._vouch(self._clock())


class StartsFromNothing(Follower):
    """Drops its copy for a new snapshot."""

    def _load(self) -> None:
        self._sink.sweep(1 << 36)
        super()._load()


class SweepsEarly(Follower):
    """Lets entries go two minutes before their time."""

    def _sweep(self) -> None:
        self._sink.sweep(self._clock() + 120)


class TakesTheLastWord(PackedTable):
    """Overwrites instead of merging by maximum."""

    def _raise_to(self, at: int, level: int, end: int) -> bool:
        self._levels[at] = self._levels[at] >> 56 << 56 | level
        self._ends[at] = end
        return True


class IgnoresTheWatermark(PackedCopy):
    """Skips the epoch's watermark."""

    def raise_watermark(self, watermark: int) -> None:
        pass


class SaysThatNothingChanges(PackedTable):
    """What was looked up once is never looked up again."""

    def count_change(self) -> None:
        pass


class ForgetsOldSalts(PackedCopy):
    """Cannot find entries of an epoch that was lost."""

    def begin(self, salt: bytes) -> None:
        self.salt = salt


LUA_MUTANTS = {
    "skips the feed": ("add", "append(table.concat(changed))", "redis.call('PING')"),
    "announces the first record only": (
        "add",
        "append(table.concat(changed))",
        "append(changed[1])",
    ),
    "announces what it was given": (
        "add",
        "announce(key, level, bucket * WIDTH)",
        "announce(key, level, expires)",
    ),
    "announces everything": ("add", "if level > old_level or bucket > old_bucket then", "do"),
    "merges by level alone": (
        "add",
        "if level > old_level or bucket > old_bucket then",
        "if level > old_level then",
    ),
    "merges by expiry alone": (
        "add",
        "if level > old_level or bucket > old_bucket then",
        "if bucket > old_bucket then",
    ),
    "skips the watermark": ("add", "redis.call('HSET', meta, 'watermark'", "redis.call('ECHO'"),
    "does not announce the watermark": ("add", "      announce(key, level, expires)\n", ""),
    "rounds the expiry down": (
        "prelude",
        "math.ceil(expires / WIDTH)",
        "math.floor(expires / WIDTH) + (expires % WIDTH > 50 and 1 or 0)",
    ),
    "skips a number": (
        "prelude",
        "redis.call('HINCRBY', meta, 'seq', 1)",
        "redis.call('HINCRBY', meta, 'seq', 2)",
    ),
    "starts the hash anew": ("prelude", "redis.sha1hex(chain ..", "redis.sha1hex('' .."),
    "forgets the level of what now stays for good": (
        "add",
        "level = math.max(level, old_level)\n",
        "level = level\n",
    ),
}


@pytest.fixture(scope="module")
def quick_redis() -> Iterator[redis.Redis]:
    """A Redis that writes nothing to disk: thousands of steps, and no crash among them."""
    with RedisServer(config={"appendonly": "no"}) as server:
        yield server.client()


def machine(
    world: World, mutant: Mutant | None = None, directory: Path | None = None
) -> type[Following]:
    """The machine for a denylist and a replica."""

    class Run(Following):
        pass

    Run.world, Run.mutant, Run.directory = world, mutant, directory
    return Run


def walk(world: World, mutant: Mutant | None = None, directory: Path | None = None) -> None:
    """Take random walks through the machine, the same ones in every run.

    Fewer where the copy is a file: following is the same there, and slow.
    """
    for seed in range(world.walks if directory is None or mutant else world.walks // 4):
        choose = random.Random(seed)
        at = machine(world, mutant, directory)()
        at.begin()
        for _ in range(STEPS):
            match choose.choice(
                ["add", "add", "again", "go on", "step", "step", "catch up", "harm"]
            ):
                case "add":
                    at.add(
                        [[_entry(choose) for _ in range(choose.randint(1, 2))] for _ in range(2)]
                    )
                case "again" if at.stored:
                    at.add_again([choose.randrange(1_000) for _ in range(3)])
                case "go on":
                    at.go_on(choose.randint(0, 2), choose.choice(WAITS))
                case "step":
                    at.step(choose.choice(BATCHES), choose.choice(FAULTS))
                case "catch up":
                    at.catch_up()
                case "harm":
                    at.harm(choose.choice(HARMS))
            if directory and choose.random() < 0.1:
                at.take_over()
            at.what_was_acknowledged_before_its_age_is_known()
            at.what_it_once_refused_it_refuses()
            at.nothing_is_made_up()


def _entry(choose: random.Random) -> tuple[Kind, str, int, int | None]:
    kind, name, lifetime = (choose.choice(some) for some in (KINDS, NAMES, LIFETIMES))
    return kind, name, choose.randint(1, 3), lifetime


@pytest.fixture(params=["own memory", "shared"])
def place(request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """Where a replica's copy is: None for its own memory."""
    if request.param == "own memory":
        yield None
        return
    directory = short_directory("gp-machine-")
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("way", ["hypothesis", "walks"])
@pytest.mark.parametrize("where", ["redis", "memory"])
def test_a_replica_keeps_its_promises(
    quick_redis: redis.Redis, place: Path | None, where: str, way: str
) -> None:
    """Known in time, kept until its end, never made up: through loss, gaps and a bad line."""
    world = RedisWorld(quick_redis) if where == "redis" else MemoryWorld()
    if way == "walks":
        walk(world, directory=place)
        return
    run_state_machine_as_test(
        machine(world, directory=place),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize(
    "mutant",
    [
        IgnoresGaps,
        IgnoresHistory,
        TakesTheLastWord,
        IgnoresTheWatermark,
        StartsFromNothing,
        ForgetsOldSalts,
        SaysThatNothingChanges,
        CountsAnyHeartbeat,
        SweepsEarly,
    ],
)
def test_a_replica_that_breaks_a_promise_is_caught(mutant: Mutant) -> None:
    """The machine finds each of these replicas out."""
    with pytest.raises(AssertionError):
        walk(MemoryWorld(), mutant)


@pytest.mark.parametrize(
    "mutant", [TakesTheLastWord, IgnoresTheWatermark, SaysThatNothingChanges, ForgetsOldSalts]
)
@pytest.mark.parametrize("place", ["shared"], indirect=True)
def test_a_shared_copy_that_breaks_a_promise_is_caught(place: Path, mutant: Mutant) -> None:
    """So it does where the copy is a file."""
    with pytest.raises(AssertionError):
        walk(MemoryWorld(), mutant, place)


@pytest.mark.parametrize("name", LUA_MUTANTS)
def test_a_script_that_breaks_a_promise_is_caught(
    quick_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The machine finds each of these scripts out."""
    script, old, new = LUA_MUTANTS[name]

    text = load_script("revocation", script)
    assert text.count(old) == 1

    def mutated(package: str, wanted: str) -> str:
        return text.replace(old, new) if wanted == script else load_script(package, wanted)

    monkeypatch.setattr(redis_denylist, "load_script", mutated)
    with pytest.raises(AssertionError):
        walk(RedisWorld(quick_redis))


def test_the_oracle_s_tokens_are_hit_by_their_entry_alone() -> None:
    """Each kind's token has that kind's key and not the others'."""
    salt = b"salt"
    for kind in set(Kind) - {Kind.EPOCH}:
        token, kid = token_hit_by(kind, "ann", 1)
        keys: tuple[Any, ...] = Probe.of(token, kid, salt).keys
        assert [other for other in Kind if record_key(other, "ann", salt) in keys] == [kind]
