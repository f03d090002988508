"""Token Status Lists say of each token what a gateway would, and of an unknown one nothing good."""

from __future__ import annotations

import base64
import threading
import zlib
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from harness import stacks
from harness.issuer_app import (
    ACCESS_LIFETIME,
    ISSUER,
    IssuerApp,
    claims_of,
    default_clients,
    follow,
    granted,
)
from harness.processes import until

from issuer.journal import Reason
from issuer.status_lists import StatusLists, open_status_store, status_list, store
from issuer.status_lists.status_list import LIFETIME, MADE_FOR, TTL
from issuer.status_lists.store import KEPT, SIZE, SPAN, StatusRecord
from revocation import Entry
from tokens import TokenError


@pytest.fixture(params=["sqlite-memory", "sqlite-redis"])
def stack(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Both stores; no database takes part."""
    database, _, store_name = str(request.param).partition("-")
    return database, store_name


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """Its client `demo` asks for status lists, `kiosk` does not."""
    clients = default_clients()
    clients["demo"]["status_list"] = True
    made = make_issuer(clients=clients)
    follow(made)
    return made


@stacks.anywhere
def test_lists_are_made_under_a_slow_heartbeat(make_issuer: Callable[..., IssuerApp]) -> None:
    """Their replica's bound is two heartbeats where those are longer than the usual one."""
    clients = default_clients()
    clients["demo"]["status_list"] = True
    issuer = make_issuer(clients=clients, heartbeat_interval=60)
    follow(issuer)
    assert status_of(issuer, issuer.grant()["access_token"]) == 0


def place_of(access_token: str) -> tuple[str, int]:
    """The path of a token's list, and its place there."""
    found = claims_of(access_token)["status"]["status_list"]
    assert found["uri"].startswith(f"{ISSUER}/status/")
    return found["uri"].removeprefix(ISSUER), found["idx"]


def decoded(issuer: IssuerApp, path: str) -> dict[str, Any]:
    """The claims of a list, its signature verified by the issuer's JWKS; no code of ours."""
    answer = issuer.ask("GET", path)
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/statuslist+jwt"
    keys = jwt.PyJWKSet.from_dict(issuer.ask("GET", "/.well-known/jwks.json").json)
    header = jwt.get_unverified_header(answer.text)
    assert header["typ"] == "statuslist+jwt"
    # The issuer's time is not that of PyJWT.
    return jwt.decode(
        answer.text,
        keys[header["kid"]],
        ["ES256"],
        options={"verify_exp": False, "verify_iat": False},
    )


def status_of(issuer: IssuerApp, access_token: str) -> int:
    """What the list that a token names says of it: 0 valid, 1 invalid (section 7.1)."""
    issuer.clock.advance(MADE_FOR)
    follow(issuer)
    path, place = place_of(access_token)
    claims = decoded(issuer, path)
    assert claims["sub"] == ISSUER + path
    assert claims["status_list"]["bits"] == 1
    packed = claims["status_list"]["lst"]
    octets = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    return octets[place // 8] >> (place % 8) & 1


def by_logout(issuer: IssuerApp, grant: dict[str, Any]) -> None:
    granted(issuer.logout(grant["refresh_token"]))


def by_revocation(issuer: IssuerApp, grant: dict[str, Any]) -> None:
    granted(issuer.revoke(grant["access_token"]))


def by_password(issuer: IssuerApp, grant: dict[str, Any]) -> None:
    granted(issuer.change_password(grant["access_token"]))


def by_role(issuer: IssuerApp, grant: dict[str, Any]) -> None:
    services = issuer.services
    change = services.accounts.set_roles(
        issuer.account.id, ("staff",), expires=services.revoker.entry_expiry()
    )
    assert change is not None
    services.revoker.complete_id(change.journal_id)


def by_key(issuer: IssuerApp, grant: dict[str, Any]) -> None:
    kid = jwt.get_unverified_header(grant["access_token"])["kid"]
    issuer.services.revoker.revoke(Entry.key(kid), reason=Reason.KEY)


def by_client(issuer: IssuerApp, grant: dict[str, Any]) -> None:
    row = issuer.services.clients.disable(
        "demo",
        watermark=int(issuer.clock()),
        expires=issuer.services.revoker.entry_expiry(),
    )
    issuer.services.revoker.complete_id(row)


def by_epoch(issuer: IssuerApp, grant: dict[str, Any]) -> None:
    issuer.services.denylist.replace(int(issuer.clock()))
    issuer.services.denylist.mark_ready()


WAYS = [by_logout, by_revocation, by_password, by_role, by_key, by_client, by_epoch]


@pytest.mark.parametrize("revoke", WAYS, ids=lambda way: way.__name__)
def test_what_is_revoked_is_invalid(
    issuer: IssuerApp, revoke: Callable[[IssuerApp, dict[str, Any]], None]
) -> None:
    """A token is valid until it is revoked, by whatever kind of entry."""
    grant = issuer.grant()
    assert status_of(issuer, grant["access_token"]) == 0
    revoke(issuer, grant)
    if revoke is by_key:
        issuer.services.keys.tick()
    assert status_of(issuer, grant["access_token"]) == 1


def test_others_stay_valid(issuer: IssuerApp) -> None:
    """One token's revocation changes one place; the session's next token is valid."""
    first, second = issuer.grant(), issuer.grant()
    granted(issuer.revoke(first["access_token"]))
    renewed = granted(issuer.refresh(first["refresh_token"]))
    assert [status_of(issuer, grant["access_token"]) for grant in (first, second, renewed)] == [
        1,
        0,
        0,
    ]
    places = {place_of(grant["access_token"]) for grant in (first, second, renewed)}
    assert len(places) == 3


def test_a_place_without_a_token_is_invalid(issuer: IssuerApp) -> None:
    """Of a whole list only the places of live tokens are 0, and an expired one's is not."""
    tokens = [issuer.grant()["access_token"] for _ in range(3)]
    assert [status_of(issuer, token) for token in tokens] == [0, 0, 0]
    path, _ = place_of(tokens[0])
    packed = decoded(issuer, path)["status_list"]["lst"]
    octets = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    assert len(octets) == SIZE // 8
    assert sum(8 - octet.bit_count() for octet in octets) == 3
    issuer.clock.advance(ACCESS_LIFETIME)
    assert [status_of(issuer, token) for token in tokens] == [1, 1, 1]


def test_only_clients_that_ask_have_places(issuer: IssuerApp) -> None:
    """Another client's tokens carry no `status`, and cost no write."""
    assert "status" not in claims_of(issuer.grant(client_id="kiosk")["access_token"])


def test_a_token_with_a_place_is_an_access_token_like_any_other(issuer: IssuerApp) -> None:
    """The verifier takes it; the list itself passes for no token."""
    token = issuer.grant()["access_token"]
    claims = issuer.services.verifier.verify(token)
    assert claims.extra["status"]["status_list"]["idx"] == place_of(token)[1]
    with pytest.raises(TokenError):
        issuer.services.verifier.verify(issuer.ask("GET", place_of(token)[0]).text)


def test_how_long_it_may_be_kept(issuer: IssuerApp) -> None:
    """`ttl` and `exp` are short, the HTTP cache's age is `ttl`, and its tag saves a download."""
    path, _ = place_of(issuer.grant()["access_token"])
    claims = decoded(issuer, path)
    assert (claims["ttl"], claims["exp"] - claims["iat"]) == (TTL, LIFETIME)
    answer = issuer.ask("GET", path)
    assert answer.headers["Cache-Control"] == f"public, max-age={TTL}"
    again = issuer.ask("GET", path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("path", ["AAAAAAAAAAAAAAAAAAAAAA", "x", "%00", "a" * 5000])
def test_a_list_that_is_not_there_is_404(issuer: IssuerApp, path: str) -> None:
    """So a verifier has no list and, by section 8.3, no reason to trust the token."""
    issuer.grant()
    assert issuer.ask("GET", f"/status/{path}").status_code == 404


def test_without_a_replica_in_step_there_is_no_list(issuer: IssuerApp) -> None:
    """It says 503 rather than calling valid what it cannot know."""
    path, _ = place_of(issuer.grant()["access_token"])
    lists = issuer.services.status_lists
    assert lists is not None
    lists._replica._follower._distrust()
    answer = issuer.ask("GET", path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_lists_that_take_long_hold_two_threads_at_most(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks meanwhile gets the last copy, and one without any is told to come again."""
    path, _ = place_of(issuer.grant()["access_token"])
    lists = issuer.services.status_lists
    assert lists is not None
    first = issuer.ask("GET", path).text
    making, go_on, make = threading.Event(), threading.Event(), lists._make

    def slowly(list_id: str, now: int) -> str:
        making.set()
        assert go_on.wait(30)
        return make(list_id, now)

    monkeypatch.setattr(lists, "_make", slowly)
    issuer.clock.advance(MADE_FOR)
    list_id = path.removeprefix("/status/")
    threads = [threading.Thread(target=lists.token, args=[list_id]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in until(10, "both of them"):
        if making.is_set() and lists._places._value == 0:  # type: ignore[attr-defined]
            break
    assert issuer.ask("GET", path).text == first
    busy = issuer.ask("GET", "/status/AAAAAAAAAAAAAAAAAAAAAA")
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
    go_on.set()
    for thread in threads:
        thread.join()
    assert issuer.ask("GET", path).text != first


def test_nobody_has_a_list_where_no_client_asks(make_issuer: Callable[..., IssuerApp]) -> None:
    """The endpoint is 404, and no thread follows the denylist."""
    issuer = make_issuer()
    assert issuer.services.status_lists is None
    assert issuer.ask("GET", "/status/AAAAAAAAAAAAAAAAAAAAAA").status_code == 404


@stacks.on_redis
def test_records_that_were_lost_make_their_tokens_invalid(
    issuer: IssuerApp, redis_server: Any
) -> None:
    """A store that comes back without some of them calls none of those valid."""
    kept, lost = issuer.grant(), issuer.grant()
    path, place = place_of(lost["access_token"])
    name = f"gatepass:{{status}}:{path.removeprefix('/status/')}"
    assert redis_server.client().hdel(name, place) == 1
    assert [status_of(issuer, grant["access_token"]) for grant in (kept, lost)] == [0, 1]
    redis_server.client().delete(name)
    issuer.clock.advance(MADE_FOR)
    assert issuer.ask("GET", path).status_code == 404
    # The name is not used again: its lost places would be given to others.
    assert place_of(issuer.grant()["access_token"])[0] != path


@stacks.on_redis
def test_a_list_that_calls_what_it_does_not_know_valid_is_found_out(
    issuer: IssuerApp, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant begins with zeros: a lost record's token then passes."""

    class Zeros(bytearray):
        def __new__(cls, octets: bytes) -> bytearray:  # type: ignore[misc]
            return bytearray(len(octets))

    monkeypatch.setattr(status_list, "bytearray", Zeros, raising=False)
    issuer.grant()
    with pytest.raises(AssertionError):
        test_records_that_were_lost_make_their_tokens_invalid(issuer, redis_server)


RECORD = StatusRecord(
    jti="j", sid="s", sub="u", sub_ver=1, client_id="c", aud=("a",), iat=0, exp=300, kid="k"
)


def test_places_are_given_once(store_url: str) -> None:
    """Threads that ask at once get different ones."""
    places = open_status_store(store_url)
    found: list[tuple[str, int]] = []

    def ask() -> None:
        found.extend(places.assign(RECORD, 0) for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 400
    assert len({list_id for list_id, _ in found}) == 1
    assert places.read(found[0][0], 0).keys() == {place for _, place in found}
    places.close()


def test_a_list_takes_in_tokens_for_a_while(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time, or when it is half full, the next one begins; the old one stays readable."""
    places = open_status_store(store_url)
    first, _ = places.assign(RECORD, 0)
    assert places.assign(RECORD, SPAN - 1)[0] == first
    second, _ = places.assign(RECORD, SPAN)
    assert second != first
    assert len(places.read(first, SPAN)) == 2
    for module in (store, __import__("issuer.status_lists.redis_status", fromlist=["FILL"])):
        monkeypatch.setattr(module, "FILL", 2)
    assert places.assign(RECORD, SPAN)[0] == second
    assert places.assign(RECORD, SPAN)[0] not in {first, second}
    places.close()


def test_a_list_goes_once_its_last_token_cannot_be_alive(store_url: str) -> None:
    """It is kept for what the longest token lives, and no longer."""
    places = open_status_store(store_url)
    first, _ = places.assign(RECORD, 0)
    if store_url.startswith("memory"):
        assert len(places.read(first, KEPT - 1)) == 1
        with pytest.raises(store.UnknownStatusList):
            places.read(first, KEPT)
    else:
        assert KEPT - 5 <= places._client.ttl(f"gatepass:{{status}}:{first}") <= KEPT  # type: ignore[attr-defined]
    places.close()


def test_a_store_that_does_not_answer_is_503(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login gets no token without its place, and is told to come again."""
    clients = default_clients()
    clients["demo"]["status_list"] = True
    issuer = make_issuer(clients=clients)

    def broken(*_: object) -> dict[str, Any]:
        raise store.StatusUnavailable("Redis does not answer")

    monkeypatch.setattr(StatusLists, "claim", broken)
    answer = issuer.login()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
