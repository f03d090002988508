/** One tab: signing in and out, what else a person does, and what the page is told. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { createSession, Refused, SignedOutError, Unreachable } from "../src/index.js";
import { API, FakeIssuer, ISSUER } from "./support/issuer.js";
import { World } from "./support/world.js";

const PERSON = { username: "ann", password: "right" };
const minutes = (count) => count * 60_000;

test("without a hint of a session nobody is asked", async () => {
  const world = new World();
  const tab = world.tab();
  assert.deepEqual(tab.state, { status: "signedOut", reason: "none" });
  assert.equal(world.issuer.log.length, 0);
});

test("a login gives a session, a reload restores it without showing anybody signed out", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  assert.equal(tab.state.status, "signedIn");
  tab.destroy();
  const again = world.tab();
  assert.deepEqual(again.state, { status: "restoring", reachable: true });
  assert.equal((await world.settle(again.session.ready)).status, "signedIn");
  assert.deepEqual([...new Set(again.states.map((state) => state.status))], ["restoring", "signedIn"]);
});

test("wrong credentials are refused and change nothing", async () => {
  const world = new World();
  const tab = world.tab();
  await assert.rejects(
    world.settle(tab.session.login({ ...PERSON, password: "wrong" })),
    (error) => error instanceof Refused && error.error === "invalid_grant",
  );
  assert.equal(tab.state.status, "signedOut");
});

test("logout without a network signs out, and tells the issuer later", async () => {
  const world = new World();
  const [tab, other] = await world.signedIn(2);
  world.issuer.faults = ["before"];
  await assert.rejects(world.settle(tab.session.logout()), Unreachable);
  assert.equal(tab.state.status, "signedOut");
  assert.equal(other.state.status, "signedOut");
  assert.equal(world.issuer.families.size, 1);
  // A reload meanwhile must not bring the session back.
  const reloaded = world.tab();
  assert.deepEqual(reloaded.state, { status: "signedOut", reason: "logout" });
  await world.run(minutes(2));
  assert.equal(world.issuer.families.size, 0);
  assert.deepEqual(world.tab().state, { status: "signedOut", reason: "none" });
});

test("a logout without a network is told to the issuer as soon as there is one", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  world.issuer.faultOf = () => "before";
  await assert.rejects(world.settle(tab.session.logout()), Unreachable);
  await world.run(minutes(5));
  assert.equal(world.issuer.families.size, 1);
  world.issuer.faultOf = () => null;
  tab.window.fire("online");
  await world.run(1000);
  assert.equal(world.issuer.families.size, 0);
});

test("a password change goes on in a new session, in all tabs", async () => {
  const world = new World();
  const [tab, other] = await world.signedIn(2);
  const change = { currentPassword: "right", newPassword: "another one" };
  const { sid } = await world.settle(tab.session.changePassword(change));
  await world.run(100);
  assert.equal(other.state.sid, sid);
  assert.equal((await world.settle(other.session.fetch(API))).status, 200);
});

test("an elevation goes on in a new session, in all tabs, and makes up for a challenge", async () => {
  const world = new World();
  const [tab, other] = await world.signedIn(2);
  const [before] = world.issuer.families.keys();
  world.issuer.wantsElevation = true;
  const refreshes = world.issuer.refreshes;
  const challenged = await world.settle(tab.session.fetch(API));
  assert.equal(challenged.status, 401);
  assert.match(challenged.headers.get("WWW-Authenticate"), /insufficient_user_authentication/);
  assert.equal(world.issuer.refreshes, refreshes, "a refresh makes nobody prove anything");
  assert.equal(tab.state.status, "signedIn");
  const { sid } = await world.settle(tab.session.elevate({ currentPassword: "right" }));
  assert.notEqual(sid, before);
  assert.deepEqual([...world.issuer.families.keys()], [sid]);
  await world.run(100);
  assert.equal(other.state.sid, sid);
  for (const each of [tab, other]) {
    assert.equal((await world.settle(each.session.fetch(API))).status, 200);
  }
});

test("a wrong password elevates nobody, and logs nobody out", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const { sid } = tab.state;
  const elevation = world.settle(tab.session.elevate({ currentPassword: "wrong" }));
  await assert.rejects(elevation, { error: "invalid_grant" });
  assert.equal(tab.state.sid, sid);
});

test("signing in anew ends the session that was there", async () => {
  const world = new World();
  const [tab, other] = await world.signedIn(2);
  const { sid } = await world.settle(tab.session.login(PERSON));
  assert.equal(sid, "s2");
  assert.deepEqual([...world.issuer.families.keys()], ["s2"]);
  await world.run(100);
  assert.equal(other.state.sid, "s2");
});

test("a wrong current password logs nobody out", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const change = { currentPassword: "wrong", newPassword: "another one" };
  await assert.rejects(world.settle(tab.session.changePassword(change)), Refused);
  assert.equal(tab.state.status, "signedIn");
});

test("a session ended elsewhere is noticed at the first refused request", async () => {
  const world = new World();
  const [tab, other] = await world.signedIn(2);
  world.issuer.families.clear();
  await assert.rejects(world.settle(tab.session.fetch(API)), SignedOutError);
  await world.run(100);
  assert.deepEqual(other.state, { status: "signedOut", reason: "ended" });
});

test("devices are listed and ended, this one too", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const other = world.issuer.begin();
  assert.equal((await world.settle(tab.session.sessions())).length, 2);
  await world.settle(tab.session.endSession(other.sid));
  assert.deepEqual([...world.issuer.families.keys()], [tab.state.sid]);
  await world.settle(tab.session.endSession(tab.state.sid));
  assert.equal(tab.state.status, "signedOut");
  assert.equal(world.issuer.families.size, 0);
});

test("logging out everywhere ends every session and takes the cookie away", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  world.issuer.begin();
  await world.settle(tab.session.logoutEverywhere());
  assert.equal(world.issuer.families.size, 0);
  assert.equal(world.issuer.cookie, null);
  assert.deepEqual(tab.state, { status: "signedOut", reason: "logout" });
});

test("no error but invalid_grant logs anybody out", async () => {
  for (const fault of [
    "before",
    "after",
    FakeIssuer.status(503, { "Retry-After": "1" }),
    FakeIssuer.status(500),
    FakeIssuer.status(429),
    FakeIssuer.page(200),
    FakeIssuer.page(400),
    FakeIssuer.page(404),
    { answer: (await import("./support/issuer.js")).refusal(403, "access_denied") },
  ]) {
    const world = new World();
    const [tab] = await world.signedIn();
    world.issuer.faultOf = ({ url }) => (url.endsWith("/refresh") ? fault : null);
    await world.run(minutes(10));
    assert.deepEqual({ ...tab.state, sid: "" }, {
      status: "signedIn", sid: "", expiring: null, reachable: false,
    });
    // It neither gives up nor hammers.
    const asked = world.issuer.refreshes;
    assert.ok(asked >= 3 && asked <= 45, `${asked}`);
    world.issuer.faultOf = () => null;
    tab.window.fire("online");
    await world.run(1000);
    assert.equal(tab.state.reachable, true);
  }
});

test("a limit at a refresh is told with its wait, and logs nobody out", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const limited = FakeIssuer.status(429, { "Retry-After": "40" });
  world.issuer.faultOf = ({ url }) => (url.endsWith("/refresh") ? limited : null);
  await world.run(minutes(5.1));
  assert.deepEqual({ ...tab.state, sid: "" }, {
    status: "signedIn", sid: "", expiring: null, reachable: false, retryAfter: 40,
  });
  // It does not ask before the time that it was told.
  const asked = world.issuer.refreshes;
  await world.run(39_000);
  assert.ok(world.issuer.refreshes <= asked + 1);
  await assert.rejects(
    world.settle(tab.session.fetch(API)),
    (error) => error instanceof Unreachable && error.status === 429 && error.retryAfter === 40,
  );
  world.issuer.faultOf = () => null;
  await world.run(minutes(2));
  assert.deepEqual({ ...tab.state, sid: "" }, {
    status: "signedIn", sid: "", expiring: null, reachable: true,
  });
});

test("a limit at a password change is told with its wait, and changes nothing", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const before = world.issuer.refreshes;
  world.issuer.faults = [FakeIssuer.status(429, { "Retry-After": "30" })];
  await assert.rejects(
    world.settle(tab.session.changePassword({ currentPassword: "right", newPassword: "new" })),
    (error) => error instanceof Unreachable && error.status === 429 && error.retryAfter === 30,
  );
  await world.run(5000);
  // Nothing is unsure, so nobody is asked.
  assert.equal(world.issuer.refreshes, before);
  assert.equal(tab.state.status, "signedIn");
  assert.equal(tab.state.reachable, true);
});

test("a lost answer is asked for again and costs nothing", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  for (let round = 0; round < 20; round += 1) {
    world.issuer.faults = ["after", "after"];
    await world.run(minutes(4));
    await world.settle(tab.session.stayActive());
  }
  assert.equal(tab.state.status, "signedIn");
});

test("the token is nowhere to be read", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  const errors = [];
  tab.session.onChange(() => {});
  world.issuer.faultOf = () => "before";
  await world.settle(tab.session.fetch(API)).catch((error) => errors.push(error));
  await world.settle(tab.session.sessions()).catch((error) => errors.push(error));
  const { bearer } = world.issuer.log.find((entry) => entry.bearer);
  const seen = [
    inspect(tab.session, { depth: 9, showHidden: true }),
    JSON.stringify(tab.session),
    inspect(errors, { depth: 9, showHidden: true }),
    JSON.stringify([...world.storage]),
    world.issuer.log.map(({ url }) => url).join(),
  ];
  for (const text of seen) assert.ok(!text.includes(bearer.split(":").slice(1).join(":")), text);
});

test("closing takes every listener and timer away", async () => {
  const world = new World();
  const [tab] = await world.signedIn();
  assert.ok(tab.window.count > 0);
  tab.session.close();
  assert.equal(tab.window.count + tab.document.count, 0);
  const asked = world.issuer.log.length;
  await world.run(minutes(60));
  assert.equal(world.issuer.log.length, asked);
});

test("a listener's mistake breaks nothing", async () => {
  const world = new World();
  const tab = world.tab();
  const caught = [];
  globalThis.reportError = (error) => caught.push(error.message);
  let calls = 0;
  tab.session.onChange(() => {
    if ((calls += 1) === 2) throw new Error("mistake");
  });
  await world.settle(tab.session.login(PERSON));
  assert.equal(tab.state.status, "signedIn");
  assert.deepEqual(caught, ["mistake"]);
});

test("a fetch of the app's own is called without a this, as a browser's demands", async () => {
  const world = new World();
  const asked = [];
  const tab = world.tab({
    fetch(input, init) {
      if (this !== undefined) throw new TypeError("Illegal invocation");
      asked.push(`${input}`);
      return world.issuer.fetch(tab, input, init);
    },
  });
  await world.settle(tab.session.login(PERSON));
  await world.settle(tab.session.fetch(API));
  assert.deepEqual(asked, [`${ISSUER}/login`, API]);
});

test("without a document nothing happens by itself", async () => {
  const world = new World({ storage: false });
  const tab = world.tab();
  tab.session.close();
  world.jobs.clear();
  world.issuer.log = [];
  const server = { ...tab.environment(), locks: null, openChannel: null, window: null, document: null };
  const session = createSession({ issuer: ISSUER }, server);
  assert.equal(world.jobs.size, 0);
  // Nor does a call that fails leave anything behind that goes on.
  world.issuer.faultOf = () => "before";
  await assert.rejects(world.settle(session.fetch(API)), Unreachable);
  await world.run(minutes(5));
  assert.equal(session.state.status, "restoring");
  assert.equal(world.issuer.log.length, 1);
  assert.equal(world.jobs.size, 0);
});

test("too many attempts are told apart from a server that does not answer", async () => {
  const world = new World();
  const tab = world.tab();
  world.issuer.faults = [FakeIssuer.status(429, { "Retry-After": "7" }), FakeIssuer.status(429), "before"];
  for (const [status, retryAfter] of [[429, 7], [429, null], [null, null]]) {
    await assert.rejects(world.settle(tab.session.login(PERSON)), (error) => {
      assert.ok(error instanceof Unreachable);
      assert.deepEqual([error.status, error.retryAfter], [status, retryAfter]);
      return true;
    });
  }
  // A login is the person's to repeat.
  assert.equal(world.issuer.log.length, 3);
});

test("a second factor is asked for, and goes with the password", async () => {
  const world = new World();
  const tab = world.tab();
  const webauthn = { challenge: "c" };
  world.issuer.factor = { factors: ["totp", 7], webauthn };
  const refused = (error) => (failure) => failure instanceof Refused && failure.error === error;
  await assert.rejects(world.settle(tab.session.login(PERSON)), (failure) => {
    assert.deepEqual([failure.factors, failure.webauthn], [["totp"], webauthn]);
    return refused("factor_required")(failure);
  });
  await assert.rejects(
    world.settle(tab.session.login({ ...PERSON, otp: "000000" })),
    refused("factor_refused"),
  );
  assert.equal(tab.state.status, "signedOut");
  await world.settle(tab.session.login({ ...PERSON, otp: "right" }));
  assert.equal(tab.state.status, "signedIn");
  const sent = JSON.parse(world.issuer.log.filter(({ url }) => url.endsWith("/login")).at(-1).init.body);
  assert.deepEqual(Object.keys(sent), ["username", "password", "otp", "transport"]);
});
