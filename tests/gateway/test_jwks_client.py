"""The issuer's keys at a gateway: cached, refetched with restraint, kept through failures."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from harness.processes import free_port

from gateway.errors import KeysUnavailable
from gateway.fetching import MAX_DOCUMENT, Fetched, fetch_json
from gateway.jwks import COOL_DOWN, MAX_AGE, JwksClient
from keys import KeyRing, RotationPolicy, rotate
from tokens import UnknownKid

ISSUER = "https://id.example"
JWKS_URI = f"{ISSUER}/.well-known/jwks.json"
NOW = 1_800_000_000
RING = rotate(KeyRing(), NOW, RotationPolicy(algorithms=("ES256", "EdDSA")))
KID = RING.active("ES256").kid


class Issuer:
    """An issuer that answers from memory, counts, and can be down."""

    def __init__(self) -> None:
        self.metadata: Any = {"issuer": ISSUER, "jwks_uri": JWKS_URI}
        self.jwks: Any = RING.jwks()
        self.down = False
        self.max_age = 300
        self.fetches: list[str] = []

    def fetch(self, url: str) -> Fetched:
        self.fetches.append(url)
        if self.down:
            raise KeysUnavailable("down")
        return Fetched(self.jwks if url == JWKS_URI else self.metadata, self.max_age)

    @property
    def jwks_fetches(self) -> int:
        return self.fetches.count(JWKS_URI)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(issuer: Issuer, clock: Clock) -> JwksClient:
    return JwksClient(ISSUER, fetch=issuer.fetch, clock=clock)


def test_keys_are_fetched_once_for_as_long_as_the_headers_allow(
    client: JwksClient, issuer: Issuer, clock: Clock
) -> None:
    """One fetch serves until `max-age` exactly; then comes the next."""
    assert client.find(KID).kid == KID
    clock.now += 299.9
    client.find(KID)
    assert issuer.jwks_fetches == 1
    clock.now += 0.1
    client.find(KID)
    assert issuer.jwks_fetches == 2


def test_an_unknown_kid_costs_one_fetch_in_each_cool_down(
    client: JwksClient, issuer: Issuer, clock: Clock
) -> None:
    """A flood of made-up kids is not a flood of fetches."""
    client.find(KID)
    for number in range(1000):
        with pytest.raises(UnknownKid):
            client.find(f"made-up-{number}")
    assert issuer.jwks_fetches == 1
    clock.now += COOL_DOWN
    for number in range(1000):
        with pytest.raises(UnknownKid):
            client.find(f"made-up-{number}")
    assert issuer.jwks_fetches == 2


def test_a_new_key_is_found_after_the_cool_down(
    client: JwksClient, issuer: Issuer, clock: Clock
) -> None:
    """A kid that the copy lacks is looked up afresh, before the copy is old."""
    issuer.jwks = {"keys": [key for key in RING.jwks()["keys"] if key["kid"] != KID]}
    with pytest.raises(UnknownKid):
        client.find(KID)
    issuer.jwks = RING.jwks()
    clock.now += COOL_DOWN
    assert client.find(KID).alg == "ES256"


def test_a_key_that_left_the_set_is_trusted_no_more(
    client: JwksClient, issuer: Issuer, clock: Clock
) -> None:
    """Once a newer copy is here, an old key is unknown."""
    client.find(KID)
    issuer.jwks = {"keys": []}
    clock.now += 300
    with pytest.raises(UnknownKid):
        client.find(KID)


def test_the_last_good_copy_is_kept_through_failures_up_to_a_limit(
    client: JwksClient, issuer: Issuer, clock: Clock
) -> None:
    """An issuer that is down does not take its gateways with it, for an hour; then it is 503."""
    client.find(KID)
    issuer.down = True
    clock.now += MAX_AGE
    assert client.find(KID).kid == KID
    clock.now += 0.1
    with pytest.raises(KeysUnavailable):
        client.find(KID)
    issuer.down = False
    clock.now += COOL_DOWN
    assert client.find(KID).kid == KID


def test_a_failing_issuer_is_asked_once_in_each_cool_down(
    client: JwksClient, issuer: Issuer, clock: Clock
) -> None:
    """Requests do not pile up on an issuer that is down."""
    client.find(KID)
    issuer.down = True
    clock.now += 301
    for _ in range(100):
        client.find(KID)
    assert issuer.jwks_fetches == 2


def test_a_mistake_of_ours_does_not_ask_the_issuer_more_often(
    client: JwksClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cool-down holds whatever happens to what was fetched."""

    def fails(*_: Any) -> Any:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("gateway.jwks._KeySet.successor", fails)
    with pytest.raises(RuntimeError):
        client.find(KID)
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            client.find(KID)
    assert issuer.jwks_fetches == 1


def test_nothing_is_imported_in_the_thread_that_fetches() -> None:
    """A child of a fork during an import would wait for it for ever."""
    program = """
import sys
from gateway.jwks import JwksClient
JwksClient("https://id.example")
print([name in sys.modules for name in ("awscrt.crypto", "nacl.signing", "nacl.exceptions")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[True, True, True]\n"


def test_a_first_fetch_that_fails_is_no_unknown_kid(client: JwksClient, issuer: Issuer) -> None:
    """Without any copy nothing can be said of a token: 503, not 401."""
    issuer.down = True
    with pytest.raises(KeysUnavailable):
        client.find(KID)


def test_keys_that_have_moved_are_found_again(
    client: JwksClient, issuer: Issuer, clock: Clock
) -> None:
    """Where they are no longer, the metadata are asked again (RFC 8414 section 3)."""
    client.find(KID)
    moved = f"{ISSUER}/moved"
    # This issuer answers with one document at all of its other addresses.
    issuer.metadata = {"issuer": ISSUER, "jwks_uri": moved, **issuer.jwks}
    issuer.jwks = {"error": "not_found"}
    clock.now += 301
    client.find(KID)  # fails, and the copy is kept
    assert moved not in issuer.fetches
    clock.now += COOL_DOWN
    client.find(KID)
    assert issuer.fetches[-1] == moved


def test_another_issuers_metadata_are_named(
    client: JwksClient, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Localhost for 127.0.0.1, or http for https: the log holds both names."""
    issuer.metadata = {**issuer.metadata, "issuer": "https://other.example"}
    with pytest.raises(KeysUnavailable):
        client.find(KID)
    assert f"{ISSUER}/" in caplog.text
    assert "names another issuer, 'https://other.example'" in caplog.text


