"""`gatepass users` and `gatepass sessions`: what they change is seen by issuer and gateway."""

from __future__ import annotations

import secrets

import pyotp
import pytest
from harness.issuer_app import claims_of
from harness.running_demo import SOURCES, Person, Run, RunningDemo
from harness.web import ask

CHOSEN = "seven violet otters juggle 91"


def unused_name() -> str:
    return f"person-{secrets.token_hex(6)}"


def test_add_with_a_generated_password(run: Run, demo: RunningDemo) -> None:
    """The password that was made up is printed, once, and logs in with the roles given."""
    name = unused_name()
    done = run("users", "add", name, "--generate", "--role", "editor", "--role", "staff").done()
    described, _, password = done.out.strip().rpartition(", password ")
    granted = demo.site.login(name, password).granted()
    claims = claims_of(granted["access_token"])
    assert described == f"added {name} ({claims['sub']})"
    assert claims["roles"] == ["editor", "staff"]
    assert demo.site.api(granted["access_token"]).granted()["roles"] == ["editor", "staff"]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\nanother line\n"])
def test_add_with_a_password_from_standard_input(run: Run, demo: RunningDemo, ending: str) -> None:
    """The first line of standard input is the password, whatever ends it; it is not printed."""
    name = unused_name()
    done = run("users", "add", name, "--password-stdin", "--json", stdin=CHOSEN + ending).done()
    assert "password" not in done.json
    assert CHOSEN not in done.out + done.err
    demo.site.login(name, CHOSEN).granted()


def test_a_taken_name_is_refused(run: Run, person: Person) -> None:
    """A second account of a name, however it is spelt, is exit code 1."""
    text = run("users", "add", person.username.upper(), "--generate").refused(1)
    assert "there is already an account" in text


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize(
    "password",
    ["short", "password123456789", "x" * 257, "aaaaaaaaaaaaaaaaaaaaaaaa", ""],
    ids=["short", "common", "long", "pattern", "empty"],
)
def test_a_weak_password_is_refused(run: Run, person: Person, password: str) -> None:
    """What the rules refuse is exit code 1 and names the rule, not the password."""
    for arguments in (("add", unused_name()), ("passwd", person.username)):
        text = run("users", *arguments, "--password-stdin", stdin=password + "\n").refused(1)
        assert "password" in text
        assert not password or password not in text


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 321], ids=repr)
def test_an_impossible_name_is_wrong_usage(run: Run, name: str) -> None:
    """A name that nobody could log in with is exit code 2."""
    assert "a name has" in run("users", "add", name, "--generate").failed(2)


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize("role", ["", "a\nb", "x" * 65], ids=repr)
def test_an_impossible_role_is_wrong_usage(run: Run, person: Person, role: str) -> None:
    """A role that verifiers would not take from a token is exit code 2."""
    assert "a role has" in run("users", "roles", person.username, role).failed(2)
    assert "a role has" in run("users", "add", unused_name(), "--role", role).failed(2)


def test_without_terminal_a_password_must_come_from_somewhere(run: Run) -> None:
    """Where nobody can be asked, the two options are named."""
    text = run("users", "add", unused_name(), stdin=CHOSEN).failed(2)
    assert "--password-stdin" in text
    assert CHOSEN not in text


def test_disable_and_enable(run: Run, demo: RunningDemo, person: Person) -> None:
    """Disabling ends login, refresh and API; enabling allows new logins only."""
    granted = demo.site.login(person.username, person.password).granted()
    assert demo.site.api(granted["access_token"]).status == 200
    assert run("users", "disable", person.username, "--json").done().json == {
        "username": person.username,
        "enabled": False,
    }
    demo.refuses(granted["access_token"])
    demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")
    demo.site.login(person.username, person.password).refused(400, "invalid_grant")
    run("users", "disable", person.username).done()  # a repetition is no error
    text = run("users", "passwd", person.username, "--generate").refused(1)
    assert "enable it first" in text
    assert run("users", "enable", person.username).done().out == f"enabled {person.username}\n"
    again = demo.site.login(person.username, person.password).granted()
    assert demo.site.api(again["access_token"]).status == 200
    demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")
    demo.site.api(granted["access_token"]).refused(401, "invalid_token")


def test_passwd(run: Run, demo: RunningDemo, person: Person) -> None:
    """A new password ends every session; the old password is worth nothing."""
    granted = demo.site.login(person.username, person.password).granted()
    done = run("users", "passwd", person.username, "--password-stdin", stdin=CHOSEN + "\n").done()
    assert CHOSEN not in done.out + done.err
    demo.refuses(granted["access_token"])
    demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")
    demo.site.login(person.username, person.password).refused(400, "invalid_grant")
    again = demo.site.login(person.username, CHOSEN).granted()
    assert demo.site.api(again["access_token"]).status == 200
    made = run("users", "passwd", person.username, "--generate", "--json").done().json["password"]
    demo.refuses(again["access_token"])
    demo.site.login(person.username, made).granted()


