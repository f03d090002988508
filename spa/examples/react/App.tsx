import { createSession } from "gatepass-spa";
import { useEffect, useState, type FormEvent } from "react";

import { useSession } from "./useSession.js";

const API = "https://api.example/api";
const session = createSession({
  issuer: "https://id.example",
  apiOrigins: [new URL(API).origin],
});

/** Offline: the warning stays, and the module asks again. */
const stay = () => void session.stayActive().catch(() => {});
/** Offline: everybody is signed out here all the same; the issuer is told as soon as it answers. */
const leave = () => void session.logout().catch(() => {});

export function App() {
  const state = useSession(session);
  switch (state.status) {
    case "restoring":
      return <p>One moment…</p>;
    case "signedOut":
      return <Login ended={state.reason === "idle"} />;
    case "signedIn":
      return (
        <>
          <Who />
          {state.expiring === "idle" && (
            <p role="alert">
              Your session ends soon.{" "}
              <button onClick={stay}>Stay signed in</button>
            </p>
          )}
          <button onClick={leave}>Sign out</button>
        </>
      );
  }
}

/** What the API is told of the caller. */
function Who() {
  const [who, setWho] = useState("…");

  useEffect(() => {
    let shown = true;
    session
      .fetch(API)
      .then((answer) => answer.json())
      .then(({ sub }) => shown && setWho(sub))
      .catch(() => shown && setWho("somebody"));
    return () => {
      shown = false;
    };
  }, []);

  return <p>You are {who}</p>;
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
