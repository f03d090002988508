"""An administrator's session: a family of a client of its own, in a cookie that only we can read.

So whatever ends any session ends this one: a new password, a disabled account, `revoke session`,
the idle and the absolute end. The account, its roles included, is read at every request.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import structlog

from keys import KeyRing
from tokens import RefreshClaims, RefreshSealer, TokenError, UnknownKid

from ..accounts import Account, BadCredentials, normalise_username
from ..audit import Event, EventKind, Outcome
from ..audit.ahead import CREATED, events_of
from ..errors import invalid_grant, too_weak
from ..factors import FactorRefused, FactorRequired, GivenFactor
from ..factors.proof import prove, prove_by_name
from ..families import Current, Family, Gone, NewFamily, RefreshReuseDetected, RolledBack, Status
from ..journal import Reason
from ..limits.errors import TooManyRequests
from ..policies.sufficiency import missing_at
from ..services import Services
from ..sessions.cap import keep_within_cap
from ..sessions.grant import Context, random_id
from ..sessions.refresh import RULES
from .settings import CLIENT_ID

log = structlog.get_logger("gatepass.issuer")

_REFUSED = "the code or passkey was refused, or has been used already"


class NoConsole(Exception):
    """The password was right; the account lacks the console's role."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who is signed in, as SQL and the store of families say now."""

    account: Account
    family: Family
    cookie: str | None = field(default=None, repr=False)
    """What the browser is to keep from now on; None where it has that already."""


