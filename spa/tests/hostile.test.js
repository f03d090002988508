/** What a page may meet: nonsense from its own origin, storage that throws, a bare browser. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { answer, API } from "./support/issuer.js";
import { World } from "./support/world.js";

const GRANT = {
  v: 1, at: 0, type: "grant", sid: "s1", tokenLeft: 1, idleLeft: 1, absoluteLeft: 1, asked: 0,
  fresh: true, replaces: null,
};
const NONSENSE = [
  null, 7, "x", [], {}, { v: 2, type: "ended", sid: null, reason: "logout", at: 0 },
  { v: 1, type: "ended", sid: null, reason: "logout" },
  { v: 1, at: 0, type: "ended", sid: 5, reason: "logout" },
  { v: 1, at: 0, type: "ended", sid: null, reason: "because" },
  { v: 1, at: 0, type: "active", ago: -1 },
  { v: 1, at: 0, type: "active", ago: "x" },
  { v: 1, at: 0, type: "toString" },
  ...Object.keys(GRANT).map((name) => ({ ...GRANT, [name]: {} })),
  { ...GRANT, absoluteLeft: NaN },
  { ...GRANT, token: 7 },
];

test("nonsense between the tabs changes nothing", async () => {
  for (const channels of [true, false]) {
    const world = new World({ channels });
    const [tab] = await world.signedIn();
    const before = tab.states.length;
    for (const sent of NONSENSE) {
      const data = sent?.at === 0 ? { ...sent, at: world.now + world.wallOffset } : sent;
      for (const channel of tab.channels) channel.onmessage({ data });
      const key = "gatepass:https://id.example:news";
      tab.window.fire("storage", { key, newValue: JSON.stringify(data) });
    }
    tab.window.fire("storage", { key: "gatepass:https://id.example:news", newValue: "{" });
    tab.window.fire("storage", { key: "another", newValue: JSON.stringify(GRANT) });
    await world.run(100);
    assert.equal(tab.states.length, before);
    assert.ok(tab.session.remaining().absolute > 40_000);
    assert.equal((await world.settle(tab.session.fetch(API))).status, 200);
  }
});

test("marks and leases that somebody has scribbled over hold nobody up", async () => {
  for (const scribble of ["", "x", "x y", "x 1e999", "x -1", "0 99999999999999", "{}"]) {
    const world = new World({ locks: false, channels: false });
    const [tab] = await world.signedIn();
    for (const part of ["lease", "active", "session"]) {
      world.storage.set(`gatepass:https://id.example:${part}`, scribble);
    }
    const next = world.tab();
    assert.equal((await world.settle(next.session.ready)).status, "signedIn", scribble);
    assert.equal((await world.settle(tab.session.fetch(API))).status, 200);
  }
});

test("storage that throws costs comfort, not the session", async () => {
  for (const features of [{}, { locks: false }, { locks: false, channels: false }]) {
    const world = new World(features);
    world.store = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    const [tab] = await world.signedIn();
    assert.equal((await world.settle(tab.session.fetch(API))).status, 200);
    await world.run(600_000);
    assert.equal(tab.state.status, "signedIn");
    await world.settle(tab.session.logout());
    assert.equal(world.issuer.families.size, 0);
  }
});

test("a browser with none of it still signs in, stays signed in and restores", async () => {
  const world = new World({ locks: false, channels: false, storage: false });
  const [tab] = await world.signedIn();
  const next = world.tab();
  assert.equal(next.state.status, "restoring");
  assert.equal((await world.settle(next.session.ready)).status, "signedIn");
  await world.run(1_200_000);
  const answers = [tab, next].map((one) => world.settle(one.session.fetch(API)));
  assert.deepEqual((await Promise.all(answers)).map(({ status }) => status), [200, 200]);
  await world.settle(tab.session.logout());
  assert.equal(world.issuer.families.size, 0);
});

test("an answer that is not the issuer's is no answer", async () => {
  const session = { sid: "s1", idle_expires_in: 1, absolute_expires_in: 1 };
  const whole = { access_token: "t", expires_in: 300, session };
  for (const content of [
    {}, [], { ...whole, access_token: "" }, { ...whole, access_token: 5 },
    { ...whole, expires_in: "300" }, { ...whole, session: null },
    { ...whole, session: { ...session, sid: 5 } },
    { ...whole, session: { ...session, absolute_expires_in: null } },
  ]) {
    const world = new World();
    const [tab] = await world.signedIn();
    const { sid } = tab.state;
    world.issuer.faultOf = ({ url }) => (url.endsWith("/refresh") ? { answer: answer(200, content) } : null);
    await world.run(400_000);
    assert.deepEqual(tab.state, { status: "signedIn", sid, expiring: null, reachable: false });
  }
});

test("a request that hangs is given up, and the lock with it", async () => {
  const world = new World();
  const [tab, other] = await world.signedIn(2);
  await world.run(20_000);
  world.issuer.faults = ["never"];
  const first = tab.session.stayActive();
  await world.run(10);
  const before = world.now;
  await world.settle(other.session.stayActive());
  assert.ok(world.now - before < 12_000, `${world.now - before}`);
  await world.settle(first);
  assert.equal(tab.state.status, "signedIn");
});
