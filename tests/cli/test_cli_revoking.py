"""`gatepass revoke`, `clients` and `keys revoke`: refused by the API within the bound."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from harness.issuer_app import claims_of
from harness.processes import until
from harness.running_demo import SOURCES, Person, Run, RunningDemo

from tokens.compact import parse_header


def kid_of(access_token: str) -> str:
    """The key that a token was signed under."""
    return str(parse_header(access_token.partition(".")[0].encode())["kid"])


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_one_access_token_from_standard_input(
    run: Run, demo: RunningDemo, person: Person, ending: str
) -> None:
    """An access token is refused, and its session goes on; the token is not printed."""
    granted = demo.site.login(person.username, person.password).granted()
    token = granted["access_token"]
    done = run("revoke", "token", stdin=token + ending).done()
    assert done.out == "revoked the token\n"
    assert token not in done.out + done.err
    demo.refuses(token)
    refreshed = demo.site.refresh(granted["refresh_token"]).granted()
    assert demo.site.api(refreshed["access_token"]).status == 200


def test_one_access_token_as_an_argument(run: Run, demo: RunningDemo, person: Person) -> None:
    """The token may be an argument too; it is not printed, and a repetition is no error."""
    token = demo.site.login(person.username, person.password).granted()["access_token"]
    for _ in range(2):
        done = run("revoke", "token", token, "--json").done()
        assert done.json == {"revoked": "token"}
    demo.refuses(token)


def test_a_refresh_token_ends_its_session(run: Run, demo: RunningDemo, person: Person) -> None:
    """A refresh token stands for its session: refresh and API are refused."""
    granted = demo.site.login(person.username, person.password).granted()
    done = run("revoke", "token", stdin=granted["refresh_token"]).done()
    assert granted["refresh_token"] not in done.out + done.err
    demo.refuses(granted["access_token"])
    demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize(
    ("spoilt", "code"),
    [
        ("", "malformed"),
        ("no token", "malformed"),
        ("a.b.c", "malformed"),
        ("é", "malformed"),
        ("x" * 9000, "too_large"),
        ("x" * 100_000, "too_large"),
    ],
    ids=["empty", "words", "dots", "foreign", "large", "larger"],
)
def test_what_is_no_token_is_refused(run: Run, spoilt: str, code: str) -> None:
    """Anything else is exit code 1 with a reason, and is not repeated."""
    text = run("revoke", "token", stdin=spoilt).refused(1)
    assert text == f"gatepass: not a token that could still be used: {code}"


def test_a_changed_token_is_refused_unprinted(run: Run, demo: RunningDemo, person: Person) -> None:
    """A token with another signature revokes nothing, and no part of it is printed."""
    token = demo.site.login(person.username, person.password).granted()["access_token"]
    head, body, signature = token.split(".")
    text = run("revoke", "token", stdin=f"{head}.{body}.{signature[::-1]}").refused(1)
    assert not [part for part in (head, body, signature[::-1]) if part in text]
    assert demo.site.api(token).status == 200


def test_subject(run: Run, demo: RunningDemo, person: Person) -> None:
    """Every token that a person has is refused, and those of the next login are good."""
    grants = [demo.site.login(person.username, person.password).granted() for _ in range(2)]
    done = run("revoke", "subject", person.username, "--json").done()
    assert done.json == {"revoked": "subject", "username": person.username, "sub_ver": 2}
    for granted in grants:
        demo.refuses(granted["access_token"])
        demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")
    again = demo.site.login(person.username, person.password).granted()
    assert claims_of(again["access_token"])["sub_ver"] == 2
    assert demo.site.api(again["access_token"]).status == 200
    assert run("revoke", "subject", person.username).done().out == (
        f"revoked every token of {person.username}\n"
    )


@pytest.mark.parametrize("name", ["demo", "demo-api"], ids=["client", "audience"])
def test_client(own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run], name: str) -> None:
    """A client's, or an audience's, tokens are refused; a client that is disabled logs nobody in.

    Enabled again it logs people in after the watermark; what was there before stays ended.
    """
    run = run_on(own_demo)
    granted = own_demo.login()
    assert run("revoke", "client", name, "--json").done().json == {
        "revoked": "client",
        "client_id": name,
    }
    own_demo.refuses(granted["access_token"])
    if name == "demo":
        own_demo.site.refresh(granted["refresh_token"]).refused(400, "unauthorized_client")
        login = own_demo.site.login(own_demo.username, own_demo.password)
        login.refused(400, "unauthorized_client")
    disabled = {
        client["client_id"]
        for client in run("clients", "list", "--json").done().json["clients"]
        if client["disabled"]
    }
    assert disabled == {name}
    run("revoke", "client", name).done()  # a repetition is no error
    assert run("clients", "enable", name).done().out == f"enabled {name}\n"
    assert "is not disabled" in run("clients", "enable", name).refused(3)
    for _ in until(30, "a login after the watermark", pause=0.2):
        login = own_demo.site.login(own_demo.username, own_demo.password)
        if login.status != 503:
            break
    assert own_demo.site.api(login.granted()["access_token"]).status == 200
    own_demo.site.api(granted["access_token"]).refused(401, "invalid_token")
    own_demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")


@pytest.mark.parametrize("command", [("revoke", "key"), ("keys", "revoke")], ids="-".join)
def test_key(
    own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run], command: tuple[str, str]
) -> None:
    """Every token under a key is refused before its cached copy has run out, and for good.

    The key leaves the ring; the sessions go on under its successor. A repetition is no error: the
    first command may have died before it said so.
    """
    run = run_on(own_demo)
    granted = own_demo.login()
    kid = kid_of(granted["access_token"])
    done = run(*command, kid, "--json").done()
    assert done.json["kid"] == kid
    own_demo.refuses(granted["access_token"])
    assert kid not in run("keys", "list").done().out
    assert kid not in json.dumps(run("keys", "export").done().json)
    run(*command, kid).done()
    # An issuer reads the ring from time to time, and whenever it starts.
    assert own_demo.stop() == 0
    own_demo.start()
    refreshed = own_demo.site.refresh(granted["refresh_token"]).granted()
    assert kid_of(refreshed["access_token"]) != kid
    assert own_demo.site.api(refreshed["access_token"]).status == 200
    own_demo.site.api(granted["access_token"]).refused(401, "invalid_token")


def test_the_sealing_key(own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run]) -> None:
    """Where the key of refresh tokens is revoked nobody can refresh, and everybody can log in."""
    run = run_on(own_demo)
    granted = own_demo.login()
    keys = run("keys", "list", "--json").done().json["keys"]
    (kid,) = [key["kid"] for key in keys if key["alg"] == "A256GCM"]
    run("keys", "revoke", kid).done()
    assert own_demo.stop() == 0
    own_demo.start()
    own_demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")
    own_demo.site.refresh(own_demo.login()["refresh_token"]).granted()


def test_keys_rotate_early(own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run]) -> None:
    """An early rotation publishes the next key and breaks nothing: the old one still signs."""
    run = run_on(own_demo)
    before = own_demo.login()["access_token"]
    for _ in until(10, "a key of more than a second", pause=0.1):
        changed = run("keys", "rotate", "--early", "--json").done().json["changed"]
        if changed:
            break
    ((pending, state),) = changed.items()
    assert state == "pending"
    assert pending in json.dumps(run("keys", "export").done().json)
    assert own_demo.site.api(before).status == 200
    assert kid_of(own_demo.login()["access_token"]) == kid_of(before)
