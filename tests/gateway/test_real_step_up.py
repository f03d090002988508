"""nginx, Caddy, Envoy and Traefik with a route for those who have proved more, elevation included.

Each on the configuration of its page, with another path asked of the forward-auth service for one
route; the elevation is a real issuer's, with a real authenticator app's code.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from harness.forward_auth import RealGateway
from harness.gateway_world import World, passed, refused
from harness.issuer_app import PASSWORD

ORDERS = "scope=orders:write&policy=ask"
PERIOD = 30


@pytest.fixture(scope="module")
def weak(world: World) -> str:
    """The access token of somebody who logged in with a password."""
    return world.token()


@pytest.fixture(scope="module")
def elevated(world: World, weak: str) -> str:
    """That of another session of the same person, after an elevation with an app's code."""
    assert weak  # from before there was an app: from then on a login asks for it
    site, token = world.issuer.site, world.token()
    begun = site.post("/factors/totp", {"current_password": PASSWORD}, token=token).granted()
    totp, now = pyotp.TOTP(begun["secret"]), time.time()
    confirmed = {"id": begun["id"], "otp": totp.at(now), "end_other_sessions": False}
    site.post("/factors/totp/confirm", confirmed, token=token).granted()
    # A code serves once, and the next one is taken early by as much as clocks may differ.
    proof = {"current_password": PASSWORD, "otp": totp.at(now + PERIOD), "acr": "aal2"}
    answer = site.post("/elevate", {**proof, "transport": "body"}, token=token).granted()
    return str(answer["access_token"])


@pytest.fixture(params=["nginx", "caddy", "envoy", "traefik"])
def gateway(
    request: pytest.FixtureRequest, world: World, project_root: Path
) -> Iterator[RealGateway]:
    """Each real gateway, on its documented configuration but for what the orders ask."""
    with RealGateway(
        request.param,
        project_root / "docs",
        world.directory,
        service=world.line.port,
        backend=world.backend.port,
        change=lambda text: text.replace(ORDERS, "acr=aal2&max_age=300"),
    ) as running:
        yield running


def test_a_route_asks_for_a_step_up_and_lets_it_pass(
    gateway: RealGateway, world: World, weak: str, elevated: str
) -> None:
    """401 with the level and the age that would do (RFC 9470 section 3), on that route alone."""
    challenge = refused(gateway, world, "/orders/1", 401, token=weak).headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"')
    assert 'acr_values="aal2"' in challenge
    assert 'max_age="300"' in challenge
    passed(gateway, world, "/hello", token=weak)
    assert passed(gateway, world, "/orders/1", token=elevated).all("X-Gatepass-Acr") == ["aal2"]
