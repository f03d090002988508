/** The issuer as docs/sessions.md describes it, and an API behind a gateway, for fake tabs. */

export const ISSUER = "https://id.example";
export const API = "https://id.example/api";

/** An answer as `fetch` gives it, without the machinery of streams. */
function answer(status, content, headers = {}) {
  return {
    status,
    ok: status >= 200 && status < 300,
    type: "basic",
    headers: new Headers(headers),
    json: async () => {
      if (typeof content === "string") throw new SyntaxError("not JSON");
      return content;
    },
  };
}

const refusal = (status, error, headers) =>
  answer(status, { error, error_description: "because" }, headers);

export class FakeIssuer {
  cookie = null;
  families = new Map();
  serial = 0;
  logins = 0;
  refreshing = 0;
  mostRefreshing = 0;
  refreshes = 0;
  log = [];
  /** What befalls the next requests: `before` or `after` the issuer has acted, or a status. */
  faults = [];
  faultOf = () => null;
  apiAnswer = null;
  /** What an account with a second factor is told without it; null: it has none. */
  factor = null;
  /** Whether the API takes tokens of elevated sessions alone (RFC 9470). */
  wantsElevation = false;

  constructor(world, { life = 300, idle = 1800, absolute = 43_200, delay = [5, 60], forgiving = true } = {}) {
    // Otherwise a refresh token is good for one refresh, however soon the next one comes.
    const reuseInterval = forgiving ? 10_000 : 0;
    Object.assign(this, { world, life, idle, absolute, delay, forgiving, reuseInterval });
  }

