"""A Redis that is down or slow is not waited for by everybody: its circuit opens."""

from __future__ import annotations

import contextlib
import gc
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis
from harness.denylists import in_threads
from harness.issuer_app import IssuerApp, migrated_sqlite
from harness.limits import OFF
from harness.processes import until
from harness.redis_cluster import RedisCluster
from harness.redis_server import RedisServer
from harness.slow_proxy import SlowProxy
from hypothesis import given, settings
from hypothesis import strategies as st

from issuer.families import FamilyStore, FamilyUnavailable, RotationRules, open_families
from revocation import DenylistUnavailable, Entry, open_denylist, redis_circuit
from revocation.redis_circuit import FAILURES, PAUSE, PROBE, SLOW, Circuit, CircuitOpen, Circuits
from revocation.redis_client import Link, connect

THREADS = 8
REQUESTS = 50


class HandClock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ask(circuit: Circuit, clock: HandClock, how: str) -> str:
    """One question, and what became of it: 'asked' or 'open'."""
    took = SLOW if "slow" in how else 0.01
    try:
        with contextlib.suppress(redis.RedisError), circuit.asking(patient="patient" in how):
            clock.now += took
            if how == "refused":
                raise redis.ResponseError("OOM")
            if "failed" in how:
                raise redis.TimeoutError
    except CircuitOpen:
        return "open"
    return "asked"


SICK = ("failed", "slow", "patient failed")
WELL = ("answered", "refused", "patient answered")
NEITHER = ("patient slow",)


# --- by hand -------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> HandClock:
    """A clock moved by hand."""
    return HandClock()


@pytest.fixture
def circuit(clock: HandClock) -> Circuit:
    """A closed circuit on that clock."""
    return Circuit(clock)


@pytest.mark.parametrize("how", SICK)
def test_it_opens_after_three_failures_in_a_row(
    circuit: Circuit, clock: HandClock, how: str
) -> None:
    """A late answer is one, and so is the failure of a call that waits by its nature."""
    asked = [ask(circuit, clock, how) for _ in range(FAILURES + 1)]
    assert asked == ["asked"] * FAILURES + ["open"]


@pytest.mark.parametrize("how", WELL)
def test_an_answer_between_keeps_it_closed(circuit: Circuit, clock: HandClock, how: str) -> None:
    """Only failures in a row count; a refusal is an answer."""
    for _ in range(5):
        for _ in range(FAILURES - 1):
            assert ask(circuit, clock, "failed") == "asked"
        assert ask(circuit, clock, how) == "asked"


def test_a_patient_call_that_took_long_says_nothing(circuit: Circuit, clock: HandClock) -> None:
    """It neither opens a circuit nor hides that the calls around it were slow."""
    assert {ask(circuit, clock, "patient slow") for _ in range(10)} == {"asked"}
    for _ in range(FAILURES):
        ask(circuit, clock, "slow")
        ask(circuit, clock, "patient slow")
    assert ask(circuit, clock, "answered") == "open"


def opened(circuit: Circuit, clock: HandClock) -> None:
    """Open it and come to the moment at which the next call is a probe."""
    for _ in range(FAILURES):
        ask(circuit, clock, "failed")
    clock.now += PAUSE * 1.5


def test_one_probe_at_a_time_and_its_answer_closes_it(circuit: Circuit, clock: HandClock) -> None:
    """While one call finds out, the others fail at once; then all are let through."""
    opened(circuit, clock)
    with circuit.asking():
        assert ask(circuit, clock, "answered") == "open"
    assert ask(circuit, clock, "answered") == "asked"


def test_a_probe_that_fails_keeps_it_open(circuit: Circuit, clock: HandClock) -> None:
    """One failure is enough once it was open, until the next pause is over."""
    opened(circuit, clock)
    assert ask(circuit, clock, "failed") == "asked"
    assert ask(circuit, clock, "answered") == "open"
    clock.now += PAUSE * 1.5
    assert ask(circuit, clock, "answered") == "asked"


