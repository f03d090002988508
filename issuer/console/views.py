"""The console's pages: what administrators read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import render_template, request

from .. import sessions as use_cases
from ..accounts import normalise_username
from ..audit import EventKind, Outcome
from ..audit.search import Wanted, search
from ..http.current import services
from ..services import Services
from . import plots, queries, scales
from .asked import account_of, given_query, page_number, place_in_log
from .blueprint import blueprint
from .guard import administrator


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
    name = given_query().get("name", "").casefold()
    page = page_number()
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


@blueprint.get("/people/<sub>")
def person(sub: str) -> str:
    parts = services()
    account = account_of(sub)
    before = place_in_log()
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
    given = given_query()
    problem, wanted = None, Wanted()
    try:
        wanted = _wanted(given)
    except ValueError as error:
        problem = str(error)
    asked = {name: value for name, value in given.items() if name in _FIELDS}
    # Which fields, not what was in them: names and addresses are not copied once more.
    parts.audit.record(parts.audit.happened(EventKind.AUDIT_READ, details={"by": sorted(asked)}))
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
        before=place_in_log(),
    )


def _time(given: dict[str, str], name: str) -> int | None:
    if name not in given:
        return None
    try:
        return int(datetime.fromisoformat(given[name]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(f"{name.title()} is not a time such as 2026-11-28T14:00.") from None