  fetch(tab, input, init = {}) {
    const { world } = this;
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init.headers);
    const path = url.pathname;
    const bearer = headers.get("Authorization")?.replace("Bearer ", "") ?? null;
    const entry = { at: world.now, tab, url: url.href, method: init.method ?? "GET", bearer, init };
    this.log.push(entry);
    const fault = this.faults.shift() ?? this.faultOf(entry);
    const [least, most] = this.delay;
    const way = () => least + world.random() * (most - least);
    const refresh = path === "/refresh";
    if (refresh) {
      this.refreshing += 1;
      this.refreshes += 1;
      this.mostRefreshing = Math.max(this.mostRefreshing, this.refreshing);
    }
    return new Promise((resolve, reject) => {
      let over = false;
      const finish = (how) => {
        if (over) return;
        over = true;
        if (refresh) this.refreshing -= 1;
        // The browser's network process ends the request; a frozen tab hears of it later.
        world.at(0, how, tab);
      };
      tab.requests.add(() => finish(() => {}));
      const fail = () => finish(() => reject(new TypeError("Failed to fetch")));
      init.signal?.addEventListener("abort", () =>
        finish(() => reject(init.signal.reason ?? new DOMException("aborted", "AbortError"))),
      );
      const sent = this.cookie;
      world.at(way(), () => {
        if (fault === "never") return;
        if (fault === "before") return fail();
        if (typeof fault === "object" && fault) return finish(() => resolve(fault.answer));
        const { response, cookie } = this.act(path, entry, sent);
        world.at(way(), () => {
          if (fault === "after") return fail();
          if (cookie !== undefined) this.cookie = cookie;
          finish(() => resolve(response));
        });
      });
    });
  }

  static status(status, headers = {}) {
    return { answer: refusal(status, "temporarily_unavailable", headers) };
  }

  static page(status) {
    return { answer: answer(status, "<html>") };
  }

  act(path, { method, bearer, init }, cookie) {
    const body = init.body && path !== "/api" ? JSON.parse(init.body) : {};
    switch (path) {
      case "/login":
        if (body.password !== "right") return { response: refusal(400, "invalid_grant") };
        if (this.factor && !body.otp) {
          const wanted = { error: "factor_required", error_description: "because", ...this.factor };
          return { response: answer(401, wanted) };
        }
        if (this.factor && body.otp !== "right") return { response: refusal(400, "factor_refused") };
        return this.grant(this.begin());
      case "/refresh":
        return this.refresh(cookie, body);
      case "/logout":
        if (!cookie && !bearer) return { response: refusal(400, "invalid_request") };
        this.families.delete(cookie?.sid ?? bearer.split(":")[0]);
        return { response: answer(200, { logged_out: true }), cookie: null };
      default: {
        const family = this.live(bearer);
        if (this.apiAnswer && path === "/api") return { response: this.apiAnswer(bearer) };
        if (!family) {
          const challenge = 'Bearer error="invalid_token"';
          return { response: refusal(401, "invalid_token", { "WWW-Authenticate": challenge }) };
        }
        if (path === "/password") {
          if (body.current_password !== "right") return { response: refusal(400, "invalid_grant") };
          this.families.clear();
          return this.grant(this.begin());
        }
        if (path === "/elevate") {
          if (body.current_password !== "right") return { response: refusal(400, "invalid_grant") };
          this.families.delete(family.sid);
          return this.grant(Object.assign(this.begin(), { elevated: true }));
        }
        if (path === "/api" && this.wantsElevation && !family.elevated) {
          const error = "insufficient_user_authentication";
          const challenge = `Bearer error="${error}", max_age="300"`;
          return { response: refusal(401, error, { "WWW-Authenticate": challenge }) };
        }
        if (method === "DELETE") {
          const sid = path.split("/")[2];
          if (sid) this.families.delete(sid);
          else this.families.clear();
        }
        return { response: answer(200, { sessions: [...this.families.keys()].map((sid) => ({ sid })) }) };
      }
    }
  }

  begin() {
    const { now } = this.world;
    const sid = `s${(this.logins += 1)}`;
    const family = { sid, gen: 1, started: now, handed: now, confirmed: false, active: now };
    this.families.set(sid, { ...family, end: now + this.absolute * 1000, revoked: 0 });
    return this.families.get(sid);
  }

  live(bearer) {
    const [sid, , until] = (bearer ?? "").split(":");
    const family = this.families.get(sid);
    return family && Number(until) > this.world.now ? family : null;
  }

  /** The rules of docs/sessions.md, without the count of late retries. */
  refresh(cookie, { active_ago: activeAgo }) {
    const { now } = this.world;
    const family = cookie && this.families.get(cookie.sid);
    if (!cookie) return { response: refusal(400, "invalid_request") };
    if (!family || now >= Math.min(family.end, family.active + this.idle * 1000)) {
      return { response: refusal(400, "invalid_grant") };
    }
    const soon = now - family.handed < this.reuseInterval;
    if (cookie.gen === family.gen) {
      family.confirmed = true;
      if (!soon) {
        Object.assign(family, { gen: family.gen + 1, started: now, handed: now, confirmed: false });
      }
    } else if (cookie.gen === family.gen - 1 && (soon || (this.forgiving && !family.confirmed))) {
      if (!family.confirmed) family.handed = now;
    } else {
      this.families.delete(family.sid);
      this.reuse = true;
      return { response: refusal(400, "invalid_grant") };
    }
    if (activeAgo !== undefined) family.active = Math.max(family.active, now - activeAgo * 1000);
    return this.grant(family);
  }

  grant(family) {
    const { now } = this.world;
    const idle = Math.floor((family.active + this.idle * 1000 - now) / 1000);
    const absolute = Math.floor((family.end - now) / 1000);
    const life = Math.min(this.life, idle, absolute);
    const token = `${family.sid}:${(this.serial += 1)}:${now + life * 1000}`;
    const session = { sid: family.sid, idle_expires_in: idle, absolute_expires_in: absolute };
    return {
      response: answer(200, { access_token: token, expires_in: life, session }),
      cookie: { sid: family.sid, gen: family.gen },
    };
  }
}

export { answer, refusal };
