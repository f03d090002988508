"""One of a person's devices: logs in, refreshes, changes the password, probes; all at random.

A program of the standard library alone, so that a dozen start at once. It takes its orders as one
JSON argument and writes what it did, one JSON object a line, to standard output. Times are
CLOCK_MONOTONIC, which all processes of a machine share.

All devices of a person read the same board: a file with a line for each version, in which the
winner of a password change says so. At a set age of a version they all change the password.
"""

import base64
import http.client
import json
import os
import random
import sys
import time
from urllib.parse import quote

GRANTED = 200
REFUSED = 400
NO_ANSWER = 0
BUSY = 503
PAST = 24
SESSIONS = 4
LOST = 0.15
# The share of answers to refreshes that a device acts as if it had never had.
REQUESTS = 3
# The least number of requests of a device for which a password lasts, or a slow machine would only
# change passwords and log in.
LATEST = 0.2
# The weight of the last request in how long one takes.


class Board:
    """What the present password is, as far as anybody has said."""

    def __init__(self, path):
        self.path = path

    def latest(self):
        """Version, password, and since when."""
        with open(self.path, "rb") as file:  # noqa: PTH123 - pathlib takes long to load
            lines = file.read().splitlines()
        version, since, password = lines[-1].decode().split(" ", 2)
        return int(version), password, float(since)

    def post(self, version, password):
        """Tell the others; one short append is one write."""
        line = f"{version} {time.monotonic()} {password}\n".encode()
        target = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.write(target, line)
        os.close(target)


