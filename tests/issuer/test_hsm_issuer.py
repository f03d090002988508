"""An issuer whose signing keys lie in a PKCS#11 token: commands, workers, and a token that goes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import stacks
from harness.gatepass_command import Completed, Gatepass
from harness.issuer_app import IssuerApp, migrated_sqlite
from harness.issuer_process import IssuerFleet, IssuerProcess
from harness.processes import short_directory, until
from harness.redis_server import RedisServer
from harness.soft_hsm import PIN, SoftHsm

from issuer.restoring import replace_ring, take_out_revoked
from issuer.settings import SettingsError
from keys import is_held
from keys.pkcs11_token import Pkcs11Token
from tokens.compact import parse_header

USERNAME = "hsm@example.org"
PASSWORD = "four copper lanterns hum 58"
COMING_BACK = 20.0
"""Seconds, far more than the issuer's cool-down after a token's failure."""


@pytest.fixture(scope="module")
def hsm() -> Iterator[SoftHsm]:
    """One SoftHSM token for this module's issuers."""
    directory = short_directory("gp-hsm-")
    made = SoftHsm(directory / "hsm")
    with made.seen_here():
        yield made
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def gatepass() -> Iterator[Gatepass]:
    """Runs `gatepass` commands quickly."""
    with Gatepass() as command:
        yield command


@pytest.fixture(scope="module")
def fleet(hsm: SoftHsm, redis_server: RedisServer) -> Iterator[IssuerFleet]:
    """`gatepass serve` with two workers on the token."""
    redis_server.reset()
    directory = short_directory("gp-hsm-issuer-")
    database = migrated_sqlite(directory / "issuer.db")
    settings = {**hsm.variables, "GATEPASS_HSM_LABEL": "served"}
    url = f"sqlite:///{database}"
    with IssuerFleet(
        url, redis_server.unix_url, directory / "state", size=1, settings=settings
    ) as fleet:
        fleet.add_account(USERNAME, PASSWORD)
        yield fleet
    shutil.rmtree(directory)


@pytest.fixture
def served(fleet: IssuerFleet) -> IssuerProcess:
    """The one issuer, both of its workers signing whatever the last test did."""
    wait_signing(fleet.issuers[0])
    return fleet.issuers[0]


def wait_signing(issuer: IssuerProcess) -> None:
    """Wait until eight logins at once succeed: a worker reads a changed ring within 5 seconds."""
    with ThreadPoolExecutor(8) as pool:
        for _ in until(COMING_BACK, "both workers signing", pause=0.1):
            answers = list(pool.map(lambda _: issuer.login(USERNAME, PASSWORD), range(8)))
            assert {answer.status for answer in answers} <= {200, 503}
            if {answer.status for answer in answers} == {200}:
                return


@pytest.fixture
def run(fleet: IssuerFleet, gatepass: Gatepass) -> Callable[..., Completed]:
    """Runs commands with the served issuer's settings."""
    environment = {
        name: value
        for name, value in fleet.issuers[0].process.env.items()
        if name.startswith(("GATEPASS_", "SOFTHSM"))
    }
    return lambda *arguments: gatepass(*arguments, env=environment)


def kid_of(token: str) -> str:
    """The key that an access token names."""
    kid = parse_header(token.split(".", maxsplit=1)[0].encode())["kid"]
    assert isinstance(kid, str)
    return kid


def active(run: Callable[..., Completed]) -> str:
    """The key that signs, by `keys list`, which says that it lies in the token."""
    (key,) = [
        key
        for key in run("keys", "list", "--json").done().json["keys"]
        if (key["alg"], key["state"]) == ("ES256", "active")
    ]
    assert key["private"] == "token"
    kid: str = key["kid"]
    return kid


