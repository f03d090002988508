// Fetches the gateways' readings every other second, unless the page is hidden or paused.
const INTERVAL = 2000;
const place = document.querySelector("#live");
const button = document.querySelector("#pause");
const state = document.querySelector("#live-state");
let paused = false;

async function renew() {
  const answer = await fetch(place.dataset.from, { cache: "no-store", redirect: "error" });
  if (answer.status === 403) {
    location.reload(); // signed out meanwhile: the form says so
    return;
  }
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Whoever reads the numbers keeps them open, and the focus where it was.
  const open = [...place.querySelectorAll("details[open]")].map((each) => each.closest("figure").id);
  const focused = place.contains(document.activeElement);
  if (focused) return;
  place.replaceChildren(...page.body.childNodes);
  for (const id of open) {
    const details = document.getElementById(id)?.querySelector("details");
    if (details) details.open = true;
  }
}

async function go() {
  if (!paused && !document.hidden) {
    try {
      await renew();
      say(`Live: renewed every ${INTERVAL / 1000} seconds.`);
    } catch {
      say("The issuer does not answer. Trying again.");
    }
  }
  setTimeout(go, INTERVAL);
}

function say(text) {
  if (state.textContent !== text) state.textContent = text;
}

button.hidden = false;
button.addEventListener("click", () => {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  say(paused ? "Paused." : "Live.");
});
setTimeout(go, INTERVAL);
