import { createSession } from "gatepass-spa";
import { defineComponent, h, ref, watch } from "vue";

import { useSession } from "./useSession.js";

const API = "https://api.example/api";
const session = createSession({
  issuer: "https://id.example",
  apiOrigins: [new URL(API).origin],
});

export default defineComponent({
  setup() {
    const state = useSession(session);
    const who = ref("…");
    const trouble = ref(false);

    // What the API is told of the caller.
    async function ask() {
      try {
        who.value = (await (await session.fetch(API)).json()).sub;
      } catch {
        who.value = "somebody";
      }
    }

    watch(
      () => state.value.status,
      (status) => {
        who.value = "…"; // nothing private outlives the session
        if (status === "signedIn") void ask();
      },
      { immediate: true },
    );

    // Offline: everybody is signed out here all the same; the issuer is told as soon as it answers.
    const leave = () => void session.logout().catch(() => {});

    /** @param {SubmitEvent} event */
    function submit(event) {
      event.preventDefault();
      const fields = new FormData(/** @type {HTMLFormElement} */ (event.target));
      session
        .login({ username: `${fields.get("username")}`, password: `${fields.get("password")}` })
        .catch(() => (trouble.value = true));
    }

    return () => {
      if (state.value.status === "restoring") return h("p", "One moment…");
      if (state.value.status === "signedIn") {
        return h("div", [
          h("p", `You are ${who.value}`),
          h("button", { onClick: leave }, "Sign out"),
        ]);
      }
      return h("form", { onSubmit: submit }, [
        h("label", ["User name ", h("input", { name: "username" })]),
        h("label", ["Password ", h("input", { name: "password", type: "password" })]),
        h("button", "Sign in"),
        trouble.value && h("p", { role: "alert" }, "That did not work."),
      ]);
    };
  },
});