def test_both_workers_sign_in_the_token(
    served: IssuerProcess, fleet: IssuerFleet, run: Callable[..., Completed]
) -> None:
    """Two forks with several threads each sign at once, and gateways take every token."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.login(USERNAME, PASSWORD), range(40)))
    tokens = [answer.granted()["access_token"] for answer in answers]
    assert {kid_of(token) for token in tokens} == {active(run)}
    with fleet.verifier() as verifier:
        assert {verifier.verify(token).iss for token in tokens} == {fleet.url}


def test_a_token_that_is_gone_is_503_until_it_is_back(served: IssuerProcess, hsm: SoftHsm) -> None:
    """Never 500: what signs nothing goes on, nobody is logged out, and nobody restarts anything."""
    refresh = served.login(USERNAME, PASSWORD).granted()["refresh_token"]
    access = served.refresh(refresh).granted()["access_token"]
    hsm.take_away()
    try:
        for _ in range(6):  # whichever worker it is
            for answer in (served.login(USERNAME, PASSWORD), served.refresh(refresh)):
                assert (answer.status, answer.retry_after) == (503, "1"), answer
                assert answer.body["error"] == "temporarily_unavailable"
        ready = served.ask("/readyz")
        assert (ready.status, ready.body["checks"]["keys"]) == (503, "failing")
        assert ready.retry_after == "1"
        assert served.ask("/.well-known/jwks.json").granted()["keys"]
        assert served.sessions(access).granted()["sessions"]
    finally:
        hsm.put_back()
    statuses: Counter[int] = Counter()
    for _ in until(COMING_BACK, "signing again", pause=0.1):
        statuses[(last := served.refresh(refresh)).status] += 1
        if last.status == 200 and served.ask("/readyz").status == 200:
            break
    assert set(statuses) <= {200, 503}
    wait_signing(served)
    logged = served.process.stderr()
    assert "is it connected" in logged
    assert "unexpected_error" not in logged
    assert PIN not in logged


def test_rotation_and_revocation_by_command(
    served: IssuerProcess, hsm: SoftHsm, run: Callable[..., Completed]
) -> None:
    """A successor is made in the token; a revoked key is destroyed, and its successor signs."""
    first = active(run)
    before = hsm.objects()
    changed = run("keys", "rotate", "--early", "--json").done().json["changed"]
    assert list(changed.values()) == ["pending"]
    assert hsm.objects() == before + 1
    assert run("keys", "orphans", "--json").done().json == {"orphans": [], "destroyed": False}
    run("keys", "revoke", first).done()
    assert hsm.objects() == before
    second = active(run)
    assert second in changed
    for _ in until(COMING_BACK, "the successor signing", pause=0.1):
        answer = served.login(USERNAME, PASSWORD)
        if answer.status == 200 and kid_of(answer.body["access_token"]) == second:
            break
    exported = run("keys", "export", "--json").done().json["keys"]
    assert [key["kid"] for key in exported] == [second]


def test_an_orphan_is_listed_and_destroyed(hsm: SoftHsm, run: Callable[..., Completed]) -> None:
    """What a process left that died between making a key and writing the ring."""
    kept = active(run)
    token = Pkcs11Token(hsm.module, hsm.settings["hsm_token"], PIN, "served")
    orphan = token.generate("ES256", 0).kid
    assert run("keys", "orphans", "--json").done().json["orphans"] == [orphan]
    assert run("keys", "orphans", "--destroy").done().out == f"{orphan}\n"
    assert token.kids() == {kept}
    events = run("audit", "search", "--event", "operated", "--json").done().json["events"]
    assert [event["why"] for event in events].count("keys_orphans_destroy") == 1


def test_the_pin_is_on_no_command_line(
    served: IssuerProcess, run: Callable[..., Completed]
) -> None:
    """Nor in what the commands print."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert PIN.encode() not in path.read_bytes()
        except OSError:
            continue
    for command in (("config", "check"), ("keys", "list")):
        done = run(*command, "--json").done()
        assert PIN not in done.out + done.err


def test_a_command_says_that_the_token_is_gone(hsm: SoftHsm, run: Callable[..., Completed]) -> None:
    """One line and the exit code of a store that may come back."""
    hsm.take_away()
    try:
        told = run("keys", "rotate", "--early").refused(4)
        assert "is it connected" in told
        assert run("keys", "list").done().out
    finally:
        hsm.put_back()


@pytest.mark.parametrize("missing", ["hsm_module", "hsm_token", "hsm_pin"])
@stacks.anywhere
def test_half_of_the_settings_is_refused(
    make_issuer: Callable[..., IssuerApp], hsm: SoftHsm, missing: str
) -> None:
    """All three or none; the PIN is not told."""
    given = {name: value for name, value in hsm.settings.items() if name != missing}
    with pytest.raises(SettingsError, match="GATEPASS_HSM_MODULE") as refused:
        make_issuer(**given)
    assert PIN not in str(refused.value)


@stacks.both_databases
def test_a_ring_in_sql_may_refer_to_the_token(
    make_issuer: Callable[..., IssuerApp], hsm: SoftHsm
) -> None:
    """And a restore makes its new keys in there too."""
    options: dict[str, Any] = {**hsm.settings, "key_store": "database", "hsm_label": "sql"}
    issuer = make_issuer(**options)
    assert PIN not in repr(issuer.services.settings)
    first = issuer.services.signing_key()
    assert is_held(first)
    assert issuer.sessions(issuer.grant()["access_token"]).status_code == 200
    with issuer.services.engine.begin() as connection:
        replace_ring(connection, issuer.services.settings, int(issuer.clock()))
    renewed = issuer.services.key_store.load().active("ES256")
    assert is_held(renewed)
    assert renewed.kid != first.kid
    take_out_revoked(issuer.services.engine, issuer.services.settings, int(issuer.clock()))
    assert issuer.services.key_store.load().active("ES256").kid == renewed.kid
    issuer.services.keys.tick()
    assert kid_of(issuer.grant()["access_token"]) == renewed.kid
