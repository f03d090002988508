/**
 * A browser with many tabs in one process, on a clock that only the test moves.
 *
 * Tabs share storage, locks, channels and the cookie, and lack them where a test says so. What one
 * writes to storage another may see `storageDelay` later, as between a browser's processes. A frozen tab
 * gets no timers, messages or answers until it thaws; its requests and its cookie live on, as they do
 * in a browser.
 */

import { createSession } from "../../src/session.js";
import { FakeIssuer, ISSUER } from "./issuer.js";

/** A generator of numbers in [0, 1) from a seed (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Target {
  handlers = new Map();
  addEventListener(name, handler) {
    this.handlers.set(name, (this.handlers.get(name) ?? new Set()).add(handler));
  }
  removeEventListener(name, handler) {
    this.handlers.get(name)?.delete(handler);
  }
  fire(name, event = {}) {
    for (const handler of [...(this.handlers.get(name) ?? [])]) handler(event);
  }
  get count() {
    return [...this.handlers.values()].reduce((sum, set) => sum + set.size, 0);
  }
}

export class World {
  now = 1_000_000;
  /** What the wall clock shows beyond the true time, and what the monotonic clock slept through. */
  wallOffset = 1.79e12;
  asleep = 0;
  jobs = new Set();
  serial = 0;
  storage = new Map();
  tabs = [];
  held = null;
  queue = [];
  requests = [];

  constructor({
    seed = 1,
    locks = true,
    channels = true,
    storage = true,
    newsDelay = 5,
    storageDelay = 0,
    ...issuer
  } = {}) {
    this.random = seeded(seed);
    this.features = { locks, channels, storage };
    this.newsDelay = newsDelay;
    this.storageDelay = storageDelay;
    this.issuer = new FakeIssuer(this, issuer);
  }

  at(delay, task, tab = null) {
    const job = { due: this.now + Math.max(0, delay), serial: (this.serial += 1), task, tab };
    this.jobs.add(job);
    return job;
  }

  /** Move time by `ms`, doing everything that falls due, in order. */
  async run(ms = 0) {
    const until = this.now + ms;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      let job = null;
      for (const each of this.jobs) {
        if (each.due > until || each.tab?.frozen) continue;
        if (!job || each.due < job.due || (each.due === job.due && each.serial < job.serial)) job = each;
      }
      if (!job) break;
      this.jobs.delete(job);
      this.now = Math.max(this.now, job.due);
      if (!job.tab?.gone) job.task();
    }
    this.now = until;
  }

  /** The machine sleeps: no timer runs, and the monotonic clock stands still. */
  sleep(ms) {
    for (const job of this.jobs) job.due += ms;
    this.now += ms;
    this.asleep += ms;
  }

  /** Wait for a promise of the module, moving time meanwhile. */
  async settle(promise, most = 120_000) {
    let done = null;
    promise.then(
      (value) => (done = { value }),
      (error) => (done = { error }),
    );
    for (let spent = 0; !done && spent <= most; spent += 50) await this.run(50);
    if (!done) throw new Error("it does not settle");
    if ("error" in done) throw done.error;
    return done.value;
  }

  tab(options = {}) {
    const tab = new Tab(this, options);
    this.tabs.push(tab);
    return tab;
  }

  async signedIn(count = 1, options = {}) {
    const [first, ...others] = Array.from({ length: count }, () => this.tab(options));
    await this.settle(first.session.login({ username: "ann", password: "right" }));
    await this.run(100);
    return [first, ...others];
  }

  request(name, options, task, tab) {
    return new Promise((resolve, reject) => {
      const entry = { name, task, tab, resolve, reject };
      if (options.steal) {
        this.held?.reject(new DOMException("stolen", "AbortError"));
        this.grant(entry);
        return;
      }
      options.signal?.addEventListener("abort", () => {
        const index = this.queue.indexOf(entry);
        if (index >= 0) this.queue.splice(index, 1);
        reject(new DOMException("aborted", "AbortError"));
      });
      this.queue.push(entry);
      this.pump();
    });
  }

  grant(entry) {
    this.held = entry;
    this.at(1, () => void entry.task().then(() => this.release(entry)), entry.tab);
  }

  release(entry) {
    entry.resolve();
    if (this.held === entry) {
      this.held = null;
      this.pump();
    }
  }

  pump() {
    if (this.held) return;
    const entry = this.queue.shift();
    if (entry) this.grant(entry);
  }

  store(key, value, from) {
    const before = this.storage.get(key) ?? null;
    from.stale.delete(key);
    if (value === null) this.storage.delete(key);
    else this.storage.set(key, value);
    for (const tab of this.tabs) {
      if (tab === from || tab.gone) continue;
      if (this.storageDelay) {
        const seen = { value: tab.stale.get(key)?.value ?? before };
        tab.stale.set(key, seen);
        this.at(this.random() * this.storageDelay, () => {
          if (tab.stale.get(key) === seen) tab.stale.delete(key);
        });
      }
      this.at(this.random() * this.newsDelay, () => tab.window.fire("storage", { key, newValue: value }), tab);
    }
  }
}

