"""How commands fail: an exit code that a script can go by, one line, never a traceback."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.gatepass_command import Gatepass, run_program
from harness.issuer_app import issuer_settings, migrated_sqlite
from harness.processes import short_directory
from harness.redis_server import RedisServer
from harness.running_demo import SOURCES, Person, Run, RunningDemo, runner, settings_environment

from issuer.services import build_services

SID = "AAAAAAAAAAAAAAAAAAAAAA"
CHOSEN = "seven violet otters juggle 91"


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize(
    "command",
    [
        ("users", "disable", "nobody"),
        ("users", "enable", "nobody"),
        ("users", "passwd", "nobody", "--generate"),
        ("users", "roles", "nobody", "editor"),
        ("users", "sessions", "nobody"),
        ("sessions", "end", "--user", "nobody"),
        ("sessions", "end", SID, "--user", "nobody"),
        ("revoke", "session", SID, "--user", "nobody"),
        ("revoke", "subject", "nobody"),
        ("revoke", "key", "nothing"),
        ("revoke", "client", "nothing"),
        ("keys", "revoke", "nothing"),
        ("clients", "enable", "nothing"),
        ("clients", "enable", "demo"),
    ],
    ids=" ".join,
)
def test_what_does_not_exist(run: Run, command: tuple[str, ...]) -> None:
    """Naming what does not exist is exit code 3 and one line that repeats the name."""
    line = run(*command).refused(3)
    assert line == run(*command, "--json").refused(3)
    assert "nobody" in line or "nothing" in line or "demo" in line


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize("kid", ["-" + "h" * 42, "--" + "k" * 20], ids=["signing", "sealing"])
@pytest.mark.parametrize("command", [("revoke", "key"), ("keys", "revoke")], ids="-".join)
def test_key_id_may_begin_like_an_option(run: Run, command: tuple[str, str], kid: str) -> None:
    """A key's id that begins with a dash is looked for, and here not found."""
    assert kid in run(*command, kid).refused(3)


def test_sessions_end_needs_to_know_which(run: Run) -> None:
    """Without an id and without a person nothing ends."""
    assert "give a SID, --user, or both" in run("sessions", "end").failed(2)


def test_state_directory_without_a_demo(gatepass: Gatepass, tmp_path: Path) -> None:
    """A directory that holds no demo is a bad setting, and is named."""
    line = gatepass("users", "list", "--state-dir", str(tmp_path)).refused(2)
    assert f"--state-dir: {tmp_path} holds no demo" in line
    (tmp_path / "settings.json").write_text("{")
    assert "cannot be read" in gatepass("users", "list", "--state-dir", str(tmp_path)).refused(2)


def test_missing_settings_have_a_line_each(gatepass: Gatepass) -> None:
    """Where there are no settings each one that is needed is named, by its variable."""
    text = gatepass("config", "check").failed(2)
    lines = text.splitlines()
    for name in ("ISSUER", "DATABASE_URL", "REDIS_URL", "CLIENTS"):
        (line,) = [line for line in lines if line.startswith(f"gatepass: GATEPASS_{name} ")]
        assert line.endswith("is missing")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEPASS_CLIENTS", "{not json"),
        ("GATEPASS_CLIENTS", "[]"),
        ("GATEPASS_THREADS", "many"),
        ("GATEPASS_ALGORITHMS", '["none"]'),
        ("GATEPASS_REDIS_URL", "redis://:hidden-password@redis:port"),
        ("GATEPASS_DATABASE_URL", "postgresql+psycopg://u:hidden-password@db:port/x"),
        ("GATEPASS_KEYS_SECRET", ""),
    ],
)
@pytest.mark.parametrize("command", [("config", "check"), ("users", "list")], ids="-".join)
def test_bad_setting_is_named(
    gatepass: Gatepass, demo: RunningDemo, command: tuple[str, str], variable: str, value: str
) -> None:
    """A bad variable is exit code 2 and one line that names it and not what it holds."""
    env = {**settings_environment(demo.state_dir), variable: value}
    if variable == "GATEPASS_KEYS_SECRET":
        env["GATEPASS_MODE"] = "production"
    line = gatepass(*command, env=env).refused(2)
    assert line.startswith(f"gatepass: {variable} (")
    assert "hidden" not in line


