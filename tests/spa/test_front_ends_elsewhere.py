"""Front ends that are not on the issuer's origin: the examples, run as their first lines say.

The API that they call is behind a real gateway, on an origin of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness.browser import BrowserWorld, Visitor
from harness.browser_gateway import called_from
from harness.forward_auth import RealGateway
from harness.module_tabs import families_of
from harness.processes import Process, free_port, require_binary, short_directory
from harness.web import ask
from playwright.sync_api import Page, expect

SPA = Path(__file__).resolve().parent.parent.parent / "spa"
EXAMPLES = SPA / "examples"
ISSUER_COOKIE = "__Host-gatepass_refresh"
BACK_END_COOKIE = "__Host-app_session"
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
    return {"cross-site": free_port(), "bff": free_port()}


@pytest.fixture(scope="module")
def world(ports: dict[str, int]) -> Iterator[BrowserWorld]:
    """An issuer that lists the first example's two origins, and both examples' servers."""
    port = ports["cross-site"]
    origins = (f"http://127.0.0.1:{port}", f"http://localhost:{port}")
    listed = tuple(f"--origin={origin}" for origin in origins)
    directory = short_directory("gp-apart-")
    with BrowserWorld(directory, listed, callers=origins) as running, ExitStack() as servers:
        for name, own in ports.items():
            program = [require_binary("node", "nodejs"), str(EXAMPLES / name / "server.mjs")]
            server = Process([*program, str(own), running.issuer, running.api])
            servers.enter_context(server).wait_for_line("^open ")
        yield running
    shutil.rmtree(directory)


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
    sign_in(page, visitor)
    api_answers(page)
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


def test_a_front_end_on_another_site_gets_no_cookie(ann: Visitor, ports: dict[str, int]) -> None:
    """`SameSite=Strict` keeps the cookie away, listed or not: a reload ends the session there."""
    page = ann.tab(origin=f"http://localhost:{ports['cross-site']}")
    sign_in(page, ann)
    api_answers(page)
    assert ann.cookies() == {}
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_page_of_an_unlisted_origin_gets_nothing(ann: Visitor, ports: dict[str, int]) -> None:
    """Its browser does not even send the login."""
    page = ann.tab(origin=f"http://app.localhost:{ports['cross-site']}")
    page.get_by_label("User name").fill(ann.person.username)
    page.get_by_label("Password").fill(ann.person.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("no answer")
    assert ann.cookies() == {}


def test_a_back_end_of_its_own_mediates(ann: Visitor, ports: dict[str, int]) -> None:
    """On whatever site it is: the browser holds that back end's cookie, and no refresh token."""
    origin = f"http://localhost:{ports['bff']}"
    page = lives_through_it_all(ann, origin)
    assert set(ann.cookies()) == {BACK_END_COOKIE}
    [cookie] = ann.context.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    signs_out(page)
    assert ann.cookies() == {}


def test_the_back_end_never_shows_the_refresh_token(ann: Visitor, ports: dict[str, int]) -> None:
    """Neither in a login's nor in a refresh's answer; the page talks to no one else."""
    page = ann.context.new_page()
    heard: list[str] = []
    page.on("response", lambda answer: heard.append(answer.url))
    origin = f"http://localhost:{ports['bff']}"
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


def test_the_back_end_takes_its_own_pages_requests_alone(
    ann: Visitor, ports: dict[str, int]
) -> None:
    """As the issuer in cookie mode does, whatever cookie goes along."""
    sign_in(ann.tab(origin=f"http://localhost:{ports['bff']}"), ann)
    cookie = {"Cookie": f"{BACK_END_COOKIE}={ann.cookies()[BACK_END_COOKIE]}"}
    base = f"http://127.0.0.1:{ports['bff']}"
    for headers in FOREIGN:
        for path in ("/login", "/refresh", "/logout", "/password"):
            answer = ask("POST", base + path, json_body={}, headers={**cookie, **headers})
            answer.refused(403, "access_denied")
    own = {**cookie, "Origin": base, "Sec-Fetch-Site": "same-origin"}
    assert ask("POST", f"{base}/refresh", json_body={}, headers=own).status == 200


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
    page.get_by_label("Password").fill(ann.person.password)
    button.click()
    who = page.get_by_text(f"You are {ann.person.sub}")
    expect(who).to_be_visible()
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
    assert families_of(world, ann.person.sub) == []
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
    """Caddy and nginx with what the page on front ends adds, and Caddy without it."""
    nginx = called_from(world.foreign.url().rstrip("/"), name="nginx")
    plain = world.gate.open("caddy", lambda text: text + "\n")
    return {"caddy": world.gateway, "nginx": world.gate.open("nginx", nginx), "plain": plain}


@pytest.fixture
def page(ann: Visitor, world: BrowserWorld) -> Page:
    """A page of a listed origin."""
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


def test_a_gateway_that_knows_no_preflight_keeps_every_page_out(
    page: Page, ann: Visitor, world: BrowserWorld, gateways: dict[str, RealGateway]
) -> None:
    """The mutant of the tests above: without the added lines the browser sends nothing."""
    login = world.demo.site.login(ann.person.username, ann.person.password).granted()
    call = {"url": gateways["plain"].url + "/hello", "token": login["access_token"]}
    assert page.evaluate(CALL, call) == ["TypeError"]
