// @ts-nocheck Node's own types are no dependency of this package.
/**
 * The plain example: node server.mjs PORT [ISSUER] [API]
 *
 * The issuer lists http://127.0.0.1:PORT under its client's `origins`.
 */

import { createServer } from "node:http";
import { listen, pages } from "../serve.mjs";

const [port = "9200", issuer = "http://127.0.0.1:8000", api = `${issuer}/api`] = process.argv.slice(2);
const origins = [...new Set([issuer, api].map((address) => new URL(address).origin))];

listen(createServer(pages("plain", origins, { issuer, api })), port);
