/** Many tabs: one refresh at a time, one state, whatever the browser does to them. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { API, FakeIssuer } from "./support/issuer.js";
import { World, seeded } from "./support/world.js";

const PERSON = { username: "ann", password: "right" };
const minutes = (count) => count * 60_000;
const BROWSERS = {
  "with Web Locks and channels": {},
  "without Web Locks": { locks: false },
  "without channels": { channels: false },
  "with storage alone": { locks: false, channels: false },
};

/** Everybody's state, as far as tabs have to agree on it. */
function states(tabs) {
  return [...new Set(tabs.map(({ state }) => `${state.status} ${state.sid ?? ""}`))];
}

for (const [name, features] of Object.entries(BROWSERS)) {
  test(`twelve tabs refresh one at a time, ${name}`, async () => {
    const world = new World(features);
    const tabs = await world.signedIn(12);
    for (let round = 0; round < 20; round += 1) {
      await world.run(minutes(4.6));
      const answers = tabs.map((tab) => world.settle(tab.session.fetch(API)));
      assert.deepEqual([...new Set((await Promise.all(answers)).map(({ status }) => status))], [200]);
      tabs[0].press();
    }
    assert.equal(world.issuer.mostRefreshing, 1);
    assert.equal(world.issuer.families.size, 1);
    assert.equal(states(tabs).length, 1);
  });

  test(`a logout is one of all tabs at once, ${name}`, async () => {
    const world = new World(features);
    const tabs = await world.signedIn(12);
    const done = tabs[5].session.logout();
    await world.run(6);
    assert.deepEqual(states(tabs), ["signedOut "]);
    await world.settle(done);
    assert.equal(world.issuer.families.size, 0);
  });

  test(`a login in one tab is one in all, ${name}`, async () => {
    const world = new World(features);
    const tabs = await world.signedIn(12);
    assert.deepEqual(states(tabs), ["signedIn s1"]);
    assert.equal((await world.settle(tabs[7].session.fetch(API))).status, 200);
  });
}

test("twelve tabs that share a channel do not refresh twelve times", async () => {
  const world = new World();
  const tabs = await world.signedIn(12);
  await world.run(minutes(4.9));
  // A second one may get the lock before the first one's news.
  assert.ok(world.issuer.refreshes <= 2, `${world.issuer.refreshes}`);
  assert.equal(states(tabs).length, 1);
});

test("the token never goes through storage", async () => {
  const world = new World({ channels: false });
  const written = [];
  const store = world.store.bind(world);
  world.store = (key, value, from) => {
    written.push(`${key}=${value}`);
    store(key, value, from);
  };
  const [tab] = await world.signedIn(3);
  await world.settle(tab.session.fetch(API));
  const { bearer } = world.issuer.log.at(-1);
  assert.ok(written.some((text) => text.includes('"grant"')));
  assert.ok(!written.join().includes(bearer));
  assert.ok(![...world.storage.keys()].some((key) => key.endsWith(":news")));
});

test("late news of a session that has ended does not bring it back", async () => {
  const world = new World({ newsDelay: 3000, seed: 4 });
  const tabs = await world.signedIn(6);
  await world.run(4000);
  const staying = tabs.slice(0, 3).map((tab) => tab.session.stayActive().catch(() => {}));
  await world.run(80);
  await world.settle(tabs[5].session.logout());
  await world.run(7000);
  await Promise.all(staying);
  assert.deepEqual(states(tabs), ["signedOut "]);
});

test("a frozen tab that holds the lock does not hold the others up for long", async () => {
  for (const features of [{}, { locks: false }]) {
    const world = new World({ ...features, seed: 9 });
    const [frozen, ...others] = await world.signedIn(4);
    await world.run(20_000);
    world.issuer.delay = [200, 200];
    void frozen.session.stayActive();
    await world.run(150);
    assert.equal(world.issuer.refreshing, 1);
    frozen.freeze();
    await world.run(1000);
    const asked = world.now;
    await world.settle(others[0].session.stayActive());
    assert.ok(world.now - asked < 25_000, `${world.now - asked}`);
    frozen.thaw();
    await world.run(minutes(5));
    assert.equal(states([frozen, ...others]).length, 1);
    assert.equal(others[0].state.status, "signedIn");
  }
});

