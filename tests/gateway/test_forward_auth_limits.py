"""Malformed, oversize and cut requests to `gatepass gateway`: a clear status, and no yes."""

from __future__ import annotations

from harness.forward_auth import ForwardAuthService
from harness.raw_requests import cut_off, said, status_of, strange_requests
from harness.token_source import TokenSource

CUT = {"nothing but line ends", "nothing but spaces", "a head without an end"}


def test_no_malformed_request_is_let_through(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """4xx for each, or closed where the client cut it short; none is 200, and none a 500."""
    requests = strange_requests("POST /verify HTTP/1.1", b"{}")
    statuses = {name: status_of(said(service.port, text)) for name, text in requests.items()}
    wrong = {
        name: status
        for name, status in statuses.items()
        if not (400 <= status < 500 or (not status and name in CUT))
    }
    assert wrong == {}
    assert statuses["a long field"] == statuses["a long line"] == 431
    token = source.token()
    host, authorization = b"Host: a\r\n", b"Authorization: Bearer %s\r\n" % token.encode()
    for name, text in requests.items():
        bearer = text.replace(host, host + authorization, 1)
        # With a token, what is well-formed for a service that reads no body is a yes.
        assert status_of(said(service.port, bearer)) not in {500, 502}, name
    assert "Traceback" not in service.process.stderr()
    assert service.verify(token).status == 200


def test_requests_that_are_cut_off_leave_nothing_behind(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """A reset at any place."""
    whole = b"POST /verify HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789"
    for length in range(0, len(whole), 3):
        cut_off(service.port, whole[:length])
    assert service.verify(source.token()).status == 200
    assert "Traceback" not in service.process.stderr()