class Tab {
  frozen = false;
  gone = false;
  window = new Target();
  document = Object.assign(new Target(), { visibilityState: "visible" });
  channels = new Set();
  requests = new Set();
  /** What it still sees in storage in place of what is there, by key. */
  stale = new Map();
  states = [];
  warnings = [];

  constructor(world, options) {
    this.world = world;
    this.session = createSession({ issuer: ISSUER, ...options }, this.environment());
    this.session.onChange((state) => this.states.push(state));
    this.session.onExpiring((event) => this.warnings.push(event));
  }

  get state() {
    return this.session.state;
  }

  environment() {
    const { world } = this;
    const { locks, channels, storage } = world.features;
    return {
      fetch: (input, init) => world.issuer.fetch(this, input, init),
      locks: locks
        ? { request: (name, options, task) => world.request(name, options, task, this) }
        : null,
      openChannel: channels ? () => this.channel() : null,
      storage: storage
        ? {
            getItem: (key) => (this.stale.has(key) ? this.stale.get(key).value : world.storage.get(key)) ?? null,
            setItem: (key, value) => world.store(key, value, this),
            removeItem: (key) => world.store(key, null, this),
          }
        : null,
      window: this.window,
      document: this.document,
      base: "https://app.example/",
      monotonic: () => world.now - world.asleep,
      wall: () => world.now + world.wallOffset,
      setTimeout: (task, delay) => world.at(delay, task, this),
      clearTimeout: (job) => world.jobs.delete(job),
      random: world.random,
    };
  }

  channel() {
    const { world, channels } = this;
    const own = {
      onmessage: null,
      close: () => channels.delete(own),
      postMessage: (message) => {
        const data = structuredClone(message);
        for (const tab of world.tabs) {
          for (const other of tab.channels) {
            if (other === own) continue;
            const deliver = () => tab.channels.has(other) && other.onmessage?.({ data });
            world.at(world.random() * world.newsDelay, deliver, tab);
          }
        }
      },
    };
    channels.add(own);
    return own;
  }

  press() {
    this.window.fire("pointerdown", { isTrusted: true });
  }

  freeze() {
    this.frozen = true;
  }

  thaw() {
    this.frozen = false;
    this.document.fire("resume");
  }

  /** Put away into the back-forward cache, and brought back. */
  putAway() {
    this.window.fire("pagehide", { persisted: true });
    this.frozen = true;
  }

  bringBack() {
    this.frozen = false;
    this.window.fire("pageshow", { persisted: true });
  }

  /** The tab is closed: nothing of it runs on, and the browser gives its lock back. */
  destroy() {
    this.gone = true;
    for (const abort of this.requests) abort();
    this.channels.clear();
    const { world } = this;
    world.queue = world.queue.filter((entry) => entry.tab !== this);
    if (world.held?.tab === this) {
      world.held = null;
      world.pump();
    }
  }
}