def test_a_probe_whose_thread_vanishes_is_followed_by_another(
    circuit: Circuit, clock: HandClock
) -> None:
    """A call that never comes back does not keep the circuit open for ever."""
    opened(circuit, clock)
    lost = circuit.asking()
    lost.__enter__()
    assert ask(circuit, clock, "answered") == "open"
    clock.now += PROBE
    assert ask(circuit, clock, "answered") == "asked"


def test_many_threads_get_one_probe(clock: HandClock) -> None:
    """However many come in one moment, one of them asks."""
    circuit = Circuit(clock)
    opened(circuit, clock)
    entered: list[int] = []

    def come(number: int) -> bool:
        try:
            circuit._enter()
        except CircuitOpen:
            return False
        entered.append(number)
        return True

    assert sum(in_threads(20, come)) == 1
    assert len(entered) == 1


# --- whatever happens ----------------------------------------------------------------------------

EVENTS = st.lists(st.sampled_from([*SICK, *WELL, *NEITHER, "wait"]), max_size=40)


def hold_to_the_rules(make: Callable[[HandClock], Circuit], events: Sequence[str]) -> None:
    """Open from the third failure in a row, tried again within a pause and a half, else closed."""
    clock = HandClock()
    circuit = make(clock)
    failures, touched = 0, clock.now
    for event in events:
        if event == "wait":
            clock.now += PAUSE * 0.8
            continue
        since = clock.now - touched
        became = ask(circuit, clock, event)
        if failures < FAILURES or since >= PAUSE * 1.5:
            assert became == "asked"
        elif since < PAUSE * 0.5:
            assert became == "open"
        if became == "asked":
            touched = clock.now
            failures = 0 if event in WELL else failures + (event in SICK)


@given(EVENTS)
@settings(max_examples=150, deadline=None)
def test_any_history_keeps_to_the_rules(events: list[str]) -> None:
    """Over all that may happen to calls one after the other."""
    hold_to_the_rules(Circuit, events)


class _NeverOpens(Circuit):
    def _enter(self) -> None:
        pass


class _NeverProbes(Circuit):
    def _enter(self) -> None:
        if self._failures >= FAILURES:
            raise CircuitOpen


class _ForgivesSlowness(Circuit):
    def _note(self, *, answered: bool, slow: bool, patient: bool) -> None:
        super()._note(answered=answered, slow=False, patient=patient)


class _TrustsThePatient(Circuit):
    def _note(self, *, answered: bool, slow: bool, patient: bool) -> None:
        super()._note(answered=answered, slow=slow and not patient, patient=patient)


@pytest.mark.parametrize(
    "mutant", [_NeverOpens, _NeverProbes, _ForgivesSlowness, _TrustsThePatient]
)
def test_the_rules_catch_a_mutant(mutant: type[Circuit]) -> None:
    """Each way of getting it wrong breaks them in some short history."""

    @given(EVENTS)
    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    def search(events: list[str]) -> None:
        hold_to_the_rules(mutant, events)

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        search()


# --- shared --------------------------------------------------------------------------------------


def test_an_address_has_one_circuit_and_is_forgotten_with_its_last_user() -> None:
    """Families and denylist learn from each other; no password stays behind after a reload."""
    url = "redis://:secret@127.0.0.1:1/0"
    first = Circuits.shared(url)
    assert Circuits.shared(url) is first
    assert Circuits.shared("redis://127.0.0.1:2/0") is not first
    assert url in Circuits._shared
    del first
    gc.collect()
    assert url not in Circuits._shared


def test_the_nodes_of_a_cluster_are_not_remembered_without_bound() -> None:
    """Nodes that come and go under ever new names leave no more than a hundred circuits."""
    circuits = Circuits()
    for number in range(1000):
        circuits._by_node[str(number)] = Circuit()
        circuits.of(None, "key")
        assert len(circuits._by_node) <= 102


