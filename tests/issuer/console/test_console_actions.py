"""What administrators do on the pages is done at once, to nobody else, and told in the log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from harness import stacks
from harness.console_client import ConsoleClient
from harness.issuer_app import IssuerApp

from issuer.accounts import BadCredentials
from issuer.audit import EventKind, Outcome
from issuer.audit.search import Wanted, search
from issuer.console import queries
from issuer.console.settings import CLIENT_ID
from issuer.limits.errors import TooManyRequests
from issuer.limits.guard import Guard
from issuer.sessions.bearer import refused_by_denylist
from revocation import Kind

OTHER_PASSWORD = "fourteen copper ladders"


@stacks.anywhere
def test_one_session_ends_and_the_others_go_on(console: ConsoleClient) -> None:
    """At once: no refresh, and its entry is in the denylist when the page is answered."""
    issuer = console.issuer
    one, other = issuer.grant(), issuer.grant()
    sid = issuer.opened(one["refresh_token"]).sid
    path = f"/people/{issuer.account.id}"
    answer = console.send(f"{path}/sessions/{sid}/end")
    assert answer.status_code == 303
    assert "The session has ended" in console.page(f"{path}?did=ended")
    assert issuer.refresh(one["refresh_token"]).status_code == 400
    assert issuer.sessions(one["access_token"]).status_code == 401
    assert issuer.refresh(other["refresh_token"]).status_code == 200
    gone = console.send(f"{path}/sessions/{'x' * 22}/end")
    assert gone.headers["Location"].endswith("did=gone")
    assert console.send("/people/nobody/sessions/x/end").status_code == 404


@stacks.anywhere
def test_all_sessions_of_a_person_end(console: ConsoleClient) -> None:
    """And nobody else's."""
    issuer = console.issuer
    bob = issuer.services.accounts.add("bob", OTHER_PASSWORD)
    theirs = [issuer.grant(username="bob", password=OTHER_PASSWORD) for _ in range(2)]
    mine = issuer.grant()
    answer = console.send(f"/people/{bob.id}/end-all")
    assert answer.headers["Location"].endswith("did=all-ended")
    for grant in theirs:
        assert issuer.refresh(grant["refresh_token"]).status_code == 400
        assert issuer.sessions(grant["access_token"]).status_code == 401
    assert issuer.refresh(mine["refresh_token"]).status_code == 200
    assert console.get().status_code == 200


@stacks.anywhere
def test_an_account_that_is_kept_out_is_let_in_again(console: ConsoleClient) -> None:
    """What strangers guessed is forgotten; what failed in one place only with its address."""
    issuer = console.issuer
    issuer.services.accounts.add("bob", OTHER_PASSWORD)
    sub = issuer.services.accounts.by_username("bob").id  # type: ignore[union-attr]
    path, guard = f"/people/{sub}", issuer.services.limits.passwords
    assert "Nothing keeps strangers" in console.page(path)
    for _ in range(5):
        fail(guard, "bob", "198.51.100.9")
    for network in range(20):
        fail(guard, "bob", f"203.0.{network}.1")
    assert "kept out" in console.page(path)
    assert console.send(f"{path}/let-in").headers["Location"].endswith("did=let-in")
    assert "Nothing keeps strangers" in console.page(path)
    with guard.attempt("bob", "203.0.99.1"):
        pass
    assert turned_away(guard, "bob", "198.51.100.9")
    console.send(f"{path}/let-in", address="198.51.100.9")
    assert not turned_away(guard, "bob", "198.51.100.9")
    wrong = console.send(f"{path}/let-in", address="nowhere")
    assert wrong.headers["Location"].endswith("did=no-address")
    assert told(issuer, EventKind.LIMIT_LIFTED) == [(sub, {"of": "account"})] * 2


