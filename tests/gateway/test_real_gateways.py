"""nginx, Caddy, Envoy and Traefik, configured as their page says, in front of a real backend.

Each asks the forward-auth service, which follows the denylist of a real issuer on a real Redis.
"""

from __future__ import annotations

import http.client
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness.forward_auth import ForwardAuthService, RealGateway
from harness.gateway_world import (
    FEED_SECRET,
    MAX_STALENESS,
    World,
    altered,
    passed,
    raw,
    refused,
)
from harness.processes import monotonic, until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACESTATE = "vendor=t61rcWkgMzE"
NAMES = (
    "X-Gatepass-Subject",
    "X-Gatepass-Session",
    "X-Gatepass-Client",
    "X-Gatepass-Scope",
    "X-Gatepass-Roles",
    "X-Gatepass-Token-Id",
    "X-Gatepass-Auth-Time",
    "X-Gatepass-Amr",
    "X-Gatepass-Acr",
    "X-Gatepass-Expires",
)
FORGED = [
    ("X-Gatepass-Subject", "admin"),
    ("x-gatepass-subject", "admin"),
    ("X_Gatepass_Subject", "admin"),
    ("X-Gatepass_Subject", "admin"),
    ("X_GATEPASS-Roles", "admin"),
    ("X-Gatepass-Roles", "admin"),
    ("X-Gatepass-Roles", "root"),
    ("X-Gatepass-Scope", "everything"),
    ("X-Gatepass-Acr", "aal3"),
    ("X_Gatepass_Acr", "aal3"),
]


def test_a_valid_token_passes_with_who_it_is(gateway: RealGateway, world: World) -> None:
    """The backend is told what the token says of person, session, client and level, each once."""
    login = world.login()
    seen = passed(gateway, world, "/hello?x=1", token=login["access_token"])
    assert seen.path == "/hello?x=1"
    assert seen.all("X-Gatepass-Client") == ["demo"]
    assert seen.all("X-Gatepass-Session") == [login["session"]["sid"]]
    assert seen.all("X-Gatepass-Scope") == ["read orders:write"]
    assert seen.all("X-Gatepass-Amr") == ["pwd"]
    assert seen.all("X-Gatepass-Acr") == ["aal1"]
    [subject] = seen.all("X-Gatepass-Subject")
    assert subject
    assert int(seen.all("X-Gatepass-Expires")[0]) > int(seen.all("X-Gatepass-Auth-Time")[0])
    assert not any(seen.all("X-Gatepass-Roles"))


@pytest.mark.parametrize("path", ["/hello", "/orders/1"])
def test_without_a_valid_token_nothing_passes(
    gateway: RealGateway, world: World, path: str
) -> None:
    """No token is challenged without an error code, a bad one with it (RFC 6750 section 3.1)."""
    none = refused(gateway, world, path, 401)
    assert none.headers["www-authenticate"] == "Bearer"
    bad = refused(gateway, world, path, 401, token="of.bad.news")
    assert bad.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    basic = refused(gateway, world, path, 401, headers={"Authorization": "Basic YTpi"})
    assert basic.headers["www-authenticate"] == "Bearer"


def test_too_little_is_refused_with_what_is_missing(gateway: RealGateway, world: World) -> None:
    """403 with `insufficient_scope` and the scope, and the route beside it passes."""
    token = world.token("reader")
    answer = refused(gateway, world, "/orders/1", 403, token=token)
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_scope"')
    assert 'scope="orders:write"' in challenge
    assert passed(gateway, world, "/hello", token=token)
    assert passed(gateway, world, "/orders/1", token=world.token())


@pytest.mark.parametrize(
    "path",
    [
        "/orders/any",
        "/orders/?scope=read&policy=open",
        "/orders/verify/any",
        "/orders/%2e%2e%2fany?/verify/any",
        "/orders/..;/any",
        "/orders/./../any",
        "/any/../orders/1",
        "/any%2f..%2forders/1",
        "/orders%2f1",
        "//orders/1",
    ],
)
def test_a_client_cannot_choose_what_is_asked_of_it(
    gateway: RealGateway, world: World, path: str
) -> None:
    """Whatever stands in a path or query, the orders' route needs the orders' scope."""
    before = len(world.backend.seen)
    answer = gateway.ask(path, token=world.token("reader"))
    reached = [seen.path for seen in world.backend.seen[before:]]
    # Refused, or sent on as what it was judged as: a path of another route.
    assert answer.status in {200, 307, 400, 403, 404}, answer
    assert not [path for path in reached if "orders" in path.partition("?")[0]], reached


