"""Pages of other origins at nginx, Caddy, Envoy and Traefik, configured as their page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from harness.forward_auth import RealGateway
from harness.gateway_world import World, altered, passed, refused
from harness.processes import until
from harness.web import Answer

LISTED, UNLISTED = {"Origin": "https://shop.example"}, {"Origin": "https://evil.example"}
QUESTION = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}


def cors(answer: Answer) -> dict[str, str]:
    """What an answer says to a browser of who may read it."""
    return {
        name.removeprefix("access-control-"): re.sub(", *", ", ", value)
        for name, value in answer.headers.items()
        if name.startswith("access-control-")
    }


def test_a_page_of_a_listed_origin_may_ask_and_read(gateway: RealGateway, world: World) -> None:
    """Its question needs no token; refusals and errors are readable like answers; no cookies."""
    fine = 200 if gateway.name in {"envoy", "traefik"} else 204
    for path in ("/hello", "/orders/1"):
        answer = refused(gateway, world, path, fine, method="OPTIONS", headers=LISTED | QUESTION)
        said = cors(answer)
        assert said.pop("allow-methods").replace(",", "").split() == [
            "GET",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
        ]
        assert said.pop("allow-headers") == "Authorization, Content-Type"
        assert said.pop("max-age") == "600"
        assert said["allow-origin"] == LISTED["Origin"]
        assert "allow-credentials" not in said
    readable = {
        "allow-origin": LISTED["Origin"],
        "expose-headers": "WWW-Authenticate, Retry-After",
    }
    token, reader = world.token(), world.token("reader")
    for path, bearer, status in (
        ("/hello", token, 200),
        ("/hello", None, 401),
        ("/hello", "of.bad.news", 401),
        ("/orders/1", reader, 403),
        ("/public/x", None, 200),
    ):
        answer = gateway.ask(path, token=bearer, headers=LISTED)
        assert (answer.status, cors(answer)) == (status, readable), path
        assert status != 401 or answer.headers["www-authenticate"].startswith("Bearer")
    world.line.cut()
    try:
        answer = gateway.ask("/hello", token=token, headers=LISTED)
        assert answer.status >= 500
        assert cors(answer) == readable
    finally:
        world.line.mend()
    for _ in until(10, "the service"):
        if gateway.ask("/hello", token=token).status == 200:
            return


def test_a_page_of_another_origin_gets_nothing(gateway: RealGateway, world: World) -> None:
    """Its question is a request without a token; answers that it may not read say nothing of it."""
    asked = gateway.ask("/hello", method="OPTIONS", headers=UNLISTED | QUESTION)
    # Traefik answers it all the same, and with that says nothing.
    assert (asked.status, cors(asked)) == (200 if gateway.name == "traefik" else 401, {})
    token = world.token()
    for headers in (UNLISTED, {"Origin": "null"}, {"Origin": "https://shop.example.evil.example"}):
        answer = gateway.ask("/hello", token=token, headers=headers)
        assert (answer.status, cors(answer)) == (200, {})
        assert "Origin" in answer.headers["vary"]
    # An OPTIONS that is no browser's question is a request like any other.
    refused(gateway, world, "/hello", 401, method="OPTIONS", headers=LISTED)
    passed(gateway, world, "/hello", method="OPTIONS", token=token, headers=LISTED)


FORGETFUL = [
    ("nginx", r"origin +always;", "origin;", test_a_page_of_a_listed_origin_may_ask_and_read),
    (
        "nginx",
        r"if \(\$cors_methods",
        "if ($cookie_x",
        test_a_page_of_a_listed_origin_may_ask_and_read,
    ),
    (
        "nginx",
        ' default +"";',
        " default $http_origin;",
        test_a_page_of_another_origin_gets_nothing,
    ),
    ("nginx", r" +proxy_hide_header .*\n", "", test_a_page_of_another_origin_gets_nothing),
    ("caddy", r".*respond @question.*\n", "", test_a_page_of_a_listed_origin_may_ask_and_read),
    ("caddy", r".*-Access-Control.*\n", "", test_a_page_of_another_origin_gets_nothing),
    ("envoy", r" +response_headers_to_remove.*\n", "", test_a_page_of_another_origin_gets_nothing),
    ("traefik", r": \[cors\]", ": []", test_a_page_of_a_listed_origin_may_ask_and_read),
    ("traefik", r": \[no-cors\]", ": [cors]", test_a_page_of_another_origin_gets_nothing),
    (
        "traefik",
        r" +Access-Control-Allow-Credentials.*\n",
        "",
        test_a_page_of_a_listed_origin_may_ask_and_read,
    ),
]


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "check"),
    FORGETFUL,
    ids=[f"{name}-{number}" for number, (name, *_) in enumerate(FORGETFUL)],
)
def test_a_configuration_that_forgets_a_page_is_found_out(
    world: World, project_root: Path, name: str, pattern: str, replacement: str, check: Any
) -> None:
    """Each line of the pages that protects something is missed by one of the tests above."""
    with (
        altered(world, project_root / "docs", name, pattern, replacement) as gateway,
        pytest.raises(AssertionError),
    ):
        check(gateway, world)