def test_roles(run: Run, demo: RunningDemo, person: Person) -> None:
    """A role that is gained comes with the next refresh; one that is lost is lost at once."""
    granted = demo.site.login(person.username, person.password).granted()
    given = run("users", "roles", person.username, "editor", "staff", "--json").done().json
    assert given == {"username": person.username, "roles": ["editor", "staff"]}
    assert demo.site.api(granted["access_token"]).status == 200
    refreshed = demo.site.refresh(granted["refresh_token"]).granted()
    assert demo.site.api(refreshed["access_token"]).granted()["roles"] == ["editor", "staff"]
    assert run("users", "roles", person.username, "staff").done().out == (
        f"{person.username} has roles: staff\n"
    )
    demo.refuses(refreshed["access_token"])
    # Nobody is logged out by it.
    kept = demo.site.refresh(refreshed["refresh_token"]).granted()
    assert demo.site.api(kept["access_token"]).granted()["roles"] == ["staff"]
    assert "has roles: none" in run("users", "roles", person.username, "--none").done().out


@pytest.mark.parametrize("told", [True, False], ids=["with-user", "without-user"])
@pytest.mark.parametrize("command", [("sessions", "end"), ("revoke", "session")], ids="-".join)
def test_end_one_session(
    run: Run, demo: RunningDemo, person: Person, command: tuple[str, str], told: bool
) -> None:
    """One session ends at once, is no longer listed, and the person's other one goes on."""
    ended, kept = (demo.site.login(person.username, person.password).granted() for _ in range(2))
    sid = ended["session"]["sid"]
    whose = ("--user", person.username) if told else ()
    assert run(*command, sid, *whose).done().out == f"ended session {sid}\n"
    demo.refuses(ended["access_token"])
    demo.site.refresh(ended["refresh_token"]).refused(400, "invalid_grant")
    assert demo.site.api(kept["access_token"]).status == 200
    demo.site.refresh(kept["refresh_token"]).granted()
    listed = run("users", "sessions", person.username, "--json").done().json["sessions"]
    assert [session["sid"] for session in listed] == [kept["session"]["sid"]]
    # A repetition is no error.
    assert run(*command, sid, *whose, "--json").done().json["sid"] == sid


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize("sid", ["abc", "A" * 22 + "=", "A" * 21 + "/", "A" * 21 + "B"])
@pytest.mark.parametrize("command", [("sessions", "end"), ("revoke", "session")], ids="-".join)
def test_a_slip_in_a_session_id_is_wrong_usage(
    run: Run, command: tuple[str, str], sid: str
) -> None:
    """What cannot be the id of a session is exit code 2: nothing ended, nothing said to be."""
    assert "a session id has 22 characters" in run(*command, sid).failed(2)


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize("sid", ["-" + "h" * 20 + "A", "--json" + "A" * 16], ids=repr)
@pytest.mark.parametrize("command", [("sessions", "end"), ("revoke", "session")], ids="-".join)
def test_an_id_may_begin_like_an_option(
    run: Run, person: Person, command: tuple[str, str], sid: str
) -> None:
    """One id in 64 begins with a dash: it is the id that it is, wherever it stands."""
    assert run(*command, sid).done().out == f"ended session {sid}\n"
    for arguments in ((sid, "--json"), ("--json", sid), ("--json", "--", sid)):
        assert run(*command, *arguments).done().json["sid"] == sid
    assert run(*command, "--user", person.username, sid, "--json").done().json["sid"] == sid


def test_end_every_session(run: Run, demo: RunningDemo, person: Person) -> None:
    """`sessions end --user` ends all of a person's sessions and nobody else's."""
    grants = [demo.site.login(person.username, person.password).granted() for _ in range(2)]
    other = demo.login()
    done = run("sessions", "end", "--user", person.username, "--json").done()
    assert done.json == {"username": person.username, "ended": "all"}
    for granted in grants:
        demo.refuses(granted["access_token"])
        demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")
    assert run("users", "sessions", person.username).done().out == "no live sessions\n"
    assert demo.site.api(other["access_token"]).status == 200
    # Their password is as good as before.
    again = demo.site.login(person.username, person.password).granted()
    assert demo.site.api(again["access_token"]).status == 200


def test_factors_are_listed_and_taken_away(run: Run, demo: RunningDemo, person: Person) -> None:
    """`users factors` tells what a person has; `reset` leaves the password, and no session."""
    listed = run("users", "factors", person.username).done().out
    assert listed == "no factors: the password is all that is asked for\n"
    site = demo.site
    grant = site.login(person.username, person.password).granted()
    token, url = grant["access_token"], f"{site.base_url}/factors"
    begun = ask("POST", f"{url}/totp", json_body={"label": "my phone"}, token=token).json
    given = {"id": begun["id"], "otp": pyotp.TOTP(begun["secret"]).now(), "transport": "body"}
    done = ask("POST", f"{url}/totp/confirm", json_body=given, token=token).json
    told = run("users", "factors", person.username, "--json").done().json
    assert [each["label"] for each in told["factors"]] == ["my phone"]
    assert begun["secret"] not in run("users", "factors", person.username).done().out
    assert site.login(person.username, person.password).status == 401
    reset = run("users", "factors", person.username, "reset").done().out
    assert reset == f"removed 1 factor(s) of {person.username} and ended every session\n"
    assert ask("GET", url, token=done["access_token"]).status == 401
    site.login(person.username, person.password).granted()
