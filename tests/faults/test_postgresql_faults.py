"""PostgreSQL dies or has no room for connections: 503, all or nothing, and gateways go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from harness.altered_issuer import trusting_any_primary
from harness.fault_deployment import Deployment
from harness.fault_scenario import NEW_PASSWORD, PASSWORD
from harness.fault_watch import CameBack, Watch
from harness.gatepass_command import Gatepass
from harness.postgres_server import PostgresServer
from harness.processes import until
from harness.redis_copies import FileCopy

from revocation import redis_denylist


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL to kill."""
    with PostgresServer() as running:
        yield running


@pytest.fixture(scope="module")
def make(
    server: PostgresServer, gatepass: Gatepass, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Deployment]:
    """Makes deployments, altered ones too; their role may be denied connections."""
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE app LOGIN PASSWORD '{server.password}'")

    def made(*alterations: str) -> Deployment:
        url = server.create_database()
        with server.connect() as connection:
            connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} OWNER TO app")
        directory = tmp_path_factory.mktemp("fleet") / "fleet"
        return Deployment(gatepass, url.replace("gatepass:", "app:"), directory, *alterations)

    return made


@pytest.fixture(scope="module")
def deployment(make: Callable[..., Deployment]) -> Iterator[Deployment]:
    """One for all faults that mend by themselves."""
    with make() as running:
        yield running


@pytest.fixture(autouse=True)
def _mended(server: PostgresServer) -> Iterator[None]:
    """However a test ends, the next one finds a database with room."""
    yield
    if not server.process.running:
        server.start()
    with server.connect() as connection:
        connection.execute("ALTER ROLE app CONNECTION LIMIT -1")


def kill_within_transactions(deployment: Deployment, server: PostgresServer) -> None:
    """The database dies while a password change and a logout are under way."""
    scenario = deployment.scenario()
    changing, leaving = scenario.log_in("change"), scenario.log_in("leave")
    first, second = scenario.fleet.issuers
    name = scenario.fleet.database_url.rpartition("/")[2]
    with Watch(scenario) as watch, ThreadPoolExecutor() as pool:
        with closing(server.connect(name)) as lock:
            lock.execute("BEGIN")
            lock.execute("LOCK TABLE journal IN EXCLUSIVE MODE")
            # The account is written already, its journal row waits: the transaction is open.
            for _ in range(3):
                under_way = [
                    pool.submit(first.change_password, changing.access, PASSWORD, NEW_PASSWORD),
                    pool.submit(scenario.end, leaving, at=1),
                ]
                if both_wait(server, name):
                    break
                # One came too late, and the other has waited for long enough.
                for future in under_way:
                    assert future.result().status == 503
            else:
                pytest.fail("the two never waited for the journal together")
            server.kill()
        for future in under_way:
            answer = future.result()
            assert (answer.status, answer.retry_after) == (503, "1"), answer
        watch.gateways_go_on()
        server.start()
        watch.recovers()
        assert second.login(changing.username, NEW_PASSWORD).status == 400
        assert second.login(changing.username, PASSWORD).status == 200
        for session in (changing, leaving):
            scenario.take(session, first.refresh(session.refresh).granted())
        first.change_password(changing.access, PASSWORD, NEW_PASSWORD).granted()
        scenario.end(leaving).granted()
        watch.passes()


def both_wait(server: PostgresServer, name: str) -> bool:
    """Whether two transactions come to wait for the journal before the first is given up."""
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'journal'::regclass AND NOT granted"
    with server.connect(name) as looking, suppress(TimeoutError):
        for _ in until(4, "both to wait for the journal"):
            if looking.execute(waiting).fetchone() == (2,):
                return True
    return False


def test_a_database_killed_within_transactions_did_all_or_nothing(
    deployment: Deployment, server: PostgresServer
) -> None:
    """What was under way is 503 and was not done; a retry does it."""
    kill_within_transactions(deployment, server)


def test_a_killed_database_shows_who_goes_on_without_it(
    make: Callable[..., Deployment], server: PostgresServer
) -> None:
    """Issuers that end a session whose row was not written are found out: half of it is done."""
    with make("deaf-journal") as altered, pytest.raises(AssertionError, match="has been ended"):
        kill_within_transactions(altered, server)


def exhaust(deployment: Deployment, server: PostgresServer) -> None:
    """No connection is to be had, and then there is room again, under a scenario."""
    scenario = deployment.scenario()
    session = scenario.log_in("full")
    with Watch(scenario) as watch:
        with server.connect() as connection:
            connection.execute("ALTER ROLE app CONNECTION LIMIT 0")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
            )
            for at, issuer in enumerate(scenario.fleet.issuers):
                for answer in (
                    issuer.refresh(session.refresh),
                    issuer.login(session.username, PASSWORD),
                    issuer.ask_introspection(session.access),
                    scenario.end(session, at=at),
                ):
                    assert (answer.status, answer.retry_after) == (503, "1"), answer
            watch.gateways_go_on()
            connection.execute("ALTER ROLE app CONNECTION LIMIT -1")
        watch.recovers()
        scenario.end(session).granted()
        watch.passes()


def test_without_a_connection_to_be_had_issuers_say_so(
    deployment: Deployment, server: PostgresServer
) -> None:
    """Every request is 503 in bounded time, and everything goes on once there is room."""
    exhaust(deployment, server)


def test_exhausted_connections_show_who_falls_silent_with_the_database(
    make: Callable[..., Deployment], server: PostgresServer
) -> None:
    """Issuers whose heartbeats end with the database are found out: gateways close."""
    with make("no-lone-beat") as altered, pytest.raises(AssertionError, match="not now"):
        exhaust(altered, server)


def lose_both(deployment: Deployment, server: PostgresServer) -> None:
    """Redis goes back while the database is away and an issuer knows of nothing."""
    scenario = deployment.scenario()
    first, second = scenario.fleet.issuers
    session, other = (scenario.log_in("both", at=1) for _ in range(2))
    copy = FileCopy(deployment.store)
    copy.take()
    with Watch(scenario) as watch:
        first.process.pause()
        scenario.end(session, at=1).granted()
        scenario.revoke_access(other, at=1).granted()
        second.process.kill()
        server.kill()
        copy.put_back()
        first.process.resume()
        watch.add_gateway("fresh gateway")
        # Nobody can tell what was lost: for as long as the database is away, nothing is taken.
        watch.dwells()
        server.start()
        second.process.start()
        second.wait_ready()
        watch.passes()


def test_a_redis_that_went_back_while_the_database_is_away_is_not_believed(
    deployment: Deployment, server: PostgresServer
) -> None:
    """The issuer's own memory is no proof: another primary must be filled before it counts."""
    lose_both(deployment, server)


def test_a_restarted_redis_shows_what_the_primary_is_for(
    make: Callable[..., Deployment], server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issuers and gateways that ignore the replication id are found out."""
    trusting = trusting_any_primary(redis_denylist.load_script)
    monkeypatch.setattr(redis_denylist, "load_script", trusting)
    with make("no-primary") as altered, pytest.raises(CameBack, match="took what"):
        lose_both(altered, server)
