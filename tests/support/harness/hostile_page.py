"""What a hostile page can send with the visitor's cookies, and the issuer's whole state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
import sqlalchemy as sa
from harness.browser import BrowserWorld
from playwright.sync_api import Page

from issuer.database import open_engine
from issuer.database.tables import metadata

MOVING_TABLES = {
    "denylist_positions",
    "access_lifetimes",
    "formats",
    "audit_outbox",
    "audit_log",
    "audit_head",
    "audit_places",
    "audit_sessions",
    "replica_readings",
    "denylist_sizes",
}
MOVING_KEYS = {b"gatepass:{denylist}", b"gatepass:{denylist}:feed"}
"""What the issuer's own pulse writes, whoever asks for what, and what is told of it all."""

FACTOR = "1"
"""Whose path it tries, too; there need be none, since nothing of it may be reached."""

Row = tuple[Any, ...]

# Every way in which a page can have a browser send something; each settles, whatever comes of it.
ATTACK = """
async ({base, targets}) => {
  const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const heard = [];
  const hidden = document.createElement("div");
  document.body.append(hidden);
  let number = 0;
  const settled = (node, put = true) => Promise.race([later(1500), new Promise((resolve) => {
    node.onload = node.onerror = node.onloadeddata = resolve;
    if (put) hidden.append(node);
  })]);

  const form = (action, method, enctype, fields, target) => {
    const node = document.createElement("form");
    Object.assign(node, {action, method, enctype, target});
    for (const [name, value] of Object.entries(fields)) {
      const input = document.createElement("input");
      Object.assign(input, {type: "hidden", name, value});
      node.append(input);
    }
    hidden.append(node);
    node.submit();
  };
  const framed = async (...how) => {
    const frame = document.createElement("iframe");
    frame.name = `frame${number += 1}`;
    hidden.append(frame);
    form(...how, frame.name);
    await settled(frame, false);
  };
  const element = (name, properties) =>
    settled(Object.assign(document.createElement(name), properties));
  const asked = async (url, init) => {
    try {
      const answer = await fetch(url, {credentials: "include", ...init});
      if (answer.type !== "opaque") heard.push(`${init.method} ${url} ${await answer.text()}`);
    } catch { /* refused by the browser */ }
  };
  const xhr = (method, url, type, body) => new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.withCredentials = true;
    if (type) request.setRequestHeader("Content-Type", type);
    request.onload = () => { heard.push(`${method} ${url} ${request.responseText}`); resolve(); };
    request.onerror = resolve;
    request.send(body);
  });

  const types = ["", "text/plain", "application/x-www-form-urlencoded", "application/json"];
  await Promise.all(targets.map(({path, methods, body}) => {
    const url = base + path;
    const json = JSON.stringify(body);
    const fields = new URLSearchParams(body);
    const smuggled = {[json.replace(/}$/, ', "padding": "')]: '"}'};
    const overridden = {...body, _method: "DELETE", "X-HTTP-Method-Override": "DELETE"};
    const work = [
      framed(url, "post", "application/x-www-form-urlencoded", body),
      framed(url, "post", "multipart/form-data", body),
      framed(url, "post", "text/plain", smuggled),
      framed(url + "?_method=DELETE", "post", "application/x-www-form-urlencoded", overridden),
      framed(url, "get", "", body),
      element("img", {src: url}),
      element("script", {src: url}),
      element("link", {rel: "stylesheet", href: url}),
      element("link", {rel: "prefetch", href: url}),
      element("iframe", {src: url}),
      element("object", {data: url}),
      element("embed", {src: url}),
      element("video", {src: url}),
      import(url).catch(() => {}),
    ];
    for (const type of types) {
      const payload = type.includes("form") ? fields : json;
      const headers = type ? {"Content-Type": type} : {};
      for (const method of new Set(["POST", ...methods])) {
        const content = method === "GET" ? {} : {body: type ? `${payload}` : undefined};
        work.push(asked(url, {method, mode: "cors", headers, ...content}));
        const more = {...headers, "X-Any": "1"};
        work.push(asked(url, {method, mode: "cors", headers: more, ...content}));
        if (["GET", "POST"].includes(method)) {
          work.push(asked(url, {method, mode: "no-cors", headers, keepalive: true, ...content}));
        }
        if (!type) work.push(xhr(method, url, type, content.body));
      }
      try { navigator.sendBeacon(url, new Blob([`${payload}`], {type})); } catch { /* refused */ }
    }
    const link = document.createElement("a");
    Object.assign(link, {href: "#", ping: url});
    hidden.append(link);
    link.click();
    try { new EventSource(url, {withCredentials: true}); } catch { /* refused */ }
    try { new WebSocket(url.replace("http", "ws")); } catch { /* refused */ }
    const popup = `window${number += 1}`;
    form(url, "post", "text/plain", smuggled, popup);
    window.open(url, `${popup}get`);
    return Promise.all(work);
  }));
  return heard;
}
"""

