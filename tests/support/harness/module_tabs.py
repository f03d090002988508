"""Tabs that hold the browser module and nothing else, and what the issuer has of their session.

Such a tab shows one of the module's files as text: a page of the issuer's origin, under its policy,
without the demo's own calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import redis
from harness.browser import BrowserWorld, Visitor
from harness.processes import until
from harness.running_demo import BOUND
from harness.web import ask
from playwright.sync_api import Page

from issuer.families import Family
from issuer.families.family import RotationRules
from issuer.families.redis_families import RedisFamilies

PLAIN = "/spa/src/errors.js"

START = """
async ({without, source}) => {
  const {createSession} = await import(source);
  const {browserEnvironment} = await import("/spa/src/environment.js");
  window.asked = 0;
  window.states = [];
  const environment = browserEnvironment();
  for (const name of without) environment[name] = null;
  window.session = createSession({
    issuer: location.origin,
    fetch(input, init) {
      if (`${input}`.endsWith("/refresh")) window.asked += 1;
      return fetch(input, init);
    },
  }, environment);
  session.onChange((state) => states.push([state.status, state.reason ?? state.sid ?? null]));
  await session.ready;
  // An answer on a channel of its own, so that it wakes the leading tab alone.
  window.answers = crypto.randomUUID();
  const rounds = new BroadcastChannel("rounds");
  const answers = new BroadcastChannel(window.answers);
  rounds.onmessage = async ({data: round}) => {
    const fault = await session.stayActive().then(() => null, (error) => error.code);
    answers.postMessage({round, fault});
  };
}
"""

# Each round every tab refreshes, this one too: its other end of the channel hears as they all do.
LEAD = """
async ({answers, count}) => {
  const channel = new BroadcastChannel("rounds");
  const heard = answers.map((name) => new BroadcastChannel(name));
  const faults = {};
  for (let round = 1; round <= count; round += 1) {
    await window.roundBegins();
    await new Promise((resolve) => {
      let missing = heard.length;
      const note = ({data}) => {
        if (data.round !== round) return;
        if (data.fault) faults[data.fault] = (faults[data.fault] ?? 0) + 1;
        missing -= 1;
        if (missing === 0) resolve();
      };
      for (const each of heard) each.onmessage = note;
      channel.postMessage(round);
    });
    if (faults.signed_out) break;
  }
  for (const each of [channel, ...heard]) each.close();
  return faults;
}
"""


def module_tab(
    visitor: Visitor,
    origin: str | None = None,
    *,
    without: Sequence[str] = (),
    source: str = "/spa/src/index.js",
) -> Page:
    """A tab with `session` in it; `without` names parts of the environment to take away."""
    page = visitor.tab(PLAIN, origin)
    page.evaluate(START, {"without": list(without), "source": source})
    return page


def comes_true(page: Page, expression: str, within: float = 10) -> None:
    """Wait for it; Playwright's own waiting evaluates strings, which the pages' policy refuses."""
    for _ in until(within, expression, pause=0):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)


def log_in(page: Page, visitor: Visitor) -> str:
    """Sign the visitor in through the module; the session's sid."""
    person = {"username": visitor.person.username, "password": visitor.person.password}
    return str(page.evaluate("async (person) => (await session.login(person)).sid", person))


@dataclass(frozen=True, slots=True)
class Rounds:
    """What came of rounds of refreshing: failures by code, and the refreshes that were sent."""

    faults: dict[str, int]
    asked: int


def refresh_in_rounds(visitor: Visitor, tabs: Sequence[Page], count: int, pass_by: float) -> Rounds:
    """Let all tabs refresh at once, again and again; `pass_by` seconds later at the issuer."""
    world = visitor.world
    visitor.unwatched()
    visitor.context.expose_binding("roundBegins", lambda _source: world.issuer_moved(pass_by))
    answers = [tab.evaluate("window.answers") for tab in tabs]
    before = sum(int(tab.evaluate("asked")) for tab in tabs)
    faults = tabs[0].evaluate(LEAD, {"answers": answers, "count": count})
    return Rounds(faults, sum(int(tab.evaluate("asked")) for tab in tabs) - before)


def answers_to(page: Page) -> list[tuple[str, int]]:
    """Path and status of each answer that a page gets from now on."""
    heard: list[tuple[str, int]] = []
    page.on("response", lambda each: heard.append(("/" + each.url.split("/", 3)[3], each.status)))
    return heard


def take_back(world: BrowserWorld, token: str) -> None:
    """Revoke an access token and nothing else; wait until the gateway refuses it."""
    form = {"token": token, "client_id": "demo"}
    assert world.demo.site.post("/revoke", form=form).status == 200
    for _ in until(BOUND, "the gateway's refusal", pause=0.02):
        if ask("GET", world.api, token=token).status == 401:
            return


def families_of(world: BrowserWorld, sub: str) -> list[Family]:
    """Every live session that the issuer's store has of a person."""
    client = redis.Redis.from_url(world.demo.described["denylist_url"])
    with contextlib.closing(client):
        return RedisFamilies(client, RotationRules()).of_subject(sub)


def status_of(page: Page) -> tuple[str, str | None]:
    """What the tab's session says of itself: its status, and its sid or the reason."""
    status, detail = page.evaluate(
        "[session.state.status, session.state.sid ?? session.state.reason ?? null]"
    )
    return status, detail