test("a logout does not wait long for a frozen tab either", async () => {
  for (const features of [{}, { locks: false }]) {
    const world = new World({ ...features, seed: 3 });
    const [frozen, other] = await world.signedIn(2);
    await world.run(20_000);
    frozen.session.stayActive().catch(() => {});
    await world.run(80);
    frozen.freeze();
    const asked = world.now;
    await world.settle(other.session.logout());
    assert.ok(world.now - asked < 5000, `${world.now - asked}`);
    assert.equal(world.issuer.families.size, 0);
    frozen.thaw();
    await world.run(1000);
    assert.deepEqual(states([frozen, other]), ["signedOut "]);
  }
});

test("a tab that resumes asks, since it may have missed what ended its session", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  tab.freeze();
  await world.run(5000);
  world.issuer.families.clear();
  await world.run(5000);
  assert.equal(tab.state.status, "signedIn");
  tab.thaw();
  await world.run(2000);
  assert.deepEqual(tab.state, { status: "signedOut", reason: "ended" });
});

test("a tab closed in the middle of a refresh leaves the others at work", async () => {
  const world = new World();
  const [first, ...others] = await world.signedIn(4);
  await world.run(20_000);
  void first.session.stayActive();
  await world.run(20);
  first.destroy();
  await world.settle(others[0].session.stayActive());
  assert.deepEqual(states(others), ["signedIn s1"]);
});

test("a machine that slept past the idle end shows no private content when it wakes", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  await world.run(minutes(1));
  world.sleep(minutes(45));
  await world.run(200);
  tab.document.fire("visibilitychange", { isTrusted: true });
  assert.equal(tab.state.status, "restoring");
  await world.run(2000);
  assert.deepEqual(tab.state, { status: "signedOut", reason: "idle" });
});

test("a machine that slept for less goes on, with a new token before the next request", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  await world.run(minutes(1));
  world.sleep(minutes(20));
  assert.equal((await world.settle(tab.session.fetch(API))).status, 200);
  const refused = world.issuer.log.filter(({ url }) => url === API);
  assert.equal(refused.length, 1);
});

test("a wall clock set back or forward logs nobody out", async () => {
  for (const jump of [-minutes(600), minutes(7), minutes(600), -minutes(3)]) {
    for (const features of Object.values(BROWSERS)) {
      const world = new World(features);
      const tabs = await world.signedIn(3);
      await world.run(minutes(1));
      world.wallOffset += jump;
      await world.run(minutes(6));
      assert.equal((await world.settle(tabs[1].session.fetch(API))).status, 200);
      await world.run(minutes(1));
      assert.deepEqual(states(tabs), ["signedIn s1"]);
    }
  }
});

test("a page from the back-forward cache learns what it missed before it shows anything", async () => {
  const world = new World();
  const [tab, other] = await world.signedIn(2);
  tab.putAway();
  assert.equal(tab.state.status, "restoring");
  // It has no token any more: its call waits for one, and is never sent with the old.
  const call = tab.session.fetch(API).catch(() => {});
  await world.settle(other.session.logout());
  await world.run(100);
  const before = tab.states.length;
  tab.bringBack();
  await world.run(100);
  assert.equal(tab.state.status, "signedOut");
  assert.ok(tab.states.slice(before).every(({ status }) => status !== "signedIn"));
  await call;
  assert.ok(world.issuer.log.every(({ url }) => url !== API));
  // And the other way round.
  other.putAway();
  await world.settle(tab.session.login(PERSON));
  other.bringBack();
  await world.run(200);
  assert.deepEqual(states([tab, other]), ["signedIn s2"]);
});

test("offline nobody is logged out, and online goes on at once", async () => {
  const world = new World();
  const tabs = await world.signedIn(3);
  world.issuer.faultOf = () => "before";
  await world.run(minutes(20));
  assert.deepEqual(states(tabs), ["signedIn s1"]);
  assert.equal(tabs[0].state.reachable, false);
  world.issuer.faultOf = () => null;
  for (const tab of tabs) tab.window.fire("online");
  await world.run(1000);
  for (const { state } of tabs) assert.equal(state.reachable, true);
  assert.equal((await world.settle(tabs[2].session.fetch(API))).status, 200);
});

