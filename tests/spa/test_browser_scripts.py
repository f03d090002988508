"""A script that got into the page: what it can reach, and what it cannot."""

from __future__ import annotations

import pytest
from harness.browser import Visitor
from harness.module_tabs import PLAIN, START, log_in, module_tab, status_of
from harness.spa_mutants import MUTANTS
from playwright.sync_api import Page, Route

COOKIE = "__Host-gatepass_refresh"

# Stands in the page before anything else runs, and writes down all that passes.
SPY = """
window.loot = [];
(() => {
  const take = (...values) => {
    for (const value of values) {
      if (typeof value === "string") loot.push(value);
      else if (value instanceof Headers) loot.push(...[...value].flat());
    }
  };
  const wrap = (owner, name) => {
    const original = owner[name];
    owner[name] = function (...args) {
      take(...args);
      const result = Reflect.apply(original, this, args);
      take(result);
      const later = (value) => { take(value); walk(value); };
      if (result instanceof Promise) result.then(later, () => {});
      else walk(result);
      return result;
    };
  };
  const walk = (value, depth = 0) => {
    if (depth > 6 || value === null || !["object", "function"].includes(typeof value)) return;
    for (const key of Reflect.ownKeys(value)) {
      try { take(value[key]); walk(value[key], depth + 1); } catch { /* a getter that throws */ }
    }
  };
  wrap(window, "fetch");
  wrap(JSON, "parse");
  wrap(JSON, "stringify");
  for (const name of ["json", "text"]) wrap(Response.prototype, name);
  for (const name of ["get", "set", "append"]) wrap(Headers.prototype, name);
  for (const name of ["getItem", "setItem"]) wrap(Storage.prototype, name);
  wrap(BroadcastChannel.prototype, "postMessage");
  wrap(Map.prototype, "set");
  wrap(Set.prototype, "add");
  wrap(Object, "freeze");
})();
"""

# All that a script can look through, after the fact.
LOOT = """
async () => {
  const found = [document.cookie, location.href, window.name, document.referrer];
  found.push(document.documentElement.outerHTML, JSON.stringify(history.state));
  found.push(JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage}));
  found.push(JSON.stringify(await cookieStore.getAll()));
  found.push(JSON.stringify(performance.getEntries()));
  for (const {name} of await indexedDB.databases()) found.push(name);
  for (const name of await caches.keys()) {
    for (const request of await (await caches.open(name)).keys()) found.push(request.url);
  }
  for (const init of [{}, {body: JSON.stringify({transport: "body"})}, {body: "{"}]) {
    const headers = init.body ? {"Content-Type": "application/json"} : {};
    for (const path of ["/refresh", "/sessions", "/nowhere", "/password"]) {
      const method = path === "/sessions" ? "GET" : "POST";
      const answer = await fetch(path, {method, headers, ...(method === "POST" ? init : {})});
      found.push(await answer.text(), JSON.stringify([...answer.headers]));
      found.push(`${answer.headers.get("Set-Cookie")}`);
    }
  }
  for (const call of [() => session.login({}), () => session.endSession("x"),
                      () => session.fetch("http://[bad"), () => session.changePassword({})]) {
    try { await call(); } catch (error) { found.push(String(error), error.stack, ...walk(error)); }
  }
  return found;
}
"""

WALK = """
window.walk = (root) => {
  const seen = new Set(), texts = [], open = [root];
  while (open.length > 0 && seen.size < 20000) {
    const value = open.pop();
    if (typeof value === "string") texts.push(value);
    if (value === null || !["object", "function"].includes(typeof value)) continue;
    if (seen.has(value) || value === window || value instanceof Node) continue;
    seen.add(value);
    if (typeof value === "function") texts.push(Function.prototype.toString.call(value));
    for (const key of Reflect.ownKeys(value)) {
      try { open.push(value[key]); } catch { /* a getter that throws */ }
    }
    open.push(Object.getPrototypeOf(value));
    if (value instanceof Map || value instanceof Set) open.push(...value);
  }
  return texts;
};
"""


def refresh_tokens(visitor: Visitor) -> str:
    """What must not be found: the encrypted part of the token that the browser holds now."""
    return visitor.cookies()[COOKIE].split(".")[3]


def leads_to_the_token(route: Route) -> None:
    """The module with one property too many."""
    file, old, new, _ = MUTANTS["the session leads to the token"]
    answer = route.fetch()
    assert answer.url.endswith(file)
    assert old in answer.text()
    route.fulfill(response=answer, body=answer.text().replace(old, new))


def looted(page: Page) -> str:
    """Everything that an injected script got hold of, in one text."""
    page.evaluate(WALK)
    return "\n".join(map(str, [*page.evaluate(LOOT), *page.evaluate("window.loot ?? []")]))


def test_an_injected_script_uses_the_session_but_cannot_take_it_along(ann: Visitor) -> None:
    """Spies in every function of the page see access tokens, as `fetch` sends them, alone."""
    tab = ann.context.new_page()
    tab.add_init_script(SPY)
    tab.goto(ann.world.issuer + PLAIN)
    tab.evaluate(START, {"without": [], "source": "/spa/src/index.js"})
    sid = log_in(tab, ann)
    first = refresh_tokens(ann)
    tab.evaluate("session.stayActive()")
    ann.world.issuer_moved(11)
    tab.evaluate("session.stayActive()")
    second = refresh_tokens(ann)
    tab.evaluate("session.sessions()")
    loot = looted(tab)
    assert first != second
    assert "access_token" in loot  # the spies do see what passes
    for token in (first, second, refresh_tokens(ann)):
        assert token not in loot
    assert "refresh_token" not in loot.replace("a refresh token", "")
    assert COOKIE not in loot
    assert status_of(tab) == ("signedIn", sid)


@pytest.mark.parametrize("mutant", [False, True], ids=["", "mutant"])
def test_no_object_of_the_module_leads_to_a_token(ann: Visitor, mutant: bool) -> None:
    """From the session, its methods, their prototypes and the module's exports: no token at all."""
    tab = ann.tab(PLAIN)
    tab.evaluate(WALK)
    if mutant:
        tab.route("**/spa/src/session.js", leads_to_the_token)
    tab.evaluate(START, {"without": [], "source": "/spa/src/index.js"})
    with tab.expect_response("**/login") as answer:
        log_in(tab, ann)
    signature = answer.value.json()["access_token"].rpartition(".")[2]
    texts = tab.evaluate(
        """async () => [...walk(session), ...walk(session.state), ...walk(await session.ready),
          ...walk(await import("/spa/src/index.js")), ...walk(states)]"""
    )
    found = "\n".join(texts)
    assert len(texts) > 100
    assert (signature in found) == mutant
    assert refresh_tokens(ann) not in found


def test_a_cookie_that_scripts_may_read_is_found_by_the_search(ann: Visitor) -> None:
    """The mutant of the tests above: without `HttpOnly` the same search finds the token."""
    tab = module_tab(ann)
    log_in(tab, ann)
    [cookie] = ann.context.cookies()
    ann.context.clear_cookies()
    ann.context.add_cookies([{**cookie, "httpOnly": False}])  # type: ignore[list-item]
    assert refresh_tokens(ann) in looted(tab)