@pytest.mark.parametrize(
    "path",
    [
        "/%6frders/1",
        "/orders;a=b/1",
        "/orders;/1",
        "/any;/../orders/1",
        "/public/..;/orders/1",
        "/public/..;x=y/orders/1",
        "/public/..\\orders/1",
        "/public/..%5corders/1",
        "/public\\..\\orders/1",
    ],
)
def test_what_a_backend_reads_as_another_route_is_none_of_this_one(
    gateway: RealGateway, world: World, path: str
) -> None:
    """However a backend's library takes a path apart, the orders' route needs its scope."""
    for own in ([], [f"Authorization: Bearer {world.token('reader')}"]):
        before = len(world.backend.seen)
        head = ("Host: example.org", "Connection: close")
        answer = raw(gateway, f"GET {path} HTTP/1.1", *head, *own)
        assert re.match(rb"HTTP/1.1 4\d\d ", answer), answer
        assert world.backend.seen[before:] == []


def test_no_client_says_who_it_is(gateway: RealGateway, world: World) -> None:
    """Identity headers of the client's, in every spelling and number, never reach the backend."""
    token = world.token()
    honest = passed(gateway, world, "/hello", token=token)
    lines = [f"{name}: {value}" for name, value in FORGED]
    head = ["Host: example.org", "Connection: close", *lines]
    for path, bearer in (("/hello", token), ("/public/x", None), ("/public/x", token)):
        before = len(world.backend.seen)
        own = [f"Authorization: Bearer {bearer}"] if bearer else []
        answer = raw(gateway, f"GET {path} HTTP/1.1", *head, *own)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        [seen] = world.backend.seen[before:]
        for name in NAMES:
            # The empty one says nothing, and some gateways leave it out.
            expected = [value for value in honest.all(name) if value]
            told = [value for value in seen.all(name) if value]
            assert told == (expected if path == "/hello" else []), (name, seen.headers)
        sent = [key for key, _ in seen.headers if key.lower().replace("_", "-").startswith("x-g")]
        assert len(sent) == len(set(map(str.lower, sent)))
        assert not [key for key in sent if "_" in key]
    before = len(world.backend.seen)
    assert raw(gateway, "GET /hello HTTP/1.1", *head).startswith(b"HTTP/1.1 401")
    assert world.backend.seen[before:] == []


def test_no_client_has_an_identity_taken_away(gateway: RealGateway, world: World) -> None:
    """What `Connection` names is for the next hop alone (RFC 9110 section 7.6.1): not ours."""
    token = world.token()
    honest = passed(gateway, world, "/hello", token=token)
    for named in ("X-Gatepass-Subject, X-Gatepass-Client", "x-gatepass-scope, x-gatepass-acr"):
        before = len(world.backend.seen)
        answer = raw(
            gateway,
            "GET /hello HTTP/1.1",
            "Host: example.org",
            f"Authorization: Bearer {token}",
            f"Connection: close, {named}",
        )
        if answer.startswith(b"HTTP/1.1 400"):
            assert world.backend.seen[before:] == []
            continue
        assert answer.startswith(b"HTTP/1.1 200"), answer
        [seen] = world.backend.seen[before:]
        assert [seen.all(name) for name in NAMES] == [honest.all(name) for name in NAMES]


def test_the_trace_goes_through(gateway: RealGateway, world: World) -> None:
    """Backend and service see the same `traceparent`, and the service logs it."""
    trace = TRACEPARENT.replace("0af7651916", f"{gateway.port:010x}")
    headers = {"traceparent": trace, "tracestate": TRACESTATE}
    seen = passed(gateway, world, "/hello", token=world.token(), headers=headers)
    assert (seen.all("traceparent"), seen.all("tracestate")) == ([trace], [TRACESTATE])
    refused(gateway, world, "/hello", 401, headers=headers)
    for _ in until(10, "the log"):
        events = [
            each["event"] for each in world.service.logged() if each.get("traceparent") == trace
        ]
        if events == ["allowed", "refused"]:
            return


def test_two_authorization_headers_are_none(gateway: RealGateway, world: World) -> None:
    """What one side takes the other could not: neither of them is believed."""
    token = world.token()
    before = len(world.backend.seen)
    for first, second in ((token, "of.bad.news"), ("of.bad.news", token)):
        answer = raw(
            gateway,
            "GET /hello HTTP/1.1",
            "Host: example.org",
            "Connection: close",
            f"Authorization: Bearer {first}",
            f"Authorization: Bearer {second}",
        )
        assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert world.backend.seen[before:] == []


