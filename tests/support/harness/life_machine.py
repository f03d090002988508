"""Drives an issuer and a gateway through whole lives, and holds every answer against the model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from harness.denylists import FaultyDenylist
from harness.issuer_app import ISSUER, IssuerApp, bearer, claims_of, granted
from harness.life_model import Access, Client, Life, Person, Refresh, Session
from harness.limits import OFF
from harness.rotation_model import ModelFamily
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway import Verifier
from gateway.fetching import Fetched
from issuer.app import create_app
from issuer.journal import Reason
from issuer.services import build_services
from keys import rotate
from revocation import DenylistUnavailable, Entry, Replica, ReplicaStale, TokenRevoked
from tokens import TokenError
from tokens.base64url import decode
from tokens.strict_json import loads_object

PASSWORDS = (
    "seven violet otters juggle 91",
    "an unlikely brass kettle 4417",
    "grey 8 quiet llamas",
)
ROLES = (frozenset({"staff"}), frozenset({"staff", "admin"}), frozenset[str]())
MAX_STALENESS = 5.0
HEARTBEAT = 1.0
LOOKS = 3
"""Tokens that the issuer is asked about after each step, besides the newest; all at the end."""
LONGEST_STEP = 300
COOL_DOWN = 11
"""Seconds after which a gateway asks for keys again that it does not know."""

WHICH = st.sampled_from([0, 0, 0, 1, 2, 3, 5])
"""Counted from the newest."""
WAITS = st.sampled_from([1, 3, 9, 10, 11, 60, 299, 311, 1799, 1801])

_numbers = itertools.count()


class World:
    """An issuer that is restarted at will, and a gateway whose line may be cut."""

    def __init__(self, make_issuer: Callable[..., IssuerApp], **changes: Any) -> None:
        # Limits go by real time, and a life here lasts for months.
        self.issuer = make_issuer(limits=OFF, **changes)
        self.clock = self.issuer.clock
        self.pulse = self.issuer.make_pulse(clock=self.clock)
        self.cut_since: float | None = None
        self.start_gateway()

    def restart_issuer(self) -> None:
        """Another process on the same stores."""
        old = self.issuer
        settings = old.services.settings
        services = build_services(settings, clock=self.clock, reset_sender=old.sent.append)
        app = create_app(settings, services=services)
        self.issuer = IssuerApp(app, services, self.clock, old.account, old.sent)
        self.pulse = self.issuer.make_pulse(clock=self.clock)
        self.pulse.beat()
        self.line.inner = services.denylist
        old.close()

    def start_gateway(self) -> None:
        """A gateway that knows nothing yet."""
        self.line = FaultyDenylist(self.issuer.services.denylist)
        self.line.down = self.cut_since is not None
        self.gateway = Verifier(
            issuer=ISSUER,
            audience="api",
            denylist=self.line,
            leeway=self.issuer.services.settings.leeway,
            fetch=self.fetch,
            clock=self.clock,
        )
        # In the issuer's time, too, where a program goes by a clock that nobody moves.
        self.gateway._replica = Replica(
            self.line,
            max_staleness=MAX_STALENESS,
            heartbeat_interval=HEARTBEAT,
            clock=self.clock,
            wall_clock=self.clock,
        )
        self.gateway.keys._clock = self.clock

    def fetch(self, url: str) -> Fetched:
        return Fetched(granted(self.issuer.ask("GET", urlsplit(url).path)), 300)

    def follow(self) -> None:
        """Bring the gateway in step, as its thread does."""
        with suppress(DenylistUnavailable):
            self.gateway.replica.step(block=0)
        # Before a follower trusts a heartbeat it has asked before that was sent.
        for _ in range(2):
            self.issuer.services.denylist.heartbeat(0)
            with suppress(DenylistUnavailable):
                self.gateway.replica.step(block=0)


class WholeLives(RuleBasedStateMachine):
    """Two people, two clients, their sessions, and everybody who may take something back."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        services = self.services
        self.clock = self.world.clock
        self.life = Life(services.settings.leeway)
        self.known_refused: set[Access] = set()
        self.turn = 0
        # Beyond whatever an earlier life has left behind.
        self.wait(services.settings.issuer_skew + COOL_DOWN)
        for name in ("demo", "kiosk"):
            given = services.settings.clients[name]
            self.life.clients[name] = Client(
                name, given.audience, given.access_lifetime, given.idle or None, given.absolute
            )

    @property
    def issuer(self) -> IssuerApp:
        return self.world.issuer

    @property
    def services(self) -> Any:
        return self.world.issuer.services

    @property
    def now(self) -> int:
        return int(self.clock.now)

    # --- people ------------------------------------------------------------------------------

    @initialize()
    def begins(self) -> None:
        for _ in range(2):
            self.joins()
            self.log_in(self.life.people[-1], "demo")
        # Time went by since the last life: whatever comes next finds the gateway in step.
        self.look()

    @precondition(lambda self: len(self.life.people) < 4)
    @rule()
    def joins(self) -> None:
        name = f"person-{next(_numbers)}@example.org"
        account = self.services.accounts.add(name, PASSWORDS[0], roles=("staff",))
        self.life.people.append(Person(account.id, name, PASSWORDS[0], ROLES[0]))

    @rule(who=WHICH, client=st.sampled_from(["demo", "demo", "kiosk"]), right=st.booleans())
    def logs_in(self, who: int, client: str, right: bool) -> None:
        self.log_in(self.person(who), client, right=right)
        self.look()

    @rule(who=WHICH, password=st.sampled_from(PASSWORDS))
    def changes_the_password(self, who: int, password: str) -> None:
        token = self.good_token_of(self.person(who))
        if token is None:
            return
        person, client = token.session.person, token.session.client
        answer = self.issuer.change_password(
            token.text, current_password=person.password, new_password=password
        )
        person.end_everything()
        person.password = password
        if self.now <= client.watermark:
            assert answer.status_code == 503
        else:
            self.begin_session(person, client, granted(answer))
        self.look()

    @rule(who=WHICH, password=st.sampled_from(PASSWORDS))
    def resets_the_password(self, who: int, password: str) -> None:
        person = self.person(who)
        token = self.issuer.forgot(person.name)
        assert (token is not None) is person.enabled
        if token is None:
            return
        body = {"token": token, "new_password": password}
        granted(self.issuer.post("/password/reset", body))
        person.end_everything()
        person.password = password
        assert self.issuer.post("/password/reset", body).status_code == 400
        self.look()

    @rule(who=WHICH, roles=st.sampled_from(ROLES))
    def gets_other_roles(self, who: int, roles: frozenset[str]) -> None:
        person = self.person(who)
        change = self.services.accounts.set_roles(
            person.sub, tuple(sorted(roles)), expires=self.services.revoker.entry_expiry()
        )
        if change is not None:
            self.services.revoker.complete_id(change.journal_id)
        person.sub_ver += bool(person.roles - roles)
        person.roles = roles
        self.look()

    @rule(who=WHICH, enabled=st.booleans())
    def is_enabled_or_disabled(self, who: int, enabled: bool) -> None:
        person = self.person(who)
        change = self.services.accounts.set_enabled(
            person.sub, enabled, expires=self.services.revoker.entry_expiry()
        )
        if change is not None:
            self.services.revoker.complete_id(change.journal_id)
        if not enabled:
            person.end_everything()
        person.enabled = enabled
        self.look()

    # --- sessions ----------------------------------------------------------------------------

    @rule(
        which=WHICH,
        kind=st.sampled_from(["current", "current", "parent", "older"]),
        wait=st.sampled_from([0, 0, 9, 10, 11]),
        active_ago=st.sampled_from([None, 0, 5]),
        lost=st.booleans(),
    )
    def refreshes(
        self, which: int, kind: str, wait: int, active_ago: int | None, lost: bool
    ) -> None:
        """With any generation that was given out, and perhaps without getting the answer."""
        self.wait(wait)
        session = self.session(which)
        gen = session.family.gen - {"current": 0, "parent": 1, "older": 2}[kind]
        held = [one for one in self.life.refresh if one.session is session and one.gen == gen]
        if held:
            self.refresh(held[-1], active_ago, lost=lost)
        self.look()

    @rule(which=WHICH, rounds=st.integers(1, 3))
    def goes_on(self, which: int, rounds: int) -> None:
        """Refreshes of which nothing is lost, as far as the session goes."""
        for _ in range(rounds):
            self.wait(10)
            session = self.session(which)
            newest = max(
                (one for one in self.life.refresh if one.session is session),
                key=lambda one: one.gen,
            )
            self.refresh(newest, 0)
        self.look()

    @rule(which=WHICH)
    def presents_what_nobody_made(self, which: int) -> None:
        refresh = self.newest(self.life.refresh, which).text
        access = self.newest(self.life.access, which).text
        for text in (refresh[:-4] + ("AAAA" if refresh[-4:] != "AAAA" else "BBBB"), access):
            assert self.issuer.refresh(text).status_code == 400
            assert granted(self.issuer.introspect(access[:-4] + "AAAA")) == {"active": False}

    @rule(
        which=WHICH, way=st.sampled_from(["refresh", "bearer", "own", "revoke", "operator", "sid"])
    )
    def ends_a_session(self, which: int, way: str) -> None:
        session, issuer = self.session(which), self.issuer
        held = [one for one in self.life.refresh if one.session is session][-1]
        alive = self.now * 1000 < session.family.absolute_end
        token = self.good_token_of(session.person)
        own = next((one for one in self.good_tokens() if one.session is session), None)
        if way == "refresh":
            assert granted(issuer.logout(held.text)) == {"logged_out": True}
            session.ended |= alive
        elif way == "revoke":
            granted(issuer.revoke(held.text))
            session.ended |= alive
        elif way == "bearer" and own is not None:
            granted(issuer.post("/logout", headers=bearer(own.text)))
            session.ended = True
        elif way == "own" and token is not None:
            path = f"/sessions/{session.sid}"
            status = issuer.ask("DELETE", path, headers=bearer(token.text)).status_code
            assert status == 200 or (status == 404 and session.is_past(self.now))
            session.ended |= status == 200
        elif way in {"operator", "sid"}:
            sub = session.person.sub if way == "operator" else None
            self.services.revoker.end_session(sub, session.sid, reason=Reason.OPERATOR)
            session.ended = True
        self.look()

    @rule(who=WHICH, himself=st.booleans())
    def is_logged_out_everywhere(self, who: int, himself: bool) -> None:
        person = self.person(who)
        token = self.good_token_of(person)
        if himself and token is not None:
            granted(self.issuer.ask("DELETE", "/sessions", headers=bearer(token.text)))
        else:
            change = self.services.accounts.raise_versions(
                person.sub, expires=self.services.revoker.entry_expiry(), reason=Reason.OPERATOR
            )
            self.services.revoker.complete_id(change.journal_id)
        person.end_everything()
        self.look()

    # --- what an operator takes back ---------------------------------------------------------

    @rule(which=WHICH)
    def revokes_a_token(self, which: int) -> None:
        token = self.newest(self.life.access, which)
        granted(self.issuer.revoke(token.text))
        # One under a key that is gone, or that no gateway could take any more, needs nothing.
        token.revoked = True
        self.look()

    @rule(client=st.sampled_from(["demo", "kiosk"]))
    def revokes_a_client(self, client: str) -> None:
        services, model = self.services, self.life.clients[client]
        watermark = self.now + services.settings.issuer_skew
        row = services.clients.disable(
            client, watermark=watermark, expires=services.revoker.entry_expiry()
        )
        services.revoker.complete_id(row)
        model.disabled, model.watermark = True, watermark
        self.look()

    @rule(client=st.sampled_from(["demo", "kiosk"]), wait=st.sampled_from([0, 31]))
    def enables_a_client(self, client: str, wait: int) -> None:
        model = self.life.clients[client]
        assert self.services.clients.enable(client) is model.disabled
        model.disabled = False
        self.wait(wait)
        self.look()

    @rule()
    def revokes_the_signing_key(self) -> None:
        kid = self.services.signing_key().kid
        self.services.revoker.revoke(Entry.key(kid), reason=Reason.KEY)
        self.services.keys.tick()
        self.life.revoked_keys.add(kid)
        self.wait(COOL_DOWN)
        self.look()

    @rule(wait=st.sampled_from([0, 361]))
    def rotates_keys(self, wait: int) -> None:
        policy = self.services.settings.rotation_policy()
        early = replace(policy, signing_period=policy.lead + 1)
        self.services.key_store.update(lambda ring: rotate(ring, self.now, early))
        self.wait(wait)
        self.look()

    # --- time, and what runs in it -----------------------------------------------------------

    @rule(seconds=WAITS)
    def time_passes(self, seconds: int) -> None:
        self.wait(seconds)
        self.look()

    @rule()
    def the_issuer_is_restarted(self) -> None:
        self.world.restart_issuer()
        self.look()

    @precondition(lambda self: self.world.cut_since is None)
    @rule()
    def the_gateway_is_restarted(self) -> None:
        self.world.start_gateway()
        self.look()

    @precondition(lambda self: self.world.cut_since is None)
    @rule()
    def the_line_is_cut(self) -> None:
        self.world.cut_since = self.clock.now
        self.world.line.down = True
        self.known_refused = {one for one in self.life.access if self.life.is_revoked(one)}

    @precondition(lambda self: self.world.cut_since is not None)
    @rule()
    def the_line_is_mended(self) -> None:
        self.mend()
        self.look()

    # --- steps -------------------------------------------------------------------------------

    def newest(self, things: list[Any], which: int) -> Any:
        return things[max(len(things) - 1 - which, 0)]

    def person(self, who: int) -> Person:
        found: Person = self.newest(self.life.people, who)
        return found

    def session(self, which: int) -> Session:
        found: Session = self.newest(self.life.sessions, which)
        return found

    def good_tokens(self) -> list[Access]:
        return [one for one in self.life.access if self.life.is_good(one, self.now)]

    def good_token_of(self, person: Person) -> Access | None:
        return next((one for one in self.good_tokens() if one.session.person is person), None)

    def wait(self, seconds: int) -> None:
        """Let time pass, and every program do what it does meanwhile."""
        while True:
            # Within the feed's window, as an issuer that runs all the time.
            step = min(seconds, LONGEST_STEP)
            self.clock.advance(step)
            self.services.keys.tick()
            self.world.pulse.beat()
            seconds -= step
            if not seconds:
                return

    def mend(self) -> None:
        self.world.cut_since = None
        self.world.line.down = False

    def log_in(self, person: Person, client: str, *, right: bool = True) -> None:
        model = self.life.clients[client]
        password = person.password if right else person.password + "x"
        answer = self.issuer.login(person.name, password, client_id=client)
        if not right or not person.enabled or model.disabled:
            assert answer.status_code == 400
        elif self.now <= model.watermark:
            assert answer.status_code == 503
        else:
            self.begin_session(person, model, granted(answer))

    def begin_session(self, person: Person, client: Client, grant: Mapping[str, Any]) -> None:
        family = ModelFamily(
            version=person.credential,
            idle=None if client.idle is None else client.idle * 1000,
            absolute_end=(self.now + client.absolute) * 1000,
            reuse_interval=10_000,
            retry_window=None,
            made=self.now * 1000,
        )
        session = Session(person, client, grant["session"]["sid"], self.now, family)
        assert session.sid not in {one.sid for one in self.life.sessions}
        self.life.sessions.append(session)
        self.take(session, grant)

    def refresh(self, token: Refresh, active_ago: int | None, *, lost: bool = False) -> None:
        fields = {} if active_ago is None else {"active_ago": active_ago}
        answer = self.issuer.refresh(token.text, **fields)
        if not self.life.present(token, self.now, active_ago):
            assert answer.status_code == 400
        elif lost:
            assert answer.status_code == 200
        else:
            self.take(token.session, granted(answer))

    def take(self, session: Session, grant: Mapping[str, Any]) -> None:
        """Keep what was given, and see that it says what it must."""
        text = grant["access_token"]
        claims = claims_of(text)
        kid = loads_object(decode(text.partition(".")[0].encode()))["kid"]
        person, client = session.person, session.client
        assert claims["sid"] == session.sid == grant["session"]["sid"]
        assert (claims["sub"], claims["sub_ver"]) == (person.sub, person.sub_ver)
        assert set(claims.get("roles", ())) == person.roles
        assert (claims["client_id"], claims["aud"]) == (client.name, client.audience)
        assert (claims["auth_time"], claims["iat"]) == (session.began, self.now)
        assert claims["exp"] == min(self.now + client.access_lifetime, session.end)
        assert kid not in self.life.revoked_keys
        gen = self.issuer.opened(grant["refresh_token"]).gen
        assert gen == session.family.gen
        self.life.access.append(Access(text, session, kid, self.now, claims["exp"], person.sub_ver))
        self.life.refresh.append(Refresh(grant["refresh_token"], session, gen))

    # --- what holds after each step ----------------------------------------------------------

    def look(self, *, all_of_them: bool = False) -> None:
        """Ask everybody about tokens and sessions, and compare."""
        self.world.follow()
        for token in self.life.access:
            self.look_at_gateway(token)
        access, refresh = self.life.access, self.life.refresh
        if all_of_them:
            looked_at = range(len(access))
        else:
            # The newest, and the rest in turn.
            self.turn += LOOKS
            rest = {(self.turn + more) % len(access) for more in range(LOOKS)}
            looked_at = sorted({len(access) - 1, *rest})
        for at in looked_at:
            self.look_at_issuer(access[at])
            self.look_at_refresh(refresh[at])

    def look_at_gateway(self, token: Access) -> None:
        if token.session.client.audience != "api":
            return
        cut, good = self.world.cut_since, self.life.is_good(token, self.now)
        try:
            self.world.gateway.verify(token.text)
        except ReplicaStale:
            assert cut is not None
            assert self.clock.now - cut > MAX_STALENESS - 2 * HEARTBEAT
        except (TokenError, TokenRevoked):
            assert not good
        else:
            # Past its staleness a gateway that is cut off lets nobody in.
            assert cut is None or self.clock.now - cut <= MAX_STALENESS
            assert good or (cut is not None and token not in self.known_refused)
            assert self.now < token.exp + self.life.leeway

    def look_at_issuer(self, token: Access) -> None:
        good = self.life.is_good(token, self.now)
        person, client = token.session.person, token.session.client
        told = granted(self.issuer.introspect(token.text))["active"]
        assert told is (good and client.audience == "api")
        answer = self.issuer.sessions(token.text)
        if not good:
            assert answer.status_code == 401
            return
        listed = {one["sid"] for one in granted(answer)["sessions"]}
        assert listed == {
            one.sid
            for one in self.life.sessions
            if one.person is person and one.is_listed(self.now)
        }

    def look_at_refresh(self, token: Refresh) -> None:
        told = granted(self.issuer.introspect(token.text))["active"]
        mine = token.session.client.audience == "api"
        assert told is (mine and self.life.is_current(token, self.now))

    def teardown(self) -> None:
        """Nobody has anything that he may not have; then as things were."""
        try:
            if self.life.access:
                self.mend()
                self.look(all_of_them=True)
        finally:
            self.mend()
            for client in ("demo", "kiosk"):
                self.services.clients.enable(client)