class ConsoleSessions:
    """Begins, continues and ends the sessions of administrators."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings.console
        # `iss` keeps them apart from refresh tokens and from each other (RFC 8725 section 3.12).
        issuer = services.settings.issuer
        self._cookies = RefreshSealer(f"{issuer}/console", self._ring)
        self._forms = RefreshSealer(f"{issuer}/console/form", self._ring)

    def _ring(self) -> KeyRing:
        return self._services.keys.ring

    # --- beginning ---------------------------------------------------------------------------

    def sign_in(
        self, username: str, password: str, given: GivenFactor, context: Context, address: str
    ) -> Administrator:
        """Check who it is, and begin a session (ASVS 7.2.4: a new one each time).

        An account with a second factor needs that too. `address` is the caller's, for limits; empty
        where nobody knows it. Raises `OAuthError`, `FactorRequired`, `TooManyRequests`,
        `NoConsole`.
        """
        services = self._services
        instant = services.instant()
        try:
            proved = prove_by_name(
                services, username, password=password, given=given, address=address
            )
        except TooManyRequests:
            services.metrics.login("limited")
            self._refused(EventKind.LOGIN_LIMITED, "too_many", username=username)
            raise
        except FactorRequired:
            services.metrics.login("factor_required")
            self._refused(EventKind.LOGIN, FactorRequired.code, username=username)
            raise
        except FactorRefused:
            services.metrics.login("refused")
            self._refused(EventKind.LOGIN, FactorRefused.code, username=username)
            raise invalid_grant(_REFUSED) from None
        except BadCredentials as error:
            services.metrics.login("refused")
            self._refused(EventKind.LOGIN, error.why, username=username)
            # One answer for every cause (ASVS 6.3.8).
            raise invalid_grant("user name or password is wrong") from None
        account = proved.account
        if not self._admits(account):
            services.metrics.login("refused")
            self._refused(EventKind.LOGIN, "no_role", sub=account.id)
            raise NoConsole
        lacks = self._lacks(proved.amr)
        if lacks:
            services.metrics.login("refused")
            self._refused(EventKind.LOGIN, "too_weak", sub=account.id)
            raise too_weak(lacks)
        # A change that was cut off between SQL and the denylist is finished before anybody is in.
        services.revoker.complete_subject(account.id)
        services.metrics.login("granted")
        return self._begin(account, proved.amr, instant, context, why="login")

    def prove_again(
        self,
        admin: Administrator,
        password: str,
        given: GivenFactor,
        context: Context,
        address: str,
    ) -> Administrator:
        """The same for an administrator: goes on in a new session in place of the old one.

        Raises `OAuthError`, `FactorRequired`, `TooManyRequests`.
        """
        services, account = self._services, admin.account
        instant = services.instant()
        try:
            methods = prove(services, account, password=password, given=given, address=address)
        except FactorRefused:
            raise invalid_grant(_REFUSED) from None
        except BadCredentials as error:
            self._refused(
                EventKind.PASSWORD_REFUSED, error.why, sub=account.id, sid=admin.family.sid
            )
            raise invalid_grant("the password is wrong") from None
        lacks = self._lacks(methods)
        if lacks:
            self._refused(
                EventKind.PASSWORD_REFUSED, "too_weak", sub=account.id, sid=admin.family.sid
            )
            raise too_weak(lacks)
        begun = self._begin(account, methods, instant, context, why="proved_again")
        self.sign_out(admin)
        return begun

    def _lacks(self, methods: tuple[str, ...]) -> str:
        """What these lack for the console, in words; empty where they are enough."""
        lacks = missing_at(self._settings.acr, methods)
        return lacks and f"the console asks for {lacks}"

    def _refused(
        self, kind: EventKind, why: str, *, username: str | None = None, **about: str
    ) -> None:
        """Write a refusal down, with the account that a name is of, if it is one's."""
        audit, accounts = self._services.audit, self._services.accounts
        name = None if username is None else normalise_username(username)

        def with_account(event: Event) -> Event:
            account = None if name is None else accounts.by_username(name)
            return event if account is None else replace(event, sub=account.id)

        event = audit.happened(
            kind,
            outcome=Outcome.FAILURE,
            why=why,
            client_id=CLIENT_ID,
            details={} if name is None else {"account": audit.account(name)},
            **about,
        )
        audit.refused(event, with_account)

    def _begin(
        self,
        account: Account,
        methods: tuple[str, ...],
        instant: float,
        context: Context,
        *,
        why: str,
    ) -> Administrator:
        """Make the family; what ended the account's version meanwhile ends it too."""
        services, settings, now = self._services, self._settings, int(instant)
        new = NewFamily(
            sub=account.id,
            sid=random_id(),
            client_id=CLIENT_ID,
            credential_version=account.credential_version,
            auth_time=now,
            amr=methods,
            scope="",
            idle=settings.idle,
            absolute_end=now + settings.absolute,
            label="Console",
            address=context.address,
            user_agent=context.user_agent,
        )
        about = {"sub": new.sub, "sid": new.sid, "client_id": CLIENT_ID}
        started = services.audit.happened(
            EventKind.SESSION_STARTED,
            why=why,
            details={
                "amr": list(methods),
                "credential_version": new.credential_version,
                "ends": now + min(settings.idle, settings.absolute),
                "absolute": new.absolute_end,
            },
            **about,
        )
        family = services.families.create(new, draft=services.audit.draft_of(started))
        services.audit.drafted(events_of(CREATED, started), started.id)
        current = self._account(family.sub, family.sid)
        if current is None or current.credential_version != account.credential_version:
            services.families.mark(account.id, family.sid, Status.ENDED)
            services.audit.record(
                services.audit.happened(EventKind.SESSION_ENDED, why="account_changed", **about)
            )
            raise invalid_grant("the account has just been changed; sign in again")
        keep_within_cap(services, family)
        log.info("session_started", **about)
        return Administrator(account, family, self._cookie(family))

    # --- going on ----------------------------------------------------------------------------

    def current(self, cookie: str, *, active: bool) -> Administrator | None:
        """Whose session a cookie is, if it goes on.

        A page that a person asked for is activity, and rotates the cookie by the rules of refresh
        tokens, so that one that was stolen shows. What a page fetches by itself does neither (SP
        800-63B-4: an access in the background is no sign that somebody is there).
        """
        claims = self._open(self._cookies, cookie)
        if claims is None:
            return None
        account = self._account(claims.sub, claims.sid)
        if account is None:
            return None
        if not active:
            return self._look(claims, account)
        audit = self._services.audit
        draft = audit.happened(
            EventKind.SESSION_REFRESHED, sub=claims.sub, sid=claims.sid, client_id=CLIENT_ID
        )
        outcome = self._services.families.rotate(
            claims.sub,
            claims.sid,
            claims.gen,
            credential_version=account.credential_version,
            active_ago=0.0,
            draft=audit.draft_of(draft),
        )
        if not isinstance(outcome, Gone):
            details = {"gen": outcome.family.gen, "ends": int(outcome.family.end)}
            audit.drafted(events_of(RULES[type(outcome)], draft, details), draft.id)
        match outcome:
            case Current(family) if self._lacks(family.amr):
                # The settings ask for more than when it began.
                self._end(family, Reason.OPERATOR)
            case Current(family):
                moved = family.gen != claims.gen
                return Administrator(account, family, self._cookie(family) if moved else None)
            case RefreshReuseDetected(family):
                log.warning("console_cookie_reuse_detected", sub=family.sub, sid=family.sid)
                self._end(family, Reason.REUSE)
            case RolledBack(family):
                self._end(family, Reason.ROLLBACK)
        return None

    def _look(self, claims: RefreshClaims, account: Account) -> Administrator | None:
        family = self._services.families.get(claims.sub, claims.sid)
        if (
            family is None
            or family.status is not Status.LIVE
            or family.credential_version != account.credential_version
            or family.end <= self._services.clock()
            or claims.gen not in {family.gen, family.gen - 1}
            or self._lacks(family.amr)
        ):
            return None
        return Administrator(account, family)

    def _account(self, sub: str, sid: str) -> Account | None:
        """The account of a session, as one query finds both; None where either is of no use."""
        standing = self._services.accounts.standing(
            sub, sid=sid, client_id=CLIENT_ID, audience=CLIENT_ID
        )
        account = standing.account
        if account is None or standing.session_ended or standing.reauthentication_due:
            return None
        return account if account.enabled and self._admits(account) else None

    def _admits(self, account: Account) -> bool:
        return self._settings.role in account.roles

    def is_fresh(self, admin: Administrator) -> bool:
        """Whether the password was given so recently that something may be changed."""
        return self._services.clock() - admin.family.auth_time < self._settings.fresh

    # --- ending ------------------------------------------------------------------------------

    def sign_out(self, admin: Administrator) -> None:
        self._end(admin.family, Reason.LOGOUT)

    def end_before(self, cookie: str | None) -> None:
        """End the session whose cookie a new one replaces (ASVS 7.2.4), whoever's it was."""
        claims = None if cookie is None else self._open(self._cookies, cookie)
        if claims is not None:
            self._services.revoker.end_session(
                claims.sub, claims.sid, reason=Reason.LOGOUT, absolute_end=claims.exp
            )

    def _end(self, family: Family, reason: Reason) -> None:
        self._services.revoker.end_session(
            family.sub, family.sid, reason=reason, absolute_end=family.absolute_end
        )

    # --- what is sealed ----------------------------------------------------------------------

    def _cookie(self, family: Family) -> str:
        return self._cookies.mint(self._claims("/console", family))

    def form_token(self, admin: Administrator) -> str:
        """What every form of the session carries (OWASP CSRF cheat sheet)."""
        return self._forms.mint(self._claims("/console/form", admin.family))

    def is_form_of(self, admin: Administrator, token: str) -> bool:
        """Whether a form was made for this session."""
        claims = self._open(self._forms, token)
        return claims is not None and claims.sid == admin.family.sid

    def _claims(self, path: str, family: Family) -> RefreshClaims:
        return RefreshClaims(
            iss=self._services.settings.issuer + path,
            sub=family.sub,
            sid=family.sid,
            client_id=CLIENT_ID,
            gen=family.gen,
            exp=family.absolute_end,
        )

    def _open(self, sealer: RefreshSealer, token: str) -> RefreshClaims | None:
        try:
            return sealer.open(token, self._services.clock())
        except UnknownKid:
            # Another issuer may have begun to use a key that this one has not read yet.
            self._services.keys.tick()
        except TokenError:
            return None
        try:
            return sealer.open(token, self._services.clock())
        except TokenError:
            return None
