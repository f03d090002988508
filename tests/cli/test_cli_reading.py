"""Commands that show something: for a person, and with `--json` for a program."""

from __future__ import annotations

import time
from typing import Any

import pytest
from harness.running_demo import Person, Run, RunningDemo
from harness.web import ask

READING = {
    ("users", "list"): {"users"},
    ("clients", "list"): {"clients"},
    ("keys", "list"): {"keys"},
    ("keys", "rotate"): {"changed", "keys"},
    ("keys", "export"): {"keys"},
    ("denylist", "stats"): {"entries", "total", "seq", "epoch", "watermark", "ready"},
    ("journal", "complete"): {"completed"},
    ("config", "check"): {
        "issuer",
        "mode",
        "clients",
        "algorithms",
        "access_lifetime",
        "deviations",
    },
    ("migrate",): {"migrated"},
}


@pytest.mark.parametrize("command", READING, ids="-".join)
def test_json_is_one_object(run: Run, command: tuple[str, ...]) -> None:
    """With `--json` standard output is one line, an object of stated names; nothing is logged."""
    done = run(*command, "--json").done()
    assert done.json.keys() == READING[command]
    assert done.out.count("\n") == 1
    assert done.err == ""


@pytest.mark.parametrize("command", READING, ids="-".join)
def test_text_is_for_a_person(run: Run, command: tuple[str, ...]) -> None:
    """Without it something is said in words, and nothing is logged."""
    done = run(*command).done()
    assert done.out.strip()
    assert done.err == ""
    assert "\x1b" not in done.out


def test_users_list(run: Run, person: Person) -> None:
    """Each account is listed with its id, its roles and its versions, never with its hash."""
    users = {user["username"]: user for user in run("users", "list", "--json").done().json["users"]}
    assert users[person.username] == {
        "username": person.username,
        "sub": person.sub,
        "enabled": True,
        "roles": [],
        "credential_version": 1,
        "sub_ver": 1,
    }
    text = run("users", "list").done().out
    (row,) = [line for line in text.splitlines() if person.username in line]
    assert row.split() == [person.username, person.sub, "yes", "-", "1", "1"]
    assert "argon2" not in text


def test_users_sessions(run: Run, demo: RunningDemo, person: Person) -> None:
    """A person's sessions are listed with device, address and times; none is said in words."""
    assert run("users", "sessions", person.username).done().out == "no live sessions\n"
    assert run("users", "sessions", person.username, "--json").done().json == {"sessions": []}
    label = "[/bold] a [red]device[/red]"
    grants = [
        demo.site.login(person.username, person.password, label=label).granted() for _ in range(2)
    ]
    sids = [grant["session"]["sid"] for grant in grants]
    listed: Any = run("users", "sessions", person.username, "--json").done().json["sessions"]
    assert {session["sid"] for session in listed} == set(sids)
    for session in listed:
        assert session["client_id"] == "demo"
        assert session["label"] == label
        assert session["address"] == "127.0.0.1"
        assert abs(session["created"] - time.time()) < 300
        assert 0 < session["idle_expires_in"] <= session["absolute_expires_in"]
    text = run("users", "sessions", person.username).done().out
    assert all(sid in text for sid in sids)
    assert text.count(label) == len(sids)
    tokens = [grant[name] for grant in grants for name in ("access_token", "refresh_token")]
    assert not [token for token in tokens if token in text]


def test_clients_list(run: Run) -> None:
    """Clients are listed with what matters of their settings, secrets left out."""
    done = run("clients", "list", "--json").done()
    clients = {client["client_id"]: client for client in done.json["clients"]}
    assert clients["demo"]["confidential"] is False
    assert clients["demo-api"]["confidential"] is True
    assert not [client for client in clients.values() if client["disabled"]]
    assert "sha256" not in done.out


def test_keys_list_and_export(run: Run, demo: RunningDemo) -> None:
    """The ring is listed whole; exported are public keys alone, as the issuer publishes them."""
    keys = run("keys", "list", "--json").done().json["keys"]
    assert {key["alg"] for key in keys} == {"ES256", "A256GCM"}
    text = run("keys", "list").done().out
    assert all(key["kid"] in text for key in keys)
    exported = run("keys", "export", "--json").done().json
    jwks = ask("GET", f"{demo.described['base_url']}/.well-known/jwks.json").json
    assert exported == jwks
    assert run("keys", "export").done().json == jwks
    members = {name for jwk in exported["keys"] for name in jwk}
    assert members == {"kid", "kty", "crv", "x", "y", "alg", "use"}


def test_denylist_stats(run: Run, demo: RunningDemo, person: Person) -> None:
    """The denylist is counted by kind, and an entry more is one more."""
    before = run("denylist", "stats", "--json").done().json
    sid = demo.site.login(person.username, person.password).granted()["session"]["sid"]
    run("revoke", "session", sid).done()
    after = run("denylist", "stats", "--json").done().json
    assert after["entries"]["session"] == before["entries"].get("session", 0) + 1
    assert after["total"] == before["total"] + 1
    assert after["seq"] > before["seq"]
    assert after["ready"] is True
    text = run("denylist", "stats").done().out
    assert f"{after['total']} entries" in text
    assert f"{after['entries']['session']} session" in text


def test_config_check(run: Run, demo: RunningDemo) -> None:
    """The settings that were read are those of the demo."""
    shown = run("config", "check", "--json").done().json
    assert shown["issuer"] == demo.described["base_url"]
    assert shown["mode"] == "development"
    assert shown["clients"] == ["demo", "demo-api"]
    text = run("config", "check").done().out
    assert text == f"settings are in order: development issuer {demo.described['base_url']}\n"


def test_migrate_may_be_repeated(run: Run, demo: RunningDemo) -> None:
    """On a database that is up to date nothing changes, also while an issuer serves from it."""
    for _ in range(2):
        assert run("migrate", "--json").done().json == {"migrated": True}
    demo.login()


def test_keys_rotate_has_nothing_to_do(run: Run) -> None:
    """A ring that is young enough is left alone."""
    before = run("keys", "list", "--json").done().json
    assert run("keys", "rotate").done().out == "nothing is due\n"
    assert run("keys", "list", "--json").done().json == before