def walk(world: World) -> None:
    """One life with everything in it, always the same."""
    life = machine(world)()
    life.begins()
    life.gets_other_roles(0, ROLES[1])
    life.goes_on(0, 1)
    life.gets_other_roles(0, ROLES[0])
    life.goes_on(0, 3)
    life.revokes_a_token(0)
    life.refreshes(0, "older", 0, None, lost=False)
    life.refreshes(0, "current", 0, 0, lost=False)
    life.logs_in(0, "demo", right=True)
    for way in ("sid", "operator", "refresh", "revoke", "bearer", "own"):
        life.logs_in(0, "demo", right=True)
        life.ends_a_session(0, way)
        life.look(all_of_them=True)
        life.refreshes(0, "current", 10, None, lost=False)
    life.logs_in(0, "demo", right=True)
    life.changes_the_password(0, PASSWORDS[1])
    life.goes_on(1, 1)
    life.resets_the_password(0, PASSWORDS[2])
    life.goes_on(0, 1)
    life.logs_in(0, "demo", right=False)
    for enabled in (False, True):
        life.logs_in(0, "demo", right=True)
        life.is_enabled_or_disabled(0, enabled)
        life.goes_on(0, 1)
    life.is_logged_out_everywhere(1, himself=True)
    life.logs_in(0, "demo", right=True)
    life.refreshes(0, "current", 10, 0, lost=True)
    life.refreshes(0, "current", 11, 0, lost=False)
    life.revokes_a_client("demo")
    life.logs_in(0, "demo", right=True)
    life.goes_on(0, 1)
    life.enables_a_client("demo", 31)
    life.logs_in(0, "demo", right=True)
    life.the_issuer_is_restarted()
    life.rotates_keys(361)
    life.rotates_keys(361)
    life.goes_on(0, 1)
    life.revokes_the_signing_key()
    life.goes_on(0, 1)
    life.the_line_is_cut()
    life.revokes_a_token(0)
    life.time_passes(2)
    life.time_passes(9)
    life.the_line_is_mended()
    life.goes_on(0, 1)
    life.time_passes(1650)
    life.refreshes(0, "current", 0, None, lost=False)
    life.time_passes(311)
    life.the_gateway_is_restarted()
    life.teardown()


def machine(world: World) -> type[WholeLives]:
    """The machine for one world."""
    return type("Machine", (WholeLives,), {"world": world})
