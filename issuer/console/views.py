"""The console's pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, abort, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from keys import KeyRingError
from revocation import RevocationError

from .. import sessions as use_cases
from ..accounts import Account, HashingBusy, normalise_username
from ..accounts.passwords import MAX_PASSWORD
from ..audit import EventKind, Outcome
from ..audit.search import Wanted, search
from ..database import DatabaseUnavailable
from ..errors import OAuthError, invalid_grant, too_many_requests, unavailable
from ..factors import FactorRequired, FactorUnreadable
from ..families import FamilyUnavailable
from ..http.body import read_form
from ..http.cookies import sent_cookie
from ..http.current import client_address, context, services
from ..journal import Reason
from ..limits import TooManyRequests
from ..networks import host_of
from ..services import Services
from . import guard, plots, queries, scales
from .guard import administrator, sessions
from .second_step import given_factor
from .session import NoConsole

blueprint = Blueprint(
    "console",
    __name__,
    url_prefix="/console",
    template_folder="templates",
    static_folder="static",
)
blueprint.before_request(guard.require_administrator)
blueprint.after_request(guard.finish)
blueprint.teardown_request(guard.leave)

LONGEST_NAME = 320
_SID = re.compile(r"[A-Za-z0-9_-]{22}\Z")
_BACK = re.compile(r"/console(?:/[A-Za-z0-9_-]+)*/?(?:\?[A-Za-z0-9_=&%.:+-]*)?\Z")
"""A page of ours, and nothing that a browser could read as another site."""
_NOTICES = {
    "ended": "The session has ended.",
    "all-ended": "Every session of this person has ended.",
    "gone": "There is no such session any more.",
    "signed-out": "You are signed out.",
    "let-in": "What had been counted against this account is forgotten; any block of it is over.",
    "address-let-in": "What had been counted against this address is forgotten.",
    "no-address": "That is no address.",
    "client-ended": "Every session with this client has ended, and nobody can log in there.",
    "client-enabled": "People can log in there again.",
}


def add_console(app: Flask, parts: Services) -> None:
    """Serve the console, if the settings turn it on."""
    if parts.settings.console.enabled:
        guard.attach(app, parts)
        app.register_blueprint(blueprint)


@blueprint.context_processor
def shared() -> dict[str, Any]:
    """What every template may use."""
    return {
        "moment": scales.moment,
        "iso": scales.iso,
        "span": scales.span,
        "form_token": lambda: sessions().form_token(administrator()),
        "who": lambda: administrator().account.username,
        "notice": _NOTICES.get(request.args.get("did", "")),
    }


# --- signing in and out --------------------------------------------------------------------------


@blueprint.get("/sign-in")
def sign_in_form() -> str:
    return render_template("console/sign_in.html", back=_way_back(request.args.get("next")))


@blueprint.post("/sign-in")
def sign_in() -> Response | tuple[str, int, dict[str, str]]:
    given = read_form()
    filled = given.given()
    back, wanted = _way_back(filled.get("next")), None
    try:
        if "username" not in filled or "password" not in filled:
            raise invalid_grant("give user name and password")
        admin = sessions().sign_in(
            given.line("username", longest=LONGEST_NAME),
            given.text("password", longest=MAX_PASSWORD),
            given_factor(filled),
            context(),
            client_address(),
        )
    except NoConsole:
        problem = OAuthError(403, "access_denied", "this account may not use the console")
    except FactorRequired as error:
        problem, wanted = OAuthError(403, error.code, guard.FACTOR_WANTED), error
    except OAuthError as error:
        problem = error
    except TooManyRequests as error:
        problem = too_many_requests(error.retry_after)
    else:
        sessions().end_before(sent_cookie(guard.COOKIE))
        guard.keep(admin)
        return redirect(back, 303)
    page = render_template(
        "console/sign_in.html",
        back=back,
        problem=problem.description,
        wanted=wanted,
        username=filled.get("username", ""),
    )
    return page, problem.status, dict(problem.headers)


def _way_back(path: str | None) -> str:
    return path if path and _BACK.match(path) else url_for("console.overview")


@blueprint.post("/sign-out")
def sign_out() -> Response:
    sessions().sign_out(administrator())
    guard.forget()
    return redirect(url_for("console.sign_in_form", did="signed-out"), 303)


# --- pages ---------------------------------------------------------------------------------------


@blueprint.get("/")
def overview() -> str:
    parts, now = services(), services().clock()
    window = scales.window_of(request.args.get("window", ""))
    kinds = queries.denylist_now(parts.engine, now)
    step = window.step
    until = int(now) - int(now) % step + step
    counts = queries.trouble(parts.engine, until - window.length, until, step)
    return render_template(
        "console/overview.html",
        windows=scales.WINDOWS,
        window=window,
        live=queries.live_sessions(parts.engine, now),
        keys=parts.keys.ring.keys,
        kinds=kinds,
        replicas=_replicas(parts, now),
        denylist=plots.denylist_size(
            parts.watch.sizes(now - window.length), window, now, sum(kinds.values())
        ),
        trouble=plots.trouble(counts, window, now),
    )


@blueprint.get("/people")
def people() -> str:
    parts = services()
    name = _given().get("name", "").casefold()
    page = _page_number()
    live = queries.live_sessions(parts.engine, parts.clock(), name=name, page=page)
    return render_template(
        "console/people.html",
        name=name,
        page=page,
        last=max(1, -(-live.sessions // queries.PAGE)),
        live=live,
        people=queries.people(parts.engine, name) if name else [],
        now=parts.clock(),
    )


def _given() -> dict[str, str]:
    """What the query string holds, without what no database takes."""
    plain = {name: _printable(value).strip() for name, value in request.args.items()}
    return {name: value[:LONGEST_NAME] for name, value in plain.items() if value}


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _page_number() -> int:
    given = request.args.get("page", "1")
    return max(1, int(given)) if given.isascii() and given.isdecimal() and len(given) < 8 else 1


@blueprint.get("/people/<sub>")
def person(sub: str) -> str:
    parts = services()
    account = _account(sub)
    before = _sequence()
    pseudonym = parts.audit.account(account.username)
    wanted = Wanted(sub=account.id, account=pseudonym, before=before)
    # A person's history is the log, whichever page shows it.
    parts.audit.record(parts.audit.happened(EventKind.AUDIT_READ, details={"by": ["person"]}))
    return render_template(
        "console/person.html",
        account=account,
        sessions=use_cases.list_sessions(parts, account),
        history=search(parts.engine, wanted, limit=queries.PAGE),
        page_size=queries.PAGE,
        before=before,
        now=parts.clock(),
        mine=administrator().family.sid,
        kept_out=parts.limits.passwords.keeps_out(account.username),
    )


def _account(sub: str) -> Account:
    account = services().accounts.by_id(sub) if sub == _printable(sub) else None
    if account is None:
        abort(404)
    return account


def _sequence() -> int | None:
    given = request.args.get("before", "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else None


@blueprint.get("/clients")
def clients() -> str:
    parts = services()
    live = queries.live_by_client(parts.engine, parts.clock())
    return render_template(
        "console/clients.html",
        clients=parts.settings.clients,
        live=live,
        disabled={name for name in parts.settings.clients if parts.clients.is_disabled(name)},
    )


@blueprint.get("/keys")
def keys() -> str:
    parts = services()
    ring, policy = parts.keys.ring, parts.settings.rotation_policy()
    return render_template(
        "console/keys.html",
        keys=ring.keys,
        lines=plots.key_lines(ring.keys, policy, parts.clock()),
    )


@blueprint.get("/gateways")
def gateways() -> str:
    return render_template("console/gateways.html", **_live())


@blueprint.get("/gateways/live")
def live() -> str:
    return render_template("console/_replicas.html", **_live())


def _live() -> dict[str, Any]:
    parts = services()
    parts.watch.look()
    now = parts.clock()
    noted = parts.watch.readings(now - plots.LIVE_LENGTH - 60)
    return {
        "now": now,
        "replicas": _replicas(parts, now),
        "plots": {
            name: plots.latencies(number, name, noted.get(name, []), now)
            for number, name in enumerate(parts.watch.names)
        },
    }


def _replicas(parts: Services, now: float) -> dict[str, Any]:
    """The latest reading of each gateway; None where there is none of the last minutes."""
    noted = parts.watch.readings(now - plots.LIVE_LENGTH)
    return {name: noted[name][-1] if noted.get(name) else None for name in parts.watch.names}


# --- the audit log -------------------------------------------------------------------------------


@blueprint.get("/audit")
def audit() -> str:
    parts = services()
    given = _given()
    problem, wanted = None, Wanted()
    try:
        wanted = _wanted(given)
    except ValueError as error:
        problem = str(error)
    asked = {name: value for name, value in given.items() if name in _FIELDS}
    if asked or "before" in given:
        # Which fields, not what was in them: names and addresses are not copied once more.
        parts.audit.record(
            parts.audit.happened(EventKind.AUDIT_READ, details={"by": sorted(asked)})
        )
    found = [] if problem else search(parts.engine, wanted, limit=queries.PAGE)
    subs = {logged.event.sub for logged in found if logged.event.sub}
    further = None
    if len(found) == queries.PAGE:
        further = "?" + urlencode({**asked, "before": found[-1].seq})
    return render_template(
        "console/audit.html",
        given=given,
        problem=problem,
        found=found,
        further=further,
        names=queries.names_of(parts.engine, subs),
        kinds=[kind.value for kind in EventKind],
        outcomes=[outcome.value for outcome in Outcome],
    )


_FIELDS = ("kind", "outcome", "person", "sid", "address", "request_id", "since", "until")


def _wanted(given: dict[str, str]) -> Wanted:
    """Raises `ValueError`, with a text for the person who searches."""
    kind, outcome = given.get("kind"), given.get("outcome")
    if kind not in {None, *EventKind} or outcome not in {None, *Outcome}:
        raise ValueError("There is no such event or outcome.")
    sub = pseudonym = None
    if "person" in given:
        # Also of a name that nobody has: what was tried with it is in the log.
        name = normalise_username(given["person"])
        account = services().accounts.by_username(name)
        sub = None if account is None else account.id
        pseudonym = services().audit.account(name)
    return Wanted(
        kinds=() if kind is None else (EventKind(kind),),
        outcome=None if outcome is None else Outcome(outcome),
        sub=sub,
        account=pseudonym,
        sid=given.get("sid"),
        address=given.get("address"),
        request_id=given.get("request_id"),
        since=_time(given, "since"),
        until=_time(given, "until"),
        before=_sequence(),
    )


def _time(given: dict[str, str], name: str) -> int | None:
    if name not in given:
        return None
    try:
        return int(datetime.fromisoformat(given[name]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(f"{name.title()} is not a time such as 2026-11-28T14:00.") from None


# --- what changes something ----------------------------------------------------------------------


@blueprint.post("/people/<sub>/sessions/<sid>/end")
def end_session(sub: str, sid: str) -> Response:
    """End one session of a person (ASVS 7.4.5)."""
    parts, sub = services(), _account(sub).id
    family = parts.families.get(sub, sid) if _SID.match(sid) else None
    if family is None:
        return redirect(url_for("console.person", sub=sub, did="gone"), 303)
    parts.revoker.end_session(sub, sid, reason=Reason.OPERATOR, absolute_end=family.absolute_end)
    return redirect(url_for("console.person", sub=sub, did="ended"), 303)


@blueprint.post("/people/<sub>/end-all")
def end_all(sub: str) -> Response:
    """End every session of a person, in one step (ASVS 7.4.5)."""
    use_cases.end_all(services(), sub=_account(sub).id, reason=Reason.OPERATOR)
    return redirect(url_for("console.person", sub=sub, did="all-ended"), 303)


@blueprint.post("/people/<sub>/let-in")
def let_in(sub: str) -> Response:
    """Let an account be tried again that a limit or an anomaly's response keeps people out of."""
    parts, account = services(), _account(sub)
    address = read_form().given().get("address", "").strip()
    if address and not host_of(address):
        return redirect(url_for("console.person", sub=account.id, did="no-address"), 303)
    parts.limits.passwords.lift_account(account.username, address)
    parts.audit.record(
        parts.audit.happened(EventKind.LIMIT_LIFTED, sub=account.id, details={"of": "account"})
    )
    return redirect(url_for("console.person", sub=account.id, did="let-in"), 303)


