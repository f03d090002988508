"""Every operation that is killed halfway: how it is done, what it ends, and how it is tried again.

Each is written once, against a `Stage`: an issuer in process (which traces its steps) or a real
one (which dies of them).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.authenticator import Authenticator
from harness.gatepass_command import Completed
from harness.issuer_app import NEW_PASSWORD, PASSWORD, claims_of
from harness.limits import OFF
from harness.processes import until

from issuer.accounts import Account, PasswordHasher, PasswordPolicy, SqlAccounts
from issuer.crash_points import CrashPoint as At
from issuer.database import open_engine
from tokens.compact import parse_header

FIRST, SECOND = "first", "second"
BOTH = frozenset({FIRST, SECOND})
ONLY_FIRST = frozenset({FIRST})
NEITHER: frozenset[str] = frozenset()
PATIENCE = 10.0
"""Seconds to wait for what takes one or two."""
POOL = 12
"""Clients of which each operation on a client takes one for itself."""


def crash_settings() -> dict[str, Any]:
    """Settings under which these operations need no waiting."""
    pool = {name: {"audience": "api", "access_lifetime": 300} for name in relying_parties()}
    return {
        "clients": {"demo": {"audience": "api", "access_lifetime": 300}, **pool},
        # Strict single use but for retries: a spent token is spent at once.
        "reuse_interval": 0,
        "issuer_skew": 0,
        # What they count is no step of an operation, and one account does everything here.
        "limits": OFF,
    }


def relying_parties() -> list[str]:
    """The clients of the pool."""
    return [f"relying-{number}" for number in range(POOL)]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    body: dict[str, Any]

    def granted(self) -> dict[str, Any]:
        """The body of an answer that must be 200."""
        assert self.status == 200, self
        return self.body


class Stage(Protocol):
    """Where an operation is done."""

    @property
    def database_url(self) -> str: ...

    def ask(
        self,
        method: str,
        path: str,
        json: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request."""
        ...

    def command(self, *arguments: str, stdin: str = "") -> Completed:
        """One `gatepass` command."""
        ...

    def take_client(self) -> str:
        """A client that nobody else uses."""
        ...

    def mail(self, username: str) -> str | None:
        """The last reset token that was sent to somebody; None if none was."""
        ...


@dataclass
class Scene:
    """A person of the operation's own, with two sessions."""

    stage: Stage
    account: Account
    client_id: str
    grants: dict[str, dict[str, Any]] = field(default_factory=dict)
    spent: str = ""
    """A refresh token that has been used and whose successor has been, too."""
    app: str = ""
    """The secret of an authenticator app, base32, and what its enrolment is called."""
    enrolment: str = ""
    device: Authenticator | None = None
    """A passkey, and what it answered to the latest registration options."""
    registration: dict[str, Any] = field(default_factory=dict)

    @property
    def username(self) -> str:
        return self.account.username

    def login(self, password: str = PASSWORD) -> Reply:
        """Log in, in body mode."""
        body = {"username": self.username, "password": password, "client_id": self.client_id}
        return self.stage.ask("POST", "/login", {**body, "transport": "body"})

    def access(self, session: str = FIRST) -> str:
        return str(self.grants[session]["access_token"])

    def token(self, session: str = FIRST) -> str:
        return str(self.grants[session]["refresh_token"])

    def sid(self, session: str = FIRST) -> str:
        return str(claims_of(self.access(session))["sid"])

    def refresh(self, session: str = FIRST) -> Reply:
        """Refresh, and go by the new tokens from then on if there are any."""
        reply = self.stage.ask("POST", "/refresh", {"refresh_token": self.token(session)})
        if reply.status == 200:
            self.grants[session] = reply.body
        return reply


