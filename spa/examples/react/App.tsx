import { createSession } from "gatepass-spa";
import { useState, type FormEvent } from "react";

import { useSession } from "./useSession.js";

const session = createSession({ issuer: "https://id.example" });

export function App() {
  const state = useSession(session);
  switch (state.status) {
    case "restoring":
      return <p>One moment…</p>;
    case "signedOut":
      return <Login ended={state.reason === "idle"} />;
    case "signedIn":
      return (
        <main>
          {state.expiring === "idle" && (
            <p role="alert">
              Your session ends soon.{" "}
              <button onClick={() => session.stayActive()}>Stay signed in</button>
            </p>
          )}
          <button onClick={() => session.logout()}>Sign out</button>
        </main>
      );
  }
}

function Login({ ended }: { ended: boolean }) {
  const [trouble, setTrouble] = useState(false);

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    session
      .login({ username: `${fields.get("username")}`, password: `${fields.get("password")}` })
      .catch(() => setTrouble(true));
  }

  return (
    <form onSubmit={submit}>
      {ended && <p>You were away for a while. Please sign in again.</p>}
      <label>
        User name <input name="username" autoComplete="username" />
      </label>
      <label>
        Password <input name="password" type="password" autoComplete="current-password" />
      </label>
      <button>Sign in</button>
      {trouble && <p role="alert">That did not work.</p>}
    </form>
  );
}
