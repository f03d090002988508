// @ts-nocheck Node's own types are no dependency of this package.
/**
 * A token-mediating back end: node server.mjs PORT [ISSUER] [API]
 *
 * The page talks to this server alone, which keeps the refresh token and hands out the short access
 * token. To the page it looks like the issuer in cookie mode, so the same module works with it. The
 * page's cookie names a record in memory; several such servers need a common store for that.
 *
 * CLIENT_ID and CLIENT_SECRET, from the environment, make it a confidential client.
 */

import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { listen, pages } from "../serve.mjs";

const [port = "9100", issuer = "http://127.0.0.1:8000", api = `${issuer}/api`] = process.argv.slice(2);
const { CLIENT_ID: clientId, CLIENT_SECRET: secret } = process.env;
const COOKIE = "__Host-app_session";
const ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict";
const LONGEST_BODY = 16_384;
const TIMEOUT = 10_000;

/** @type {Map<string, { token: string, end: number, flight: Promise<object> | null }>} */
const held = new Map();
const page = pages("bff");

class Refusal extends Error {
  constructor(status, error, description) {
    super(description);
    Object.assign(this, { status, body: { error, error_description: description } });
  }
}

/** As the issuer does: only this server's own pages, by what browsers say and pages cannot forge. */
function requireOwnPage({ headers }) {
  const { origin, host, "sec-fetch-site": site, "sec-fetch-dest": destination = "empty" } = headers;
  const own = origin === undefined ? site === "same-origin" : origin.replace(/^https?:\/\//, "") === host;
  if (!own || (site ?? "same-origin") !== "same-origin" || destination !== "empty") {
    throw new Refusal(403, "access_denied", "only this server's own pages may ask");
  }
}

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > LONGEST_BODY) throw new Refusal(413, "invalid_request", "the body is too long");
  }
  try {
    const body = JSON.parse(text || "{}");
    if (body !== null && typeof body === "object" && !Array.isArray(body)) return body;
  } catch {
    // Said below.
  }
  throw new Refusal(400, "invalid_request", "the body is no JSON object");
}

/** What the issuer answers; its refusals go on to the page as they are. */
async function ask(path, request, { method = "POST", body, bearer = false, proof = false } = {}) {
  const headers = { Accept: "application/json", "User-Agent": request.headers["user-agent"] ?? "" };
  if (body) headers["Content-Type"] = "application/json";
  if (bearer && request.headers.authorization) headers.Authorization = request.headers.authorization;
  if (proof && secret) {
    const pair = [clientId, secret].map(encodeURIComponent).join(":");
    headers.Authorization = `Basic ${Buffer.from(pair).toString("base64")}`;
  }
  const answer = await fetch(issuer + path, {
    method,
    headers,
    ...(body && { body: JSON.stringify(body) }),
    redirect: "error",
    signal: AbortSignal.timeout(TIMEOUT),
  });
  const content = await answer.json();
  if (answer.ok) return content;
  throw Object.assign(new Refusal(answer.status), { body: content });
}

const idOf = ({ headers }) => new RegExp(`(?:^|; )${COOKIE}=([\\w-]{43})(?:;|$)`).exec(headers.cookie ?? "")?.[1];

/** Keeps the refresh token under a new name, and hands the rest on (ASVS 7.2.4). */
function keep(request, response, { refresh_token: token, ...rest }) {
  held.delete(idOf(request));
  for (const [id, { end }] of held) if (end < Date.now()) held.delete(id);
  const lasts = rest.session.absolute_expires_in;
  const id = randomBytes(32).toString("base64url");
  held.set(id, { token, end: Date.now() + lasts * 1000, flight: null });
  response.setHeader("Set-Cookie", `${COOKIE}=${id}; Max-Age=${lasts}; ${ATTRIBUTES}`);
  return rest;
}

/** One refresh at a time for each session; whoever asks meanwhile gets the same answer. */
function renew(record, request, activeAgo) {
  record.flight ??= (async () => {
    const body = { refresh_token: record.token, active_ago: activeAgo };
    const { refresh_token: token, ...rest } = await ask("/refresh", request, { body, proof: true });
    record.token = token;
    return rest;
  })().finally(() => (record.flight = null));
  return record.flight;
}

const posts = {
  async "/login"(request, response) {
    const { username, password, label } = await bodyOf(request);
    const body = { username, password, label, client_id: clientId, transport: "body" };
    return keep(request, response, await ask("/login", request, { body, proof: true }));
  },
  async "/refresh"(request) {
    const { active_ago: activeAgo } = await bodyOf(request);
    const record = held.get(idOf(request));
    // As the issuer says it of a session that it does not know.
    if (!record) throw new Refusal(400, "invalid_grant", "there is no such session");
    return renew(record, request, activeAgo);
  },
  async "/logout"(request, response) {
    const id = idOf(request);
    const record = held.get(id);
    if (!record) throw new Refusal(400, "invalid_request", "there is no session to end");
    // First there, then here: a failure leaves everything as it was, to be tried again.
    const answer = await ask("/logout", request, { body: { refresh_token: record.token } });
    held.delete(id);
    response.setHeader("Set-Cookie", `${COOKIE}=; Max-Age=0; ${ATTRIBUTES}`);
    return answer;
  },
  async "/password"(request, response) {
    const { current_password, new_password, label } = await bodyOf(request);
    const body = { current_password, new_password, label, transport: "body" };
    return keep(request, response, await ask("/password", request, { body, bearer: true }));
  },
};

async function respond(request, response) {
  const { method, url } = request;
  const path = new URL(url, "http://here").pathname;
  if (method === "POST" && path in posts) {
    requireOwnPage(request);
    return posts[path](request, response);
  }
  if (/^\/sessions(\/[\w-]{22})?$/.test(path) && ["GET", "DELETE"].includes(method)) {
    return ask(path, request, { method, bearer: true });
  }
  return null;
}

/** The API's answer, passed on; the page's token goes to it, the page's cookie does not. */
async function callApi(request, response) {
  const answer = await fetch(api, {
    headers: { Authorization: request.headers.authorization ?? "" },
    redirect: "error",
    signal: AbortSignal.timeout(TIMEOUT),
  });
  // Whole before the first word of ours: an API that breaks off is one that did not answer.
  const text = await answer.text();
  const passed = ["content-type", "www-authenticate", "retry-after"];
  const headers = passed.map((name) => [name, answer.headers.get(name)]).filter(([, value]) => value);
  response.writeHead(answer.status, { ...Object.fromEntries(headers), "Cache-Control": "no-store" });
  response.end(text);
}

const server = createServer(async (request, response) => {
  try {
    if (request.method === "GET" && request.url === "/api") return await callApi(request, response);
    const answer = await respond(request, response);
    if (!answer) return await page(request, response);
    response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
    response.end(JSON.stringify(answer));
  } catch (error) {
    if (response.headersSent) return response.destroy();
    // Whatever is no refusal is a server that did not answer; it ends no session.
    const known = error instanceof Refusal;
    const headers = { "Content-Type": "application/json", "Cache-Control": "no-store" };
    if (!known) headers["Retry-After"] = "1";
    response.writeHead(known ? error.status : 503, headers);
    response.end(JSON.stringify(known ? error.body : { error: "temporarily_unavailable" }));
  }
});
listen(server, port);
