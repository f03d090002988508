"""Chromium in front of the demo: a real issuer and Redis, and time that a test can move.

    with BrowserWorld(directory) as world:
        ann = world.visitor()          # a browser of her own: cookies, storage, tabs
        tab = ann.signed_in()
        world.moved(1700)              # for the issuer, the gateway and every tab at once
        other = ann.tab()

With `gated=True` pages, issuer and API are behind a real gateway, under its one address;
`callers` puts a real gateway in front of an API that pages of these origins call.

`world.foreign` serves pages of a test's own on another port, under any host of loopback:
`world.foreign.url("evil.localhost")`.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from harness.altered_issuer import read_shift, write_shift
from harness.browser_gateway import BrowserGateway, called_from, in_front_of
from harness.forward_auth import RealGateway
from harness.processes import free_port, monotonic, require_binary
from harness.running_demo import RunningDemo
from playwright.sync_api import (
    BrowserContext,
    Error,
    Page,
    Playwright,
    Request,
    Route,
    sync_playwright,
)

from issuer.accounts import PasswordHasher, PasswordPolicy, SqlAccounts
from issuer.database import open_engine

SWITCHES = (
    "--no-sandbox",  # as root there is no other way; every page is a test's own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = "seven brass kettles whistle"
TIMEOUT_MS = 10_000
IDLE, ABSOLUTE = 1800, 7200
"""Seconds: when a session ends. The second is shorter than the demo's, to be reached sooner."""
QUIET_SECONDS = 5.0
HOLD_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""How far ahead a browser's time is stopped: it runs on until the order has reached every tab.
The next one is for a machine that stood still meanwhile."""
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}


@dataclass(frozen=True, slots=True)
class Person:
    """An account of a test's own."""

    username: str
    password: str
    sub: str


