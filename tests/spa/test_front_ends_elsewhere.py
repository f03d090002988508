"""Front ends that are not on the issuer's origin: the examples, run as their first lines say.

The API that they call is behind a real gateway, on an origin of its own.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.axe import is_accessible
from harness.browser import PASSWORD, BrowserWorld, Person, Visitor
from harness.browser_gateway import called_from
from harness.forward_auth import Line, RealGateway
from harness.module_tabs import answers_to, families_of, take_back
from harness.processes import Process, free_port, require_binary, short_directory, until
from harness.web import Answer, ask, connect, read
from playwright.sync_api import Page, expect

SPA = Path(__file__).resolve().parent.parent.parent / "spa"
EXAMPLES = SPA / "examples"
ISSUER_COOKIE = "__Host-gatepass_refresh"
BACK_END_COOKIE = "__Host-app_session"
NEW_PASSWORD = "forty purple lanterns adrift"
TOKEN_ENDS = 290
FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"Origin": "http://evil.example"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"},
)


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    """Where each example's server listens."""
    return {name: free_port() for name in ("cross-site", "plain", "bff", "dev")}


@contextmanager
def served(
    program: Path, port: int, issuer: str, api: str, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """An example's server, run as its first lines say; its address."""
    node = require_binary("node", "nodejs")
    with Process([node, str(program), str(port), issuer, api], env=env) as server:
        server.wait_for_line("^open ")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def world(ports: dict[str, int]) -> Iterator[BrowserWorld]:
    """An issuer that lists the origins of two examples, and their servers."""
    hosts = ("127.0.0.1", "localhost")
    origins = [f"http://{host}:{ports['cross-site']}" for host in hosts]
    origins.append(f"http://127.0.0.1:{ports['plain']}")
    origins.append(f"http://localhost:{ports['dev']}")
    listed = tuple(f"--origin={origin}" for origin in origins)
    directory = short_directory("gp-apart-")
    with (
        BrowserWorld(directory, listed, callers=tuple(origins)) as running,
        ExitStack() as servers,
    ):
        for name in ("cross-site", "plain"):
            program = EXAMPLES / name / "server.mjs"
            servers.enter_context(served(program, ports[name], running.issuer, running.api))
        yield running
    shutil.rmtree(directory)


def confidential(world: BrowserWorld) -> dict[str, str]:
    """The environment that makes a back end the demo's confidential client."""
    described = world.demo.described
    return {
        "CLIENT_ID": described["introspection_client_id"],
        "CLIENT_SECRET": described["introspection_client_secret"],
    }


@pytest.mark.parametrize("name", ["cross-site", "plain", "bff"])
def test_a_port_that_is_taken_is_said_in_one_line(name: str) -> None:
    """No stack of calls, and an exit code that says so."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        node = require_binary("node", "nodejs")
        argv = [node, str(EXAMPLES / name / "server.mjs"), port]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    said = f"port {port} is taken: name another as the first argument\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def breaks_off(listening: socket.socket) -> None:
    """Answer one request with a head and the first letter of a body, and hang up."""
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def test_an_api_that_breaks_off_takes_nobody_s_session_along() -> None:
    """The back end says 503 and lives on, with all that it holds in memory."""
    program = EXAMPLES / "bff" / "server.mjs"
    with socket.create_server(("127.0.0.1", 0)) as api:
        thread = threading.Thread(target=breaks_off, args=(api,), daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{api.getsockname()[1]}"
        with served(program, free_port(), address, address) as url:
            answer = ask("GET", f"{url}/api")
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert ask("GET", url).status == 200
        thread.join(timeout=10)


@dataclass
class BackEnd:
    """A back end's server, the demo behind it, and the line between them."""

    world: BrowserWorld
    url: str
    line: Line

    def caller(self) -> Caller:
        return Caller(self.url)


class Caller:
    """A page of the back end's as HTTP: what a browser sends, and the cookie that it keeps."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookie = ""
        self.token = ""

    @property
    def headers(self) -> dict[str, str]:
        own = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        return {**own, "Cookie": self.cookie} if self.cookie else own

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        token = self.token or None
        answer = ask(method, self.url + path, json_body=body, headers=self.headers, token=token)
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        if answer.status == 200 and "access_token" in answer.json:
            self.token = answer.json["access_token"]
        return answer

    def login(self, person: Person) -> Answer:
        body = {"username": person.username, "password": person.password}
        return self.ask("POST", "/login", body)

    def change(self, person: Person) -> Answer:
        body = {"current_password": person.password, "new_password": NEW_PASSWORD}
        return self.ask("POST", "/password", body)


@pytest.fixture(scope="module")
def back_end(world: BrowserWorld, ports: dict[str, int]) -> Iterator[BackEnd]:
    """The back end as a confidential client, its line to the issuer one that can be cut."""
    program = EXAMPLES / "bff" / "server.mjs"
    with (
        Line(int(world.issuer.rpartition(":")[2])) as line,
        served(
            program, ports["bff"], f"http://127.0.0.1:{line.port}", world.api, confidential(world)
        ) as url,
    ):
        yield BackEnd(world, url, line)


def sign_in(page: Page, visitor: Visitor) -> None:
    """Fill in an example's form."""
    page.get_by_label("User name").fill(visitor.person.username)
    page.get_by_label("Password").fill(visitor.person.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Call the API")).to_be_visible()


def api_answers(page: Page, words: str = "200") -> None:
    """Press the button that calls the API, and read what came."""
    page.get_by_role("button", name="Call the API").click()
    expect(page.get_by_role("status")).to_contain_text(words)


def lives_through_it_all(visitor: Visitor, origin: str) -> Page:
    """Sign in, call, outlive a token and a reload; the page is left signed in."""
    page = visitor.tab(origin=origin)
    is_accessible(page)
    sign_in(page, visitor)
    api_answers(page)
    is_accessible(page)
    with page.expect_response("**/refresh"):
        visitor.world.moved(TOKEN_ENDS)
    api_answers(page)
    page.reload()
    api_answers(page)
    assert visitor.problems == []
    return page


def signs_out(page: Page) -> None:
    """The button signs out, and a reload does not bring the session back."""
    with page.expect_response("**/logout"):
        page.get_by_role("button", name="Sign out").click()
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_front_end_on_the_issuer_s_site_uses_the_cookie(
    ann: Visitor, ports: dict[str, int]
) -> None:
    """Another origin of the same site, listed: the cookie goes along, and everything works."""
    page = lives_through_it_all(ann, f"http://127.0.0.1:{ports['cross-site']}")
    assert set(ann.cookies()) == {ISSUER_COOKIE}
    signs_out(page)


def test_a_token_that_was_taken_back_is_replaced_once_across_origins(
    ann: Visitor, world: BrowserWorld, ports: dict[str, int]
) -> None:
    """The gateway's refusal can be read there: one refresh, and the call goes through."""
    page = ann.tab(origin=f"http://127.0.0.1:{ports['cross-site']}")
    with page.expect_response("**/login") as login:
        sign_in(page, ann)
    take_back(world, login.value.json()["access_token"])
    heard = answers_to(page)
    with page.expect_response("**/refresh") as refresh:
        api_answers(page)
    assert heard == [("/api", 401), ("/refresh", 200), ("/api", 200)]
    assert refresh.value.json()["session"]["sid"] == login.value.json()["session"]["sid"]


def test_a_front_end_on_another_site_gets_no_cookie(ann: Visitor, ports: dict[str, int]) -> None:
    """`SameSite=Strict` keeps the cookie away, listed or not: a reload ends the session there."""
    page = ann.tab(origin=f"http://localhost:{ports['cross-site']}")
    sign_in(page, ann)
    api_answers(page)
    assert ann.cookies() == {}
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_development_server_on_localhost_calls_the_issuer_by_that_name(
    ann: Visitor, world: BrowserWorld, ports: dict[str, int]
) -> None:
    """As docs/spa.md has it: both are `localhost`, and a reload keeps the session."""
    issuer = world.issuer.replace("127.0.0.1", "localhost")
    program = EXAMPLES / "cross-site" / "server.mjs"
    with served(program, ports["dev"], issuer, f"{issuer}/api"):
        page = ann.tab(origin=f"http://localhost:{ports['dev']}")
        sign_in(page, ann)
        api_answers(page)
        page.reload()
        api_answers(page)
    assert set(ann.cookies()) == {ISSUER_COOKIE}
    assert ann.problems == []


def test_a_page_of_an_unlisted_origin_gets_nothing(ann: Visitor, ports: dict[str, int]) -> None:
    """Its browser does not even send the login."""
    page = ann.tab(origin=f"http://app.localhost:{ports['cross-site']}")
    page.get_by_label("User name").fill(ann.person.username)
    page.get_by_label("Password").fill(ann.person.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("no answer")
    assert ann.cookies() == {}


def test_the_plain_example_signs_in_and_out(ann: Visitor, ports: dict[str, int]) -> None:
    """A wrong password is said so; then the API's answer, also after a reload the inside."""
    page = ann.tab(origin=f"http://127.0.0.1:{ports['plain']}")
    page.get_by_label("User name").fill(ann.person.username)
    for password in ("not the password", ann.person.password):
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        if password != ann.person.password:
            expect(page.get_by_role("alert")).to_have_text("Wrong name or password.")
            is_accessible(page)
    expect(page.locator("#answer")).to_contain_text(ann.person.sub)
    is_accessible(page)
    expect(page.get_by_role("button", name="Stay signed in")).to_be_hidden()
    page.reload()
    expect(page.locator("#answer")).to_contain_text(ann.person.sub)
    assert ann.problems == []
    ann.context.set_offline(True)
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    # The network's failure is in the console; an error that nobody caught is not.
    assert [problem for problem in ann.problems if "no answer" in problem] == []
    ann.context.set_offline(False)
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


# --- a back end of its own ---------------------------------------------------------------------


def other_name(back_end: BackEnd) -> str:
    """The back end's origin on another site than the issuer's."""
    return back_end.url.replace("127.0.0.1", "localhost")


def test_a_back_end_of_its_own_mediates(ann: Visitor, back_end: BackEnd) -> None:
    """On whatever site it is: the browser holds that back end's cookie, and no refresh token."""
    page = lives_through_it_all(ann, other_name(back_end))
    assert set(ann.cookies()) == {BACK_END_COOKIE}
    [cookie] = ann.context.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    signs_out(page)
    assert ann.cookies() == {}


# A session of the module's beside the page's own; they share their state, as two tabs do.
MODULE = """async () => {
  const { createSession } = await import("/spa/src/index.js");
  window.session = createSession({ issuer: location.origin });
  await session.ready;
}"""
CHANGE = "([old, new_]) => session.changePassword({currentPassword: old, newPassword: new_})"


def test_devices_and_password_go_through_the_back_end(ann: Visitor, back_end: BackEnd) -> None:
    """The module, unchanged: another device is signed out, and after a change only this one is in.

    A change of the password gives the cookie a new name (ASVS 7.2.4).
    """
    pages = []
    for visitor in (ann, *(back_end.world.visitor(ann.person) for _ in range(2))):
        pages.append(visitor.tab(origin=other_name(back_end)))
        sign_in(pages[-1], visitor)
        pages[-1].evaluate(MODULE)
    mine, _, third = pages
    sids = [page.evaluate("session.state.sid") for page in pages]
    listed = mine.evaluate("session.sessions()")
    assert {each["sid"]: each["current"] for each in listed} == dict(
        zip(sids, (True, False, False), strict=True)
    )
    mine.evaluate("sid => session.endSession(sid)", sids[1])
    out = "session.stayActive().catch(() => {}).then(() => session.state.status)"
    assert [page.evaluate(out) for page in pages] == ["signedIn", "signedOut", "signedIn"]
    name = ann.cookies()[BACK_END_COOKIE]
    mine.evaluate(CHANGE, [PASSWORD, NEW_PASSWORD])
    assert ann.cookies()[BACK_END_COOKIE] != name
    assert mine.evaluate("session.state.sid") != sids[0]
    assert [page.evaluate(out) for page in (mine, third)] == ["signedIn", "signedOut"]
    expect(third.get_by_role("button", name="Sign in")).to_be_visible()
    mine.reload()
    api_answers(mine)
    mine.evaluate(MODULE)
    assert [each["current"] for each in mine.evaluate("session.sessions()")] == [True]


def test_the_back_end_never_shows_the_refresh_token(ann: Visitor, back_end: BackEnd) -> None:
    """Neither in a login's nor in a refresh's answer; the page talks to no one else."""
    page = ann.context.new_page()
    heard: list[str] = []
    page.on("response", lambda answer: heard.append(answer.url))
    origin = other_name(back_end)
    page.goto(origin)
    with page.expect_response("**/login") as login:
        sign_in(page, ann)
    answers = [login.value.json()]
    with page.expect_response("**/refresh") as refresh:
        page.reload()
    answers.append(refresh.value.json())
    for answer in answers:
        assert "access_token" in answer
        assert "refresh_token" not in answer
    assert {url.split("/")[2] for url in heard} == {origin.split("/")[2]}


def test_the_back_end_takes_its_own_pages_requests_alone(back_end: BackEnd) -> None:
    """As the issuer in cookie mode does, whatever cookie goes along."""
    own = back_end.caller()
    own.login(back_end.world.person()).granted()
    for headers in FOREIGN:
        for path in ("/login", "/refresh", "/logout", "/password"):
            sent = {"Cookie": own.cookie, **headers}
            answer = ask("POST", back_end.url + path, json_body={}, headers=sent)
            answer.refused(403, "access_denied")
    own.ask("POST", "/refresh", {}).granted()


def client_of(answer: dict[str, Any]) -> str:
    """The client that an access token names."""
    part = answer["access_token"].split(".")[1]
    named: str = json.loads(base64.urlsafe_b64decode(part + "=="))["client_id"]
    return named


def test_the_back_end_proves_which_client_it_is(back_end: BackEnd) -> None:
    """With the secret it signs in, refreshes and changes passwords; without it nobody does."""
    world, person = back_end.world, back_end.world.person()
    client_id = confidential(world)["CLIENT_ID"]
    world.demo.site.login(person.username, PASSWORD, client_id=client_id).refused(
        401, "invalid_client"
    )
    own = back_end.caller()
    for answer in (own.login(person), own.ask("POST", "/refresh", {}), own.change(person)):
        assert client_of(answer.granted()) == client_id
    program = EXAMPLES / "bff" / "server.mjs"
    wrong = {**confidential(world), "CLIENT_SECRET": "another"}
    with served(program, free_port(), world.issuer, world.api, wrong) as url:
        Caller(url).login(person).refused(401, "invalid_client")
    with served(program, free_port(), world.issuer, world.api) as url:
        assert client_of(Caller(url).login(world.person()).granted()) == "demo"


def one_refresh_at_a_time(back_end: BackEnd) -> None:
    """Twelve that ask while one is under way get one token; the issuer makes a new one for each."""
    own = back_end.caller()
    first = own.login(back_end.world.person()).granted()["access_token"]
    back_end.world.demo.process.pause()
    connections = [connect(back_end.url) for _ in range(12)]
    try:
        for connection in connections:
            sent = {**own.headers, "Content-Type": "application/json"}
            connection.request("POST", "/refresh", b"{}", sent)
        # Whoever came before this has been heard.
        assert ask("GET", back_end.url).status == 200
    finally:
        back_end.world.demo.process.resume()
    tokens = {read(connection).granted()["access_token"] for connection in connections}
    for connection in connections:
        connection.close()
    assert len(tokens) == 1
    assert own.ask("POST", "/refresh", {}).granted()["access_token"] not in {first, *tokens}


def no_answer_ends_nothing(back_end: BackEnd) -> None:
    """While the issuer cannot be reached: 503, and afterwards everything is as it was."""
    own, person = back_end.caller(), back_end.world.person()
    own.login(person).granted()
    before = own.cookie
    back_end.line.cut()
    try:
        for method, path, body in (
            ("POST", "/refresh", {}),
            ("POST", "/logout", {}),
            ("GET", "/sessions", None),
        ):
            answer = own.ask(method, path, body)
            assert (answer.status, answer.headers.get("retry-after")) == (503, "1"), path
        assert own.change(person).status == 503
        assert own.login(person).status == 503
        assert own.cookie == before
    finally:
        back_end.line.mend()
    own.ask("POST", "/refresh", {}).granted()
    own.ask("POST", "/logout", {}).granted()
    own.ask("POST", "/refresh", {}).refused(400, "invalid_grant")


def a_login_has_a_name_of_its_own(back_end: BackEnd) -> None:
    """Neither a planted name nor the one before is taken on (ASVS 7.2.4)."""
    own, person = back_end.caller(), back_end.world.person()
    planted = own.cookie = f"{BACK_END_COOKIE}={'A' * 43}"
    own.login(person).granted()
    first = own.cookie
    own.login(person).granted()
    assert len({planted, first, own.cookie}) == 3
    for name in (planted, first):
        other = back_end.caller()
        other.cookie = name
        other.ask("POST", "/refresh", {}).refused(400, "invalid_grant")
    own.ask("POST", "/refresh", {}).granted()


PROMISES: tuple[Callable[[BackEnd], None], ...] = (
    one_refresh_at_a_time,
    no_answer_ends_nothing,
    a_login_has_a_name_of_its_own,
)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_back_end_keeps_its_promises(
    back_end: BackEnd, promise: Callable[[BackEnd], None]
) -> None:
    """One refresh at a time, no end without the issuer's word, a fresh name at each login."""
    promise(back_end)


@pytest.mark.parametrize(
    ("old", "new", "promise"),
    [
        ("record.flight ??=", "record.flight =", one_refresh_at_a_time),
        (": 503", ": 400", no_answer_ends_nothing),
        (
            'const answer = await ask("/logout"',
            'held.delete(id); const answer = await ask("/logout"',
            no_answer_ends_nothing,
        ),
        ("const id = random", "const id = idOf(request) ?? random", a_login_has_a_name_of_its_own),
        ("held.delete(idOf(request));", "", a_login_has_a_name_of_its_own),
    ],
)
def test_a_back_end_that_keeps_less_is_noticed(
    back_end: BackEnd, tmp_path: Path, old: str, new: str, promise: Callable[[BackEnd], None]
) -> None:
    """The mistakes that these checks are there for."""
    (tmp_path / "examples" / "bff").mkdir(parents=True)
    for name in ("serve.mjs", "bff/index.html"):
        shutil.copy(EXAMPLES / name, tmp_path / "examples" / name)
    text = (EXAMPLES / "bff" / "server.mjs").read_text("utf-8")
    assert text.count(old) == 1
    program = tmp_path / "examples" / "bff" / "server.mjs"
    program.write_text(text.replace(old, new), "utf-8")
    issuer = f"http://127.0.0.1:{back_end.line.port}"
    with served(program, free_port(), issuer, back_end.world.api) as url:
        careless = BackEnd(back_end.world, url, back_end.line)
        with pytest.raises(AssertionError):
            promise(careless)


# --- React and Vue ------------------------------------------------------------------------------

ENTRIES = {"react": "main.tsx", "vue": "main.js"}
BUNDLED = (
    "--bundle",
    "--format=esm",
    "--jsx=automatic",
    "--alias:gatepass-spa=./src/index.js",
    '--define:process.env.NODE_ENV="production"',
    "--define:__VUE_OPTIONS_API__=false",
    "--define:__VUE_PROD_DEVTOOLS__=false",
    "--define:__VUE_PROD_HYDRATION_MISMATCH_DETAILS__=false",
)
# Counts the frames at which a form can be seen.
WATCH_FORM = """
window.formSeen = 0;
(function look() {
  if (document.querySelector("form")?.checkVisibility()) window.formSeen += 1;
  requestAnimationFrame(look);
})();
"""


@pytest.fixture(scope="module", params=ENTRIES)
def app(request: pytest.FixtureRequest, world: BrowserWorld) -> str:
    """The address of an example, bundled as an app is, with this issuer and this API in it."""
    entry = EXAMPLES / request.param / ENTRIES[request.param]
    esbuild = SPA / "node_modules" / "esbuild" / "bin" / "esbuild"
    argv = [str(esbuild), str(entry), *BUNDLED]
    done = subprocess.run(argv, cwd=SPA, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    code = done.stdout
    real = (world.demo.described["base_url"], world.gateway.url)
    for documented, ours in zip(("https://id.example", "https://api.example"), real, strict=True):
        assert documented in code
        code = code.replace(documented, ours)
    policy = f"default-src 'none'; script-src 'self'; connect-src {' '.join(real)}"
    page = entry.with_name("index.html").read_text("utf-8")
    path = f"/{request.param}/"
    world.foreign.page(path, page, {"Content-Security-Policy": policy})
    world.foreign.answers[f"{path}main.js"] = ("text/javascript", code.encode(), {})
    return world.foreign.url(path=path)


def test_the_react_and_vue_examples_run(ann: Visitor, world: BrowserWorld, app: str) -> None:
    """Sign in, see who one is, reload without the form, sign out; under a strict policy."""
    page = ann.context.new_page()
    page.add_init_script(WATCH_FORM)
    page.goto(app)
    button = page.get_by_role("button", name="Sign in")
    page.get_by_label("User name").fill(ann.person.username)
    page.get_by_label("Password").fill("not the password at all")
    button.click()
    expect(page.get_by_role("alert")).to_have_text("That did not work.")
    is_accessible(page)
    page.get_by_label("Password").fill(ann.person.password)
    button.click()
    who = page.get_by_text(f"You are {ann.person.sub}")
    expect(who).to_be_visible()
    is_accessible(page)
    assert page.evaluate("window.formSeen") > 0
    page.reload()
    expect(who).to_be_visible()
    assert page.evaluate("window.formSeen") == 0
    with page.expect_response("**/refresh"):
        world.moved(TOKEN_ENDS)
    page.get_by_role("button", name="Sign out").click()
    expect(button).to_be_visible()
    page.reload()
    expect(button).to_be_visible()
    # Signed out at once; the issuer may be told by the next page only.
    for _ in until(30, "the session's end"):
        if families_of(world, ann.person.sub) == []:
            break
    assert ann.problems == []


# --- the gateway in front of the API ------------------------------------------------------------

# What a page of another origin gets to see of a call; an error where the browser keeps it.
CALL = """
async ({url, token}) => {
  try {
    const answer = await fetch(url, {headers: {Authorization: `Bearer ${token}`}});
    return [answer.status, answer.headers.get("WWW-Authenticate")];
  } catch (error) {
    return [error.name];
  }
}
"""
PREFLIGHT = {
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "authorization",
}


@pytest.fixture(scope="module")
def gateways(world: BrowserWorld) -> dict[str, RealGateway]:
    """Caddy and nginx with the page's origin listed, and a Caddy that answers no preflight."""
    listed = called_from(world.foreign.url().rstrip("/"))
    mute = world.gate.open("caddy", lambda text: listed(text).replace("respond @question 204", ""))
    return {"caddy": world.gateway, "nginx": world.gate.open("nginx", listed), "mute": mute}


@pytest.fixture
def page(ann: Visitor, world: BrowserWorld) -> Page:
    """A page of a listed origin; the service has its keys, whatever leap of time was before."""
    world.gate.service.wait_ready()
    world.foreign.page("/app", "<!doctype html><title>An app</title>")
    page = ann.context.new_page()
    page.goto(world.foreign.url(path="/app"))
    return page


@pytest.mark.parametrize("name", ["caddy", "nginx"])
def test_a_preflight_is_the_gateway_s_to_answer(
    page: Page, ann: Visitor, world: BrowserWorld, gateways: dict[str, RealGateway], name: str
) -> None:
    """A listed page calls, and reads refusals too; the preflight goes to nobody behind."""
    backend, gateway = world.gate.backend, gateways[name]
    login = world.demo.site.login(ann.person.username, ann.person.password).granted()
    for path in ("/hello", "/orders/1"):
        before = len(backend.seen)
        call = {"url": gateway.url + path, "token": login["access_token"]}
        found = page.evaluate(CALL, call)
        if path == "/hello":
            assert found == [200, None]
            [seen] = backend.seen[before:]
            assert seen.method == "GET"
            assert seen.all("X-Gatepass-Subject") == [ann.person.sub]
        else:
            assert found[0] == 403
            assert 'scope="orders:write"' in found[1]
        status, challenge = page.evaluate(CALL, {**call, "token": "of.bad.news"})
        assert (status, 'error="invalid_token"' in challenge) == (401, True)


@pytest.mark.parametrize("name", ["caddy", "nginx"])
def test_a_preflight_of_another_origin_is_not_answered(
    world: BrowserWorld, gateways: dict[str, RealGateway], name: str
) -> None:
    """It is refused like any request without a token; so is an OPTIONS that is no preflight."""
    gateway, listed = gateways[name], world.foreign.url().rstrip("/")
    before = len(world.gate.backend.seen)
    good = gateway.ask("/hello", method="OPTIONS", headers={"Origin": listed, **PREFLIGHT})
    assert good.status == 204
    assert good.headers["access-control-allow-origin"] == listed
    assert "DELETE" in good.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in good.headers
    assert good.headers["vary"] == "Origin"
    for headers in (
        {"Origin": "https://evil.example", **PREFLIGHT},
        {"Origin": listed + "0", **PREFLIGHT},
        {"Origin": "null", **PREFLIGHT},
        {"Origin": listed},
        PREFLIGHT,
    ):
        bad = gateway.ask("/hello", method="OPTIONS", headers=headers)
        assert bad.status == 401
        assert bad.headers.get("access-control-allow-origin") in {None, headers.get("Origin")}
        assert "access-control-allow-methods" not in bad.headers
        if headers.get("Origin") != listed:
            assert "access-control-allow-origin" not in bad.headers
    assert world.gate.backend.seen[before:] == []


def test_the_demo_s_own_api_takes_no_cookies(world: BrowserWorld, ports: dict[str, int]) -> None:
    """Listed pages may ask it and read its refusals; credentials are never let along."""
    page = {"Origin": f"http://127.0.0.1:{ports['cross-site']}"}
    for method, headers, status in (
        ("OPTIONS", {**page, **PREFLIGHT}, 204),
        ("GET", page, 401),
    ):
        answer = ask(method, world.demo.described["api_url"], headers=headers)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == page["Origin"]
        assert "access-control-allow-credentials" not in answer.headers


def test_a_gateway_that_knows_no_preflight_keeps_every_page_out(
    page: Page, ann: Visitor, world: BrowserWorld, gateways: dict[str, RealGateway]
) -> None:
    """The mutant of the tests above: without that line the browser sends nothing."""
    login = world.demo.site.login(ann.person.username, ann.person.password).granted()
    call = {"url": gateways["mute"].url + "/hello", "token": login["access_token"]}
    assert page.evaluate(CALL, call) == ["TypeError"]
