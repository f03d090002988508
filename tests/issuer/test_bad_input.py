"""Bad input to every endpoint: a 4xx in OAuth form, never a 5xx, and nothing has changed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from harness import stacks
from harness.bad_requests import ENDPOINTS, FORM, JSON, Endpoint, World, cases
from harness.issuer_app import NEW_PASSWORD, PASSWORD, SECRET, USERNAME, IssuerApp, basic, granted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from issuer.http.body import MAX_BODY

BODIES = [endpoint for endpoint in ENDPOINTS if endpoint.kind]


def in_oauth_form(body: object) -> bool:
    """Whether a body is an error and its description, and nothing else."""
    return (
        isinstance(body, dict)
        and body.keys() == {"error", "error_description"}
        and all(isinstance(value, str) and value for value in body.values())
    )


def wrong_with(answer: TestResponse, *, head: bool) -> str:
    """What is wrong with a refusal; empty for one in order."""
    body = answer.get_json(silent=True)
    found = ""
    if not 400 <= answer.status_code < 500:
        found = "not refused"
    elif head:
        found = ""
    elif not in_oauth_form(body):
        found = "not in OAuth form"
    elif any(secret in answer.text for secret in (PASSWORD, NEW_PASSWORD, SECRET)):
        found = "quotes a secret"
    elif answer.headers["Cache-Control"] != "no-store":
        found = "may be stored"
    return f"{found}: {answer.status_code} {answer.text[:120]}" if found else ""


@stacks.on_redis
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_bad_input_is_refused_and_changes_nothing(issuer: IssuerApp, endpoint: Endpoint) -> None:
    """Each of some hundred malformed requests, to each endpoint, on SQL and Redis."""
    world = endpoint.world(issuer)
    path = endpoint.path_in(world)
    before = issuer.everything()
    found = {}
    asked = 0
    for why, options in cases(endpoint, world):
        asked += 1
        try:
            answer = issuer.ask(path=path, **options)
        except AssertionError as error:
            found[why] = str(error).splitlines()[0]
            continue
        if wrong := wrong_with(answer, head=options["method"] == "HEAD"):
            found[why] = wrong
    assert found == {}
    assert asked >= (60 if endpoint.kind else 5)
    assert issuer.everything() == before
    assert issuer.services.resets._requests.empty()
    assert_still_usable(issuer, world, endpoint, path)


def assert_still_usable(issuer: IssuerApp, world: World, endpoint: Endpoint, path: str) -> None:
    """The same request without a fault succeeds: it was the fault that was refused."""
    options: dict[str, Any] = {
        "headers": endpoint.headers(world),
        "query_string": endpoint.query(world),
    }
    if endpoint.kind:
        body = endpoint.body(world)
        options["json" if endpoint.kind == JSON else "data"] = body
    status = issuer.ask(endpoint.method, path, **options).status_code
    assert status == (202 if path == "/password/forgot" else 200)


@stacks.anywhere
@pytest.mark.parametrize("endpoint", BODIES, ids=lambda endpoint: endpoint.name)
def test_the_limit_of_a_body_is_exact(issuer: IssuerApp, endpoint: Endpoint) -> None:
    """A body of the longest length is read, and one byte more is 413."""
    world = endpoint.world(issuer)
    if endpoint.kind == JSON:
        body, filler = json.dumps(endpoint.body(world)).encode(), b" "
    else:
        body, filler = f"token={world.access}&x=".encode(), b"x"
    for surplus, expected in ((1, {413}), (0, {200, 202})):
        data = body + filler * (MAX_BODY + surplus - len(body))
        answer = issuer.ask(
            endpoint.method,
            endpoint.path_in(world),
            data=data,
            content_type=endpoint.kind,
            headers=endpoint.headers(world),
        )
        assert answer.status_code in expected, answer.text


@stacks.anywhere
@pytest.mark.parametrize("host", ["a b", "[::1", "\xe9vil", "x" * 5000, "a\0b", "host:port"])
def test_a_broken_host_is_no_error_of_ours(issuer: IssuerApp, host: str) -> None:
    """Whatever the `Host` header says, nothing breaks and nothing of it is quoted."""
    for method, path in (("GET", "/healthz"), ("POST", "/login"), ("GET", "/nothing")):
        answer = issuer.ask(method, path, environ_overrides={"HTTP_HOST": host})
        assert answer.status_code < 500
        assert host not in answer.text


@stacks.anywhere
@pytest.mark.parametrize(
    "path", ["//login", "/login//", "/%00", "/\xff", "/..%2f", "/login%00", "/a" * 3000]
)
def test_a_strange_path_is_not_found(issuer: IssuerApp, path: str) -> None:
    """No path leads to a redirect, a page, or an error of ours."""
    answer = issuer.ask("POST", "/", environ_overrides={"PATH_INFO": path})
    wrong = wrong_with(answer, head=False)
    assert answer.status_code in {404, 415}, wrong
    assert wrong == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
relaxed = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("endpoint", BODIES, ids=lambda endpoint: endpoint.name)
def test_no_body_breaks_an_endpoint(issuer: IssuerApp, endpoint: Endpoint) -> None:
    """Any bytes, and any value in any field, get an answer that is below 500 and as documented."""
    world = endpoint.world(issuer)
    path = endpoint.path_in(world)
    names = st.sampled_from([*endpoint.fields, "token", "client_id", "x"])

    @relaxed
    @given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
    def any_bytes(data: bytes) -> None:
        options = {"content_type": endpoint.kind, "headers": endpoint.headers(world)}
        answer = issuer.ask(endpoint.method, path, data=data, **options)
        assert answer.status_code < 500

    @relaxed
    @given(st.dictionaries(names, json_values, min_size=1, max_size=3))
    def any_values(changes: dict[str, Any]) -> None:
        body = {**endpoint.body(world), **changes}
        options: dict[str, Any] = {"headers": endpoint.headers(world)}
        if endpoint.kind == JSON:
            options["data"] = json.dumps(body)
        else:
            pairs = {name: str(value) for name, value in body.items()}
            options["data"] = "&".join(f"{name}={value}" for name, value in pairs.items()).encode(
                "utf-8", "surrogatepass"
            )
        options["content_type"] = endpoint.kind
        assert issuer.ask(endpoint.method, path, **options).status_code < 500

    any_bytes()
    any_values()


def test_names_and_passwords_of_any_script_are_taken(issuer: IssuerApp) -> None:
    """What is unusual is not bad: each of these reaches the database and comes to an answer."""
    for username in ("Ж" * 320, "🦔" * 320, "\ufdfa" * 320, "ﬀ\u0345" * 100, "' OR 1=1 --", "%_%"):
        answer = issuer.login(username, "wrong")
        assert answer.get_json()["error"] == "invalid_grant"
    name = "Ünïcødé 🦔 مستخدم"
    password = "пароль, который никто не знает"
    issuer.services.accounts.add(name, password)
    token = issuer.grant(username=name, password=password, label="Küche 🦔")["access_token"]
    (session,) = granted(issuer.sessions(token))["sessions"]
    assert session["label"] == "Küche 🦔"
    assert issuer.login(USERNAME, "\0").get_json()["error"] == "invalid_grant"


@stacks.anywhere
def test_harmless_requests_stay_harmless(issuer: IssuerApp) -> None:
    """What the RFCs call no error is none, and still changes nothing."""
    world = World.of(issuer)
    before = issuer.everything()
    for token in ("x", "\0", "a\0b", "é", world.access[:-2], "x" * 8192):
        assert granted(issuer.revoke(token)) == {}
        assert granted(issuer.introspect(token)) == {"active": False}
        assert granted(issuer.logout(token)) == {"logged_out": False}
        form = {"token": token, "token_type_hint": "\0"}
        answer = issuer.ask("POST", "/introspect", data=form, headers=basic("rs"))
        assert granted(answer) == {"active": False}
    assert issuer.everything() == before


def test_the_table_names_every_route(issuer: IssuerApp) -> None:
    """No endpoint is left out of the table of bad requests."""
    served = {
        (method, re.sub(r"<(?:[^>]+:)?(sid|factor_id)>", r"{\1}", rule.rule))
        for rule in issuer.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    # It has no parameter but its own name, and is not there without a client that asks for it.
    served.remove(("GET", "/status/<list_id>"))
    assert {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS} == served
    assert {endpoint.kind for endpoint in ENDPOINTS} == {JSON, FORM, None}