class Client:
    def __init__(self, orders):
        self.orders = orders
        self.board = Board(orders["board"])
        self.random = random.Random(orders["seed"])
        self.connections = {}
        self.sessions = []
        self.past = []
        self.tried = 0.0
        self.maybe = []
        self.takes = 0.0

    def run(self):
        while time.monotonic() < self.orders["until"] and not os.path.exists(self.orders["stop"]):  # noqa: PTH110
            self.step()
            if self.orders["pace"]:
                time.sleep(self.random.expovariate(1 / self.orders["pace"]))

    def step(self):
        version, password, since = self.board.latest()
        for session in [s for s in self.sessions if s["ver"] < version]:
            self.retire(session)
        period = max(self.orders["period"], REQUESTS * self.takes)
        due = time.monotonic() >= max(since, self.tried) + period
        if not self.sessions:
            self.login(password)
        elif due:
            self.tried = time.monotonic()
            if self.flip():
                self.change(self.random.choice(self.sessions), password)
            else:
                # A login, and so a rehash, in the midst of the others' changes.
                self.login(password)
        else:
            self.anything(password)

    def anything(self, password):
        session = self.random.choice(self.sessions)
        known = self.random.choice(self.past if self.past and self.flip() else self.sessions)
        operation = self.random.choices(
            ["login", "refresh", "stale", "introspect", "sessions", "logout", "end", "revoke"],
            [25, 25, 10, 15, 10, 4, 3, 3],
        )[0]
        if operation == "login" and len(self.sessions) < SESSIONS:
            self.login(password)
        elif operation == "stale" and known["refresh"]:
            self.refresh(known)
        elif operation in {"stale", "introspect"}:
            self.introspect(known)
        elif operation == "sessions":
            self.tell("sessions", "/sessions", token=known["access"], presented=known)
        elif operation == "logout":
            self.logout(session)
        elif operation == "revoke":
            self.revoke(session)
        elif operation == "end" and len(self.sessions) > 1:
            self.end(session)
        else:
            self.refresh(session)

    # --- operations --------------------------------------------------------------------------

    def login(self, password):
        if self.try_login(password) != REFUSED:
            return
        # Changes of ours that got no answer: perhaps one was carried out all the same.
        for new in self.maybe:
            if self.try_login(new) == GRANTED:
                self.board.post(self.sessions[-1]["ver"], new)
                self.maybe.clear()
                return

    def try_login(self, password):
        body = {"username": self.orders["username"], "password": password, "transport": "body"}
        event = self.tell("login", "/login", body, password=password)
        if event["got"]:
            self.sessions.append(event["got"])
        return event["status"]

    def refresh(self, session):
        body = {"refresh_token": session["refresh"]}
        event = self.tell("refresh", "/refresh", body, presented=session, used=session["refresh"])
        # Never the next answer too: who is one generation late four times in a row is a thief.
        late = session.pop("late", False)
        if event["got"] and (late or self.random.random() >= LOST):
            session.update(event["got"])
        elif event["got"] or event["status"] in (NO_ANSWER, BUSY):
            session["late"] = True
        else:
            self.retire(session)

    def introspect(self, session):
        self.tell(
            "introspect",
            "/introspect",
            raw=f"token={quote(session['access'])}",
            headers=self.orders["introspection"],
            presented=session,
        )

    def logout(self, session):
        body = {"refresh_token": session["refresh"]}
        self.tell("logout", "/logout", body, ends=session["sid"])
        self.retire(session)

    def revoke(self, session):
        """Take one access token back; its session goes on, with the next one."""
        raw = f"token={quote(session['access'])}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self.tell("revoke", "/revoke", raw=raw, headers=headers, ends=session["jti"])
        # Its refresh token is still the session's own; to present it later would be reuse.
        self.past.append({**session, "refresh": None})
        self.refresh(session)

    def end(self, session):
        other = self.random.choice([s for s in self.sessions if s is not session])
        path = f"/sessions/{other['sid']}"
        self.tell(
            "end",
            path,
            method="DELETE",
            token=session["access"],
            presented=session,
            ends=other["sid"],
        )
        self.retire(other)

    def change(self, session, password):
        new = f"violet otters juggle {os.urandom(6).hex()}"
        body = {"current_password": password, "new_password": new, "transport": "body"}
        event = self.tell(
            "change",
            "/password",
            body,
            token=session["access"],
            presented=session,
            password=password,
            new=new,
        )
        if event["got"]:
            self.board.post(event["got"]["ver"], new)
            self.sessions.append(event["got"])
            self.maybe.clear()
        elif event["status"] in (NO_ANSWER, BUSY):
            self.maybe.append(new)

    # --- helpers -----------------------------------------------------------------------------

    def flip(self):
        return self.random.random() < 0.5

    def retire(self, session):
        if session in self.sessions:
            self.sessions.remove(session)
            self.past.append(session)
            del self.past[:-PAST]

    def tell(
        self,
        operation,
        path,
        body=None,
        *,
        raw=None,
        headers=None,
        token=None,
        method=None,
        presented=None,
        **more,
    ):
        """Ask some issuer, write the event down, return it."""
        headers = dict(headers or {})
        if body is not None:
            raw = json.dumps(body)
            headers["Content-Type"] = "application/json"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        sid, ver = (presented["sid"], presented["ver"]) if presented else (None, None)
        by_access = token is not None or operation == "introspect"
        start = time.monotonic()
        number, status, answer, retry_after = self.ask_any(
            method or ("POST" if raw else "GET"), path, raw, headers
        )
        end = time.monotonic()
        self.takes += LATEST * (end - start - self.takes)
        event = {
            "person": self.orders["username"],
            "client": self.orders["client"],
            "op": operation,
            "issuer": number,
            "start": start,
            "end": end,
            "status": status,
            "sid": sid,
            "ver": ver,
            "jti": presented["jti"] if presented and by_access else None,
            "got": granted(answer),
            "active": answer.get("active"),
            "error": answer.get("error_description"),
            "retry_after": retry_after,
            **more,
        }
        print(json.dumps(event), flush=True)
        return event

    def ask_any(self, method, path, raw, headers):
        """Ask one issuer, or another where it does not listen: which, and what it answers."""
        count = len(self.orders["ports"])
        first = self.random.randrange(count)
        for number in (first, (first + 1) % count):
            try:
                answer = self.ask(number, method, path, raw, headers)
            except ConnectionError:  # from connecting alone: `ask` keeps the others
                continue  # nothing was sent
            return number, *answer
        return first, NO_ANSWER, {}, None

    def ask(self, number, method, path, raw, headers):
        connection = self.connections.get(number)
        if connection is None:
            port = self.orders["ports"][number]
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.connect()
            self.connections[number] = connection
        try:
            connection.request(method, path, raw, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers["Retry-After"]
        except (OSError, http.client.HTTPException):
            connection.close()
            self.connections.pop(number)
            return NO_ANSWER, {}, None


def granted(answer):
    """The session in an answer, if it holds one."""
    access = answer.get("access_token")
    if access is None:
        return None
    payload = access.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {
        "sid": claims["sid"],
        "ver": claims["sub_ver"],
        "jti": claims["jti"],
        "access": access,
        "refresh": answer["refresh_token"],
    }


if __name__ == "__main__":
    Client(json.loads(sys.argv[1])).run()
