/** Requests to APIs: where the token goes, and what is sent twice. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { createSession, RedirectRefused, SignedOutError, Unreachable } from "../src/index.js";
import { answer, API, FakeIssuer, refusal } from "./support/issuer.js";
import { World } from "./support/world.js";

const minutes = (count) => count * 60_000;
const invalid = () =>
  refusal(401, "invalid_token", { "WWW-Authenticate": 'Bearer error="invalid_token"' });

/** A signed-in tab, the API's log, and an API that answers in turn what `answers` make. */
async function api(...answers) {
  const world = new World();
  const [tab] = await world.signedIn();
  world.issuer.apiAnswer = () => (answers.length > 1 ? answers.shift() : answers[0])?.() ?? answer(200, {});
  const calls = () => world.issuer.log.filter(({ url }) => url.startsWith(API));
  const fetch = (...request) => world.settle(tab.session.fetch(...request));
  return { world, tab, calls, fetch };
}

test("the token goes to the issuer's origin and to listed ones alone", async () => {
  const world = new World();
  const [tab] = await world.signedIn(1, { apiOrigins: ["https://api.example"] });
  for (const [url, gets] of [
    [API, true],
    ["https://api.example/things", true],
    [new URL("https://api.example/things"), true],
    [new Request("https://api.example/things"), true],
    ["https://api.example.evil.example/", false],
    ["https://api.example:444/", false],
    ["http://api.example/", false],
    ["https://api.example@evil.example/", false],
    ["https://evil.example/?https://api.example/", false],
    ["//evil.example/", false],
    ["/here", false],
  ]) {
    const asked = world.issuer.log.length;
    const target = typeof url === "string" ? new URL(url, "https://app.example/").href : url;
    await world.settle(tab.session.fetch(target));
    assert.equal(world.issuer.log.length, asked + 1);
    assert.equal(world.issuer.log.at(-1).bearer !== null, gets, `${url}`);
  }
});

test("a redirect is never followed with the token", async () => {
  for (const made of [
    () => ({ ...answer(0, {}), type: "opaqueredirect" }),
    () => answer(307, {}, { Location: "https://evil.example/" }),
  ]) {
    const { calls, fetch } = await api(made);
    for (const init of [{}, { redirect: "follow" }]) {
      await assert.rejects(fetch(API, init), RedirectRefused);
    }
    assert.deepEqual([...new Set(calls().map(({ init }) => init.redirect))], ["manual"]);
  }
});

test("a caller's own Authorization is left alone", async () => {
  const { calls, fetch } = await api();
  await fetch(API, { headers: { Authorization: "Basic Zm9vOmJhcg==" } });
  assert.equal(calls()[0].bearer, "Basic Zm9vOmJhcg==");
});

test("a refused token is replaced once and the request sent again, whatever its method", async () => {
  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
    const { world, calls, fetch } = await api(invalid, () => answer(200, {}));
    const body = method === "GET" ? null : "again";
    assert.equal((await fetch(API, { method, body })).status, 200);
    assert.equal(calls().length, 2);
    assert.notEqual(calls()[0].bearer, calls()[1].bearer);
    assert.equal(world.issuer.refreshes, 1);
  }
});

test("an API that takes no token gets two requests, and the issuer is not hammered", async () => {
  const { world, calls, fetch } = await api(invalid);
  for (let round = 0; round < 10; round += 1) assert.equal((await fetch(API)).status, 401);
  assert.ok(calls().length <= 12, `${calls().length}`);
  assert.equal(world.issuer.refreshes, 1);
});

test("a 401 that does not speak of the token repeats only what may be sent twice", async () => {
  for (const [method, sent] of [["GET", 2], ["PUT", 2], ["POST", 1], ["PATCH", 1]]) {
    const { calls, fetch } = await api(() => answer(401, {}), () => answer(200, {}));
    await fetch(API, { method });
    assert.equal(calls().length, sent, method);
  }
});

test("a demand for a stronger login is the app's to answer", async () => {
  const challenge = 'Bearer error="insufficient_user_authentication", max_age="5"';
  const { world, calls, fetch } = await api(() => answer(401, {}, { "WWW-Authenticate": challenge }));
  assert.equal((await fetch(API)).status, 401);
  assert.equal(calls().length, 1);
  assert.equal(world.issuer.refreshes, 0);
});

test("a stream is sent once, since it can be read once", async () => {
  const { calls, fetch } = await api(invalid);
  const body = new ReadableStream();
  assert.equal((await fetch(API, { method: "POST", body, duplex: "half" })).status, 401);
  assert.equal(calls().length, 1);
});

test("a Request with a body is sent whole both times", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const bodies = [];
  const fake = world.issuer.fetch.bind(world.issuer);
  world.issuer.fetch = (from, input, init) => {
    if (input instanceof Request) bodies.push(input.text());
    return fake(from, input, init);
  };
  const answers = [invalid(), answer(200, {})];
  world.issuer.apiAnswer = () => answers.shift();
  await world.settle(tab.session.fetch(new Request(API, { method: "POST", body: "all of it" })));
  assert.deepEqual(await Promise.all(bodies), ["all of it", "all of it"]);
});

