"""Which way round a guard and a CORS middleware have to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from secrets import token_hex
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from harness.local_issuer import LocalIssuer, freshen
from starlette.middleware.cors import CORSMiddleware
from werkzeug.test import Client

from gateway.asgi import AsgiGuard
from gateway.wsgi import WsgiGuard
from issuer.http.cors import Cors
from revocation import open_denylist

SHOP = "https://shop.example"
QUESTION = {"Origin": SHOP, "Access-Control-Request-Method": "GET"}
Asked = Callable[[str, Mapping[str, str]], tuple[int, dict[str, str]]]


def asked_wsgi(application: Any) -> Asked:
    """One request to a WSGI application: the status and the headers of its answer."""

    def ask(method: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        answer = Client(application).open("/", method=method, headers=headers)
        return answer.status_code, {name.lower(): text for name, text in answer.headers.items()}

    return ask


def asked_asgi(application: Any) -> Asked:
    """The same of an ASGI application."""

    def ask(method: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        lines = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
        scope = {"type": "http", "method": method, "path": "/", "headers": lines}
        asyncio.run(application(scope, receive, send))
        start = messages[0]
        return start["status"], {name.decode(): text.decode() for name, text in start["headers"]}

    return ask


async def asgi_ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def wsgi_ok(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_cors_goes_around_the_guard(kind: str) -> None:
    """Outside it answers a preflight, and pages can read a refusal; inside neither."""
    issuer = LocalIssuer()
    denylist = open_denylist(f"memory://{token_hex(8)}")
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    verifier = issuer.verifier(denylist, max_staleness=600)
    freshen(denylist, verifier.replica)
    shop: dict[str, Any] = {"allow_origins": [SHOP], "allow_headers": ["Authorization"]}
    if kind == "wsgi":
        around = asked_wsgi(Cors(WsgiGuard(wsgi_ok, verifier), [SHOP], credentials=False))
        within = asked_wsgi(WsgiGuard(Cors(wsgi_ok, [SHOP], credentials=False), verifier))
    else:
        around = asked_asgi(CORSMiddleware(AsgiGuard(asgi_ok, verifier), **shop))
        within = asked_asgi(AsgiGuard(CORSMiddleware(asgi_ok, **shop), verifier))
    named = "access-control-allow-origin"
    status, headers = around("OPTIONS", QUESTION)
    assert (status // 100, headers[named]) == (2, SHOP)
    assert "Authorization" in headers["access-control-allow-headers"]
    status, headers = around("GET", {"Origin": SHOP})
    assert (status, headers[named], headers["www-authenticate"]) == (401, SHOP, "Bearer")
    token = f"Bearer {issuer.token()}"
    status, headers = around("GET", {"Origin": SHOP, "Authorization": token})
    assert (status, headers[named]) == (200, SHOP)
    assert named not in around("GET", {"Origin": "https://evil.example"})[1]
    for method, sent in (("OPTIONS", QUESTION), ("GET", {"Origin": SHOP})):
        status, headers = within(method, sent)
        assert (status, named in headers) == (401, False)