def add_account(database_url: str, *, memory_cost: int = 8) -> Account:
    """A new account; with another memory cost (KiB) its first login writes the hash anew."""
    engine = open_engine(database_url)
    hasher = PasswordHasher(time_cost=1, memory_cost=memory_cost, parallelism=1, concurrency=1)
    try:
        accounts = SqlAccounts(engine, hasher, PasswordPolicy(15), time.time)
        return accounts.add(f"{secrets.token_hex(6)}@example.org", PASSWORD, ("admin", "staff"))
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Operation:
    """One change; sessions are those of the scene."""

    name: str
    act: Callable[[Scene], Reply | Completed]
    points: tuple[At, ...]
    """What it passes, in order: held against a trace."""
    access_refused: frozenset[str] = NEITHER
    """Whose access tokens of before the operation gateways refuse once it has begun to count."""
    refresh_refused: frozenset[str] = NEITHER
    prepare: Callable[[Scene], object] = lambda _scene: None
    again: Callable[[Scene], object] | None = None
    """Does it once more after a death, and checks that what was wanted is so."""
    memory_cost: int = 8
    own_client: bool = False
    keys: bool = False
    """Whether it changes the key ring."""
    only_traced: bool = False
    """Not killed: a background thread of a running issuer would do it first."""

    def __str__(self) -> str:
        return self.name

    @property
    def is_command(self) -> bool:
        """Whether a `gatepass` command does it."""
        return self.name.startswith("gatepass ")

    def scene(self, stage: Stage) -> Scene:
        """A person with two sessions, all prepared."""
        account = add_account(stage.database_url, memory_cost=self.memory_cost)
        scene = Scene(stage, account, stage.take_client() if self.own_client else "demo")
        if self.memory_cost == 8:
            scene.grants = {name: scene.login().granted() for name in sorted(BOTH)}
        self.prepare(scene)
        return scene

    def do(self, scene: Scene) -> None:
        """Do it; it must succeed."""
        succeeded(self.act(scene))

    def do_again(self, scene: Scene) -> None:
        """Do it once more; what was wanted must be so."""
        (self.again or self.do)(scene)


def succeeded(done: Reply | Completed) -> None:
    """The operation was acknowledged."""
    assert done.code == 0 if isinstance(done, Completed) else done.status in {200, 202}, done


def _logout(scene: Scene) -> Reply:
    return scene.stage.ask("POST", "/logout", {"refresh_token": scene.token()})


def _logout_bearer(scene: Scene) -> Reply:
    return scene.stage.ask("POST", "/logout", token=scene.access())


def _end_own(scene: Scene) -> Reply:
    return scene.stage.ask("DELETE", f"/sessions/{scene.sid()}", token=scene.access(SECOND))


def _end_all(scene: Scene) -> Reply:
    return scene.stage.ask("DELETE", "/sessions", token=scene.access())


def _is_ended_already(scene: Scene) -> None:
    """The caller's own token is refused: what it asked for has been done."""
    assert scene.stage.ask("GET", "/sessions", token=scene.access()).status == 401


def _spend(scene: Scene) -> None:
    scene.spent = scene.token()
    for _ in range(2):
        scene.refresh().granted()


def _reuse(scene: Scene) -> Reply:
    reply = scene.stage.ask("POST", "/refresh", {"refresh_token": scene.spent})
    assert reply.body.get("error") == "invalid_grant", reply
    return Reply(200, reply.body)


def _refresh(scene: Scene) -> Reply:
    # Without taking note: a client whose answer is lost has the old token.
    return scene.stage.ask("POST", "/refresh", {"refresh_token": scene.token()})


def _elevate(scene: Scene) -> Reply:
    body = {"current_password": PASSWORD, "transport": "body"}
    return scene.stage.ask("POST", "/elevate", body, token=scene.access())


def _elevate_again(scene: Scene) -> None:
    """The session is still there and elevated now, or it was replaced and its token is refused."""
    assert _elevate(scene).status in {200, 401}


def _elevate_and_lower(scene: Scene) -> None:
    """The first session becomes an elevated one, whose elevation a lost role ends."""
    scene.grants[FIRST] = _elevate(scene).granted()
    succeeded(command("users", "roles", "{user}", "staff")(scene))


def _refresh_twice(scene: Scene) -> None:
    for _ in range(2):
        scene.refresh().granted()


def _change_password(scene: Scene) -> Reply:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "transport": "body"}
    return scene.stage.ask("POST", "/password", body, token=scene.access())


def _has_new_password(scene: Scene) -> None:
    """Only the new password works, and its session goes on."""
    assert scene.login(PASSWORD).status == 400
    granted = scene.login(NEW_PASSWORD).granted()
    scene.stage.ask("POST", "/refresh", {"refresh_token": granted["refresh_token"]}).granted()


def _changes_again(scene: Scene) -> None:
    assert _change_password(scene).status == 401
    _has_new_password(scene)


def _forgot(scene: Scene) -> Reply:
    return scene.stage.ask("POST", "/password/forgot", {"username": scene.username})


