// @ts-nocheck Node's own types are no dependency of this package.
/** Serves an example's page and the module, under a policy that lets nothing else run. */

import { readFile } from "node:fs/promises";
import { extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";

const SPA = fileURLToPath(new URL("..", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };

/**
 * @param {string} folder of the example, within `examples`
 * @param {string[]} connect origins beside its own that the page talks to
 * @param {Record<string, string>} words what `{name}` in the page becomes
 */
export function pages(folder, connect = [], words = {}) {
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    `connect-src ${["'self'", ...connect].join(" ")}`,
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");

  return async function page(request, response) {
    const path = new URL(request.url, "http://here").pathname;
    const name = normalize(path === "/" ? `examples/${folder}/index.html` : path.replace(/^\/spa\//, ""));
    const served = [join("src", sep), join("examples", folder, sep)].some((start) => name.startsWith(start));
    const type = TYPES[extname(name)];
    const content = served && type && (await readFile(join(SPA, name), "utf8").catch(() => null));
    if (!content || request.method !== "GET") {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      "Content-Type": type,
      "Content-Security-Policy": policy,
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Resource-Policy": "same-origin",
      "X-Content-Type-Options": "nosniff",
      "Referrer-Policy": "no-referrer",
      "Cache-Control": "no-cache",
    });
    response.end(content.replace(/\{(\w+)\}/g, (whole, word) => (extname(name) === ".html" ? words[word] ?? whole : whole)));
  };
}

/** Listens on loopback, and says where, or in one line why not. */
export function listen(server, port) {
  server.on("error", ({ code, message }) => {
    console.error(code === "EADDRINUSE" ? `port ${port} is taken: name another as the first argument` : message);
    process.exitCode = 1;
  });
  server.listen(Number(port), "127.0.0.1", () => console.log(`open http://127.0.0.1:${port}/`));
}