test("a login while an old refresh is under way is not ended by its answer", async () => {
  const world = new World({ locks: false, storage: false });
  const [tab] = await world.signedIn();
  const family = world.issuer.families.get("s1");
  world.issuer.families.clear();
  world.issuer.delay = [500, 500];
  const refresh = tab.session.stayActive().catch(() => {});
  await world.run(10);
  world.issuer.delay = [5, 5];
  await world.settle(tab.session.login(PERSON));
  await world.run(2000);
  await refresh;
  assert.equal(tab.state.sid, "s2");
  assert.ok(family);
});

/** What may happen to a tab; each takes the world and one of its tabs. */
const EVENTS = [
  (_world, tab) => tab.press(),
  (_world, tab) => void tab.session.fetch(API).catch(() => {}),
  (_world, tab) => void tab.session.stayActive().catch(() => {}),
  (world, tab) => world.tabs.length < 14 && tab && world.tab(),
  (world, tab) => world.tabs.filter(({ gone }) => !gone).length > 2 && tab.destroy(),
  (world) => (world.issuer.faults = [["before", "after", "never"][Math.floor(world.random() * 3)]]),
  (world) => (world.issuer.faults = [FakeIssuer.status(503, { "Retry-After": "2" })]),
  (world) => world.sleep(minutes(world.random() * 8)),
  (_world, tab) => tab.document.fire("visibilitychange", { isTrusted: true }),
];
const FREEZING = [
  (_world, tab) => tab.freeze(),
  (_world, tab) => tab.putAway(),
  (world) => (world.wallOffset -= minutes(world.random() * 30)),
];

/**
 * @param {number} seed
 * @param {Record<string, boolean>} features
 * @param {Function[]} events
 */
async function chaos(seed, features, events) {
  const world = new World({ ...features, seed, newsDelay: 200, idle: 90_000, absolute: 900_000 });
  const random = seeded(seed + 1_000_000);
  const pick = (list) => list[Math.floor(random() * list.length)];
  await world.signedIn(5);
  for (let step = 0; step < 60; step += 1) {
    const tab = pick(world.tabs.filter(({ gone }) => !gone));
    if (!tab.frozen) pick(events)(world, tab);
    else if (random() < 0.5) tab.bringBack();
    await world.run(random() < 0.7 ? random() * 500 : random() * minutes(4));
  }
  world.issuer.faults = [];
  const live = world.tabs.filter(({ gone }) => !gone);
  for (const tab of live) {
    if (tab.frozen) tab.bringBack();
    tab.window.fire("online");
  }
  await world.run(minutes(2));
  return { world, live };
}

const SEEDS = Number(process.env.SEEDS ?? 25);

for (const [name, features] of Object.entries(BROWSERS)) {
  test(`whatever happens in whatever order, nobody is logged out falsely, ${name}`, async () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { world, live } = await chaos(seed, features, EVENTS);
      assert.deepEqual(states(live), ["signedIn s1"], `seed ${seed}`);
      // A lease runs out while the machine sleeps; a lock does not.
      if (features.locks !== false) {
        assert.equal(world.issuer.mostRefreshing, 1, `in flight, seed ${seed}`);
      }
      assert.ok(!world.issuer.reuse, `seed ${seed}`);
    }
  });

  test(`frozen tabs and a clock set back change nothing about that, ${name}`, async () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { world, live } = await chaos(seed, features, [...EVENTS, ...FREEZING]);
      assert.deepEqual(states(live), ["signedIn s1"], `seed ${seed}`);
      assert.ok(!world.issuer.reuse, `seed ${seed}`);
    }
  });

  test(`with logins and logouts among it all tabs end up alike, ${name}`, async () => {
    const people = [
      (_world, tab) => void tab.session.logout().catch(() => {}),
      (_world, tab) => void tab.session.login(PERSON).catch(() => {}),
    ];
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { live } = await chaos(seed, features, [...EVENTS, ...FREEZING, ...people]);
      assert.equal(states(live).length, 1, `seed ${seed}: ${states(live)}`);
    }
  });
}
