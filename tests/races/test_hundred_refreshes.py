"""A hundred processes refresh one token at one moment, through two issuers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.gated_clients import GatedClients
from harness.issuer_process import IssuerFleet
from harness.redis_server import RedisServer

CLIENTS = 100
ROUNDS = 5
USERNAME = "alice"
PASSWORD = "seven violet otters juggle 91"


def let_reuse_interval_pass(server: RedisServer) -> None:
    """Make every family look as it will in ten seconds, for a server that runs on real time."""
    client = server.client()
    for key in client.scan_iter("gatepass:*:family:*"):
        for field in ("started", "handed"):
            client.hincrby(key, field, -10_000)


def test_a_hundred_processes_get_one_successor(
    make_fleet: Callable[..., IssuerFleet], private_redis: RedisServer, tmp_path: Path
) -> None:
    """Each round gives all the next generation of one session, and nobody is logged out."""
    fleet = make_fleet()
    account = fleet.add_account(USERNAME, PASSWORD)
    first = fleet.issuers[0].login(USERNAME, PASSWORD).granted()
    started = fleet.opened(first["refresh_token"])
    held = [first["refresh_token"]] * CLIENTS
    with fleet.verifier() as verifier, GatedClients(CLIENTS, tmp_path) as clients:
        for generation in range(2, 2 + ROUNDS):
            let_reuse_interval_pass(private_redis)
            ports = [fleet.issuers[number % 2].port for number in range(CLIENTS)]
            answers = clients.round(list(zip(ports, held, strict=True)))
            assert {answer["status"] for answer in answers} == {200}
            # From here on each client presents the copy that it was given itself.
            held = [answer["body"]["refresh_token"] for answer in answers]
            assert len(set(held)) == CLIENTS  # the IV is random: the same claims, never the bytes
            successors = {fleet.opened(token) for token in held}
            assert {(made.sid, made.gen, made.exp) for made in successors} == {
                (started.sid, generation, started.exp)
            }
            for answer in answers:
                claims = verifier.verify(answer["body"]["access_token"])
                assert (claims.sub, claims.sid) == (account.id, started.sid)
    for issuer, answer in zip(fleet.issuers, answers, strict=False):
        listed = issuer.sessions(answer["body"]["access_token"]).granted()["sessions"]
        assert [session["sid"] for session in listed] == [started.sid]


def test_a_hundred_processes_with_parent_and_child_stay_together(
    make_fleet: Callable[..., IssuerFleet], private_redis: RedisServer, tmp_path: Path
) -> None:
    """Half the processes missed the last answer: parent and child presented at once both live."""
    fleet = make_fleet()
    fleet.add_account(USERNAME, PASSWORD)
    parent = fleet.issuers[0].login(USERNAME, PASSWORD).granted()["refresh_token"]
    ports = [fleet.issuers[number % 2].port for number in range(CLIENTS)]
    with GatedClients(CLIENTS, tmp_path) as clients:
        let_reuse_interval_pass(private_redis)
        child = fleet.issuers[1].refresh(parent).granted()["refresh_token"]
        # Within the reuse interval: twelve tabs, of which some have the answer and some do not.
        held = [parent if number % 4 < 2 else child for number in range(CLIENTS)]
        answers = clients.round(list(zip(ports, held, strict=True)))
        assert {answer["status"] for answer in answers} == {200}
        made = {fleet.opened(answer["body"]["refresh_token"]) for answer in answers}
        assert made == {fleet.opened(child)}
