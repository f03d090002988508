"""The adapters on real servers: WSGI, ASGI, Flask and FastAPI refuse the same requests alike."""

from __future__ import annotations

import asyncio
import http.client
import json
import socketserver
import subprocess
import sys
import threading
import wsgiref.simple_server
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from secrets import token_hex
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import fastapi
import flask
import pytest
import uvicorn
from harness.local_issuer import LocalIssuer, freshen
from harness.processes import until

from gateway import Verifier
from gateway.asgi import CLAIMS, AsgiGuard
from gateway.fastapi_guard import FastApiGuard
from gateway.flask_guard import FlaskGuard, current_claims
from gateway.guard import Guard
from gateway.wsgi import WsgiGuard
from revocation import Denylist, Entry, StalePolicy, open_denylist
from tokens import AccessClaims

ADAPTERS = ("wsgi", "asgi", "flask", "fastapi")
LATER = 4_000_000_000
PLAIN, WRITE, EDITOR, OPEN, PAY = "/plain", "/write", "/editor", "/open", "/pay"
"""What needs a token alone, two scopes, a role; what goes by the last copy; what needs more of the
person."""
RULES: dict[str, dict[str, Any]] = {
    PLAIN: {},
    WRITE: {"scopes": ["write", "read"]},
    EDITOR: {"roles": ["editor"]},
    OPEN: {"policy": StalePolicy.OPEN},
    PAY: {"acr": "aal2", "max_age": 300, "scopes": ["pay"]},
}
ENOUGH: dict[str, Any] = {"scope": "read write pay", "acr": "aal2"}
"""What a token says that is enough for all of them."""


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Threaded(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """A thread for each connection."""

    daemon_threads = True


@dataclass
class Place:
    """One issuer, one denylist, one verifier, and the port of each adapter."""

    issuer: LocalIssuer
    denylist: Denylist
    verifier: Verifier
    ports: dict[str, int]

    def ask(
        self, adapter: str, path: str, *headers: str, query: str = "", body: str = ""
    ) -> Answer:
        """One request, with as many `Authorization` headers as are given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[adapter], timeout=20)
        try:
            connection.putrequest("POST" if body else "GET", path + query)
            for header in headers:
                connection.putheader("Authorization", header)
            if body:
                connection.putheader("Content-Type", "application/x-www-form-urlencoded")
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body.encode() if body else None)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), json.loads(answer.read()))
        finally:
            connection.close()


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def challenge(self) -> str | None:
        return {name.lower(): text for name, text in self.headers.items()}.get("www-authenticate")

    @property
    def error(self) -> str:
        return str(self.body.get("detail", self.body)["error"])


def wsgi_application(verifier: Verifier) -> Any:
    def inner(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"sub": environ["gatepass.claims"].sub}).encode()]

    guarded = {path: WsgiGuard(inner, verifier, **rule) for path, rule in RULES.items()}
    return lambda environ, start: guarded[environ["PATH_INFO"]](environ, start)


def asgi_application(verifier: Verifier) -> Any:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        body = json.dumps({"sub": scope[CLAIMS].sub}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    guarded = {path: AsgiGuard(inner, verifier, **rule) for path, rule in RULES.items()}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await guarded[scope["path"]](scope, receive, send)

    return application


def flask_application(verifier: Verifier) -> flask.Flask:
    application, guard = flask.Flask("guarded"), FlaskGuard(verifier)
    for path, rule in RULES.items():

        @application.route(path, methods=["GET", "POST"], endpoint=path)
        @guard.requires(**rule)
        def view() -> dict[str, str]:
            return {"sub": current_claims().sub}

    return application


def fastapi_application(verifier: Verifier) -> fastapi.FastAPI:
    application, guard = fastapi.FastAPI(), FastApiGuard(verifier)

    def add(path: str, rule: dict[str, Any]) -> None:
        needed = fastapi.Depends(guard.requires(**rule))

        def view(claims: AccessClaims = needed) -> dict[str, str]:
            return {"sub": claims.sub}

        application.get(path)(view)
        application.post(path)(view)

    for path, rule in RULES.items():
        add(path, rule)
    return application


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Each adapter on a server of its own, in this process."""
    issuer = LocalIssuer()
    denylist = open_denylist(f"memory://{token_hex(8)}")
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    verifier = issuer.verifier(denylist, max_staleness=600)
    freshen(denylist, verifier.replica)
    ports, stops = {}, []
    for name, application in (
        ("wsgi", wsgi_application(verifier)),
        ("flask", flask_application(verifier)),
    ):
        wsgi = wsgiref.simple_server.make_server("127.0.0.1", 0, application, Threaded, Quiet)
        ports[name] = wsgi.server_port
        stops.append((threading.Thread(target=wsgi.serve_forever, args=(0.05,)), wsgi))
    for name, application in (
        ("asgi", asgi_application(verifier)),
        ("fastapi", fastapi_application(verifier)),
    ):
        config = uvicorn.Config(
            application, port=0, log_level="error", lifespan="off", loop="asyncio"
        )
        asgi = uvicorn.Server(config)
        stops.append((threading.Thread(target=asgi.run), asgi))
        ports[name] = 0
    for thread, _ in stops:
        thread.start()
    for name, (_, server) in zip(("asgi", "fastapi"), stops[2:], strict=True):
        for _ in until(30, "uvicorn"):
            if server.started:
                break
        ports[name] = server.servers[0].sockets[0].getsockname()[1]
    yield Place(issuer, denylist, verifier, ports)
    for thread, server in stops:
        if isinstance(server, uvicorn.Server):
            server.should_exit = True
        else:
            server.shutdown()
            server.server_close()
        thread.join(20)
    verifier.stop()


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("path", RULES)
def test_a_token_that_is_enough_is_admitted(place: Place, adapter: str, path: str) -> None:
    """The application behind the adapter has its claims."""
    answer = place.ask(adapter, path, f"Bearer {place.issuer.token(**ENOUGH)}")
    assert (answer.status, answer.body) == (200, {"sub": "somebody"})


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_request_without_a_token_is_challenged(place: Place, adapter: str) -> None:
    """RFC 6750 section 3: no error code for who has not tried."""
    for headers in ([], ["Basic YTpi"], ["Bearer "]):
        answer = place.ask(adapter, PLAIN, *headers)
        assert (answer.status, answer.challenge) == (401, "Bearer")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_token_that_is_no_good_is_refused(place: Place, adapter: str) -> None:
    """Malformed, forged, expired and revoked: 401 `invalid_token`; the last two are told apart."""
    issuer = place.issuer
    good, now = issuer.token(), issuer.now
    revoked = issuer.token(jti="R" * 21 + "A")
    place.denylist.add([Entry.token("R" * 21 + "A", LATER)])
    place.verifier.replica.step(block=1)
    for token, text in (
        ("of.bad.news", "invalid token"),
        (good[:-6] + "AAAAAA", "invalid token"),
        (LocalIssuer().token(), "invalid token"),
        (issuer.token(aud=("files",)), "invalid token"),
        (issuer.token(iat=now - 900, exp=now - 600, auth_time=now - 900), "the token has expired"),
        (revoked, "the token has been revoked"),
    ):
        answer = place.ask(adapter, PLAIN, f"Bearer {token}")
        challenge = f'Bearer error="invalid_token", error_description="{text}"'
        assert (answer.status, answer.error) == (401, "invalid_token")
        assert answer.challenge == challenge


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    ("path", "changes", "scope"),
    [
        (WRITE, {"scope": "read"}, ', scope="read write"'),
        (WRITE, {"scope": "reads writes read-write"}, ', scope="read write"'),
        (WRITE, {"scope": ""}, ', scope="read write"'),
        (EDITOR, {"roles": ()}, ""),
        (EDITOR, {"roles": ("edit", "editors")}, ""),
    ],
)
def test_a_token_that_is_not_enough_is_forbidden(
    place: Place, adapter: str, path: str, changes: dict[str, Any], scope: str
) -> None:
    """RFC 6750 section 3.1: 403 `insufficient_scope`, with all the scopes that it takes."""
    answer = place.ask(adapter, path, f"Bearer {place.issuer.token(**changes)}")
    text = "the token does not allow this"
    challenge = f'Bearer error="insufficient_scope", error_description="{text}"{scope}'
    assert (answer.status, answer.error) == (403, "insufficient_scope")
    assert answer.challenge == challenge


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_person_is_asked_to_authenticate_better_or_again(place: Place, adapter: str) -> None:
    """RFC 9470 section 3: 401 with all that the route wants, so that one elevation is enough."""
    now = place.issuer.now
    for changes in (
        {"acr": "aal1"},
        {"acr": ""},
        {"acr": "aal1", "scope": "read"},
        {"auth_time": now - 900},
        {"auth_time": now - 900, "scope": "read"},
    ):
        answer = place.ask(adapter, PAY, f"Bearer {place.issuer.token(**{**ENOUGH, **changes})}")
        assert (answer.status, answer.error) == (401, "insufficient_user_authentication")
        assert answer.challenge == (
            'Bearer error="insufficient_user_authentication",'
            ' error_description="a better or more recent authentication is required",'
            ' acr_values="aal2", max_age="300", scope="pay"'
        )
    poor = place.issuer.token(**{**ENOUGH, "scope": "read"})
    assert place.ask(adapter, PAY, f"Bearer {poor}").error == "insufficient_scope"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_log_says_what_the_client_is_not_told(
    place: Place, adapter: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The code of the refusal, and nothing of the token."""
    caplog.set_level("INFO", "gatepass")
    token = place.issuer.token(aud=("another",))
    place.ask(adapter, PLAIN, f"Bearer {token}")
    assert [record.getMessage() for record in caplog.records] == ["refused: wrong_audience"]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_token_elsewhere_than_in_the_header_is_not_taken(place: Place, adapter: str) -> None:
    """RFC 9700 section 4.3.2: query strings are logged; RFC 6750 section 2.2: nor a form's."""
    token = place.issuer.token()
    for answer in (
        place.ask(adapter, PLAIN, query=f"?access_token={token}"),
        place.ask(adapter, PLAIN, body=f"access_token={token}"),
    ):
        assert (answer.status, answer.challenge) == (401, "Bearer")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_two_credentials_are_refused(place: Place, adapter: str) -> None:
    """Two headers, or one as servers join two: nobody is left to choose."""
    token = f"Bearer {place.issuer.token()}"
    other = f"Bearer {place.issuer.token(sub='else')}"
    for headers in ([f"{token},{other}"], [f"{token}, {other}"], [token, other], [token, token]):
        if len(headers) == 2 and adapter in {"wsgi", "flask"}:
            continue  # this server hands on the first alone; those that join them are above
        answer = place.ask(adapter, PLAIN, *headers)
        assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_where_nothing_can_be_told_the_policy_of_the_route_decides(
    place: Place, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica too old: 503 with `Retry-After`, but for the route that goes by the last copy."""
    monkeypatch.setattr(place.verifier.replica, "_allowed_age", -1.0)
    token = f"Bearer {place.issuer.token()}"
    answer = place.ask(adapter, PLAIN, token)
    headers = {name.lower(): text for name, text in answer.headers.items()}
    assert (answer.status, answer.error) == (503, "temporarily_unavailable")
    assert headers["retry-after"] == "1"
    assert headers["cache-control"] == "no-store"
    assert answer.challenge is None
    assert place.ask(adapter, OPEN, token).status == 200


def test_a_websocket_without_a_token_is_not_opened(place: Place) -> None:
    """Refused before it is accepted, with the answer where the server can give one."""

    async def talk(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "sub": scope[CLAIMS].sub})

    def sent(headers: list[tuple[bytes, bytes]], extensions: dict[str, Any]) -> list[Any]:
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {"type": "websocket", "path": "/", "headers": headers, "extensions": extensions}
        asyncio.run(AsgiGuard(talk, place.verifier)(scope, receive, send))
        return messages

    good = [(b"authorization", f"Bearer {place.issuer.token()}".encode())]
    assert sent(good, {}) == [{"type": "websocket.accept", "sub": "somebody"}]
    assert sent([], {}) == [{"type": "websocket.close", "code": 1008}]
    start, body = sent([], {"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", b"Bearer") in start["headers"]
    assert body["type"] == "websocket.http.response.body"


def test_the_openapi_document_names_the_scheme(place: Place) -> None:
    """A FastAPI route that is guarded says so to whoever generates a client."""
    document = fastapi_application(place.verifier).openapi()
    assert document["paths"][WRITE]["get"]["security"] == [{"gatepass": []}]
    assert document["components"]["securitySchemes"]["gatepass"]["scheme"] == "bearer"


def test_a_bare_string_is_no_list_of_scopes(place: Place) -> None:
    """It would be taken for its letters, and ask for the wrong thing."""
    with pytest.raises(TypeError):
        Guard(place.verifier, scopes="read")
    with pytest.raises(TypeError):
        Guard(place.verifier, roles="editor")


@pytest.mark.parametrize("rule", [{"acr": 'a"b'}, {"acr": "a b"}, {"max_age": -1}])
def test_a_rule_that_no_challenge_can_say_is_refused(place: Place, rule: dict[str, Any]) -> None:
    """When it is made, and not at the first request."""
    with pytest.raises(ValueError, match=r"acr|max_age"):
        Guard(place.verifier, **rule)
    with pytest.raises(ValueError, match=r"acr|max_age"):
        Guard(place.verifier).with_rule(**rule)


def test_claims_outside_a_guarded_view_are_an_error() -> None:
    """A view that forgot its decorator fails, rather than go on without claims."""
    with flask.Flask("x").app_context(), pytest.raises(LookupError):
        current_claims()


@pytest.mark.parametrize(
    ("module", "missing"), [("flask_guard", "flask"), ("fastapi_guard", "fastapi")]
)
def test_a_missing_framework_is_named(module: str, missing: str) -> None:
    """Without it the module says what to install; the library itself needs neither."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
import gateway, gateway.wsgi, gateway.asgi
try:
    import gateway.{missing}_guard
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install" in done.stdout
