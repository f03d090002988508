/** The app's options, checked once and completed. */

const LOOPBACK = /^(localhost|.*\.localhost|127(\.\d{1,3}){3}|\[::1\])$/;
const WARN_BEFORE = { idle: [120], absolute: [300] };

/**
 * @param {import("../types/index.js").SessionOptions} options
 * @returns what `createSession` works with. Throws `TypeError` naming the option.
 */
export function readOptions({ issuer, clientId, apiOrigins = [], label, warnBefore = {} }) {
  const address = secure(issuer, "issuer");
  if (address.search || address.hash) throw new TypeError("issuer: no query and no fragment");
  const origins = new Set([address.origin]);
  for (const origin of apiOrigins) {
    const api = secure(origin, "apiOrigins");
    if (api.href !== `${api.origin}/`) throw new TypeError("apiOrigins: origins, without a path");
    origins.add(api.origin);
  }
  const warn = { ...WARN_BEFORE, ...warnBefore };
  for (const seconds of [...warn.idle, ...warn.absolute]) {
    if (!(seconds > 0 && seconds < Infinity)) throw new TypeError("warnBefore: seconds above zero");
  }
  const base = address.href.replace(/\/+$/, "");
  return { base, origins, name: `gatepass:${base}`, clientId, label, warnBefore: warn };
}

/**
 * A token may not travel in the clear (RFC 6750 section 5.3).
 *
 * @param {string} text
 * @param {string} option
 */
function secure(text, option) {
  let address;
  try {
    address = new URL(text);
  } catch {
    throw new TypeError(`${option}: a whole address is needed`);
  }
  const { protocol, hostname, username, password } = address;
  const plain = protocol === "http:" && LOOPBACK.test(hostname);
  if (protocol !== "https:" && !plain) throw new TypeError(`${option}: https is needed`);
  if (username || password) throw new TypeError(`${option}: no user name and no password`);
  return address;
}
