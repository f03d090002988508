"""Drives an issuer and a gateway through whole lives, and holds every answer against the model."""

from __future__ import annotations

import itertools
from dataclasses import replace

from harness.issuer_app import bearer, granted
from harness.life_model import Person
from harness.life_steps import COOL_DOWN, LifeSteps
from harness.life_world import World
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from issuer.journal import Reason
from keys import rotate
from revocation import Entry

PASSWORDS = (
    "seven violet otters juggle 91",
    "an unlikely brass kettle 4417",
    "grey 8 quiet llamas",
)
ROLES = (frozenset({"staff"}), frozenset({"staff", "admin"}), frozenset[str]())

WHICH = st.sampled_from([0, 0, 0, 1, 2, 3, 5])
"""Counted from the newest."""
WAITS = st.sampled_from([1, 3, 9, 10, 11, 60, 299, 311, 1799, 1801])

_numbers = itertools.count()


class WholeLives(LifeSteps):
    """Two people, two clients, their sessions, and everybody who may take something back."""

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
