/** The app's options, checked once and completed. */

const LOOPBACK = /^(localhost|.*\.localhost|127(\.\d{1,3}){3}|\[::1\])$/;
const WARN_BEFORE = { idle: [120], absolute: [300] };
const NAMES = ["issuer", "clientId", "apiOrigins", "label", "warnBefore", "fetch"];
/** Characters; the issuer refuses a login with a longer one. */
const LONGEST_LABEL = 64;

/**
 * @param {import("../types/index.js").SessionOptions} options
 * @returns what `createSession` works with. Throws `TypeError` naming the option.
 */
export function readOptions(options) {
  if (!isObject(options)) throw new TypeError("createSession: options with the issuer are needed");
  onlyKnown(options, NAMES, "");
  const { issuer, clientId, apiOrigins = [], label, warnBefore = {}, fetch } = options;
  const address = secure(issuer, "issuer");
  if (address.search || address.hash) throw new TypeError("issuer: no query and no fragment");
  const origins = new Set([address.origin]);
  if (!Array.isArray(apiOrigins)) throw new TypeError("apiOrigins: a list of origins is needed");
  for (const origin of apiOrigins) {
    const api = secure(origin, "apiOrigins");
    if (api.href !== `${api.origin}/`) throw new TypeError("apiOrigins: origins, without a path");
    origins.add(api.origin);
  }
  if (label !== undefined && (typeof label !== "string" || [...label].length > LONGEST_LABEL)) {
    throw new TypeError(`label: at most ${LONGEST_LABEL} characters`);
  }
  if (fetch !== undefined && typeof fetch !== "function") throw new TypeError("fetch: a function is needed");
  if (!isObject(warnBefore)) throw new TypeError("warnBefore: `idle` and `absolute`, each a list of seconds");
  onlyKnown(warnBefore, Object.keys(WARN_BEFORE), "warnBefore.");
  const warn = { ...WARN_BEFORE, ...warnBefore };
  for (const [end, times] of Object.entries(warn)) {
    if (!Array.isArray(times)) throw new TypeError(`warnBefore.${end}: a list of seconds is needed`);
    if (!times.every((seconds) => Number.isFinite(seconds) && seconds > 0)) {
      throw new TypeError(`warnBefore.${end}: seconds above zero`);
    }
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

/**
 * @param {unknown} value
 * @returns {value is object}
 */
function isObject(value) {
  return value !== null && typeof value === "object";
}

/**
 * @param {object} options
 * @param {readonly string[]} names
 * @param {string} within what comes before a name
 */
function onlyKnown(options, names, within) {
  for (const given of Object.keys(options)) {
    if (names.includes(given)) continue;
    throw new TypeError(`there is no option ${within}${given}, but ${names.join(", ")}`);
  }
}
