"""The demo's pages keep tokens from scripts, and run no script but their own."""

from __future__ import annotations

from pathlib import Path

from harness.browser import (
    PASSWORD,
    BrowserWorld,
    Visitor,
)
from harness.demo_pages import fill_change, go, is_in, is_out
from harness.token_probe import Tokens
from playwright.sync_api import Page, Route, expect

NEW_PASSWORD = "forty purple lanterns adrift"
REFRESH = "/refresh"
COOKIE = "__Host-gatepass_refresh"
GATED = True  # pages, issuer and API are all behind Caddy


def test_no_script_can_read_the_refresh_token(ann: Visitor) -> None:
    """The cookie is kept from scripts, and shows in no script's list of cookies."""
    tab = ann.signed_in()
    [cookie] = ann.context.cookies()
    assert cookie["name"] == COOKIE
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    assert tab.evaluate("document.cookie") == ""
    assert tab.evaluate("async () => (await cookieStore.getAll()).length") == 0


def test_no_token_is_ever_in_address_storage_or_document(ann: Visitor, world: BrowserWorld) -> None:
    """From the login to the logout, whatever the person does, in a second tab as well."""
    tokens = Tokens(ann)
    tab = ann.signed_in()
    tokens.are_not_in(tab)
    tab.reload()
    is_in(tab)
    tokens.are_not_in(tab)
    other = ann.tab()
    is_in(other)
    with ann.context.expect_event("response", lambda answer: answer.url.endswith(REFRESH)):
        world.moved(290)
    tokens.are_not_in(tab, other)
    go(tab, "Devices")
    expect(tab.locator("#devices li")).to_have_count(1)
    tokens.are_not_in(tab)
    go(tab, "Password")
    fill_change(tab, PASSWORD, NEW_PASSWORD)
    expect(tab.locator("#notice")).to_contain_text("Your password is changed")
    tokens.are_not_in(tab, other)
    tab.get_by_role("button", name="Sign out").click()
    is_out(tab, "You are signed out")
    is_out(other, "You are signed out")
    tokens.are_not_in(tab, other)
    assert len(tokens.access) >= 4
    assert len(tokens.refresh) >= 3


PLACES = (
    "location.hash = token",
    "history.replaceState({token}, '')",
    "window.name = token",
    "localStorage.kept = token",
    "sessionStorage.kept = token",
    "document.cookie = `kept=${token}`",
    "document.body.dataset.kept = token",
    "document.body.append(document.createComment(token))",
    "document.querySelector('#username').value = token",
    "await fetch(`/spa/demo/mark.svg?${token}`)",
    "await (await caches.open('kept')).put('/kept', new Response(token))",
    """await new Promise((resolve) => {
      const request = indexedDB.open("kept");
      request.onupgradeneeded = () => request.result.createObjectStore("kept").put({token}, 1);
      request.onsuccess = () => { request.result.close(); resolve(); };
    })""",
)


def test_a_token_in_any_of_these_places_is_found(ann: Visitor) -> None:
    """The mutants of the test above: the probe sees a token wherever a page may leave it."""
    tokens = Tokens(ann)
    tab = ann.signed_in()
    tokens.are_not_in(tab)
    [token] = tokens.access
    signature = tokens.access.copy()
    for number, place in enumerate(PLACES):
        mine = f"{token}{number}"
        tokens.access = {mine}
        assert tokens.found_in(tab) == set()
        tab.evaluate(f"async (token) => {{ {place} }}", mine)
        assert tokens.found_in(tab) == {mine}, place
    tokens.access = signature


ATTACK = """
<script>window.pwned = 1</script><img src="x" onerror="window.pwned = 2"><script src="{}"></script>
<style>body {{ opacity: 0.5 }}</style><base href="https://evil.example">
"""


def altered_start(visitor: Visitor, insertion: str, *, policy: bool = True) -> Page:
    """A tab whose first page has markup that the server was tricked into."""
    tab = visitor.context.new_page()

    def alter(route: Route) -> None:
        answer = route.fetch()
        headers = answer.headers
        if not policy:
            del headers["content-security-policy"]
        body = answer.text().replace("<body>", f"<body>{insertion}")
        route.fulfill(response=answer, body=body, headers=headers)

    tab.route(visitor.world.issuer + "/", alter)
    tab.goto(visitor.world.issuer + "/")
    return tab


def test_an_inline_script_that_got_into_the_page_does_not_run(ann: Visitor) -> None:
    """The policy stops scripts, handlers and foreign sources in the page's own markup."""
    foreign = ann.world.foreign
    foreign.answers["/evil.js"] = ("text/javascript", b"window.pwned = 3", {})
    attack = ATTACK.format(foreign.url(path="/evil.js"))
    tab = altered_start(ann, attack)
    ann.sign_in(tab)
    assert tab.evaluate("window.pwned") is None
    assert tab.evaluate("getComputedStyle(document.body).opacity") == "1"
    blocked = "\n".join(ann.problems)
    for directive in ("script-src", "style-src", "base-uri"):
        assert directive in blocked
    assert all(path != "/evil.js" for _, path, _ in foreign.heard)


def test_without_the_policy_it_would_run(ann: Visitor) -> None:
    """The attack of the test above is a real one."""
    attack = ATTACK.format(ann.world.foreign.url(path="/evil.js"))
    tab = altered_start(ann, attack.replace("<base", "<!--") + "-->", policy=False)
    assert tab.evaluate("window.pwned") is not None
    assert tab.evaluate("getComputedStyle(document.body).opacity") == "0.5"


def test_a_script_cannot_turn_a_string_into_code(ann: Visitor) -> None:
    """Trusted Types refuse markup and code from strings, and no policy for them can be made."""
    tab = ann.tab()
    for attempt in (
        "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
        "document.createElement('script').text = 'window.pwned = 1'",
        "trustedTypes.createPolicy('mine', {createHTML: (text) => text})",
        "document.body.setAttribute('onclick', 'window.pwned = 1')",
    ):
        refused = tab.evaluate(
            f"() => {{ try {{ {attempt}; return 'done' }} catch (error) {{ return error.name }} }}"
        )
        assert refused == "TypeError", attempt


def test_the_pages_say_what_they_may_do(world: BrowserWorld, project_root: Path) -> None:
    """Each file of the pages carries the documented policy, and what keeps other pages out."""
    text = (project_root / "docs" / "demo-pages.md").read_text("utf-8")
    documented = " ".join(text.split("```output\n")[1].split("```")[0].split())
    for path in ("/", "/spa/demo/app.js", "/spa/demo/style.css", "/spa/src/index.js"):
        answer = world.demo.site.get(path)
        assert answer.status == 200
        assert answer.headers["content-security-policy"] == documented
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in answer.headers["permissions-policy"]
        again = world.demo.site.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status == 304
    for path in ("/spa/package.json", "/spa/demo/../package.json", "/spa/%2e%2e/pyproject.toml"):
        assert world.demo.site.get(path).status == 404
