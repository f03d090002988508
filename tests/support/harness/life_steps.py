"""What every step of a life does, and what everybody must say of it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from harness.issuer_app import IssuerApp, claims_of, granted
from harness.life_model import Access, Client, Life, Person, Refresh, Session
from harness.life_world import HEARTBEAT, MAX_STALENESS, World
from harness.rotation_model import ModelFamily
from hypothesis.stateful import RuleBasedStateMachine

from revocation import ReplicaStale, TokenRevoked
from tokens import TokenError
from tokens.base64url import decode
from tokens.strict_json import loads_object

LOOKS = 3
"""Tokens that the issuer is asked about after each step, besides the newest; all at the end."""
LONGEST_STEP = 300
COOL_DOWN = 11
"""Seconds after which a gateway asks for keys again that it does not know."""


class LifeSteps(RuleBasedStateMachine):
    """What the rules of a life are made of."""

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
