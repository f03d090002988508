/**
 * Twelve tabs that refresh at moments of their own, again and again.
 *
 * In a thread of its own, since the test runner follows every promise of its thread, and there are
 * millions.
 */

import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

import { World, seeded } from "./world.js";

const TABS = 12;
const APART = 300;
const PAST_REUSE_INTERVAL = 11_000;

/** @returns what has become of tabs and issuer, once all rounds are over or a token was reused. */
export function inRounds(rounds, options) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { rounds, options } });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

async function play({ rounds, options }) {
  const world = new World({ delay: [5, 200], idle: 90_000, absolute: 900_000, ...options });
  const [first] = await world.signedIn();
  const tabs = [first, ...Array.from({ length: TABS - 1 }, () => world.tab())];
  await world.run(PAST_REUSE_INTERVAL);
  for (const tab of tabs) tab.states.length = 0;
  const random = seeded(7);
  const { issuer } = world;
  for (let round = 0; round < rounds && !issuer.reuse; round += 1) {
    const asked = tabs.map(
      (tab) =>
        new Promise((resolve) => {
          const ask = () => tab.session.stayActive().then(resolve, resolve);
          world.at(random() * APART, ask, tab);
        }),
    );
    await world.settle(Promise.all(asked));
    await world.run(PAST_REUSE_INTERVAL);
    issuer.log.length = 0;
  }
  return {
    out: tabs.filter((tab) => tab.states.some(({ status }) => status === "signedOut")).length,
    sids: [...new Set(tabs.map(({ state }) => state.sid ?? null))],
    families: [...issuer.families.values()].map(({ sid, gen }) => ({ sid, gen })),
    mostRefreshing: issuer.mostRefreshing,
    reuse: issuer.reuse ?? false,
  };
}

if (!isMainThread) parentPort.postMessage(await play(workerData));
