"""What must hold of accounts, sessions and tokens, kept as plain facts; times in whole seconds.

Written from design.md and apart from the stores: it knows who did what, and derives from that who
gets in. Rotation itself is `rotation_model`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.rotation_model import LIVE, ModelFamily

CURRENT = frozenset({"rotated", "repeated", "resent", "retried_late"})


@dataclass(eq=False)
class Person:
    """An account."""

    sub: str
    name: str
    password: str
    roles: frozenset[str]
    credential: int = 1
    sub_ver: int = 1
    enabled: bool = True

    def end_everything(self) -> None:
        """Password change, reset, disabling, log out everywhere."""
        self.credential += 1
        self.sub_ver += 1


@dataclass(eq=False)
class Client:
    """A relying party that logs people in."""

    name: str
    audience: str
    access_lifetime: int
    idle: int | None
    absolute: int
    disabled: bool = False
    watermark: int = -1


@dataclass(eq=False)
class Session:
    """One login."""

    person: Person
    client: Client
    sid: str
    began: int
    family: ModelFamily
    ended: bool = False

    def is_past(self, now: int) -> bool:
        return self.family.is_past(now * 1000)

    @property
    def end(self) -> int:
        """The idle or the absolute end."""
        idle_end = self.family.idle_end
        ends = [self.family.absolute_end] + ([] if idle_end is None else [idle_end])
        return min(ends) // 1000

    def is_listed(self, now: int) -> bool:
        """Whether a refresh could still continue it, as its owner is told."""
        return (
            not self.ended
            and self.family.status == LIVE
            and not self.is_past(now)
            and self.family.version == self.person.credential
            and self.began > self.client.watermark
        )


@dataclass(eq=False)
class Access:
    """An access token that was given out."""

    text: str
    session: Session
    kid: str
    iat: int
    exp: int
    sub_ver: int
    revoked: bool = False


@dataclass(eq=False)
class Refresh:
    """A refresh token that was given out."""

    text: str
    session: Session
    gen: int


@dataclass
class Life:
    """Everything that has happened."""

    leeway: int
    people: list[Person] = field(default_factory=list)
    clients: dict[str, Client] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    access: list[Access] = field(default_factory=list)
    refresh: list[Refresh] = field(default_factory=list)
    revoked_keys: set[str] = field(default_factory=set)

    def is_revoked(self, token: Access) -> bool:
        """Whether something took it back, whatever its time."""
        session = token.session
        return (
            token.revoked
            or session.ended
            or token.sub_ver < session.person.sub_ver
            or token.kid in self.revoked_keys
            or token.iat <= session.client.watermark
        )

    def is_good(self, token: Access, now: int) -> bool:
        """Whether issuer and gateways let it in."""
        # Disabling an account or a client has taken back all that they had.
        return now < token.exp + self.leeway and not self.is_revoked(token)

    def is_current(self, token: Refresh, now: int) -> bool:
        """Whether introspection calls it active: the newest of a session that may go on."""
        session = token.session
        return (
            session.is_listed(now)
            and session.person.enabled
            and not session.client.disabled
            and token.gen == session.family.gen
        )

    def present(self, token: Refresh, now: int, active_ago: int | None) -> bool:
        """A refresh token is presented: whether its session goes on."""
        session, family = token.session, token.session.family
        if now * 1000 >= family.absolute_end or session.ended:
            return False
        if not session.person.enabled or session.client.disabled:
            return False
        if session.began <= session.client.watermark:
            # Begun before its client was revoked; a record that is past its end tells nobody.
            session.ended = not session.is_past(now)
            return False
        verdict = family.present(
            token.gen,
            version=session.person.credential,
            now=now * 1000,
            active_ago=None if active_ago is None else active_ago * 1000,
        )
        if verdict.name in {"reuse", "rolled_back"}:
            session.ended = True
        return verdict.name in CURRENT