def _reset(scene: Scene) -> Reply:
    body = {"token": scene.spent, "new_password": NEW_PASSWORD}
    return scene.stage.ask("POST", "/password/reset", body)


def _get_reset_token(scene: Scene) -> None:
    succeeded(_forgot(scene))
    token = scene.stage.mail(scene.username)
    assert token is not None
    scene.spent = token


def _resets_after_all(scene: Scene) -> None:
    _get_reset_token(scene)
    succeeded(_reset(scene))
    _has_new_password(scene)


def _reset_is_spent(scene: Scene) -> None:
    assert _reset(scene).status == 400
    _has_new_password(scene)


def _revoke_by_request(scene: Scene) -> Reply:
    return scene.stage.ask("POST", "/revoke", form={"token": scene.access()})


def command(*parts: str, stdin: str = "") -> Callable[[Scene], Completed]:
    """A command in which names in braces stand for the scene's."""

    def run(scene: Scene) -> Completed:
        values = {"user": scene.username, "client": scene.client_id}
        if scene.grants:
            values |= {"sid": scene.sid(), "access": scene.access(), "kid": kid_of(scene.access())}
        given = [part.format(**values) for part in parts]
        return scene.stage.command(*given, stdin=stdin.format(**values))

    return run


def kid_of(access_token: str) -> str:
    """The key that a token was signed under."""
    return str(parse_header(access_token.partition(".")[0].encode())["kid"])


def _passwd_again(scene: Scene) -> None:
    succeeded(_PASSWD(scene))
    _has_new_password(scene)


def _disable_again(scene: Scene) -> None:
    succeeded(_DISABLE(scene))
    assert scene.login().status == 400


def _enable_again(scene: Scene) -> None:
    succeeded(_ENABLE(scene))
    scene.login().granted()


def _enable_client_again(scene: Scene) -> None:
    assert "is not disabled" in _ENABLE_CLIENT(scene).refused(3)
    for _ in until(PATIENCE, "a login after the client's watermark", pause=0.1):
        if (reply := scene.login()).status != 503:
            reply.granted()
            return


def _revoke_client_again(scene: Scene) -> None:
    succeeded(_REVOKE_CLIENT(scene))
    assert scene.login().body["error"] == "unauthorized_client"


def _raise_without_completing(scene: Scene) -> None:
    engine = open_engine(scene.stage.database_url)
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, concurrency=1)
    try:
        accounts = SqlAccounts(engine, hasher, PasswordPolicy(15), lambda: 0.0)
        accounts.raise_versions(scene.account.id, expires=0, reason="operator")
    finally:
        engine.dispose()


def _login(scene: Scene) -> Reply:
    return scene.login()


_PASSWD = command("users", "passwd", "{user}", "--password-stdin", stdin=NEW_PASSWORD + "\n")
_DISABLE = command("users", "disable", "{user}")
_ENABLE = command("users", "enable", "{user}")
_REVOKE_CLIENT = command("revoke", "client", "{client}")
_ENABLE_CLIENT = command("clients", "enable", "{client}")

_ENTRY = (At.REVOCATION_JOURNALLED, At.REVOCATION_DENIED, At.REVOCATION_DONE)
_SESSION = (
    At.REVOCATION_JOURNALLED,
    At.REVOCATION_ENDING,
    At.REVOCATION_DENIED,
    At.REVOCATION_ENDED,
    At.REVOCATION_DONE,
)
_NEW_SESSION = (At.LOGIN_FAMILY_MADE, At.GRANT_MINTING)
_RING_FILE = (
    At.KEYS_BEFORE_WRITE,
    At.KEYS_TEMPORARY_MADE,
    At.KEYS_BEFORE_RENAME,
    At.KEYS_AFTER_RENAME,
)


def _ends_first(name: str, act: Callable[[Scene], Reply | Completed], **more: Any) -> Operation:
    return Operation(
        name,
        act,
        **{
            "points": _SESSION,
            "access_refused": ONLY_FIRST,
            "refresh_refused": ONLY_FIRST,
            **more,
        },
    )


def _ends_both(name: str, act: Callable[[Scene], Reply | Completed], **more: Any) -> Operation:
    return Operation(
        name,
        act,
        **{"points": _ENTRY, "access_refused": BOTH, "refresh_refused": BOTH, **more},
    )


