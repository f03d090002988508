"""Malformed, oversize and cut requests to `gatepass serve`: a clear status, and nothing done."""

from __future__ import annotations

import json

from harness.issuer_app import PASSWORD, USERNAME
from harness.processes import until
from harness.raw_requests import cut_off, said, status_of, strange_requests
from harness.served_issuer import ServedIssuer

BODY = json.dumps({"username": USERNAME, "password": PASSWORD, "transport": "body"}).encode()
CUT = {"a body too short", "nothing but line ends", "nothing but spaces", "a head without an end"}
"""Of which no answer need come: the client has closed its side in the midst of them."""


def test_no_malformed_request_is_carried_out(served: ServedIssuer) -> None:
    """4xx, 501 or 505 for each, never 500; the login that each of them holds does not happen."""
    if served.login().status == 400:
        served.add_account()
    token = served.login().granted()["access_token"]
    before = served.site.get("/sessions", token=token).granted()
    requests = strange_requests("POST /login HTTP/1.1", BODY)
    statuses = {name: status_of(said(served.port, text)) for name, text in requests.items()}
    wrong = {
        name: status
        for name, status in statuses.items()
        if not (400 <= status < 500 or status in {501, 505} or (not status and name in CUT))
    }
    assert wrong == {}
    assert statuses["a body too large"] == statuses["a body a little too large"] == 413
    assert statuses["chunks"] == statuses["a huge chunk"] == 411
    assert statuses["a head without an end"] in {0, 431}
    after = served.site.get("/sessions", token=token).granted()
    assert [one["sid"] for one in after["sessions"]] == [one["sid"] for one in before["sessions"]]


def test_requests_that_are_cut_off_leave_nothing_behind(served: ServedIssuer) -> None:
    """A reset at any place, an `Expect` that is left included: the workers go on."""
    for _ in until(10, "every worker"):
        if (workers := served.started_workers()) >= served.settings["workers"]:
            break
    head = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    whole = head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    for length in range(0, len(whole), 5):
        cut_off(served.port, whole[:length])
    for _ in range(8):
        assert served.site.get("/healthz").status == 200
    assert served.started_workers() == workers
    assert "Traceback" not in served.process.stderr()