# --- real servers --------------------------------------------------------------------------------


@contextlib.contextmanager
def issuer_on(url: str, directory: Path) -> Iterator[IssuerApp]:
    """An issuer in this process on a Redis, and a database of its own."""
    database = migrated_sqlite(directory / "issuer.db")
    # One session is refreshed as often as anybody can.
    with IssuerApp.build(f"sqlite:///{database}", url, directory, limits=OFF) as issuer:
        yield issuer


def calls(server: RedisServer) -> int:
    """How many scripts have reached the server."""
    told = server.client().info("commandstats")
    return sum(told[name]["calls"] for name in told if name.startswith("cmdstat_evalsha"))


def test_requests_do_not_pile_up_on_a_frozen_redis(
    private_redis: RedisServer, tmp_path: Path
) -> None:
    """Few of many requests ask it; all get 503 and Retry-After; what needs no Redis goes on."""
    with issuer_on(private_redis.tcp_url, tmp_path) as issuer:
        token = issuer.grant()["refresh_token"]
        before = calls(private_redis)
        private_redis.pause()

        def refuse(number: int) -> set[tuple[int, bool]]:
            if number == THREADS:  # beside them
                paths = ["/healthz", "/.well-known/jwks.json", "/readyz"] * 5
                return {(issuer.ask("GET", path).status_code, path == "/readyz") for path in paths}
            found = [issuer.refresh(token) for _ in range(REQUESTS)]
            return {(answer.status_code, "Retry-After" in answer.headers) for answer in found}

        *sick, beside = in_threads(THREADS + 1, refuse)
        assert sick == [{(503, True)}] * THREADS
        assert beside == {(200, False), (503, True)}
        private_redis.resume()
        for _ in until(30, "the issuer to heal by itself"):
            if issuer.refresh(token).status_code == 200:
                break
        assert calls(private_redis) - before < THREADS * REQUESTS / 4
        assert issuer.ask("GET", "/readyz").status_code == 200


