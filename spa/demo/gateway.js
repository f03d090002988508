/** Calls the protected API once a second and shows what the gateway in front of it said. */

import { box, button, clockface, part, sentence, tell } from "./dom.js";

const API = new URL("/api", location.origin);
const EVERY = 1000;
const STRIP = 60;
const ROWS = 8;

/** @typedef {"good" | "bad" | "unsure"} Kind */

/** What the gateway has said, in the table and in the strip; it stays when the session ends. */
export function createLog() {
  const rows = part("#answers", HTMLTableSectionElement);
  const strip = box("#strip");
  const verdict = box("#verdict");
  const verdictText = box("#verdict-text");
  const answer = box("#answer");
  let refused = false;
  let calls = 0;
  strip.append(...Array.from({ length: STRIP }, () => document.createElement("li")));

  /**
   * @param {Kind} kind
   * @param {string} status
   * @param {string} took
   * @param {string} text
   */
  function addRow(kind, status, took, text) {
    const row = document.createElement("tr");
    for (const content of [new Date().toLocaleTimeString(), status, took, text]) {
      row.insertCell().textContent = content;
    }
    const cell = row.cells[1];
    if (cell) cell.dataset.kind = kind;
    rows.prepend(row);
    while (rows.rows.length > ROWS) rows.deleteRow(-1);
  }

  /**
   * @param {Kind} kind
   * @param {string} status
   * @param {string} took
   * @param {string} text
   */
  function add(kind, status, took, text) {
    addRow(kind, status, took, text);
    const bar = document.createElement("li");
    bar.dataset.kind = kind;
    strip.append(bar);
    strip.firstElementChild?.remove();
    answer.dataset.kind = kind;
    const heading = { good: "Let through", bad: "Refused", unsure: "Not decided" }[kind];
    // A screen reader hears it when it changes, not every second.
    if (verdict.textContent !== heading) verdict.textContent = heading;
    verdictText.textContent = status === "–" ? text : `${text} (${status}, ${took})`;
  }

  return {
    /**
     * `fetch`, with an eye on what the API answers. The token in the request is not looked at.
     *
     * @type {typeof fetch}
     */
    async observe(input, init) {
      const address = new URL(input instanceof Request ? input.url : input, location.href);
      if (address.pathname !== API.pathname) return fetch(input, init);
      const began = performance.now();
      calls += 1;
      try {
        const response = await fetch(input, init);
        const took = `${Math.round(performance.now() - began)} ms`;
        const body = await response.clone().json().catch(() => ({}));
        const text = sentence(`${body.message ?? body.error_description ?? "an answer without words"}`);
        refused ||= response.status === 401;
        add(kindOf(response.status), `${response.status}`, took, text);
        return response;
      } catch (error) {
        add("unsure", "–", "–", "No answer.");
        throw error;
      }
    },
    /** @param {import("../types/index.js").SignedOutReason} reason */
    ended(reason) {
      // No answer, so the refusal stays the last one.
      if (reason !== "none" && calls) addRow("bad", "–", "–", "The session has ended in this browser.");
    },
    /** Whether the end of a session is worth looking at. */
    worthShowing: () => refused,
    begin() {
      refused = false;
    },
    /** @param {boolean} beside the sign-in form, for whoever watched a revocation land */
    stand(beside) {
      if (beside) box("#log").prepend(answer);
      else box("#view-gateway .lead").after(answer);
    },
  };
}

/** @param {number} status */
function kindOf(status) {
  if (status < 300) return "good";
  return status === 401 || status === 403 ? "bad" : "unsure";
}

/**
 * @param {import("../types/index.js").Session} session
 * @param {ReturnType<typeof createLog>} log
 */
export function watchGateway(session, log) {
  const pause = button("#pause");
  const idle = box("#idle-left");
  const absolute = box("#absolute-left");
  let paused = false;
  let calling = false;
  /** @type {number | undefined} */
  let timer;

  async function call() {
    if (calling) return;
    calling = true;
    try {
      await session.fetch(API);
    } catch {
      // The log has it, or the session has ended and another view is coming.
    } finally {
      calling = false;
    }
  }

  function tick() {
    const left = session.remaining();
    idle.textContent = left.idle === null ? "no such end" : clockface(left.idle);
    absolute.textContent = clockface(left.absolute);
    if (!paused) void call();
  }

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
  });
  button("#call").addEventListener("click", () => void call());
  session.onChange((state) => {
    if (state.status !== "signedIn") return;
    box("#sid").textContent = state.sid;
    tell(box("#command"), `gatepass revoke session ${state.sid} --state-dir "$STATE"`);
  });

  return {
    enter() {
      log.begin();
      tick();
      timer = setInterval(tick, EVERY);
    },
    leave: () => clearInterval(timer),
  };
}
