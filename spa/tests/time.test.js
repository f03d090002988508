/** One tab over time: renewal, activity, and the ends of a session with their warnings. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { API } from "./support/issuer.js";
import { World } from "./support/world.js";

const minutes = (count) => count * 60_000;

test("the token is renewed ahead of its end, without anybody asking", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const used = async () => {
    await world.settle(tab.session.fetch(API));
    return world.issuer.log.at(-1).bearer;
  };
  const first = await used();
  await world.run(minutes(4.9));
  const refreshes = world.issuer.refreshes;
  assert.equal(refreshes, 1);
  assert.notEqual(await used(), first);
  assert.equal(world.issuer.refreshes, refreshes);
});

test("idle time ends the session, with a warning first", async () => {
  const world = new World();
  const [tab] = await world.signedIn(1, { warnBefore: { idle: [120, 30] } });
  await world.run(minutes(27.9));
  assert.deepEqual(tab.warnings, []);
  await world.run(minutes(0.2));
  assert.deepEqual(tab.warnings, [{ end: "idle", secondsLeft: 120 }]);
  assert.equal(tab.state.expiring, "idle");
  await world.run(minutes(1.5));
  assert.deepEqual(tab.warnings.slice(1), [{ end: "idle", secondsLeft: 30 }]);
  await world.run(minutes(0.5));
  assert.deepEqual(tab.state, { status: "signedOut", reason: "idle" });
});

test("staying active averts the end and takes the warning back", async () => {
  const world = new World();
  const [tab, other] = await world.signedIn(2);
  await world.run(minutes(28.5));
  assert.equal(other.state.expiring, "idle");
  const left = await world.settle(tab.session.stayActive());
  await world.run(100);
  assert.ok(left.idle > 1790);
  assert.equal(tab.state.expiring, null);
  assert.equal(other.state.expiring, null);
  await world.run(minutes(25));
  assert.equal(tab.state.status, "signedIn");
});

test("a person at work is noticed; an event made by a script is not", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  for (let spent = 0; spent < 120; spent += 1) {
    await world.run(minutes(1));
    tab.press();
  }
  assert.equal(tab.state.status, "signedIn");
  assert.deepEqual(tab.warnings, []);
  for (let spent = 0; spent < 32; spent += 1) {
    await world.run(minutes(1));
    tab.window.fire("pointerdown", { isTrusted: false });
  }
  assert.deepEqual(tab.state, { status: "signedOut", reason: "idle" });
});

test("a press, a key, a touch, the wheel and a tab brought to the front count, and no more", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const events = ["pointerdown", "keydown", "touchstart", "wheel"];
  const shown = (/** @type {string} */ visibilityState) => () => {
    tab.document.visibilityState = visibilityState;
    tab.document.fire("visibilitychange", { isTrusted: true });
  };
  const fire = (/** @type {string} */ name, isTrusted = true) => () => tab.window.fire(name, { isTrusted });
  const nothing = [
    shown("hidden"),
    () => tab.document.fire("visibilitychange", { isTrusted: false }),
    ...["pointermove", "mousemove", "pointerover", "scroll", "focus", "blur"].map((name) => fire(name)),
    ...events.map((name) => fire(name, false)),
  ];
  for (const something of [...events.map((name) => fire(name)), shown("visible")]) {
    await world.run(minutes(28.5));
    assert.equal(tab.state.expiring, "idle");
    for (const act of nothing) act();
    await world.run(1000);
    assert.equal(tab.state.expiring, "idle");
    something();
    await world.run(1000);
    assert.equal(tab.state.expiring, null, String(something));
    assert.ok(tab.session.remaining().idle > 1790);
  }
});

test("activity on the page before counts on the next one", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  await world.run(minutes(20));
  tab.press();
  tab.destroy();
  await world.run(minutes(5));
  const next = world.tab();
  await world.settle(next.session.ready);
  assert.ok(next.session.remaining().idle > 24 * 60);
});

test("the absolute end comes whatever anybody does", async () => {
  const world = new World({ absolute: 3600 });
  const [tab] = await world.signedIn();
  for (let spent = 0; spent < 60; spent += 1) {
    tab.press();
    await world.run(minutes(1));
  }
  await world.run(minutes(0.1));
  assert.deepEqual(tab.warnings, [{ end: "absolute", secondsLeft: 300 }]);
  assert.deepEqual(tab.state, { status: "signedOut", reason: "absolute" });
  assert.ok(world.issuer.refreshes < 30, `${world.issuer.refreshes} refreshes`);
});

test("the absolute end is warned of at each of its times, once", async () => {
  const times = [400, 222, 61, 7];
  for (const presses of [true, false]) {
    const world = new World({ absolute: 1700 });
    const [tab] = await world.signedIn(1, { warnBefore: { absolute: times } });
    for (let spent = 0; spent < 1700; spent += 17) {
      if (presses) tab.press();
      await world.run(17_000);
    }
    await world.run(5000);
    const told = times.map((secondsLeft) => ({ end: "absolute", secondsLeft }));
    assert.deepEqual(tab.warnings.filter(({ end }) => end === "absolute"), told);
    assert.deepEqual(tab.state, { status: "signedOut", reason: "absolute" });
  }
});