@blueprint.post("/let-in")
def let_address_in() -> Response:
    """The same for an address and its network."""
    parts, address = services(), read_form().given().get("address", "").strip()
    if not parts.limits.passwords.lift_address(address):
        return redirect(url_for("console.people", did="no-address"), 303)
    lifted = parts.audit.happened(
        EventKind.LIMIT_LIFTED, address=address, details={"of": "address"}
    )
    parts.audit.record(lifted)
    return redirect(url_for("console.people", did="address-let-in"), 303)


@blueprint.post("/clients/end")
def end_client() -> Response:
    """End everybody's sessions with a client (ASVS 7.4.5), as `gatepass revoke client` does."""
    client_id = _client()
    use_cases.end_client(services(), client_id)
    return redirect(url_for("console.clients", did="client-ended"), 303)


@blueprint.post("/clients/enable")
def enable_client() -> Response:
    services().clients.enable(_client())
    return redirect(url_for("console.clients", did="client-enabled"), 303)


def _client() -> str:
    client_id = read_form().given().get("client", "")
    if client_id not in services().settings.clients:
        abort(404)
    return client_id


# --- refusals ------------------------------------------------------------------------------------


@blueprint.errorhandler(OAuthError)
def refused(error: OAuthError) -> tuple[str, int, dict[str, str]]:
    page = render_template("console/error.html", text=error.description, status=error.status)
    return page, error.status, dict(error.headers)


@blueprint.errorhandler(TooManyRequests)
def limited(error: TooManyRequests) -> tuple[str, int, dict[str, str]]:
    return refused(too_many_requests(error.retry_after))


@blueprint.errorhandler(404)
def not_found(_error: HTTPException) -> tuple[str, int, dict[str, str]]:
    return refused(OAuthError(404, "not_found", "there is nothing here"))


@blueprint.errorhandler(DatabaseUnavailable)
@blueprint.errorhandler(RevocationError)
@blueprint.errorhandler(FamilyUnavailable)
@blueprint.errorhandler(FactorUnreadable)
@blueprint.errorhandler(KeyRingError)
def store_down(_error: Exception) -> tuple[str, int, dict[str, str]]:
    return refused(unavailable("a store does not answer just now; try again"))


@blueprint.errorhandler(HashingBusy)
def busy(error: HashingBusy) -> tuple[str, int, dict[str, str]]:
    return refused(unavailable(str(error), error.retry_after))