OPERATIONS = (
    Operation("login", _login, (At.ACCOUNT_WRITTEN, *_NEW_SESSION), memory_cost=16),
    Operation(
        "login after a half-done change",
        _login,
        (*_ENTRY, *_NEW_SESSION),
        prepare=_raise_without_completing,
        only_traced=True,
    ),
    Operation("refresh", _refresh, (At.REFRESH_ROTATED, At.GRANT_MINTING), again=_refresh_twice),
    Operation(
        "refresh after an elevation",
        _refresh,
        (At.REFRESH_ROTATED, At.ELEVATION_ENDED, At.AUDIT_PENDED, At.GRANT_MINTING),
        prepare=_elevate_and_lower,
        access_refused=BOTH,
    ),
    _ends_first(
        "elevation",
        _elevate,
        points=(At.ELEVATION_FAMILY_MADE, *_SESSION, At.GRANT_MINTING),
        again=_elevate_again,
    ),
    _ends_first(
        "refresh with a spent token",
        _reuse,
        points=(At.REFRESH_ROTATED, *_SESSION),
        prepare=_spend,
    ),
    _ends_first("logout by refresh token", _logout),
    _ends_first("logout by access token", _logout_bearer, again=_is_ended_already),
    _ends_first("ending an own session", _end_own),
    _ends_both("ending all own sessions", _end_all, again=_is_ended_already),
    _ends_both(
        "password change", _change_password, points=(*_ENTRY, *_NEW_SESSION), again=_changes_again
    ),
    Operation("password reset request", _forgot, (At.RESET_MADE,), again=_resets_after_all),
    _ends_both("password reset", _reset, prepare=_get_reset_token, again=_reset_is_spent),
    Operation("token revocation", _revoke_by_request, _ENTRY, access_refused=ONLY_FIRST),
    Operation(
        "gatepass revoke token",
        command("revoke", "token", stdin="{access}\n"),
        _ENTRY,
        access_refused=ONLY_FIRST,
    ),
    _ends_first("gatepass revoke session", command("revoke", "session", "{sid}"), points=_ENTRY),
    _ends_first(
        "gatepass revoke session --user",
        command("revoke", "session", "{sid}", "--user", "{user}"),
    ),
    _ends_both("gatepass revoke subject", command("revoke", "subject", "{user}")),
    Operation(
        "gatepass revoke key",
        command("revoke", "key", "{kid}"),
        (
            At.REVOCATION_JOURNALLED,
            At.REVOCATION_DENIED,
            *_RING_FILE,
            At.REVOCATION_DONE,
        ),
        access_refused=ONLY_FIRST,
        keys=True,
    ),
    _ends_both(
        "gatepass revoke client", _REVOKE_CLIENT, again=_revoke_client_again, own_client=True
    ),
    _ends_both(
        "gatepass clients enable",
        _ENABLE_CLIENT,
        points=(At.CLIENT_ENABLED,),
        prepare=lambda scene: succeeded(_REVOKE_CLIENT(scene)),
        again=_enable_client_again,
        own_client=True,
    ),
    _ends_both("gatepass users disable", _DISABLE, again=_disable_again),
    _ends_both(
        "gatepass users enable",
        _ENABLE,
        points=(At.ACCOUNT_WRITTEN,),
        prepare=lambda scene: succeeded(_DISABLE(scene)),
        again=_enable_again,
    ),
    _ends_both("gatepass users passwd", _PASSWD, again=_passwd_again),
    Operation(
        "gatepass users roles, one lost",
        command("users", "roles", "{user}", "staff"),
        _ENTRY,
        access_refused=BOTH,
    ),
    Operation(
        "gatepass users roles, one gained",
        command("users", "roles", "{user}", "admin", "staff", "auditor"),
        (At.ACCOUNT_WRITTEN,),
    ),
    _ends_first(
        "gatepass sessions end SID",
        command("sessions", "end", "{sid}", "--user", "{user}"),
    ),
    _ends_both("gatepass sessions end --user", command("sessions", "end", "--user", "{user}")),
    Operation(
        "gatepass keys rotate",
        command("keys", "rotate", "--early"),
        _RING_FILE,
        keys=True,
    ),
)


def operation(name: str) -> Operation:
    """The one of this name."""
    (found,) = (each for each in OPERATIONS if each.name == name)
    return found
