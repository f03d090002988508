"""Front ends that are not on the issuer's origin: the examples, run as their first lines say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness.browser import BrowserWorld, Visitor
from harness.processes import Process, free_port, require_binary, short_directory
from harness.web import ask
from playwright.sync_api import Page, expect

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "spa" / "examples"
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
    listed = (f"--origin=http://127.0.0.1:{port}", f"--origin=http://localhost:{port}")
    directory = short_directory("gp-apart-")
    with BrowserWorld(directory, listed) as running, ExitStack() as servers:
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