def test_a_failed_fetch_says_why() -> None:
    """In the words of the system, not by the name of an exception."""
    with pytest.raises(KeysUnavailable, match="does not answer: Connection refused"):
        fetch_json(f"http://127.0.0.1:{free_port()}/")


def test_no_header_makes_a_copy_live_longer_than_the_limit(
    client: JwksClient, issuer: Issuer, clock: Clock
) -> None:
    """A `max-age` of days is cut to the oldest that a copy may be."""
    issuer.max_age = 999_999
    client.find(KID)
    clock.now += MAX_AGE
    client.find(KID)
    assert issuer.jwks_fetches == 2


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example", "jwks_uri": JWKS_URI},
        {"issuer": ISSUER, "jwks_uri": "https://evil.example/jwks.json"},
        {"issuer": ISSUER, "jwks_uri": f"{ISSUER}.evil.example/jwks.json"},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": ["x"]},
        [],
        "text",
    ],
)
def test_metadata_that_leads_elsewhere_is_refused(
    client: JwksClient, issuer: Issuer, metadata: Any
) -> None:
    """RFC 8414 section 3.3: the issuer is the one asked for, and so are its keys."""
    issuer.metadata = metadata
    with pytest.raises(KeysUnavailable):
        client.find(KID)


@pytest.mark.parametrize("document", [{"keys": {}}, {}, [], "text", None, {"keys": "x"}])
def test_a_document_that_is_no_jwks_keeps_the_last_copy(
    client: JwksClient, issuer: Issuer, clock: Clock, document: Any
) -> None:
    """Rubbish from the issuer's address is a failed fetch, not an empty set."""
    client.find(KID)
    issuer.jwks = document
    clock.now += 300
    assert client.find(KID).kid == KID


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        7,
        {},
        {"kty": "oct", "k": "AAAA", "kid": "x", "alg": "HS256"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "x", "alg": "ES256"},
        {**RING.jwks()["keys"][0], "alg": "HS256"},
        {**RING.jwks()["keys"][0], "d": "AAAA"},
    ],
)
def test_an_unusable_key_is_passed_over(client: JwksClient, issuer: Issuer, jwk: Any) -> None:
    """RFC 7517 section 5: one key that we cannot use does not spoil the others."""
    issuer.jwks = {"keys": [jwk, *RING.jwks()["keys"]]}
    assert client.find(KID).kid == KID
    with pytest.raises(UnknownKid):
        client.find("x")


def test_threads_that_miss_at_once_cause_one_fetch(client: JwksClient, issuer: Issuer) -> None:
    """Twenty requests at a cold start wait for one fetch."""
    barrier = threading.Barrier(20)

    def find(_number: int) -> str:
        barrier.wait(10)
        return client.find(KID).kid

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(find, range(20))) == {KID}
    assert issuer.jwks_fetches == 1


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers each path with what the test put there."""

    paths: ClassVar[dict[str, tuple[int, dict[str, str], bytes]]] = {}

    def do_GET(self) -> None:
        status, headers, body = self.paths[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def base_url() -> Iterator[str]:
    """A web server on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_document_comes_with_its_cache_lifetime(base_url: str) -> None:
    """`max-age` is read from `Cache-Control`; without it five minutes hold."""
    Answers.paths = {
        "/a": (200, {"Cache-Control": "public, max-age=77"}, b'{"a": 1}'),
        "/b": (200, {}, b"[]"),
    }
    assert fetch_json(f"{base_url}/a") == Fetched({"a": 1}, 77)
    assert fetch_json(f"{base_url}/b") == Fetched([], 300)


@pytest.mark.parametrize(
    "answer",
    [
        (302, {"Location": "/target"}, b""),
        (404, {}, b"{}"),
        (500, {}, b"{}"),
        (200, {}, b"not json"),
        (200, {}, b"[" * 100_000),
        (200, {}, b" " * (MAX_DOCUMENT + 1)),
    ],
    ids=["redirect", "404", "500", "no JSON", "deep", "too large"],
)
def test_an_answer_that_is_no_document_is_a_failed_fetch(
    base_url: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    """Redirects are not followed, sizes are bounded, and every failure is of one kind."""
    Answers.paths = {"/a": answer, "/target": (200, {}, json.dumps(RING.jwks()).encode())}
    with pytest.raises(KeysUnavailable):
        fetch_json(f"{base_url}/a")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://127.0.0.1:1/x",
        "http://127.0.0.1:1/é",
        "http://127.0.0.1:1/a b",
        "http://[::1",
    ],
)
def test_an_address_that_does_not_answer_is_a_failed_fetch(url: str) -> None:
    """Other schemes are not opened at all, and a closed port is told apart from bad keys."""
    with pytest.raises(KeysUnavailable):
        fetch_json(url)
