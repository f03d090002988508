"""Every attack of the table at every place that takes tokens, in real processes."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from harness.attack_material import high_s, opaque
from harness.attack_surfaces import (
    MEGABYTES,
    PASSWORD,
    Deployment,
    EndingSurface,
    honest_tokens,
    logout_surface,
    revocation_surface,
)
from harness.attack_table import Place
from harness.attacks_all import ATTACKS, PARTS
from harness.hostile_page import MOVING_TABLES
from harness.issuer_app import NEW_PASSWORD
from harness.processes import until
from harness.web import ask

from issuer.database import open_engine
from issuer.database.tables import metadata

BEATING = (b"{denylist}", b"{denylist}:feed", b":drafts")
"""Redis keys that each heartbeat changes, drafts on their way into the
audit log."""


def everything(deployment: Deployment) -> tuple[Any, ...]:
    """SQL's rows and Redis' keys, but for what heartbeats change."""
    engine = open_engine(deployment.fleet.database_url)
    tables = [table for table in metadata.sorted_tables if table.name not in MOVING_TABLES]
    with engine.connect() as connection:
        rows = {table.name: connection.execute(sa.select(table)).fetchall() for table in tables}
    engine.dispose()
    client = redis.Redis.from_url(deployment.fleet.redis_url)
    keys = sorted(
        key
        for key in client.scan_iter(count=500)
        if not key.endswith(BEATING) and b":{anomalies:" not in key
    )
    stored = [(key, client.dump(key), client.pexpiretime(key)) for key in keys]
    client.close()
    assert rows["accounts"]
    assert any(b":family:" in key for key in keys)
    return rows, stored


def nobody_came(trap: socket.socket) -> bool:
    """Whether nobody has connected to the listener."""
    try:
        trap.accept()
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize("place", list(Place))
def test_every_attack_is_refused_and_changes_nothing(
    deployment: Deployment, trap: socket.socket, caplog: pytest.LogCaptureFixture, place: Place
) -> None:
    """Refused in form and in time, while honest tokens pass before and after.

    No row, no key, no megabyte and no connection comes of it, and no token is logged.
    """
    caplog.set_level(logging.DEBUG)
    surface = deployment.surfaces[place]
    material = deployment.material()
    honest = honest_tokens(place, material)
    assert {name for name, token in honest.items() if not surface.takes(token)} == set()
    before, memory = everything(deployment), deployment.processes()
    found: dict[str, str] = {}
    sent: set[str] = set()
    for attack in ATTACKS.values():
        token = attack.make(material)
        if place not in attack.at or not surface.can_be_asked(token):
            continue
        # Ids are no secrets, and what is logged of a session goes by them.
        if token not in {material.claims["sid"], material.claims["jti"]}:
            sent.add(token)
        if wrong := surface.wrong_with(token):
            found[attack.name] = wrong
    assert found == {}
    assert len(sent) > 950
    assert everything(deployment) == before
    grown = {name: size - memory.get(name, 0) for name, size in deployment.processes().items()}
    assert {name: size for name, size in grown.items() if size > MEGABYTES} == {}
    assert nobody_came(trap)
    assert {name for name, token in honest.items() if not surface.takes(token)} == set()
    logged = deployment.log() + caplog.text
    assert {secret for token in sent for secret in secrets_of(token) if secret in logged} == set()


def secrets_of(token: str) -> Iterator[str]:
    """What of a token may not be read in a log: its last part, whole, or all of it."""
    for secret in (token, token.rpartition(".")[2]):
        if len(secret) > 20:
            yield secret


def test_the_log_holds_no_secret_of_an_honest_person(deployment: Deployment) -> None:
    """Neither the tokens of a session nor the password, at the most talkative level."""
    granted = deployment.login()
    for place, token in (
        (Place.GATEWAY, granted["access_token"]),
        (Place.ISSUER, granted["access_token"]),
        (Place.INTROSPECTION, granted["access_token"]),
        (Place.REFRESH, granted["refresh_token"]),
    ):
        assert deployment.surfaces[place].takes(token)
    log = deployment.log()
    assert "session_refreshed" in log
    kept = {granted["access_token"], granted["refresh_token"], PASSWORD}
    assert {secret for secret in kept if secret in log} == set()


def test_a_malleated_twin_of_a_revoked_token_is_revoked(deployment: Deployment) -> None:
    """Anybody can give a token its other S; its `jti` stays, and so does the revocation.

    Such a twin is no attack by itself: RFC 7518 section 3.4 takes both, and what signs in an HSM
    writes either. So nothing here may tell tokens apart by their bytes.
    """
    token = deployment.login()["access_token"]
    twin = high_s(token)
    assert twin != token
    surfaces = [deployment.surfaces[place] for place in Place if place is not Place.REFRESH]
    for surface in surfaces:
        assert surface.takes(token)
        assert surface.takes(twin)
    assert deployment.fleet.issuers[0].revoke(token).status == 200
    for surface in surfaces:
        for _ in until(30, f"the revocation at {surface.place}"):
            if not surface.takes(token):
                break
        assert surface.wrong_with(twin) == ""
        assert surface.wrong_with(high_s(twin)) == ""


NOBODYS = ("signatures", "headers", "payloads", "spellings", "tenants", "sealed", "refresh")
"""Attacks whose tokens are nobody's; the others' are somebody's at the wrong place or time."""


@pytest.mark.parametrize("end", [revocation_surface, logout_surface])
def test_no_attack_ends_anything(
    deployment: Deployment, end: Callable[[int], EndingSurface]
) -> None:
    """What proves nothing revokes no token and ends no session (RFC 7009 section 2.1)."""
    material = deployment.material()
    before = everything(deployment)
    found: dict[str, str] = {}
    with closing(end(deployment.fleet.issuers[0].port)) as surface:
        for attack in (attack for part in NOBODYS for attack in PARTS[part]):
            if wrong := surface.wrong_with(attack.make(material)):
                found[attack.name] = wrong
        assert found == {}
        assert everything(deployment) == before
        assert surface.takes(material.refresh())
    assert everything(deployment) != before


def test_no_token_resets_a_password(deployment: Deployment) -> None:
    """A token of any other kind is none that was sent to a person who forgot the password."""
    m = deployment.material()
    url = f"{deployment.fleet.issuers[0].url}/password/reset"
    kinds = [m.token(), m.refresh(), m.sealed(), m.claims["sid"], m.claims["jti"], opaque()]
    before = everything(deployment)
    for token in kinds:
        answer = ask("POST", url, json_body={"token": token, "new_password": NEW_PASSWORD})
        assert answer.status == 400, answer.content
    assert everything(deployment) == before


def test_no_token_is_a_gateways_credential(deployment: Deployment) -> None:
    """A person's token opens neither the feed nor introspection."""
    m = deployment.material()
    base = deployment.fleet.issuers[0].url
    for token in (m.token(), m.refresh(), m.sealed()):
        assert ask("GET", f"{base}/revocations", token=token).status == 401
        answer = ask("POST", f"{base}/introspect", form={"token": m.token()}, token=token)
        assert answer.status == 401