def test_config_file_that_is_not_there_or_broken(gatepass: Gatepass, tmp_path: Path) -> None:
    """A settings file that is named must be there and must be TOML."""
    missing = str(tmp_path / "missing.toml")
    assert missing in gatepass("config", "check", env={"GATEPASS_CONFIG": missing}).refused(2)
    broken = tmp_path / "broken.toml"
    broken.write_text("= [")
    assert "broken.toml" in gatepass("config", "check", env={"GATEPASS_CONFIG": str(broken)}).err


@pytest.fixture(scope="module")
def stopped() -> Iterator[tuple[Path, str]]:
    """The state of a demo that has ended, its Redis with it, and a token that it issued."""
    directory = short_directory("gp-cli-demo-")
    with RunningDemo(directory / "state") as demo:
        token = demo.login()["refresh_token"]
    yield demo.state_dir, token
    shutil.rmtree(directory)


NEEDS_REDIS = [
    ("users", "disable", "demo"),
    ("users", "passwd", "demo", "--generate"),
    ("users", "sessions", "demo"),
    ("sessions", "end", SID),
    ("sessions", "end", SID, "--user", "demo"),
    ("sessions", "end", "--user", "demo"),
    ("revoke", "session", SID),
    ("revoke", "subject", "demo"),
    ("revoke", "client", "demo"),
    ("denylist", "stats"),
    ("journal", "complete"),
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("command", NEEDS_REDIS, ids=" ".join)
def test_redis_that_does_not_answer(
    gatepass: Gatepass, stopped: tuple[Path, str], source: str, command: tuple[str, ...]
) -> None:
    """Where Redis is down a command that needs it is exit code 4 and prints nothing of its own."""
    run = runner(gatepass, stopped[0], source)
    if command[:2] == ("users", "passwd") or command == ("journal", "complete"):
        run("users", "enable", "demo").done()
        run("users", "disable", "demo").refused(4)  # something that is left to be pushed
        run("users", "enable", "demo").done()
    assert "Redis" in run(*command, "--json").refused(4)


@pytest.mark.parametrize("source", SOURCES)
def test_redis_is_down_and_a_token_waits(
    gatepass: Gatepass, stopped: tuple[Path, str], source: str
) -> None:
    """`revoke token` with Redis down is exit code 4, and the token is not printed."""
    state_dir, token = stopped
    line = runner(gatepass, state_dir, source)("revoke", "token", stdin=token).refused(4)
    assert token not in line


@pytest.mark.parametrize("source", SOURCES)
def test_what_needs_no_redis_works_without(
    gatepass: Gatepass, stopped: tuple[Path, str], source: str
) -> None:
    """Accounts, clients and keys are in SQL and files: what only reads or adds goes on."""
    run = runner(gatepass, stopped[0], source)
    run("users", "add", secrets.token_hex(8), "--generate").done()
    for command in ("users list", "clients list", "keys list", "keys export", "config check"):
        run(*command.split()).done()


def test_database_that_does_not_answer(gatepass: Gatepass, demo: RunningDemo) -> None:
    """A database that is not there is exit code 4 for every command that needs it."""
    env = settings_environment(demo.state_dir)
    env["GATEPASS_DATABASE_URL"] = "postgresql+psycopg://gatepass:hidden@127.0.0.1:1/gatepass"
    for command in ("users list", "migrate", f"revoke session {SID}", "journal complete"):
        line = gatepass(*command.split(), env=env).refused(4)
        assert "the database does not answer" in line
        assert "hidden" not in line


def test_database_without_schema(gatepass: Gatepass, demo: RunningDemo, tmp_path: Path) -> None:
    """On an empty database the mend is named; `migrate` does it, and the command works."""
    env = settings_environment(demo.state_dir)
    env["GATEPASS_DATABASE_URL"] = f"sqlite:///{tmp_path / 'empty.db'}"
    assert "run `gatepass migrate`" in gatepass("users", "list", env=env).refused(2)
    assert gatepass("migrate", env=env).done().out == "the schema is up to date\n"
    assert gatepass("users", "list", env=env).done().out == "no accounts\n"


def test_keys_that_others_can_read(gatepass: Gatepass, demo: RunningDemo, tmp_path: Path) -> None:
    """A key directory with loose permissions is exit code 1, and the mend is named."""
    env = settings_environment(demo.state_dir)
    env["GATEPASS_KEYS_DIR"] = str(tmp_path / "keys")
    shutil.copytree(demo.state_dir / "keys", tmp_path / "keys")
    (tmp_path / "keys").chmod(0o755)
    for command in (("keys", "list"), ("keys", "export"), ("keys", "rotate"), ("users", "list")):
        assert "chmod 0700" in gatepass(*command, env=env).refused(1)


def test_keys_under_another_passphrase(gatepass: Gatepass, demo: RunningDemo) -> None:
    """Keys that do not open are exit code 1, and the passphrase is not told."""
    env = {**settings_environment(demo.state_dir), "GATEPASS_KEYS_SECRET": "a hidden passphrase"}
    line = gatepass("keys", "list", env=env).refused(1)
    assert "hidden" not in line


def test_journal_completes_what_was_cut_off(
    gatepass: Gatepass, private_redis: RedisServer, tmp_path: Path
) -> None:
    """What SQL has and Redis missed is pushed once Redis is back, and counted."""
    database = f"sqlite:///{migrated_sqlite(tmp_path / 'issuer.db')}"
    settings = issuer_settings(database, private_redis.unix_url, tmp_path)
    services = build_services(settings)
    services.pulse.beat()  # an issuer has been here
    services.stop()
    (tmp_path / "settings.json").write_text(
        json.dumps(
            {
                "issuer": settings.issuer,
                "mode": "development",
                "database_url": database,
                "redis_url": private_redis.unix_url,
                "keys_dir": str(tmp_path / "keys"),
                "clients": {"demo": {"audience": "api"}},
                "workers": 1,
            }
        )
    )
    run = runner(gatepass, tmp_path, "state-dir")
    run("users", "add", "alice", "--generate").done()
    assert run("journal", "complete", "--json").done().json == {"completed": 0}
    private_redis.stop()
    for command in (("users", "disable", "alice"), ("sessions", "end", SID)):
        assert "stands in the database" in run(*command).refused(4)
    assert "stands" not in run("denylist", "stats").refused(4)
    private_redis.start()
    assert run("denylist", "stats", "--json").done().json["total"] == 0
    assert run("journal", "complete", "--json").done().json == {"completed": 2}
    assert run("denylist", "stats", "--json").done().json["entries"] == {"session": 1, "subject": 1}
    assert run("journal", "complete").done().out == "completed 0 revocations\n"


@pytest.mark.parametrize("command", [("users", "add", "x"), ("users", "passwd", "demo")])
def test_password_that_is_no_text(
    gatepass: Gatepass, demo: RunningDemo, command: tuple[str, ...]
) -> None:
    """Bytes that are not UTF-8 on standard input are wrong usage, in any locale."""
    for locale in ("C", "C.UTF-8"):
        done = run_program(
            *command,
            "--password-stdin",
            "--state-dir",
            str(demo.state_dir),
            directory=gatepass.directory,
            stdin=b"a \xff\xfe hidden password of some length\n",
            env={"LC_ALL": locale},
        )
        assert "standard input is not UTF-8" in done.failed(2)
        assert "hidden" not in done.err


def test_token_that_is_no_text(gatepass: Gatepass, demo: RunningDemo) -> None:
    """The same for a token."""
    done = run_program(
        "revoke",
        "token",
        "--state-dir",
        str(demo.state_dir),
        directory=gatepass.directory,
        stdin=b"eyJ\xff hidden",
    )
    assert "standard input is not UTF-8" in done.failed(2)
    assert "hidden" not in done.err


def test_secrets_of_a_failing_command_stay_unsaid(run: Run, person: Person) -> None:
    """A password on standard input of a command that fails is in neither stream."""
    for arguments, code in ((("add", person.username), 1), (("passwd", "nobody"), 3)):
        done = run("users", *arguments, "--password-stdin", stdin=CHOSEN + "\n")
        assert CHOSEN not in done.refused(code)
