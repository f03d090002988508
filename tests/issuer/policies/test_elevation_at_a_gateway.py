"""What gateways make of elevations, and of roles that are taken away; mutants that they see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.elevated import Watching, elevate
from harness.factors import enrol_app
from harness.issuer_app import IssuerApp, claims_of, granted

from gateway import InsufficientAuthentication, InsufficientScope
from issuer.audit import EventKind
from issuer.families import Family
from issuer.revoker import Revoker
from revocation import TokenRevoked

LASTS = 120
RULE: dict[str, Any] = {"acr": "aal2", "max_age": 60, "scopes": ["pay"]}
Make = Callable[..., IssuerApp]


@pytest.fixture
def issuer(make_issuer: Make, clients: dict[str, dict[str, Any]]) -> IssuerApp:
    """Elevations end before an access token would."""
    clients["demo"]["elevation"] = LASTS
    return make_issuer(clients=clients)


@pytest.fixture
def gateway(issuer: IssuerApp) -> Watching:
    """A gateway of the issuer's."""
    return Watching(issuer)


def reduce_roles(issuer: IssuerApp, *left: str) -> None:
    """What `gatepass users roles` does."""
    services = issuer.services
    expires = services.revoker.entry_expiry()
    change = services.accounts.set_roles(issuer.account.id, left, expires=expires)
    assert change is not None
    services.revoker.complete_id(change.journal_id)


def check_a_step_up(issuer: IssuerApp, gateway: Watching) -> None:
    """A route that wants more gets it by an elevation, and no longer than it lasts."""
    old = issuer.grant()
    app = enrol_app(issuer, keep=True)
    with pytest.raises(InsufficientAuthentication):
        gateway.admit(old["access_token"], **RULE)
    new = granted(elevate(issuer, old["access_token"], scope="pay", otp=app.next_code()))
    assert gateway.admit(new["access_token"], **RULE).scope == "read write pay"
    with pytest.raises(TokenRevoked):
        gateway.admit(old["access_token"])
    end = int(issuer.clock()) + LASTS
    issuer.clock.advance(LASTS - 1)
    last = granted(issuer.refresh(new["refresh_token"]))
    assert claims_of(last["access_token"])["exp"] <= end
    issuer.clock.advance(1)
    plain = granted(issuer.refresh(last["refresh_token"]))
    for rule in ({"acr": "aal2"}, {"max_age": 60}):
        with pytest.raises(InsufficientAuthentication):
            gateway.admit(plain["access_token"], **rule)
    with pytest.raises(InsufficientScope):
        gateway.admit(plain["access_token"], scopes=["pay"])
    assert gateway.admit(plain["access_token"], scopes=["read"], acr="aal1")


def check_a_lost_role(issuer: IssuerApp, gateway: Watching) -> None:
    """A role that is taken away counts at once, ends an elevation, and logs nobody out."""
    old = issuer.grant()
    new = granted(elevate(issuer, old["access_token"], scope="pay"))
    assert gateway.admit(new["access_token"], roles=["admin"], scopes=["pay"])
    reduce_roles(issuer, "staff")
    with pytest.raises(TokenRevoked):
        gateway.admit(new["access_token"])
    plain = granted(issuer.refresh(new["refresh_token"]))
    assert gateway.admit(plain["access_token"], roles=["staff"])
    for rule in ({"roles": ["admin"]}, {"scopes": ["pay"]}):
        with pytest.raises(InsufficientScope):
            gateway.admit(plain["access_token"], **rule)


def test_a_route_gets_what_it_wants_by_an_elevation(issuer: IssuerApp, gateway: Watching) -> None:
    """RFC 9470: challenged, elevated, admitted; and challenged again when it is over."""
    check_a_step_up(issuer, gateway)


def test_a_lost_role_ends_an_elevation_and_no_session(issuer: IssuerApp, gateway: Watching) -> None:
    """Least `sub_ver`: at every gateway, without a login."""
    check_a_lost_role(issuer, gateway)


def _lasting(family: Family, _sub_ver: int, _now: float) -> Any:
    """A mutant: an elevation never ends."""
    return family.elevation


def _whatever_happens(family: Family, _sub_ver: int, now: float) -> Any:
    """A mutant: it outlasts a change of rights."""
    held = family.elevation
    return held if held and now < held.until else None


def _no_end(*_: Any, **__: Any) -> None:
    """A mutant: the session that is replaced lives on."""


@stacks.anywhere
@pytest.mark.parametrize(
    ("where", "name", "mutant", "check"),
    [
        (Family, "elevated", _lasting, check_a_step_up),
        (Family, "elevated", _whatever_happens, check_a_lost_role),
        (Revoker, "end_session", _no_end, check_a_step_up),
    ],
)
def test_mutants_are_seen(
    issuer: IssuerApp,
    gateway: Watching,
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    name: str,
    mutant: Any,
    check: Callable[[IssuerApp, Watching], None],
) -> None:
    """Each of these mistakes fails a check above."""
    monkeypatch.setattr(where, name, mutant)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(issuer, gateway)


def told(issuer: IssuerApp, *kinds: EventKind) -> set[tuple[str, str, str | None]]:
    """Kind, outcome and session of each event of these kinds in the audit log; none comes twice."""
    issuer.services.audit.flush()
    rows = [row for row in issuer.rows("audit_log") if row["kind"] in kinds]
    found = {(row["kind"], row["outcome"], row["sid"]) for row in rows}
    assert len(found) == len(rows), rows
    return found


def test_an_elevation_and_its_end_are_told_once(issuer: IssuerApp) -> None:
    """However many refreshes see that it is over; and what is refused is told as well."""
    old = issuer.grant()
    elevate(issuer, old["access_token"], current_password="wrong")
    elevate(issuer, old["access_token"], acr="aal3")
    new = granted(elevate(issuer, old["access_token"], scope="pay"))
    issuer.clock.advance(LASTS)
    for _ in range(3):
        granted(issuer.refresh(new["refresh_token"]))
    before, after = old["session"]["sid"], new["session"]["sid"]
    kinds = (EventKind.PASSWORD_REFUSED, EventKind.ELEVATED, EventKind.ELEVATION_ENDED)
    assert told(issuer, *kinds, EventKind.SESSION_ENDED) == {
        ("password_refused", "failure", before),
        ("elevated", "failure", before),
        ("elevated", "success", after),
        ("session_ended", "success", before),
        ("elevation_ended", "success", after),
    }
