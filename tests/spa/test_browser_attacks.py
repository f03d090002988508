"""Hostile pages in front of a person who is signed in, and cookies that were planted for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

import pytest
from harness.browser import BrowserWorld, Person, Visitor
from harness.hostile_page import (
    ATTACK,
    FACTOR,
    TECHNIQUES,
    Sent,
    state_changing,
    state_of,
)
from harness.module_tabs import families_of, log_in, module_tab, status_of
from harness.processes import free_port, short_directory

COOKIE = "__Host-gatepass_refresh"
HOST = "id.gate.localhost"
SIBLING = "evil.gate.localhost"
"""Of the same site as the issuer's, so that `SameSite` lets the cookie go along."""
STRANGER = "evil.localhost"
SANDBOX = {"Content-Security-Policy": "sandbox allow-scripts allow-forms allow-popups"}
NOBODY = {"username": "nobody", "password": "nothing"}
PATHS = {
    "/elevate",
    "/factors/recovery-codes",
    "/factors/totp",
    "/factors/totp/confirm",
    "/factors/webauthn/options",
    "/factors/webauthn/register",
    f"/factors/{FACTOR}",
    "/introspect",
    "/login",
    "/logout",
    "/password",
    "/password/forgot",
    "/password/reset",
    "/refresh",
    "/revocations/lookup",
    "/revoke",
    "/sessions",
    "/ssf/poll",
}


def site(world: BrowserWorld) -> str:
    """The issuer under a host that has neighbours."""
    return f"http://{HOST}:{world.issuer.rpartition(':')[2]}"


def options(port: int) -> tuple[str, ...]:
    """Of a demo that answers under that host."""
    return ("--port", str(port), "--origin", f"http://{HOST}:{port}")


@pytest.fixture(scope="module")
def world() -> Iterator[BrowserWorld]:
    """A demo that has neighbours on its own site."""
    directory = short_directory("gp-site-")
    with BrowserWorld(directory, options=options(free_port())) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def ann(world: BrowserWorld) -> Iterator[Visitor]:
    """A person whose browser answers a challenge by itself: a dialog would wait for ever."""
    yield world.visitor(http_credentials=NOBODY)
    world.forget()


def attack(
    ann: Visitor, mallory: Person, host: str, headers: Mapping[str, str], sid: str
) -> tuple[Sent, list[str]]:
    """Let a page of that host try everything; what was sent, and what it could read."""
    world = ann.world
    body = {
        "username": mallory.username,
        "password": mallory.password,
        "current_password": ann.person.password,
        "new_password": "eleven quiet herons wading",
        "token": sid,
    }
    targets = [
        {"path": path, "methods": methods, "body": body}
        for path, methods in state_changing(world.demo.site.get("/openapi.json").json, sid)
    ]
    assert {target["path"] for target in targets} == {*PATHS, f"/sessions/{sid}"}
    world.foreign.page("/hostile", "<!doctype html><body>You have won.", headers)
    page = ann.context.new_page()
    page.goto(world.foreign.url(host, "/hostile"))
    sent = Sent(site(world))
    sent.follow(page)
    heard = page.evaluate(ATTACK, {"base": site(world), "targets": targets})
    ann.settle()
    return sent, heard


@pytest.mark.parametrize(
    ("host", "headers"),
    [(SIBLING, {}), (HOST, {}), (STRANGER, {}), (SIBLING, SANDBOX)],
    ids=["sibling", "other port", "other site", "no origin"],
)
def test_a_hostile_page_changes_nothing(
    ann: Visitor, world: BrowserWorld, host: str, headers: Mapping[str, str]
) -> None:
    """Forms, scripts, images, frames, beacons and navigation leave accounts and sessions alone."""
    tab = module_tab(ann, site(world))
    sid = log_in(tab, ann)
    cookies = ann.cookies()
    mallory = world.person()
    before = state_of(world)
    sent, heard = attack(ann, mallory, host, headers, sid)
    assert state_of(world) == before
    assert ann.cookies() == cookies
    assert heard == []
    found = sent.cookies()
    # Of the same site each brings the cookie, of another one none; a sandboxed page is of none.
    along = host != STRANGER and not headers
    for path in (*PATHS, f"/sessions/{sid}"):
        assert set(found[path]) == TECHNIQUES, path
        for how, cookies in found[path].items():
            assert {COOKIE in cookie for cookie in cookies} == {along}, (path, how)
    assert tab.evaluate("session.stayActive()")
    assert status_of(tab) == ("signedIn", sid)


