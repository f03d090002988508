"""What `gatepass gateway` answers: who passes, what is refused, and what is no request at all."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from contextlib import closing

import pytest
from harness.forward_auth import ForwardAuthService
from harness.processes import until
from harness.token_source import TokenSource
from harness.web import ask

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "REPORT"])
def test_every_method_is_answered_alike(
    service: ForwardAuthService, source: TokenSource, method: str
) -> None:
    """Whatever method a gateway asks with, it is the token that counts."""
    url = f"{service.url}/verify"
    passed = ask(method, url, token=source.token(sub="me"))
    assert (passed.status, passed.content) == (200, b"")
    assert passed.headers["x-gatepass-subject"] == "me"
    assert passed.headers["cache-control"] == "no-store"
    refused = ask(method, url)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_the_query_is_not_read(service: ForwardAuthService, source: TokenSource) -> None:
    """Neither it nor headers that tell of the original request decide anything."""
    token = source.token()
    headers = {"X-Original-URI": "/verify/any", "X-Forwarded-Uri": "/verify/any"}
    path = "/verify/scope=orders:write"
    for appended in ("", "?scope=read", "?policy=open", "/x?scope=read#any", "/../any"):
        assert service.verify(token, path + appended, headers=headers).status == 403
    assert service.verify(token, "/verify?scope=orders:write").status == 200


def test_scopes_and_roles_are_all_needed(service: ForwardAuthService, source: TokenSource) -> None:
    """One that is missing refuses, and the challenge names the scopes (RFC 6750 section 3.1)."""
    token = source.token(scope="a b", roles=("x", "y"))
    assert service.verify(token, "/verify/scope=a&scope=b&role=x&role=y").status == 200
    for path in ("/verify/scope=a&scope=c", "/verify/scope=a&role=z", "/verify/role=x,y"):
        assert service.verify(token, path).refused(403, "insufficient_scope")
    challenge = service.verify(token, "/verify/scope=d&scope=c").headers["www-authenticate"]
    assert challenge.endswith('scope="c d"')
    assert "scope" not in service.verify(token, "/verify/role=z").headers["www-authenticate"][40:]


def test_a_route_may_ask_for_more_of_the_person(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """RFC 9470 section 3: a level or a login that is not enough gets 401 with what is."""
    path = "/verify/acr=aal2&max_age=300&scope=pay"
    token = source.token(acr="aal3", scope="pay")
    assert service.verify(token, path).status == 200
    old = source.token(acr="aal2", scope="pay", auth_time=source.claims().auth_time - 400)
    for poor in (old, source.token(acr="aal1", scope="pay"), source.token(scope="pay")):
        answer = service.verify(poor, path)
        answer.refused(401, "insufficient_user_authentication")
        assert answer.headers["www-authenticate"].endswith(
            'acr_values="aal2", max_age="300", scope="pay"'
        )
        # What a client appends asks for nothing else.
        assert service.verify(poor, path + "/x?acr=aal1").status == 401
    answer = service.verify(old, "/verify/max_age=300")
    assert answer.headers["www-authenticate"].endswith('is required", max_age="300"')
    assert service.verify(old, "/verify/acr=aal1").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/verify/", "/verify/orders", "/metrics/x", "/verify/policy="]
)
def test_a_path_that_asks_for_nothing_known_refuses(
    service: ForwardAuthService, source: TokenSource, path: str
) -> None:
    """404 makes every gateway refuse, also for a good token."""
    service.verify(source.token(), path).refused(404, "unknown_path")


def test_identity_cannot_break_out_of_its_header(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """A subject with line breaks is one value, percent-encoded."""
    answer = service.verify(source.token(sub="a\r\nX-Gatepass-Roles: root", roles=("é", "a,b")))
    assert answer.status == 200
    assert answer.headers["x-gatepass-subject"] == "a%0D%0AX-Gatepass-Roles:%20root"
    assert answer.headers["x-gatepass-roles"] == "%C3%A9,a%2Cb"


def test_the_level_is_the_token_s(service: ForwardAuthService, source: TokenSource) -> None:
    """`acr` (RFC 9068 section 2.2.1) as it stands there; what a client sends is not read."""
    for acr in ("aal2", ""):
        answer = service.verify(source.token(acr=acr), headers={"X-Gatepass-Acr": "aal3"})
        assert (answer.status, answer.headers["x-gatepass-acr"]) == (200, acr)


def test_a_revoked_session_is_refused(service: ForwardAuthService, source: TokenSource) -> None:
    """Within the bound after the entry was added."""
    claims = source.claims()
    token = source.token(sid=claims.sid)
    assert service.verify(token).status == 200
    source.revoke(claims)
    for _ in until(15, "the refusal"):
        answer = service.verify(token)
        if answer.status not in {200, 503}:
            break
    answer.refused(401, "invalid_token")
    assert "revoked" in answer.headers["www-authenticate"]


def test_a_body_ends_the_connection(service: ForwardAuthService, source: TokenSource) -> None:
    """What follows a body that nobody has read is no request; without one it is kept alive."""
    bearer = f"Authorization: Bearer {source.token()}"
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as client:
        for _ in range(3):
            client.request("GET", "/verify", headers={"Authorization": bearer[15:]})
            kept = client.getresponse()
            assert (kept.status, kept.getheader("Connection"), kept.read()) == (200, None, b"")
            used = client.sock
        assert client.sock is used
    smuggled = b"GET /verify/any HTTP/1.1\r\nHost: a\r\n\r\n"
    for framing in (f"Content-Length: {len(smuggled)}", "Transfer-Encoding: chunked"):
        lines = ["GET /verify HTTP/1.1", "Host: a", bearer, framing, "", ""]
        with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as line:
            line.sendall("\r\n".join(lines).encode() + smuggled)
            answers = b""
            while received := line.recv(65536):
                answers += received
        assert answers.count(b"HTTP/1.1 ") == 1, answers


def test_both_framings_at_once_are_refused(service: ForwardAuthService) -> None:
    """Content-Length beside Transfer-Encoding is no request (RFC 9112 section 6.1)."""
    framing = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as line:
        line.sendall(b"GET /verify HTTP/1.1\r\nHost: a\r\n" + framing + b"0\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_trailer_is_no_header(service: ForwardAuthService, source: TokenSource) -> None:
    """A token behind a body is none (RFC 9110 section 6.5.1)."""
    head = b"POST /verify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailer = f"0\r\nAuthorization: Bearer {source.token()}\r\n\r\n".encode()
    with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as line:
        line.sendall(head + trailer)
        assert line.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_another_protocol_ends_the_connection(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """A gateway that passes a WebSocket's handshake on gets the decision, and no other protocol."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "a" * 24}
    for token, status in ((source.token(), 200), (None, 401)):
        answer = service.verify(token, headers=upgrade)
        assert (answer.status, answer.headers["connection"]) == (status, "close")