@stacks.anywhere
def test_an_address_that_is_kept_out_is_let_in_again(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Also out of the block that was the response to an alarm."""
    stuffing = {"respond": ["block"]}
    issuer = make_issuer(console={"enabled": True}, anomalies={"stuffing": stuffing})
    console, guard = ConsoleClient(issuer).signed_in(), issuer.services.limits.passwords
    guard.block_network("203.0.113.9")
    assert turned_away(guard, "anybody", "203.0.113.77")
    done = console.send("/let-in", address="203.0.113.77")
    assert done.headers["Location"].endswith("did=address-let-in")
    assert not turned_away(guard, "anybody", "203.0.113.77")
    wrong = console.send("/let-in", address="somewhere")
    assert wrong.headers["Location"].endswith("did=no-address")
    assert told(issuer, EventKind.LIMIT_LIFTED) == [(None, {"of": "address"})]


@stacks.both_databases
def test_everybodys_sessions_with_a_client_end(console: ConsoleClient) -> None:
    """ASVS 7.4.5: at once, and nobody logs in there until the client is enabled again."""
    issuer = console.issuer
    grant = issuer.grant()
    issuer.services.audit.flush()
    assert "1 session as the audit log tells" in console.page("/clients")
    claims, kid = issuer.services.verifier.verify_with_key(grant["access_token"])
    done = console.send("/clients/end", client="demo")
    # Gateways hear of it, not the issuer's database alone.
    assert refused_by_denylist(issuer.services, claims, kid) is Kind.CLIENT
    assert [sub for sub, _ in told(issuer, EventKind.SESSION_ENDED)] == [claims.sub]
    assert done.headers["Location"].endswith("did=client-ended")
    assert issuer.refresh(grant["refresh_token"]).status_code in {400, 401}
    assert issuer.sessions(grant["access_token"]).status_code == 401
    assert issuer.login().status_code in {400, 401}
    assert "disabled" in console.page("/clients")
    console.send("/clients/enable", client="demo")
    issuer.clock.advance(issuer.services.settings.issuer_skew + 1)
    assert issuer.login().status_code == 200
    assert issuer.refresh(grant["refresh_token"]).status_code in {400, 401}
    assert console.send("/clients/end", client="nobody").status_code == 404
    assert told(issuer, EventKind.CLIENT_DISABLED) == [(None, {})]


@stacks.anywhere
def test_what_happens_here_is_in_the_log(console: ConsoleClient) -> None:
    """Who signed in, was refused, searched, and ended what: with the administrator as actor."""
    issuer = console.issuer
    actor = f"console:{issuer.account.id}"
    bob = issuer.services.accounts.add("bob", OTHER_PASSWORD)
    one = issuer.grant(username="bob", password=OTHER_PASSWORD)
    sid = issuer.opened(one["refresh_token"]).sid
    ConsoleClient(issuer).sign_in(password="wrong")
    ConsoleClient(issuer).sign_in("bob", "fourteen copper ladders")
    console.send(f"/people/{bob.id}/sessions/{sid}/end")
    console.send(f"/people/{bob.id}/end-all")
    console.get("/audit?address=192.0.2.1")
    console.get(f"/people/{bob.id}")
    console.send("/sign-out")
    issuer.services.audit.flush()
    told = [each.event for each in search(issuer.services.engine, Wanted(), limit=200)]
    mine = [each for each in told if each.client_id == CLIENT_ID or each.actor == actor]

    def tells(kind: EventKind, **fields: object) -> bool:
        return any(
            each.kind is kind
            and all(getattr(each, name) == value for name, value in fields.items())
            for each in mine
        )

    assert tells(EventKind.LOGIN, outcome=Outcome.SUCCESS, sub=issuer.account.id)
    assert tells(EventKind.SESSION_STARTED, sub=issuer.account.id)
    assert tells(EventKind.LOGIN, why="wrong_password", sub=issuer.account.id)
    assert tells(EventKind.LOGIN, why="no_role", sub=bob.id)
    assert tells(EventKind.SESSION_ENDED, sid=sid, sub=bob.id, actor=actor, why="operator")
    for field in ("address", "person"):
        assert tells(EventKind.AUDIT_READ, actor=actor, details={"by": [field]})
    assert tells(EventKind.SESSION_ENDED, sub=issuer.account.id, why="logout", actor=actor)
    assert [each for each in mine if each.sub == bob.id and "ends_below" in each.details]
    assert "192.0.2.1" not in "".join(each.to_json() for each in told)
    live = queries.live_sessions(issuer.services.engine, issuer.clock())
    assert live.sessions == 0


def fail(guard: Guard, username: str, address: str) -> None:
    """One wrong password."""
    with suppress(BadCredentials, TooManyRequests), guard.attempt(username, address):
        raise BadCredentials("wrong_password")


def turned_away(guard: Guard, username: str, address: str) -> bool:
    """Whether a right password is not even looked at."""
    try:
        with guard.attempt(username, address):
            return False
    except TooManyRequests:
        return True


def told(issuer: IssuerApp, kind: EventKind) -> list[tuple[str | None, object]]:
    """Whom events of a kind are about, and their details; all by the administrator."""
    issuer.services.audit.flush()
    found = [each.event for each in search(issuer.services.engine, Wanted(kinds=(kind,)), limit=9)]
    assert {event.actor for event in found} == {f"console:{issuer.account.id}"}
    return [(event.sub, dict(event.details)) for event in found]
