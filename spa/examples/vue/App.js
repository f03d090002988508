import { createSession } from "gatepass-spa";
import { defineComponent, h } from "vue";

import { useSession } from "./useSession.js";

const session = createSession({ issuer: "https://id.example" });

export default defineComponent({
  setup() {
    const state = useSession(session);

    /** @param {SubmitEvent} event */
    function submit(event) {
      event.preventDefault();
      const fields = new FormData(/** @type {HTMLFormElement} */ (event.target));
      void session.login({
        username: `${fields.get("username")}`,
        password: `${fields.get("password")}`,
      });
    }

    return () => {
      if (state.value.status === "restoring") return h("p", "One moment…");
      if (state.value.status === "signedIn") {
        return h("button", { onClick: () => session.logout() }, "Sign out");
      }
      return h("form", { onSubmit: submit }, [
        h("label", ["User name ", h("input", { name: "username" })]),
        h("label", ["Password ", h("input", { name: "password", type: "password" })]),
        h("button", "Sign in"),
      ]);
    };
  },
});
