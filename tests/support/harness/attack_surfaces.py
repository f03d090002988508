"""The places that take tokens, each as something that takes or refuses one.

surface.takes(token)          whether an honest token passes
surface.wrong_with(token)     what is wrong with a refusal; empty for one in order
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote_from_bytes

from harness.attack_material import AUDIENCE, Material, decryption_keys
from harness.attack_table import Place
from harness.forward_auth import ForwardAuthService
from harness.issuer_app import claims_of
from harness.issuer_process import FORM, HOST, IssuerFleet, introspection_headers
from harness.processes import Process, monotonic
from harness.web import Answer, read

from gateway import Verifier
from issuer.http.body import LONGEST_TEXT
from revocation import TokenRevoked
from tokens import Recipient, TokenError

SECONDS = 20.0
"""For one answer on a busy machine; a work factor of the token's choice would take minutes."""
MEGABYTES = 48
"""By which a process may grow in the course of all attacks; what one may take is measured in
tests/attacks/test_attack_verdicts.py."""
REFUSALS = frozenset({400, 401, 413, 431})
_ILLEGAL_IN_HEADER = re.compile(rb"[\r\n]")


class Surface(ABC):
    """One place."""

    place: Place

    @abstractmethod
    def takes(self, token: str) -> bool:
        """Whether it accepts a token."""

    @abstractmethod
    def wrong_with(self, token: str) -> str:
        """What is wrong with its refusal of a token."""

    def can_be_asked(self, token: str) -> bool:
        """Whether such a token can be sent there at all."""
        return True


class VerifierSurface(Surface):
    """A gateway's verifier, asked both ways."""

    place = Place.VERIFIER

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.close()

    def takes(self, token: str) -> bool:
        return self.wrong_with(token) != ""

    def wrong_with(self, token: str) -> str:
        found = []
        for ask in (self._verifier.verify, self._verify_asynchronously):
            try:
                ask(token)
                found.append("taken")
            except (TokenError, TokenRevoked) as refusal:
                if len(token) > 10 and token in str(refusal):
                    found.append("quotes the token")
        return ", ".join(found)

    def _verify_asynchronously(self, token: str) -> Any:
        return self._loop.run_until_complete(self._verifier.averify(token))


class HttpSurface(Surface):
    """A place behind HTTP, over one connection that is kept alive."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @abstractmethod
    def request(self, token: str) -> tuple[str, str, bytes, Mapping[str, Any]]:
        """Method, path, body and headers."""

    @abstractmethod
    def judge(self, token: str, answer: Answer) -> str:
        """What is wrong with a refusal."""

    def ask(self, token: str) -> Answer:
        """One request; a server may have closed the connection after the last one."""
        for again in (True, False):
            if self._connection is None:
                self._connection = http.client.HTTPConnection(HOST, self._port, timeout=60)
            try:
                self._connection.request(*self.request(token))
                answer = read(self._connection)
            except (http.client.RemoteDisconnected, ConnectionError):
                self.close()
                if not again:
                    raise
                continue
            if answer.headers.get("connection") == "close":
                self.close()
            return answer
        raise AssertionError

    def takes(self, token: str) -> bool:
        return self.ask(token).status == 200

    def wrong_with(self, token: str) -> str:
        began = monotonic()
        answer = self.ask(token)
        took = monotonic() - began
        if took > SECONDS:
            return f"took {took:.1f} s"
        if len(token) > 10 and token.encode("utf-8", "surrogatepass") in answer.content:
            return "quotes the token"
        return self.judge(token, answer)


class BearerSurface(HttpSurface):
    """A bearer token in a header."""

    def __init__(self, place: Place, port: int, path: str) -> None:
        super().__init__(port)
        self.place = place
        self._path = path

    def can_be_asked(self, token: str) -> bool:
        # Spaces around a header's value are HTTP's (RFC 9110 section 5.5, RFC 6750 section 2.1).
        return token == token.strip(" ") and _ILLEGAL_IN_HEADER.search(_octets(token)) is None

    def request(self, token: str) -> tuple[str, str, bytes, Mapping[str, Any]]:
        return "GET", self._path, b"", {"Authorization": b"Bearer " + _octets(token)}

    def judge(self, token: str, answer: Answer) -> str:
        if answer.status not in REFUSALS:
            return f"status {answer.status}"
        if answer.status == 401 and not answer.headers["www-authenticate"].startswith("Bearer"):
            return "no challenge"
        return ""


class RefreshSurface(HttpSurface):
    """A refresh token in a body."""

    place = Place.REFRESH

    def request(self, token: str) -> tuple[str, str, bytes, Mapping[str, Any]]:
        body = json.dumps({"refresh_token": token}).encode()
        return "POST", "/refresh", body, {"Content-Type": "application/json"}

    def judge(self, token: str, answer: Answer) -> str:
        if answer.status not in {400, 413}:
            return f"status {answer.status}"
        error = answer.json["error"]
        return "" if error in {"invalid_grant", "invalid_request"} else f"error {error}"


class IntrospectionSurface(HttpSurface):
    """A token that a resource server asks about (RFC 7662 section 2.2)."""

    place = Place.INTROSPECTION

    def request(self, token: str) -> tuple[str, str, bytes, Mapping[str, Any]]:
        body = f"token={quote_from_bytes(_octets(token))}".encode()
        return "POST", "/introspect", body, introspection_headers()

    def takes(self, token: str) -> bool:
        return bool(self.ask(token).granted()["active"])

    def judge(self, token: str, answer: Answer) -> str:
        if not token or len(token) > LONGEST_TEXT or not _is_text(token):
            # No token was given, or none that could be one: a bad request.
            return "" if answer.status in {400, 413} else f"status {answer.status}"
        if answer.status != 200:
            return f"status {answer.status}"
        return "" if answer.json == {"active": False} else "says more than that it is inactive"


def _octets(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")


def _is_text(token: str) -> bool:
    try:
        token.encode()
    except UnicodeEncodeError:
        return False
    return True


class EndingSurface(HttpSurface):
    """An endpoint that ends what a token is of, and has nothing to end for one that is none."""

    def __init__(self, port: int, path: str, kind: str, body: Callable[[str], bytes]) -> None:
        super().__init__(port)
        self._path = path
        self._kind = kind
        self._body = body

    def request(self, token: str) -> tuple[str, str, bytes, Mapping[str, Any]]:
        return "POST", self._path, self._body(token), {"Content-Type": self._kind}

    def judge(self, token: str, answer: Answer) -> str:
        """RFC 7009 section 2.2: a token that is none is no error; a sealed one is not our kind."""
        return "" if answer.status in {200, 400, 413} else f"status {answer.status}"


def revocation_surface(port: int) -> EndingSurface:
    """RFC 7009, asked by nobody in particular."""
    return EndingSurface(
        port, "/revoke", FORM, lambda token: f"token={quote_from_bytes(_octets(token))}".encode()
    )


def logout_surface(port: int) -> EndingSurface:
    """The end of a refresh token's session."""
    return EndingSurface(
        port,
        "/logout",
        "application/json",
        lambda token: json.dumps({"refresh_token": token}).encode(),
    )