def test_an_issuer_without_its_look_at_the_origin_is_caught(world: BrowserWorld) -> None:
    """The mutant of the test above: the same page signs the person out."""
    directory = short_directory("gp-site-")
    own = options(free_port())
    with BrowserWorld(
        directory, options=own, mutants=("no-origin-check",), beside=world
    ) as careless:
        ann = careless.visitor(http_credentials=NOBODY)
        sid = log_in(module_tab(ann, site(careless)), ann)
        mallory = careless.person()
        before = state_of(careless)
        attack(ann, mallory, SIBLING, {}, sid)
        assert state_of(careless)["journal"] != before["journal"]
        assert families_of(careless, ann.person.sub) == []
    shutil.rmtree(directory)


# --- planted cookies ---------------------------------------------------------------------------


def test_a_session_that_was_planted_before_login_is_not_the_persons(
    ann: Visitor, world: BrowserWorld
) -> None:
    """The login makes a session of its own and ends the planted one (ASVS 7.2.4)."""
    mallory = world.visitor()
    attacker = module_tab(mallory, site(world))
    planted = log_in(attacker, mallory)
    value = mallory.cookies()[COOKIE]
    planter = ann.context.new_cdp_session(ann.context.new_page())
    cookie = {"name": COOKIE, "value": value, "url": site(world), "path": "/", "secure": True}
    assert planter.send("Network.setCookie", cookie)["success"]
    assert ann.cookies() == {COOKIE: value}
    tab = module_tab(ann, site(world))
    sid = log_in(tab, ann)
    assert sid != planted
    assert ann.cookies()[COOKIE] != value
    assert [family.sid for family in families_of(world, ann.person.sub)] == [sid]
    assert families_of(world, mallory.person.sub) == []


# What a neighbour writes; with {} for a session of its own.
FROM_A_SIBLING = (
    f"{COOKIE}={{}}; Domain=gate.localhost; Path=/; Secure",
    f"{COOKIE}={{}}; Domain=gate.localhost; Path=/refresh; Secure",
    f"{COOKIE}={{}}; Path=/; Secure",
    f"{COOKIE.lower()}={{}}; Domain=gate.localhost; Path=/refresh; Secure",
    f"={COOKIE}={{}}; Domain=gate.localhost; Path=/refresh",
    f"\u2000{COOKIE}={{}}; Domain=gate.localhost; Path=/refresh",
    "gatepass_refresh={}; Domain=gate.localhost; Path=/",
    'a="; Domain=gate.localhost; Path=/refresh',
    'zz="; Domain=gate.localhost; Path=/',
)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_what_a_sibling_plants_neither_replaces_nor_hides_the_cookie(
    ann: Visitor, world: BrowserWorld, before: bool
) -> None:
    """By script and by header, before the login and after it: the session is the person's own."""
    mallory = world.visitor()
    attacker = module_tab(mallory, site(world))
    log_in(attacker, mallory)
    value = mallory.cookies()[COOKIE]
    texts = [text.format(value) for text in FROM_A_SIBLING]
    tab = module_tab(ann, site(world))
    sid = "" if before else log_in(tab, ann)
    page = ann.context.new_page()
    for number, text in enumerate(texts):
        header = text.encode().decode("latin-1")
        world.foreign.page(f"/plant{number}", "<body>", {"Set-Cookie": header})
        page.goto(world.foreign.url(SIBLING, f"/plant{number}"))
    page.evaluate("(texts) => texts.forEach((text) => { document.cookie = text })", texts)
    sid = sid or log_in(tab, ann)
    sent = ann.context.cookies(site(world) + "/refresh")
    assert [cookie["domain"] for cookie in sent if cookie["name"] == COOKIE] == [HOST]
    assert '"' in {cookie["value"] for cookie in sent}
    tab.evaluate("session.stayActive()")
    assert status_of(module_tab(ann, site(world))) == ("signedIn", sid)
    assert [family.sid for family in families_of(world, ann.person.sub)] == [sid]