test("a busy API is asked again where that is safe, after the time that it names", async () => {
  const busy = () => answer(503, {}, { "Retry-After": "3" });
  for (const [method, sent] of [["GET", 2], ["HEAD", 2], ["PUT", 1], ["POST", 1]]) {
    const { world, calls, fetch } = await api(busy, () => answer(200, {}));
    const before = world.now;
    await fetch(API, { method });
    assert.equal(calls().length, sent, method);
    if (sent === 2) assert.ok(calls()[1].at - before >= 3000);
  }
  for (const headers of [{}, { "Retry-After": "600" }, { "Retry-After": "soon" }]) {
    const { calls, fetch } = await api(() => answer(503, {}, headers));
    assert.equal((await fetch(API)).status, 503);
    assert.equal(calls().length, 1);
  }
});

test("waiting for a busy API ends when the caller gives up", async () => {
  const { calls, fetch, world } = await api(() => answer(503, {}, { "Retry-After": "9" }));
  const caller = new AbortController();
  const fetched = fetch(API, { signal: caller.signal });
  fetched.catch(() => {});
  await world.run(1000);
  caller.abort();
  await assert.rejects(fetched, { name: "AbortError" });
  assert.equal(calls().length, 1);
});

test("without a session nothing is sent", async () => {
  const world = new World();
  const tab = world.tab();
  await assert.rejects(world.settle(tab.session.fetch(API)), SignedOutError);
  assert.equal(world.issuer.log.length, 0);
});

test("a request made while the session is being restored waits for it", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  tab.destroy();
  const next = world.tab();
  assert.equal(next.state.status, "restoring");
  assert.equal((await world.settle(next.session.fetch(API))).status, 200);
});

test("with the issuer out of reach a good token still serves, an old one is not sent", async () => {
  const { world, calls, fetch } = await api();
  world.issuer.faultOf = ({ url }) => (url.endsWith("/refresh") ? "before" : null);
  await world.run(minutes(4.7));
  assert.equal((await fetch(API)).status, 200);
  await world.run(minutes(1));
  const sent = calls().length;
  await assert.rejects(fetch(API), Unreachable);
  assert.equal(calls().length, sent);
  world.issuer.faultOf = () => FakeIssuer.status(503);
});

test("options that would send a token in the clear or to a vague place are refused", () => {
  for (const options of [
    { issuer: "http://id.example" },
    { issuer: "id.example" },
    { issuer: "https://ann:secret@id.example" },
    { issuer: "https://id.example/?tenant=1" },
    { issuer: "javascript:alert(1)" },
    { issuer: "https://id.example", apiOrigins: ["*"] },
    { issuer: "https://id.example", apiOrigins: ["http://api.example"] },
    { issuer: "https://id.example", apiOrigins: ["https://api.example/v1"] },
    { issuer: "https://id.example", warnBefore: { idle: [-1] } },
  ]) {
    assert.throws(() => createSession(options), TypeError);
  }
  for (const issuer of ["http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"]) {
    createSession({ issuer }).close();
  }
});

test("a mistaken option is named, with what is meant", () => {
  const issuer = "https://id.example";
  for (const [options, words] of [
    [undefined, /issuer/],
    [null, /issuer/],
    [issuer, /issuer/],
    [{ issuer, apiOrigins: "https://api.example" }, /^apiOrigins: a list of origins/],
    [{ issuer, apiOrigins: null }, /^apiOrigins: a list of origins/],
    [{ issuer, warnBefore: { idle: undefined } }, /^warnBefore\.idle: a list of seconds/],
    [{ issuer, warnBefore: { absolute: 300 } }, /^warnBefore\.absolute: a list of seconds/],
    [{ issuer, warnBefore: { idle: ["120"] } }, /^warnBefore\.idle: seconds above zero/],
    [{ issuer, warnBefore: null }, /^warnBefore: /],
    [{ issuer, warnBefore: { idel: [60] } }, /no option warnBefore\.idel, but idle, absolute$/],
    [{ issuer, apiOrigin: ["https://api.example"] }, /no option apiOrigin, but issuer, clientId, apiOrigins, label, warnBefore, fetch$/],
    [{ issuer, client_id: "shop" }, /no option client_id, but issuer, clientId, apiOrigins, label, warnBefore, fetch$/],
    [{ issuer, warnbefore: {} }, /no option warnbefore, but issuer, clientId, apiOrigins, label, warnBefore, fetch$/],
    [{ issuer, label: "x".repeat(65) }, /^label: at most 64 characters/],
    [{ issuer, label: 7 }, /^label: /],
    [{ issuer, fetch: "fetch" }, /^fetch: /],
  ]) {
    assert.throws(() => createSession(options), (error) => error instanceof TypeError && words.test(error.message));
  }
  // The issuer counts characters, not halves of them.
  for (const label of ["x".repeat(64), "\u{1f4f1}".repeat(64), undefined]) {
    createSession({ issuer, label, apiOrigins: undefined, fetch: undefined }).close();
  }
});