def test_a_slow_redis_opens_the_circuit_too(
    private_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that come, but take longer than anybody should wait for, end in 503 as well.

    What is slow is far from what is given up, and the pause is long, whatever the machine does.
    """
    assert private_redis.port is not None
    with (
        SlowProxy(private_redis.port) as proxy,
        issuer_on(url := f"redis://127.0.0.1:{proxy.port}/0", tmp_path) as issuer,
    ):
        token = issuer.grant()["refresh_token"]
        monkeypatch.setattr(redis_circuit, "SLOW", 0.2)
        monkeypatch.setattr(redis_circuit, "PAUSE", 60.0)
        proxy.delay = 0.3
        slow = in_threads(FAILURES, lambda _: issuer.refresh(token).status_code)
        assert set(slow) == {200}
        before = calls(private_redis)
        assert issuer.refresh(token).status_code == 503
        assert calls(private_redis) == before
        proxy.delay = 0.0
        monkeypatch.undo()
        for circuit in Circuits.shared(url)._by_node.values():
            circuit._retry_at = 0.0
        for _ in until(30, "the issuer to heal by itself"):
            if issuer.refresh(token).status_code == 200:
                break


def outcome(families: FamilyStore, sub: str) -> str:
    """What a look at one person's session says."""
    try:
        families.get(sub, "A" * 22)
    except FamilyUnavailable as error:
        return str(error)
    return "answered"


def heal(families: FamilyStore, subjects: Sequence[str]) -> None:
    """Wait until every subject can be asked for again."""
    for sub in subjects:
        for _ in until(30, "an answer"):
            if outcome(families, sub) == "answered":
                break


def test_a_cluster_fails_fast_where_it_is_sick_and_nowhere_else() -> None:
    """A frozen node costs its own people an answer; a frozen Cluster costs nobody more than one."""
    subjects = [f"person-{number}" for number in range(12)]
    with (
        RedisCluster() as cluster,
        contextlib.closing(open_families(cluster.url, RotationRules())) as families,
    ):
        cluster.masters[0].pause()
        first = in_threads(len(subjects), lambda number: outcome(families, subjects[number]))
        well = {sub for sub, said in zip(subjects, first, strict=True) if said == "answered"}
        assert 0 < len(well) < len(subjects)
        again = [sub for sub in subjects if outcome(families, sub) == "answered"]
        assert set(again) == well
        cluster.masters[0].resume()
        heal(families, subjects)
        for node in cluster.masters:
            node.pause()
        # redis-py by itself would read the layout in each thread, one after the other: a minute
        # and more for twelve, with three nodes silent.
        spared: set[str] = set()
        for _ in until(30, "every circuit to open"):
            said = in_threads(len(subjects), lambda number: outcome(families, subjects[number]))
            spared |= {sub for sub, text in zip(subjects, said, strict=True) if "not asked" in text}
            if spared == set(subjects):
                break
        for node in cluster.masters:
            node.resume()
        heal(families, subjects)


def test_silent_sentinels_are_asked_once() -> None:
    """One call asks each of them once: nobody repeats a round that has taken its time."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        hosts = ",".join(f"127.0.0.1:{listener.getsockname()[1]}" for listener in silent)
        families = open_families(f"redis+sentinel://{hosts}/service", RotationRules())
        stack.callback(families.close)
        said = outcome(families, "ann")
        assert "MasterNotFoundError" in said
        assert "127.0.0.1" not in said
        assert [questions(listener) for listener in silent] == [1, 1, 1]


def questions(listener: socket.socket) -> int:
    """How many connections have been made to somebody who accepts none."""
    listener.setblocking(False)
    found = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            found += 1
    return found


def test_what_timed_out_is_not_asked_again(private_redis: RedisServer) -> None:
    """One question to a frozen server is one command, also once it wakes."""
    denylist = open_denylist(private_redis.tcp_url)
    with contextlib.closing(denylist):
        denylist.initialise(watermark=0)
        denylist.mark_ready()
        before = calls(private_redis)
        private_redis.pause()
        with pytest.raises(DenylistUnavailable, match="TimeoutError"):
            denylist.add([Entry.key("k")])
        private_redis.resume()
        assert calls(private_redis) <= before + 1


@pytest.mark.parametrize(
    ("make_sick", "told"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "OutOfMemoryError"),
        (("REPLICAOF", "127.0.0.1", "1"), "ReadOnlyError"),
        (("ACL", "SETUSER", "default", "resetkeys"), "NoPermissionError"),
    ],
)
def test_a_refusal_is_told_by_its_kind_and_opens_nothing(
    private_redis: RedisServer, make_sick: tuple[str, ...], told: str
) -> None:
    """Full, demoted or forbidden: each call is told so, without an address, as often as it asks."""
    denylist = open_denylist(private_redis.tcp_url)
    with contextlib.closing(denylist):
        denylist.initialise(watermark=0)
        denylist.mark_ready()
        private_redis.client().execute_command(*make_sick)
        for _ in range(FAILURES + 1):
            with pytest.raises(DenylistUnavailable, match=told) as refusal:
                denylist.add([Entry.key("k")])
            assert "127.0.0.1" not in str(refusal.value)


def test_a_demoted_master_is_let_go_of(private_redis: RedisServer) -> None:
    """The address may lead to another server by now, so no connection to this one is kept."""
    client = connect(private_redis.tcp_url)
    link = Link(client, DenylistUnavailable, None)
    with contextlib.closing(client):
        client.set("key", "value")
        private_redis.client().replicaof("127.0.0.1", "1")
        pid = client.client_id()
        with pytest.raises(DenylistUnavailable, match="ReadOnlyError"), link.use("key"):
            client.set("key", "value")
        assert client.client_id() != pid
