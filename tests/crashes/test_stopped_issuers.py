"""An issuer stands still between reading and signing for longer than a token lives."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness.altered_issuer import go_file, shifted_clock, write_shift
from harness.crash_operations import PASSWORD, Reply, Scene, add_account, succeeded
from harness.crash_world import CrashWorld, LiveIssuer
from harness.postgres_server import PostgresServer
from harness.processes import until

from gateway import Verifier
from issuer.crash_points import CrashPoint
from tokens import Expired

LONG = 1000.0
"""Seconds: past the lifetime of a token, and of any entry against it."""
_MakeWorld = Callable[..., AbstractContextManager[CrashWorld]]


@dataclass
class Pair:
    """Two issuers of one deployment, and one time for both and for the gateway."""

    stopped: LiveIssuer
    other: CrashWorld
    shift: Path
    answers: list[Reply] = field(default_factory=list)

    @property
    def gateway(self) -> Verifier:
        return self.other.gateway

    def scene(self) -> Scene:
        """A person with one session, who asks the issuer that will stand still."""
        scene = Scene(self.stopped, add_account(self.other.database_url), "demo")
        scene.grants["first"] = scene.login().granted()
        self.gateway.verify(scene.access())
        return scene

    def overtake(self, ask: Callable[[], Reply], end: Callable[[], object]) -> str:
        """Have an answer's signing overtaken by what ends it; the late access token."""
        self.stopped.arm(CrashPoint.GRANT_MINTING, "serve")
        asking = threading.Thread(target=lambda: self.answers.append(ask()))
        asking.start()
        issuer = self.stopped.running()
        for _ in until(20, "an issuer that stands still"):
            if is_stopped(issuer.pid):
                break
        end()
        self.other.settle()
        write_shift(self.shift, LONG)
        self._forget()
        go_file(self.stopped.fuse("serve")).touch()
        issuer.signal(signal.SIGCONT)
        asking.join(30)
        return str(self.answers[-1].granted()["access_token"])

    def _forget(self) -> None:
        """Wait until the gateway has let go of every entry that has expired."""
        replica = self.gateway.replica
        for _ in until(20, "a replica without entries"):
            if len(replica) == 0:
                return


def is_stopped(pid: int) -> bool:
    """Whether a process has been stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def make_pair(
    make_world: _MakeWorld, tmp_path: Path, postgres_server: PostgresServer
) -> Iterator[Callable[..., Pair]]:
    """Makes two issuers, of which the first can be stopped.

    On PostgreSQL: whoever is stopped in the midst of a write to SQLite stops all of its writers.
    """
    with ExitStack() as stack:
        url = postgres_server.create_database()
        stack.callback(postgres_server.drop_database, url)

        def make(*mutants: str) -> Pair:
            shift = tmp_path / "shift"
            write_shift(shift, 0.0)
            clock = f"clock={shift}"
            other = stack.enter_context(make_world(alterations=[clock], database_url=url))
            # What the gateway drops, it drops by its own time too.
            follow(other.gateway, shift)
            stopped = stack.enter_context(
                other.beside(alterations=[clock, *mutants], signalled="stop-at")
            )
            return Pair(stopped, other, shift)

        yield make


def follow(gateway: Verifier, shift: Path) -> None:
    """Let a gateway live in the shifted time."""
    clock = shifted_clock(shift)
    gateway.replica._following._wall_clock = clock
    gateway._clock = gateway._tokens._clock = clock


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    """Two issuers as they should be."""
    return make_pair()


def logs_out(pair: Pair, scene: Scene) -> Callable[[], object]:
    """Another issuer logs the session out."""
    return lambda: succeeded(pair.other.ask("POST", "/logout", {"refresh_token": scene.token()}))


def changes_password(pair: Pair, scene: Scene) -> Callable[[], object]:
    """Another issuer sets another password."""
    body = {"current_password": PASSWORD, "new_password": "an unlikely brass kettle 4417"}
    token = scene.access()
    return lambda: succeeded(
        pair.other.ask("POST", "/password", {**body, "transport": "body"}, token=token)
    )


Ends = Callable[[Pair, Scene], Callable[[], object]]


@pytest.mark.parametrize("end", [logs_out, changes_password])
def test_a_refresh_that_stood_still_mints_nothing_of_use(pair: Pair, end: Ends) -> None:
    """No gateway takes what it signs, long after the entry against it is gone; nor a refresh."""
    scene = pair.scene()
    ask = lambda: scene.stage.ask("POST", "/refresh", {"refresh_token": scene.token()})  # noqa: E731
    late = pair.overtake(ask, end(pair, scene))
    with pytest.raises(Expired):
        pair.gateway.verify(late)
    token = {"refresh_token": pair.answers[-1].body["refresh_token"]}
    assert pair.other.ask("POST", "/refresh", token).status == 400
    assert pair.stopped.ask("POST", "/refresh", token).status == 400


def test_a_login_that_stood_still_mints_nothing_of_use(pair: Pair) -> None:
    """The same for a login that a change of the password overtakes."""
    scene = pair.scene()
    late = pair.overtake(scene.login, changes_password(pair, scene))
    with pytest.raises(Expired):
        pair.gateway.verify(late)
    token = {"refresh_token": pair.answers[-1].body["refresh_token"]}
    assert pair.other.ask("POST", "/refresh", token).status == 400


def test_time_taken_at_signing_is_found(make_pair: Callable[..., Pair]) -> None:
    """Mutant: stamped with the moment of its signing, the token of an ended session is good."""
    pair = make_pair("late-time")
    scene = pair.scene()
    late = pair.overtake(
        lambda: scene.stage.ask("POST", "/refresh", {"refresh_token": scene.token()}),
        logs_out(pair, scene),
    )
    assert pair.gateway.verify(late).sid == scene.sid()
