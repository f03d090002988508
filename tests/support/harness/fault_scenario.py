"""What a store fault may not undo: everything that was revoked, and the sessions that live on.

People log in through real issuers, everything that can revoke does so, and the tokens are kept: a
test then breaks a store, watches (`fault_watch`), and asks whether anything came back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from harness.gatepass_command import Gatepass
from harness.issuer_process import (
    AUDIENCE,
    CLIENT_ID,
    GATEWAY_ID,
    GATEWAY_SECRET_SHA256,
    HEARTBEAT_INTERVAL,
    Answer,
    IssuerFleet,
    IssuerProcess,
)
from harness.processes import monotonic, until

from gateway import Verifier
from keys import DirectoryStore, Key
from tokens import AccessClaims, sign

PASSWORD = "seven violet otters juggle 91"
NEW_PASSWORD = "an unlikely brass kettle 4417"
REUSE_INTERVAL = 0.05
MAX_STALENESS = 1.5
"""Seconds, of the gateways."""
SPARE_ALGORITHM = "EdDSA"
"""Its key signs nothing but what a test signs with it: it can be revoked, and the rest lives on."""
PARTNERS = 60
LIFETIME = 300
PAST_EVERYTHING = 500.0
"""Seconds: every access token of now, and every entry that refuses it, is over."""

ENDED = "the session has been ended; log in again"
CHANGED = "the password or the account has changed; log in again"
UNKNOWN = "the session is not known any more; log in again"
DISABLED = "the account is disabled or gone"
CLIENT_DISABLED = "the client is disabled"
STATE_LOST = "the session's state was lost; log in again"

_numbers = count()
_partners = count()


def fault_settings(**more: str) -> dict[str, str]:
    """What issuers of these tests run with: quick, and with clients to spare."""
    clients: dict[str, dict[str, Any]] = {
        f"partner-{number}": {"audience": AUDIENCE} for number in range(PARTNERS)
    }
    clients[CLIENT_ID] = {"audience": AUDIENCE, "scopes": ["read"]}
    clients[GATEWAY_ID] = {
        "audience": AUDIENCE,
        "introspect": True,
        "secret_sha256": GATEWAY_SECRET_SHA256,
    }
    return {
        "GATEPASS_CLIENTS": json.dumps(clients),
        "GATEPASS_ALGORITHMS": json.dumps(["ES256", SPARE_ALGORITHM]),
        "GATEPASS_WORKERS": "1",
        "GATEPASS_REUSE_INTERVAL": str(REUSE_INTERVAL),
        **more,
    }


@dataclass(slots=True)
class Session:
    """A login, and the tokens that were got last."""

    username: str
    sub: str
    sid: str
    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """Something whose revocation was acknowledged: it may never be taken again."""

    way: str
    access: str
    refresh: str | None = None
    """Also refused for good; None where the session goes on."""
    why: tuple[str, ...] = ()
    """What a refresh is told: one of these."""
    since: float = field(default_factory=monotonic)
    """When it was acknowledged."""


@dataclass(frozen=True, slots=True)
class Losing:
    """Sessions of which a fault takes the latest."""

    rotated: list[Session]
    """Their last rotation."""
    begun: list[Session] = field(default_factory=list)
    """Everything."""


@dataclass
class Scenario:
    """People at a fleet, what was revoked, and who must be able to go on."""

    fleet: IssuerFleet
    gatepass: Gatepass
    revoked: list[Revoked] = field(default_factory=list)
    live: list[Session] = field(default_factory=list)
    """Nothing of theirs was lost: they must be able to refresh after the fault."""
    thief: Key | None = None
    """The private half of the key that was revoked last."""

    # --- people ------------------------------------------------------------------------------

    def log_in(
        self, way: str = "person", *, at: int = 0, client: str = CLIENT_ID, roles: str = ""
    ) -> Session:
        """A new account, and a session of it."""
        username = f"{way.replace(' ', '-')}-{next(_numbers)}"
        sub = self.fleet.add_account(username, PASSWORD).id
        if roles:
            self.command("users", "roles", username, *roles.split())
        return self._session(username, sub, self._log_in(username, at, client))

    def log_in_again(self, session: Session, *, at: int = 0) -> Session:
        """Another session of the same person."""
        body = self._log_in(session.username, at, CLIENT_ID)
        return self._session(session.username, session.sub, body)

    def _log_in(self, username: str, at: int, client: str) -> dict[str, Any]:
        body = {"username": username, "password": PASSWORD, "transport": "body"}
        return self._at(at).ask("/login", {**body, "client_id": client}).granted()

    def _session(self, username: str, sub: str, body: Mapping[str, Any]) -> Session:
        sid = body["session"]["sid"]
        return Session(username, sub, sid, body["access_token"], body["refresh_token"])

    def _at(self, number: int) -> IssuerProcess:
        return self.fleet.issuers[number % len(self.fleet.issuers)]

    def keep_live(self, number: int = 4) -> None:
        """Some sessions that go on, one of them in the midst of its rotations."""
        for at in range(number):
            self.live.append(self.log_in("live", at=at))
        self.rotate(self.live[-1])

    def rotate(self, session: Session, *, at: int = 0) -> None:
        """Refresh a session to its next generation."""
        before = self.fleet.opened(session.refresh).gen
        for _ in until(10, "another generation", pause=REUSE_INTERVAL / 2):
            self.take(session, self._at(at).refresh(session.refresh).granted())
            if self.fleet.opened(session.refresh).gen > before:
                return

    def take(self, session: Session, body: Mapping[str, Any]) -> None:
        """Go on with the tokens of an answer."""
        session.access, session.refresh = body["access_token"], body["refresh_token"]

    def command(self, *arguments: str, stdin: str = "") -> None:
        """Run a `gatepass` command that must succeed, in the issuers' time."""
        env = self.fleet.issuers[0].process.env
        ours = {name: text for name, text in env.items() if name.startswith("GATEPASS_")}
        moved = [f"clock={self.fleet.shift_file}"]
        self.gatepass(*arguments, stdin=stdin, env=ours, alterations=moved).done()

    # --- what a fault takes ------------------------------------------------------------------

    def begin_losing(self) -> Losing:
        """Sessions whose next rotation, or whose beginning, will be lost."""
        return Losing([self.log_in("lost", at=at) for at in range(2)])

    def lose(self, losing: Losing) -> None:
        """What happens after the copy that will come back."""
        for at, session in enumerate(losing.rotated):
            self.rotate(session, at=at)
        losing.begun.append(self.log_in("lost"))

    def assert_lost(self, losing: Losing) -> None:
        """Their owners are told why they must log in again, and their tokens are revoked."""
        for session in losing.begun:
            self.refused(session, UNKNOWN)
        for session in losing.rotated:
            self.refused(session, STATE_LOST, ENDED)
            self._note("rollback", session, ENDED)

    def refused(self, session: Session, *why: str) -> None:
        """A refresh answers `invalid_grant` with the reason: first, and then at each issuer."""
        for at, issuer in enumerate(self.fleet.issuers):
            answer = issuer.refresh(session.refresh)
            assert (answer.status, answer.body["error"]) == (400, "invalid_grant"), answer
            assert answer.body["error_description"] == why[min(at, len(why) - 1)], answer

    # --- every way to revoke -----------------------------------------------------------------

    def revoke_in_every_way(self) -> None:
        """Each of them acknowledged when this returns; requests go to both issuers in turn."""
        for at, revoke in enumerate(
            (
                self._log_out,
                self._end_other,
                self._revoke_access,
                self._change_password,
                self._reuse,
                self._lose_role,
                self._disable,
                self._command_subject,
                self._command_session,
                self._command_token,
                self._command_key,
                self._command_client,
            )
        ):
            revoke(at)

    def end(self, session: Session, *, at: int = 0) -> Answer:
        """Log out; what was acknowledged is kept among the revoked."""
        answer = self._at(at).ask("/logout", {"refresh_token": session.refresh})
        if answer.status == 200:
            self._note("logout", session, ENDED)
        return answer

    def _note(self, way: str, session: Session, *why: str) -> None:
        refresh = session.refresh if why else None
        self.revoked.append(Revoked(way, session.access, refresh, why))

    def _log_out(self, at: int) -> None:
        self.end(self.log_in("logout", at=at), at=at + 1).granted()

    def _end_other(self, at: int) -> None:
        session = self.log_in("end", at=at)
        other = self._log_in(session.username, at, CLIENT_ID)
        path = f"/sessions/{session.sid}"
        self._at(at + 1).ask(path, token=other["access_token"], method="DELETE").granted()
        self._note("DELETE", session, ENDED)

    def _revoke_access(self, at: int) -> None:
        session = self.log_in("rfc7009", at=at)
        self.revoke_access(session, at=at).granted()

    def revoke_access(self, session: Session, *, at: int = 0) -> Answer:
        """Take one access token back (RFC 7009); its session goes on."""
        answer = self._at(at).revoke(session.access)
        if answer.status == 200:
            self._note("RFC 7009", session)
        return answer

    def _change_password(self, at: int) -> None:
        session = self.log_in("password", at=at)
        self._at(at).change_password(session.access, PASSWORD, NEW_PASSWORD).granted()
        self._note("password change", session, CHANGED, UNKNOWN)

    def _reuse(self, at: int) -> None:
        session = self.log_in("reuse", at=at)
        spent = session.refresh
        self.rotate(session, at=at)
        self.rotate(session, at=at + 1)
        answer = self._at(at).refresh(spent)
        assert answer.status == 400, answer
        self._note("reuse", session, ENDED)

    def _lose_role(self, at: int) -> None:
        session = self.log_in("role", at=at, roles="admin editor")
        self.command("users", "roles", session.username, "editor")
        self._note("role taken", session)

    def _disable(self, at: int) -> None:
        session = self.log_in("disabled", at=at)
        self.command("users", "disable", session.username)
        self._note("disabled", session, DISABLED)

    def _command_subject(self, at: int) -> None:
        session = self.log_in("subject", at=at)
        self.command("revoke", "subject", session.username)
        self._note("revoke subject", session, CHANGED, UNKNOWN)

    def _command_session(self, at: int) -> None:
        session = self.log_in("session", at=at)
        self.command("revoke", "session", session.sid, "--user", session.username)
        self._note("revoke session", session, ENDED)

    def _command_token(self, at: int) -> None:
        session = self.log_in("token", at=at)
        self.command("revoke", "token", stdin=session.access)
        self._note("revoke token", session)
        other = self.log_in("token", at=at)
        self.command("revoke", "token", stdin=other.refresh)
        self._note("revoke token (refresh)", other, ENDED)

    def _command_key(self, at: int) -> None:
        session = self.log_in("key", at=at)
        store = DirectoryStore(self.fleet.directory / "keys", None, development=True)
        self.thief = store.load().active(SPARE_ALGORITHM)
        session.access = self.forge(session)
        self.command("revoke", "key", self.thief.kid)
        self._note("revoke key", session)

    def forge(self, session: Session) -> str:
        """A token of now for a session, under the key that a thief has."""
        assert self.thief is not None
        now = int(self.fleet.now())
        claims = AccessClaims(
            iss=self.fleet.url,
            sub=session.sub,
            aud=(AUDIENCE,),
            client_id=CLIENT_ID,
            iat=now,
            exp=now + LIFETIME,
            jti=session.sid,
            sid=session.sid,
            auth_time=now,
            sub_ver=99,
            amr=("pwd",),
            scope="",
        )
        return sign(claims, self.thief)

    def _command_client(self, at: int) -> None:
        client = f"partner-{next(_partners) % PARTNERS}"
        session = self.log_in("client", at=at, client=client)
        self.command("revoke", "client", client)
        self._note("revoke client", session, CLIENT_DISABLED)

    # --- gateways ----------------------------------------------------------------------------

    def gateway(self, redis_url: str = "") -> Verifier:
        """A gateway's verifier, to be started; at another Redis than the fleet's if named."""
        url = redis_url or self.fleet.redis_url
        return Verifier(
            issuer=self.fleet.url,
            audience=AUDIENCE,
            denylist=url,
            heartbeat_interval=HEARTBEAT_INTERVAL,
            max_staleness=MAX_STALENESS,
            clock=self.fleet.now,
        )

    def wait_published(self) -> None:
        """Until every issuer publishes the spare key that is active now."""
        store = DirectoryStore(self.fleet.directory / "keys", None, development=True)
        kid = store.load().active(SPARE_ALGORITHM).kid
        for issuer in self.fleet.issuers:
            for _ in until(20, "the spare key's publication", pause=0.05):
                listed = issuer.ask("/.well-known/jwks.json").granted()["keys"]
                if any(key["kid"] == kid for key in listed):
                    break