def test_bodies_go_to_the_backend_alone(gateway: RealGateway, world: World) -> None:
    """A long body, announced or chunked, on POST or GET, is not sent to the service."""
    token, body = world.token(), b"x" * 900_000
    before = world.line.sent
    head = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
    for method, sent, chunked in (
        ("POST", body, False),
        ("POST", body, True),
        ("GET", body[:999], False),
    ):
        seen_before = len(world.backend.seen)
        with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as client:
            content = iter([sent]) if chunked else sent
            client.request(method, "/hello", content, head, encode_chunked=chunked)
            answer = client.getresponse()
            assert answer.status == 200, (answer.read(), world.service.logged()[-5:])
            answer.read()
            # The connection is still in step: what follows a body is the next request.
            client.request("GET", "/hello", headers=head)
            assert client.getresponse().status == 200
        lengths = [seen.length for seen in world.backend.seen[seen_before:]]
        assert lengths == [len(sent), 0]
    assert world.line.sent - before < 40_000


def test_a_body_is_never_a_request(gateway: RealGateway, world: World) -> None:
    """Content-Length and Transfer-Encoding at odds smuggle nothing past the check."""
    smuggled = "GET /orders/smuggled HTTP/1.1\r\nHost: a\r\nX-Gatepass-Subject: admin\r\n\r\n"
    for framing in (
        [f"Content-Length: {5 + len(smuggled)}", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        [f"Content-Length: {5 + len(smuggled)}", "Content-Length: 0"],
        ["Transfer-Encoding : chunked"],
    ):
        before = len(world.backend.seen)
        raw(
            gateway,
            "POST /hello HTTP/1.1",
            "Host: example.org",
            f"Authorization: Bearer {world.token()}",
            "Connection: close",
            *framing,
            body=b"0\r\n\r\n" + smuggled.encode(),
        )
        paths = [seen.path for seen in world.backend.seen[before:]]
        assert "/orders/smuggled" not in paths
        assert len(paths) <= 1


def test_a_big_token_is_refused_as_a_token(gateway: RealGateway, world: World) -> None:
    """Eight kilobytes are an invalid token, and no error of the gateway's."""
    answer = refused(gateway, world, "/hello", 401, token=f"{'a' * 4000}.{'b' * 4000}.{'c' * 192}")
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


def test_one_connection_carries_many_callers(gateway: RealGateway, world: World) -> None:
    """On a kept-alive connection each request is judged by its own token, over few lines."""
    tokens = {world.token(): 200, "of.bad.news": 401, world.token("reader"): 200}
    before = world.line.connections
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as client:
        for number in range(60):
            token = list(tokens)[number % len(tokens)]
            client.request("GET", f"/{number}", headers={"Authorization": f"Bearer {token}"})
            answer = client.getresponse()
            body = answer.read()
            assert answer.status == tokens[token], body
            if answer.status == 200:
                assert json.loads(body)["path"] == f"/{number}"
                [client_id] = world.backend.seen[-1].all("X-Gatepass-Client")
                assert client_id == ("demo" if number % 3 == 0 else "reader")
    assert world.line.connections - before <= 4


def test_a_revocation_is_seen_while_it_runs(gateway: RealGateway, world: World) -> None:
    """After the answer of a logout the token is refused within the bound; others go on."""
    login, other = world.login(), world.token()
    token = login["access_token"]
    passed(gateway, world, "/hello", token=token)
    world.issuer.site.post("/logout", {"refresh_token": login["refresh_token"]}).granted()
    acknowledged = monotonic()
    for _ in until(30, "the refusal"):
        began = monotonic()
        answer = gateway.ask("/hello", token=token)
        if answer.status == 401:
            break
        assert answer.status != 200 or began - acknowledged <= MAX_STALENESS
    assert "revoked" in answer.headers["www-authenticate"]
    refused(gateway, world, "/orders/1", 401, token=token)
    passed(gateway, world, "/hello", token=other)


def test_a_service_that_is_down_closes(gateway: RealGateway, world: World) -> None:
    """Nothing passes while the service does not answer, and everything does again afterwards."""
    token = world.token()
    passed(gateway, world, "/hello", token=token)
    world.line.cut()
    try:
        status = {"caddy": 502, "traefik": 500}.get(gateway.name, 503)
        answer = refused(gateway, world, "/hello", status, token=token)
        assert status != 503 or answer.headers.get("retry-after") == "1"
        refused(gateway, world, "/orders/1", status, token=token)
        passed(gateway, world, "/public/x")
    finally:
        world.line.mend()
    for _ in until(10, "the service"):
        if gateway.ask("/hello", token=token).status == 200:
            return


def test_an_old_copy_is_told_as_503(gateway: RealGateway, world: World) -> None:
    """With Redis frozen: 503 with `Retry-After`, never 500 or 403, and it recovers by itself."""
    token = world.token()
    passed(gateway, world, "/hello", token=token)
    world.redis.pause()
    try:
        for _ in until(60, "an old copy"):
            answer = gateway.ask("/hello", token=token)
            if answer.status != 200:
                break
        assert answer.status == 503
        assert answer.headers.get("retry-after") == "1"
        assert "www-authenticate" not in answer.headers
        # What can be told without the denylist still is.
        refused(gateway, world, "/hello", 401, token="of.bad.news")
    finally:
        world.redis.resume()
        world.service.wait_ready()  # however this ends: the next test asks the same service
    for _ in until(30, "a copy in step"):
        if gateway.ask("/hello", token=token).status == 200:
            return


# --- without Redis ----------------------------------------------------------------------------


def test_a_service_that_may_not_reach_redis_learns_of_it_all_the_same(world: World) -> None:
    """On the HTTP feed it takes a token, and refuses it after a logout, within the bound."""
    feed = world.issuer.url.replace("//", f"//edge-1:{FEED_SECRET}@") + "/revocations"
    options = ["--max-staleness", str(MAX_STALENESS), "--workers", "2"]
    with ForwardAuthService(world.issuer.url, feed, *options) as service:
        service.wait_ready()
        login = world.login()
        token = login["access_token"]
        assert service.verify(token).status == 200
        world.issuer.site.post("/logout", {"refresh_token": login["refresh_token"]}).granted()
        acknowledged = monotonic()
        for _ in until(30, "the refusal"):
            began = monotonic()
            answer = service.verify(token)
            if answer.status == 401:
                break
            assert answer.status != 200 or began - acknowledged <= MAX_STALENESS
        assert "revoked" in answer.headers["www-authenticate"]
        assert FEED_SECRET not in service.process.stderr()


# --- mutants ----------------------------------------------------------------------------------


def lets_others_in(gateway: RealGateway, world: World) -> None:
    """The orders' route is not for a reader, however it is written."""
    for path in ("/orders/1", "/orders/%2e%2e%2fany", "/policy=open/orders/1"):
        test_a_client_cannot_choose_what_is_asked_of_it(gateway, world, path)


def lets_other_spellings_in(gateway: RealGateway, world: World) -> None:
    """Nor is it however a backend may read it."""
    for path in ("/orders;a=b/1", "/public/..\\orders/1", "/public/..%5corders/1"):
        test_what_a_backend_reads_as_another_route_is_none_of_this_one(gateway, world, path)


def lets_the_unchecked_in(gateway: RealGateway, world: World) -> None:
    """A service that does not answer closes."""
    test_a_service_that_is_down_closes(gateway, world)


FORGETFUL = [
    ("nginx", r" +proxy_set_header X-Gatepass-Roles .*\n", "", test_no_client_says_who_it_is),
    ("nginx", "in_headers off", "in_headers on", test_no_client_says_who_it_is),
    ("nginx", r"if \(\$request_uri", "if ($request_method", lets_others_in),
    ("nginx", "= @gatepass_refused;", "= /50x.html;", test_an_old_copy_is_told_as_503),
    ("nginx", "auth_request /_gatepass/orders", "auth_request /_gatepass/any", lets_others_in),
    ("caddy", r".*-X-Gatepass-\*\n", "", test_no_client_says_who_it_is),
    ("caddy", r".*respond @ambiguous 400\n", "", lets_others_in),
    ("caddy", r".*respond @takes.*\n", "", test_no_client_has_an_identity_taken_away),
    ("envoy", "DROP_HEADER", "ALLOW", test_no_client_says_who_it_is),
    ("envoy", "{prefix: x-gatepass-", "{prefix: y-", test_no_client_says_who_it_is),
    ("envoy", "failure_mode_allow: false", "failure_mode_allow: true", lets_the_unchecked_in),
    ("envoy", r" +status_on_error: .*\n", "", test_an_old_copy_is_told_as_503),
    ("envoy", "REJECT_REQUEST", "KEEP_UNCHANGED", lets_others_in),
    ("traefik", r" +X-Gatepass-Roles: .*\n", "", test_no_client_says_who_it_is),
    ("traefik", "Strategy: delete", "Strategy: keep", test_no_client_says_who_it_is),
    ("traefik", r"\[gatepass-orders\]", "[gatepass]", lets_others_in),
    ("traefik", "EncodedSlash: false", "EncodedSlash: true", lets_others_in),
    ("traefik", r'"!PathRegexp.*"', '"PathPrefix(`/`)"', lets_other_spellings_in),
]


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "check"),
    FORGETFUL,
    ids=[f"{name}-{number}" for number, (name, *_) in enumerate(FORGETFUL)],
)
def test_a_configuration_that_forgets_is_found_out(
    world: World, project_root: Path, name: str, pattern: str, replacement: str, check: Any
) -> None:
    """Each line of the pages that protects something is missed by one of the tests above."""
    with (
        altered(world, project_root / "docs", name, pattern, replacement) as gateway,
        pytest.raises(AssertionError),
    ):
        check(gateway, world)