class Deployment:
    """An issuer, a gateway beside it and a verifier, in step, with all that is known of both."""

    def __init__(self, directory: Path, redis_url: str, trap: str) -> None:
        self._directory = directory
        self._redis_url = redis_url
        self._trap = trap
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.fleet = stack.enter_context(_fleet(self._directory, self._redis_url))
            self.fleet.add_account(USERNAME, PASSWORD)
            recipients = self._directory / "recipients.json"
            recipients.write_text(json.dumps({"keys": list(decryption_keys())}))
            recipients.chmod(0o600)
            self.gateway = stack.enter_context(
                ForwardAuthService(
                    self.fleet.url,
                    self._redis_url,
                    "--max-staleness",
                    "60",
                    "--recipients",
                    str(recipients),
                    audience=AUDIENCE,
                )
            )
            verifier = Verifier(
                issuer=self.fleet.url,
                audience=AUDIENCE,
                denylist=self._redis_url,
                heartbeat_interval=0.25,
                max_staleness=60,
                recipients={jwk["kid"]: Recipient.from_jwk(jwk) for jwk in decryption_keys()},
            )
            self.verifier = stack.enter_context(verifier)
            assert verifier.replica.wait_in_step(60)
            self.gateway.wait_ready()
            port = self.fleet.issuers[0].port
            surfaces: list[VerifierSurface | HttpSurface] = [
                VerifierSurface(verifier),
                BearerSurface(Place.GATEWAY, self.gateway.port, "/verify"),
                BearerSurface(Place.ISSUER, port, "/sessions"),
                RefreshSurface(port),
                IntrospectionSurface(port),
            ]
            self.surfaces = {surface.place: surface for surface in surfaces}
            for surface in surfaces:
                stack.callback(surface.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def login(self, **fields: str) -> dict[str, Any]:
        """The tokens of a new session."""
        body = {"username": USERNAME, "password": PASSWORD, "transport": "body", **fields}
        return self.fleet.issuers[0].ask("/login", body).granted()

    def material(self) -> Material:
        """What there is to know after one more login."""
        granted = self.login()
        claims = {**claims_of(granted["access_token"]), "roles": ["editor"]}
        return Material(
            self.fleet.url,
            self.fleet._ring,
            claims,
            self.fleet.opened(granted["refresh_token"]),
            claims["iat"],
            trap=self._trap,
        )

    # --- what attacks must leave as it is ----------------------------------------------------

    def processes(self) -> dict[str, int]:
        """The resident memory of each process, in megabytes, by name and process id."""
        parents = {"issuer": self.fleet.issuers[0].process, "gateway": self.gateway.process}
        return {
            f"{name} {pid}": _resident(pid)
            for name, process in parents.items()
            for pid in _family(process)
        }

    def log(self) -> str:
        """All that the issuer and the gateway have logged."""
        return self.fleet.issuers[0].process.stderr() + self.gateway.process.stderr()


USERNAME = "mallory@example.org"
PASSWORD = "seven violet otters juggle 91"


@contextmanager
def _fleet(directory: Path, redis_url: str) -> Iterator[IssuerFleet]:
    fleet = IssuerFleet(
        f"sqlite:///{directory}/issuer.db",
        redis_url,
        directory / "fleet",
        size=1,
        settings={
            "GATEPASS_WORKERS": "1",
            "GATEPASS_LOG_LEVEL": "DEBUG",
            "GATEPASS_ALGORITHMS": json.dumps(["ES256", "EdDSA", "PS256", "RS256"]),
        },
    )
    with fleet:
        yield fleet


def _family(process: Process) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [process.pid, *map(int, children)]


def _resident(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        status = Path(f"/proc/{pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) // 1024
    return 0


def honest_tokens(place: Place, m: Material) -> dict[str, str]:
    """A token of each kind that this place takes, by name."""
    if place is Place.REFRESH:
        return {"refresh": m.refresh()}
    tokens = {key.alg: m.token(key.alg) for key in m.ring.keys if key.public is not None}
    if place in {Place.VERIFIER, Place.GATEWAY}:
        tokens |= {suite: m.sealed(suite=suite) for suite in m.recipients}
    if place is Place.INTROSPECTION:
        tokens["refresh"] = m.refresh()
    return tokens