def test_a_head_has_bounds(service: ForwardAuthService, source: TokenSource) -> None:
    """60 KB of headers are read; a head without an end is not, in however many headers it comes."""
    padding = {f"X-{number}": "x" * 6000 for number in range(10)}
    assert service.verify(source.token(), headers=padding).status == 200
    for chunk in (b"x" * 9000, b"X-A: 1\r\n" * 1000):
        with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as line:
            line.sendall(b"GET /verify HTTP/1.1\r\nX-A: a")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    line.sendall(chunk)
            with contextlib.suppress(ConnectionResetError):
                assert line.recv(65536).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert service.verify(source.token()).status == 200


def test_the_log_holds_the_trace_and_no_token(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """A well-formed `traceparent` is logged; anything else, and every token, is not."""
    token, bad = source.token(), "bad.token.in-no-log"
    trace = TRACEPARENT.replace("b7ad6b", f"{os.getpid() % 0xFFFFFF:06x}")
    service.verify(token, headers={"traceparent": trace})
    service.verify(bad, headers={"traceparent": "forged event=allowed"})
    found = [line for line in service.logged() if line.get("traceparent") == trace]
    assert [(line["event"], line["status"]) for line in found] == [("allowed", 200)]
    text = service.process.stderr()
    assert token.rpartition(".")[2] not in text
    assert bad not in text
    assert "forged" not in text
