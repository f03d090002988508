/** Your devices: every live session, each with a button that ends it. */

import { box, busy, button, explain, part, tell } from "./dom.js";

const EVERY = 5000;
const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** @param {import("../types/index.js").Session} session */
export function showDevices(session) {
  const list = box("#devices");
  const error = box("#devices-error");
  const everywhere = button("#everywhere");
  const confirm = part("#confirm", HTMLDialogElement);
  const template = part("#device", HTMLTemplateElement);
  let drawn = "";
  /** @type {number | undefined} */
  let timer;

  /** @param {() => Promise<unknown>} task */
  async function attempt(task) {
    tell(error, "");
    try {
      await task();
    } catch (failure) {
      if (session.state.status === "signedIn") tell(error, explain(failure));
    }
  }

  async function look() {
    const sessions = await session.sessions();
    const newest = [...sessions].sort((one, other) => order(other) - order(one));
    const now = JSON.stringify(newest.map(({ sid, last_active: active }) => [sid, active]));
    if (now === drawn) return; // what has the focus keeps it
    drawn = now;
    const focused = document.activeElement?.getAttribute("data-sid");
    list.replaceChildren(...newest.map(draw));
    const again = focused && list.querySelector(`[data-sid="${CSS.escape(focused)}"]`);
    if (again instanceof HTMLElement) again.focus();
  }

  /** @param {import("../types/index.js").SessionInfo} info */
  function draw(info) {
    const item = part("li", HTMLElement, template.content).cloneNode(true);
    const root = /** @type {HTMLElement} */ (item);
    const name = info.label || "An unnamed device";
    part(".device-name", HTMLElement, root).textContent = name;
    part(".badge", HTMLElement, root).hidden = !info.current;
    part(".device-facts", HTMLElement, root).textContent =
      `${info.address} · signed in ${when(info.created)} · last active ${when(info.last_active)}`;
    const end = part("button", HTMLButtonElement, root);
    end.textContent = info.current ? "Sign out this device" : "Sign out";
    end.dataset.sid = info.sid;
    end.setAttribute("aria-label", `Sign out ${info.current ? "this device" : name}, ${when(info.created)}`);
    end.addEventListener("click", () =>
      busy(end, () =>
        attempt(async () => {
          await session.endSession(info.sid);
          if (info.current) return;
          await look();
          box("#devices-title").focus();
        }),
      ),
    );
    return root;
  }

  const reload = button("#reload-devices");
  reload.addEventListener("click", () => busy(reload, () => attempt(look)));
  everywhere.addEventListener("click", () => confirm.showModal());
  confirm.addEventListener("close", () => {
    if (confirm.returnValue !== "yes") return;
    confirm.returnValue = "";
    void busy(everywhere, () => attempt(() => session.logoutEverywhere()));
  });

  return {
    enter() {
      drawn = "";
      void attempt(look);
      timer = setInterval(() => void attempt(look), EVERY);
    },
    leave() {
      clearInterval(timer);
      if (confirm.open) confirm.close("no");
    },
  };
}

/** @param {import("../types/index.js").SessionInfo} info this device first, then the last active */
const order = (info) => (info.current ? Infinity : info.last_active);

/** @param {number} seconds since 1970 */
const when = (seconds) => WHEN.format(new Date(seconds * 1000));
