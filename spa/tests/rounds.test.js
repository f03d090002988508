/** Hundreds of rounds in which twelve tabs refresh, in browsers that lack what keeps them apart. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { inRounds } from "./support/rounds.js";

const ROUNDS = Number(process.env.ROUNDS ?? 300);
const ALONE = { locks: false, channels: false, storage: false };
/** What a browser may lack. A lease holds while storage is quicker than half of its pause. */
const LACKING = {
  "without Web Locks": { locks: false, storageDelay: 20 },
  "with storage alone": { locks: false, channels: false, storageDelay: 20 },
  "with storage slower than a lease": { locks: false, channels: false, storageDelay: 400 },
  "with nothing that tabs share": ALONE,
};

for (const [name, features] of Object.entries(LACKING)) {
  test(`hundreds of rounds of twelve tabs end no session, ${name}`, async () => {
    const { mostRefreshing, ...became } = await inRounds(ROUNDS, features);
    const families = [{ sid: "s1", gen: ROUNDS + 1 }];
    assert.deepEqual(became, { out: 0, sids: ["s1"], families, reuse: false });
    assert.equal(mostRefreshing === 1, features.storageDelay === 20, `${mostRefreshing}`);
  });
}

test("where nothing is forgiven the same rounds end the session, unless a lease holds", async () => {
  for (const [name, features] of Object.entries(LACKING)) {
    const { reuse, families } = await inRounds(30, { ...features, forgiving: false });
    const holds = features.storageDelay === 20;
    assert.equal(reuse, !holds, name);
    assert.equal(families.length, holds ? 1 : 0, name);
  }
});