TECHNIQUES = {
    "form application/x-www-form-urlencoded",
    "form multipart/form-data",
    "form text/plain",
    "image",
    "frame",
    "fetch no-cors",
}
"""Of all that it does, what has to have reached every path; see `technique`."""


def technique(method: str, headers: Mapping[str, str]) -> str | None:
    """How the page had the browser send a request, by what the browser says of it."""
    destination = headers.get("sec-fetch-dest")
    mode = headers.get("sec-fetch-mode")
    match method, mode, destination:
        case "POST", "navigate", "iframe":
            return "form " + headers["content-type"].partition(";")[0]
        case "GET", "navigate", "iframe":
            return "frame"
        case "GET", "no-cors", "image":
            return "image"
        case "POST", "no-cors", "empty":
            return "fetch no-cors"
    return None


@dataclass
class Sent:
    """What a page sends, and its frames: the headers as they are on the wire."""

    base: str
    _urls: dict[str, tuple[str, str]] = field(default_factory=dict)
    _headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def follow(self, page: Page) -> None:
        """Write down what it sends from now on; also what the browser gives it no answer to."""
        session = page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", self._begins)
        session.on("Network.requestWillBeSentExtraInfo", self._leaves)
        session.send("Network.enable")

    def _begins(self, event: dict[str, Any]) -> None:
        if event["type"] != "Ping":  # a beacon is "no-cors" as well
            request = event["request"]
            self._urls[event["requestId"]] = request["method"], request["url"]

    def _leaves(self, event: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in event["headers"].items()}
        self._headers[event["requestId"]] = headers

    def cookies(self) -> dict[str, dict[str, list[str]]]:
        """By path and technique, the `Cookie` header of each request to the issuer."""
        found: dict[str, dict[str, list[str]]] = {}
        for number, (method, url) in self._urls.items():
            headers = self._headers.get(number, {})
            how = technique(method, headers)
            if how and url.startswith(self.base):
                path = url.removeprefix(self.base).partition("?")[0]
                found.setdefault(path, {}).setdefault(how, []).append(headers.get("cookie", ""))
        return found


def state_of(world: BrowserWorld) -> dict[str, Any]:
    """Every account, journal row, reset and key ring, every session and entry of the denylist."""
    engine = open_engine(f"sqlite:///{world.demo.state_dir / 'gatepass.sqlite'}")
    state: dict[str, Any] = {}
    try:
        with engine.connect() as connection:
            for table in metadata.sorted_tables:
                if table.name not in MOVING_TABLES:
                    rows = connection.execute(sa.select(table)).all()
                    state[table.name] = sorted(map(repr, rows))
    finally:
        engine.dispose()
    client = redis.Redis.from_url(world.demo.described["denylist_url"])
    with contextlib.closing(client):
        for key in client.scan_iter("*"):
            # Refusals are counted, and that is all that they change.
            counts = b":limits:" in key or b":{anomalies:" in key
            if key not in MOVING_KEYS and not counts and not key.endswith(b":drafts"):
                state[key.decode()] = client.dump(key)
    return state


def state_changing(document: Mapping[str, Any], sid: str) -> Iterable[tuple[str, list[str]]]:
    """The paths of an OpenAPI document that know a method beside GET, and these methods."""
    for path, item in document["paths"].items():
        methods = [name.upper() for name in item if name in {"post", "put", "patch", "delete"}]
        if methods:
            yield path.replace("{sid}", sid).replace("{factor_id}", FACTOR), methods
