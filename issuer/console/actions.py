"""What administrators do: sessions end, people are let in again, clients stop and go on.

Each of these asks for the password anew after a while (`guard`), and leads back to a page that says
what was done.
"""

from __future__ import annotations

import re

from flask import abort, redirect, url_for
from werkzeug.wrappers import Response

from .. import sessions as use_cases
from ..audit import EventKind
from ..http.body import read_form
from ..http.current import services
from ..journal import Reason
from ..networks import host_of
from .asked import account_of
from .blueprint import blueprint

_SID = re.compile(r"[A-Za-z0-9_-]{22}\Z")


@blueprint.post("/people/<sub>/sessions/<sid>/end")
def end_session(sub: str, sid: str) -> Response:
    """End one session of a person (ASVS 7.4.5)."""
    parts, sub = services(), account_of(sub).id
    family = parts.families.get(sub, sid) if _SID.match(sid) else None
    if family is None:
        return redirect(url_for("console.person", sub=sub, did="gone"), 303)
    parts.revoker.end_session(sub, sid, reason=Reason.OPERATOR, absolute_end=family.absolute_end)
    return redirect(url_for("console.person", sub=sub, did="ended"), 303)


@blueprint.post("/people/<sub>/end-all")
def end_all(sub: str) -> Response:
    """End every session of a person, in one step (ASVS 7.4.5)."""
    use_cases.end_all(services(), sub=account_of(sub).id, reason=Reason.OPERATOR)
    return redirect(url_for("console.person", sub=sub, did="all-ended"), 303)


@blueprint.post("/people/<sub>/let-in")
def let_in(sub: str) -> Response:
    """Let an account be tried again that a limit or an anomaly's response keeps people out of."""
    parts, account = services(), account_of(sub)
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