class Foreign:
    """A server on a port of its own that answers what a test gave it."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, bytes, dict[str, str]]] = {}
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and headers of each request."""
        answers, heard = self.answers, self.heard

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                heard.append((self.command, self.path, dict(self.headers)))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                content_type, body, headers = answers.get(path, ("text/plain", b"", {}))
                self.send_response(200 if path in answers else 404)
                for name, value in {"Content-Type": content_type, **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_OPTIONS = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, host: str = "127.0.0.1", path: str = "/") -> str:
        """Its address under a host of loopback; Chromium looks up `*.localhost` by itself."""
        return f"http://{host}:{self.port}{path}"

    def page(self, path: str, html: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer a path with a page."""
        self.answers[path] = ("text/html; charset=utf-8", html.encode(), dict(headers or {}))


class Visitor:
    """One browser profile: its tabs share cookies, storage, locks and channels."""

    def __init__(self, world: BrowserWorld, person: Person, context: BrowserContext) -> None:
        self.world = world
        self.person = person
        self.context = context
        self.problems: list[str] = []
        """What pages complained of: uncaught errors, and refusals of the security policy."""
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        context.on("console", self._note)
        self._held = HOLD_SECONDS[0]
        self._under_way: set[Request] = set()
        context.on("request", self._begins)
        context.on("requestfinished", self._ends)
        context.on("requestfailed", self._ends)

    def _note(self, message: Any) -> None:
        if "Content Security Policy" in message.text or "Trusted" in message.text:
            self.problems.append(message.text)

    def _begins(self, request: Request) -> None:
        self._under_way.add(request)

    def _ends(self, request: Request) -> None:
        self._under_way.discard(request)

    def unwatched(self) -> None:
        """Follow requests no more, so that many of them cost less; time cannot be held then."""
        for event, listener in (
            ("request", self._begins),
            ("requestfinished", self._ends),
            ("requestfailed", self._ends),
        ):
            self.context.remove_listener(event, listener)

    def tab(self, path: str = "/", origin: str | None = None) -> Page:
        """A new tab on the issuer's pages, or on those of another origin."""
        page = self.context.new_page()
        page.goto((origin or self.world.issuer) + path)
        return page

    def tabs(self, count: int, path: str = "/") -> list[Page]:
        """Several tabs at once."""
        return [self.tab(path) for _ in range(count)]

    def sign_in(self, page: Page, password: str | None = None) -> Page:
        """Fill in the form that the page shows, and wait until it is in."""
        page.get_by_label("User name").fill(self.person.username)
        page.get_by_label("Password", exact=True).fill(password or self.person.password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="What the gateway says").wait_for()
        return page

    def signed_in(self) -> Page:
        """A tab in which the person has signed in."""
        return self.sign_in(self.tab())

    def cookies(self) -> dict[str, str]:
        """The cookies that this browser holds, by name; scripts see none of ours."""
        return {str(cookie["name"]): str(cookie["value"]) for cookie in self.context.cookies()}

    # --- time ----------------------------------------------------------------------------------

    def hold(self) -> None:
        """Stop this browser's time, and let what is under way to a server come to its end."""
        pages = self.context.pages
        if not pages:
            return
        for self._held in HOLD_SECONDS:
            now = max(page.evaluate("Date.now()") for page in pages)
            try:
                self.context.clock.pause_at(datetime.fromtimestamp(now / 1000 + self._held, UTC))
                break
            except Error as error:
                if "to the past" not in str(error) or self._held == HOLD_SECONDS[-1]:
                    raise
        self.settle()

    def settle(self) -> None:
        """Let what is under way to a server come to its end, for some seconds at most."""
        end = monotonic() + QUIET_SECONDS
        quiet = 0
        # A request may be about to be sent, so once is not enough.
        while quiet < 3 and monotonic() < end:
            self.context.pages[0].wait_for_timeout(15)
            quiet = 0 if self._under_way else quiet + 1

    def go_on(self, seconds: float) -> None:
        """Let its time go on, so many seconds later; due timers fire once, as after sleep."""
        self.context.clock.fast_forward(int(max(0, seconds - self._held) * 1000))
        self.context.clock.resume()

    def close(self) -> None:
        self.context.close()


@dataclass
class BrowserWorld:
    """One demo, one Chromium, one foreign server; as many browser profiles as a test wants."""

    directory: Path
    options: tuple[str, ...] = ()
    """Further options of `gatepass demo`."""
    absolute: int = ABSOLUTE
    """Seconds from a login to the session's end; 0: as the demo has it, twelve hours."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings in place of the demo's own."""
    mutants: tuple[str, ...] = ()
    """Of those of `altered_issuer`."""
    gated: bool = False
    """Whether a real gateway is in front of issuer, pages and API; `issuer` is its address then."""
    callers: tuple[str, ...] = ()
    """Origins whose pages may call the API of a real gateway, beside those of `foreign`."""
    beside: BrowserWorld | None = None
    """One whose Chromium this one uses; there can be but one Playwright at a time."""
    whole: bool = False
    """Whether Chromium has windows, whose tabs hide each other and come back from its cache. Its
    shell without them, which Playwright takes by itself too, costs half as much."""
    switches: tuple[str, ...] = ()
    """Further switches of Chromium."""
    unwanted: tuple[str, ...] = ()
    """Switches that Playwright would give it."""
    demo: RunningDemo = field(init=False)
    gate: BrowserGateway = field(init=False)
    gateway: RealGateway = field(init=False)
    """With `gated` or `callers`: the gateway, and what is behind it."""
    foreign: Foreign = field(init=False)

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._visitors: list[Visitor] = []
        self._names = itertools.count(1)
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _open(self) -> None:
        self.foreign = self._stack.enter_context(Foreign())
        self.shift_file = self.directory / "shift"
        write_shift(self.shift_file, 0.0)
        # Pages on another port of the same host are of the same site; listed, they may call.
        port = free_port()
        origins = [f"--origin={self.foreign.url().rstrip('/')}"]
        if self.gated:
            origins += [f"--origin=http://{host}:{port}" for host in ("127.0.0.1", "localhost")]
        own = [f"demo-clock={self.shift_file}", f"demo-settings={json.dumps(self.changes)}"]
        own += [f"demo-absolute={self.absolute}"] if self.absolute else []
        self.demo = self._stack.enter_context(
            RunningDemo(
                self.directory / "state",
                *origins,
                *self.options,
                alterations=(*own, *self.mutants),
            )
        )
        self.issuer: str = self.demo.described["base_url"]
        self.api: str = self.demo.described["api_url"]
        if self.gated or self.callers:
            self.gate = self._stack.enter_context(BrowserGateway(self.directory))
            self.gate.follow(self.demo.described, self.shift_file)
        self._open_chromium()
        if self.gated:
            change = in_front_of(int(self.issuer.rpartition(":")[2]))
            self.gateway = self.gate.open("caddy", change, port)
            self.issuer = self.gateway.url
            self.api = self.issuer + "/api"
        elif self.callers:
            change = called_from(self.foreign.url().rstrip("/"), *self.callers)
            self.gateway = self.gate.open("caddy", change)
            self.api = self.gateway.url + "/api"

    def _open_chromium(self) -> None:
        if self.beside is not None:
            self.playwright, self.chromium = self.beside.playwright, self.beside.chromium
            return
        name = "chromium" if self.whole else "chromium-headless-shell"
        self.playwright: Playwright = self._stack.enter_context(sync_playwright())
        self.chromium = self.playwright.chromium.launch(
            executable_path=require_binary(name, name),
            args=[*SWITCHES, *self.switches],
            ignore_default_args=list(self.unwanted),
        )
        self._stack.callback(self.chromium.close)

    def __exit__(self, *_: object) -> None:
        self.forget()
        self._stack.close()

    # --- people ------------------------------------------------------------------------------

    def person(self, password: str = PASSWORD, roles: tuple[str, ...] = ()) -> Person:
        """A new account, its password cheap to check."""
        username = f"person{next(self._names)}"
        engine = open_engine(f"sqlite:///{self.demo.state_dir / 'gatepass.sqlite'}")
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, concurrency=1)
        try:
            accounts = SqlAccounts(engine, hasher, PasswordPolicy(15), lambda: 0.0)
            return Person(username, password, accounts.add(username, password, roles).id)
        finally:
            engine.dispose()

    def visitor(self, person: Person | None = None, **options: Any) -> Visitor:
        """A browser profile; of a new person unless one is given. `options` are Playwright's."""
        context = self.chromium.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
        context.set_default_timeout(TIMEOUT_MS)
        context.clock.install()
        visitor = Visitor(self, person or self.person(), context)
        self.welcome(visitor)
        return visitor

    def welcome(self, visitor: Visitor) -> None:
        """Let time pass for this one, too, and forget it with the others."""
        self._visitors.append(visitor)

    def forget(self) -> None:
        """Close every profile, and bring time back to now."""
        for visitor in self._visitors:
            visitor.close()
        self._visitors.clear()
        write_shift(self.shift_file, 0.0)

    # --- time --------------------------------------------------------------------------------

    def moved(self, seconds: float) -> None:
        """Let time pass for issuer, gateway and every tab; due timers fire once, as after sleep.

        For all at one moment: a request between the two jumps would be answered in another time.
        """
        for visitor in self._visitors:
            visitor.hold()
        self.issuer_moved(seconds)
        for visitor in self._visitors:
            visitor.go_on(seconds)

    def issuer_moved(self, seconds: float) -> None:
        """Let time pass for issuer and gateway alone."""
        write_shift(self.shift_file, read_shift(self.shift_file) + seconds)


@contextmanager
def answers_lost(page: Page, path: str) -> Iterator[list[str]]:
    """Within it, requests to a path reach the issuer and their answers are cut off; lists them."""
    lost: list[str] = []

    def cut(route: Route) -> None:
        route.fetch()
        lost.append(route.request.url)
        route.abort("connectionreset")

    pattern: Callable[[str], bool] = lambda url: url.endswith(path)  # noqa: E731
    page.route(pattern, cut)
    try:
        yield lost
    finally:
        page.unroute(pattern, cut)
