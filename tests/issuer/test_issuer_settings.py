"""Settings: where they come from, and one clear line for each that is missing or wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from issuer.settings import Mode, Settings, SettingsError, load_settings, read_settings

SECRET = "hunter2-hunter2-hunter2"
DIGEST = "0" * 64
CLIENTS = {"demo": {"audience": "api"}}
GOOD: dict[str, Any] = {
    "issuer": "https://login.example",
    "database_url": "postgresql+psycopg://gatepass@db/gatepass",
    "redis_url": "rediss://redis:6379/0",
    "keys_dir": "/var/lib/gatepass/keys",
    "keys_secret": SECRET,
    "clients": CLIENTS,
    "behind_tls_proxy": True,
}
DEVELOPMENT = {**GOOD, "mode": "development"}


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory, and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("GATEPASS"):
            monkeypatch.delenv(name)


def refusal(given: dict[str, Any]) -> list[str]:
    """The lines that say what is wrong with settings."""
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    return str(caught.value).splitlines()


def without(*names: str) -> dict[str, Any]:
    """Good settings less some."""
    return {name: value for name, value in GOOD.items() if name not in names}


def toml(path: Path, given: dict[str, Any]) -> None:
    """Write settings as TOML; JSON's scalars, lists and strings are TOML's."""
    tables = {name: value for name, value in given.items() if isinstance(value, dict)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items() if name not in tables]
    for name, table in tables.items():
        for key, inner in table.items():
            lines.append(f"[{name}.{key}]")
            lines += [f"{field} = {json.dumps(value)}" for field, value in inner.items()]
    path.write_text("\n".join(lines))


# Where settings come from


def test_good_settings_are_taken() -> None:
    """A production issuer's settings, with their documented defaults."""
    settings = load_settings(**GOOD)
    assert settings.mode is Mode.PRODUCTION
    assert settings.denylist == settings.redis_url
    client = settings.clients["demo"]
    assert (client.access_lifetime, client.idle, client.absolute) == (300, 1800, 43_200)
    assert (settings.reuse_interval, settings.retry_window) == (10.0, None)
    assert settings.password_min_length == 15
    assert (settings.longest_access, settings.longest_session) == (300, 43_200)


def test_the_environment_goes_before_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overrides, environment, `.env`, TOML: the first that names a setting wins."""
    toml(tmp_path / "gatepass.toml", {**GOOD, "port": 1001, "host": "toml"})
    assert (load_settings().port, load_settings().host) == (1001, "toml")
    (tmp_path / ".env").write_text("GATEPASS_PORT=1002\nGATEPASS_WORKERS=7\n")
    assert (load_settings().port, load_settings().workers) == (1002, 7)
    monkeypatch.setenv("GATEPASS_PORT", "1003")
    settings = load_settings()
    assert (settings.port, settings.workers, settings.host) == (1003, 7, "toml")
    assert load_settings(port=1004).port == 1004


def test_every_setting_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested settings too, part by part or as JSON."""
    for name, value in without("clients").items():
        monkeypatch.setenv(f"GATEPASS_{name.upper()}", str(value))
    monkeypatch.setenv("GATEPASS_CLIENTS__DEMO__AUDIENCE", "api")
    monkeypatch.setenv("GATEPASS_CLIENTS__DEMO__SCOPES", '["read", "write"]')
    monkeypatch.setenv("GATEPASS_CLIENTS__DEMO__IDLE", "0")
    monkeypatch.setenv("GATEPASS_HASHING__MEMORY_COST", "65536")
    monkeypatch.setenv("GATEPASS_ALGORITHMS", '["EdDSA"]')
    settings = load_settings()
    assert settings.clients["demo"].scopes == ("read", "write")
    assert settings.clients["demo"].idle == 0
    assert settings.hashing.memory_cost == 65_536
    assert settings.algorithms == ("EdDSA",)
    monkeypatch.setenv("GATEPASS_CLIENTS", '{"other": {"audience": "other-api"}}')
    assert set(load_settings().clients) == {"demo", "other"}


def test_another_file_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`GATEPASS_CONFIG` names the TOML file; one that is not there is an error."""
    toml(tmp_path / "elsewhere.toml", GOOD)
    monkeypatch.setenv("GATEPASS_CONFIG", str(tmp_path / "elsewhere.toml"))
    assert load_settings().issuer == GOOD["issuer"]
    monkeypatch.setenv("GATEPASS_CONFIG", "nowhere.toml")
    assert refusal({}) == ["GATEPASS_CONFIG: there is no file nowhere.toml"]


def test_the_environment_file_may_hold_what_is_not_ours(tmp_path: Path) -> None:
    """Other programs' variables in `.env` are theirs."""
    (tmp_path / ".env").write_text(f"POSTGRES_PASSWORD={SECRET}\nPORT=x\nGATEPASS_PORT=1002\n")
    assert load_settings(**GOOD).port == 1002


@pytest.mark.parametrize("name", ["gatepass.toml", ".env"])
@pytest.mark.parametrize("content", [b"\xff\xfe", b"GATEPASS_ISSUER='\xff'"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    """A file that is not UTF-8 is one line that says which."""
    (tmp_path / name).write_bytes(content)
    (line,) = refusal(GOOD)
    assert line.startswith(f"{name}: cannot be read")


@pytest.mark.parametrize("content", ["issuer = ", f"issuer = {SECRET}", f"= '{SECRET}'", "[a"])
def test_broken_toml_is_named_without_its_text(tmp_path: Path, content: str) -> None:
    """A syntax error says where it is and quotes nothing."""
    (tmp_path / "gatepass.toml").write_text(content)
    (line,) = refusal(GOOD)
    assert line.startswith("gatepass.toml: cannot be read")
    assert SECRET not in line


def test_one_file_can_be_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`read_settings` reads a JSON file and looks at nothing else."""
    monkeypatch.setenv("GATEPASS_PORT", "1003")
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(GOOD))
    assert read_settings(path).port == 8000
    path.write_text(json.dumps({**GOOD, "port": 0}))
    with pytest.raises(SettingsError, match=r"\AGATEPASS_PORT \(port\): "):
        read_settings(path)
    for broken in ("{", "[]", '{"port": 1', "\udcff"):
        path.write_text(broken, errors="surrogateescape")
        with pytest.raises(SettingsError, match="cannot be read"):
            read_settings(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "nowhere.json")


# What is missing or wrong


@pytest.mark.parametrize("name", ["issuer", "database_url", "redis_url", "clients"])
def test_a_missing_setting_is_one_line(name: str) -> None:
    """It names the variable and the setting."""
    assert refusal(without(name)) == [f"GATEPASS_{name.upper()} ({name}): is missing"]


def test_every_missing_setting_has_its_line() -> None:
    """All at once, so that nobody mends them one by one."""
    assert len(refusal({})) == 4


def test_a_directory_of_keys_is_needed_unless_they_are_in_the_database() -> None:
    """`keys_dir` is missing only where `key_store` is the directory."""
    assert refusal(without("keys_dir")) == ["GATEPASS_KEYS_DIR (keys_dir): is missing"]
    assert load_settings(**without("keys_dir"), key_store="database").keys_dir is None


CLIENT_CASES: list[tuple[dict[str, Any], str]] = [
    ({"audience": ""}, "clients.demo.audience"),
    ({}, "clients.demo.audience"),
    ({"audience": "api", "access_lifetime": 0}, "clients.demo.access_lifetime"),
    ({"audience": "api", "access_lifetime": 3601}, "clients.demo.access_lifetime"),
    ({"audience": "api", "idle": -1}, "clients.demo.idle"),
    ({"audience": "api", "absolute": 0}, "clients.demo.absolute"),
    ({"audience": "api", "absolute": 30 * 86_400 + 1}, "clients.demo.absolute"),
    ({"audience": "api", "scopes": ["a b"]}, "clients.demo"),
    ({"audience": "api", "scopes": ['"']}, "clients.demo"),
    ({"audience": "api", "scopes": "read"}, "clients.demo.scopes"),
    ({"audience": "api", "secret_sha256": SECRET}, "clients.demo"),
    ({"audience": "api", "secret_sha256": "A" * 64}, "clients.demo"),
    ({"audience": "api", "introspect": True}, "clients.demo"),
    ({"audience": "api", "lifetime": 5}, "clients.demo.lifetime"),
]

CASES: list[tuple[dict[str, Any], str]] = [
    *[({"issuer": value}, "issuer") for value in (
        "", "login.example", "ftp://login.example", "https://", f"https://u:{SECRET}@login.example",
        "https://login.example/path", "https://login.example?x=1", "https://login.example#x",
        "https://login.example:99999", "https://login.example:x", "https://[::1",
        "https://Login.example", "https://login.example:443", "HTTPS://login.example",
        "https://bücher.example", 5, None,
    )],
    *[({"allowed_origins": value}, f"allowed_origins{rest}") for value, rest in (
        ("https://app.example", ""), (["app.example"], ".0"), (["https://app.example/x"], ".0"),
        (["*"], ".0"), (["null"], ".0"),
    )],
    *[({"database_url": value}, "database_url") for value in (
        "", "mysql://h/x", f"postgresql://u:{SECRET}@h/x", f"postgresql+psycopg://u:{SECRET}@h:x/y",
        "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", 5,
    )],
    *[({"redis_url": value}, "redis_url") for value in (
        "", "http://redis", f"redis://:{SECRET}@h:99999999", f"redis://:{SECRET}@h/x?y=z", 5,
    )],
    ({"denylist_url": f"http://:{SECRET}@h"}, "denylist_url"),
    ({"mode": "staging"}, "mode"),
    *[({"namespace": value}, "namespace") for value in ("", "a:b", "{a}", "a b", "a\n")],
    *[({"redis_replicas": value}, "redis_replicas") for value in (-1, 17, "all")],
    ({"key_store": "vault"}, "key_store"),
    *[({"algorithms": value}, "algorithms") for value in (
        [], ["HS256"], ["none"], ["ES256", "ES256"], "ES256",
    )],
    *[({"signing_period": value}, "signing_period") for value in (0, 360, -1, "x", 1.5, True)],
    *[({"sealing_period": value}, "sealing_period") for value in (0, 360)],
    ({"jwks_cache": -1}, "jwks_cache"),
    *[({"leeway": value}, "leeway") for value in (-1, 10_000)],
    ({"issuer_skew": -1}, "issuer_skew"),
    ({"clients": {}}, "clients"),
    ({"clients": []}, "clients"),
    *[({"clients": {"demo": client}}, name) for client, name in CLIENT_CASES],
    ({"gateways": {"edge": {}}}, "gateways.edge.secret_sha256"),
    ({"gateways": {"edge": {"secret_sha256": SECRET}}}, "gateways.edge"),
    ({"gateways": {"edge": {"secret_sha256": "A" * 64}}}, "gateways.edge"),
    *[({"feed_streams": value}, "feed_streams") for value in (0, -1, 1001, "all")],
    ({"clients": {"gatepass-console": {"audience": "api"}}}, "clients"),
    ({"audit": {"keep": 3599}}, "audit.keep"),
    ({"audit": {"keep_kinds": {"login": "long"}}}, "audit.keep_kinds.login"),
    ({"audit": {"addresses": "some"}}, "audit.addresses"),
    ({"audit": {"secret": "short"}}, "audit.secret"),
    ({"audit": {"old_secrets": [1]}}, "audit.old_secrets.0"),
    ({"console": {"idle": 59}}, "console.idle"),
    ({"console": {"absolute": 43_201}}, "console.absolute"),
    ({"console": {"fresh": 901}}, "console.fresh"),
    ({"console": {"role": ""}}, "console.role"),
    ({"console": {"gateways": {"edge": {}}}}, "console.gateways.edge.url"),
    *[({"console": {"gateways": {"edge": gateway}}}, "console.gateways.edge") for gateway in (
        {"url": "ftp://edge/metrics"}, {"url": "https:///metrics"}, {"url": "http://[/metrics"},
        {"url": f"https://user:{SECRET}@edge/metrics"},
        {"url": "http://edge.example/metrics", "token": SECRET},
    )],
    ({"audiences": {"api": {}}}, "audiences.api.encryption_jwk"),
    ({"audiences": {"api": {"encryption_jwk": {"kty": "EC", "d": SECRET}}}}, "audiences.api"),
    ({"audiences": {"api": {"encryption_jwk": {"kty": "oct", "k": SECRET}}}}, "audiences.api"),
    *[({"reuse_interval": value}, "reuse_interval") for value in (
        -1, 61, float("nan"), float("inf"), "soon",
    )],
    *[({"retry_window": value}, "retry_window") for value in (
        -1, float("nan"), float("inf"), 1e300,
    )],
    *[({"heartbeat_interval": value}, "heartbeat_interval") for value in (
        0, -1, 61, float("nan"),
    )],
    *[({"password_min_length": value}, "password_min_length") for value in (7, 65)],
    ({"hashing": {"time_cost": 0}}, "hashing.time_cost"),
    ({"hashing": {"memory_cost": 7}}, "hashing.memory_cost"),
    ({"hashing": {"rounds": 5}}, "hashing.rounds"),
    *[({"limits": {"guesses_account": value}}, "limits.guesses_account") for value in (
        "five per minute", "0 per minute", "5", "5 per fortnight", "5 per minute; x",
        "1 per 3 years", "1 per 0 minutes", 5, "1 per minute;" * 30,
    )],
    ({"limits": {"guesses_nobody": "5 per minute"}}, "limits.guesses_nobody"),
    *[({"limits": {"sessions": value}}, "limits.sessions") for value in (-1, 10_001)],
    *[({"port": value}, "port") for value in (0, 65_536, "http", None)],
    *[({"workers": value}, "workers") for value in (0, 257)],
    ({"threads": 0}, "threads"),
    ({"tls_certificate": "cert.pem"}, "tls_certificate"),
    ({"tls_key": "key.pem"}, "tls_certificate"),
    ({"trusted_proxies": -1}, "trusted_proxies"),
    ({"metrics_token_sha256": ""}, "metrics_token_sha256"),
    ({"metrics_token_sha256": "A" * 64}, "metrics_token_sha256"),
    ({"log_level": "LOUD"}, "log_level"),
    ({"isuer": "https://login.example"}, "isuer"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "name"), CASES, ids=lambda part: str(part)[:50])
def test_a_bad_setting_is_one_line_that_names_it(change: dict[str, Any], name: str) -> None:
    """The line has variable, setting and what is wrong, and never a value that is secret."""
    (line,) = refusal({**DEVELOPMENT, **change})
    variable = f"GATEPASS_{name.replace('.', '__').upper()}"
    assert line.startswith(f"{variable} ({name}): ")
    assert len(line) > len(f"{variable} ({name}): ")
    assert SECRET not in line


def test_several_bad_settings_are_several_lines() -> None:
    """Each gets its own."""
    lines = refusal({**GOOD, "port": 0, "workers": 0, "mode": "x"})
    assert sorted(line.partition(" ")[0] for line in lines) == [
        "GATEPASS_MODE",
        "GATEPASS_PORT",
        "GATEPASS_WORKERS",
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEPASS_CLIENTS", "{" + SECRET),
        ("GATEPASS_ALGORITHMS", "ES256"),
        ("GATEPASS_AUDIENCES", SECRET),
        ("GATEPASS_HASHING", f'"{SECRET}'),
        ("GATEPASS_PORT", SECRET),
        ("GATEPASS_MODE", SECRET),
    ],
)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_variable_of_the_wrong_form_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, where: str
) -> None:
    """Wherever a value came from, the line names its variable and not the value."""
    if where == "environment":
        monkeypatch.setenv(variable, value)
    else:
        (tmp_path / ".env").write_text(f"{variable}='{value}'\n")
    name = variable.removeprefix("GATEPASS_").lower()
    (line,) = refusal(without(name))
    assert line.startswith(f"{variable} ({name}): ")
    assert SECRET not in line


def test_a_misspelled_setting_in_a_file_is_named(tmp_path: Path) -> None:
    """In TOML and in `.env` alike."""
    (tmp_path / ".env").write_text(f"GATEPASS_KEY_SECRET={SECRET}\n")
    assert refusal(GOOD) == ["GATEPASS_KEY_SECRET (key_secret): is not a setting"]
    (tmp_path / ".env").unlink()
    (tmp_path / "gatepass.toml").write_text(f"key_secret = '{SECRET}'\n")
    assert refusal(GOOD) == ["GATEPASS_KEY_SECRET (key_secret): is not a setting"]


# Production


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"redis_url": "memory://x", "workers": 1}, "redis_url"),
        ({"denylist_url": "memory://x", "workers": 1}, "denylist_url"),
        ({"keys_secret": None}, "keys_secret"),
        ({"keys_secret": ""}, "keys_secret"),
        ({"keys_secret": "short"}, "keys_secret"),
        ({"issuer": "http://login.example"}, "issuer"),
        ({"behind_tls_proxy": False}, "tls_certificate"),
        ({"allowed_origins": ["http://app.example"]}, "allowed_origins"),
        (
            {"clients": {"demo": {"audience": "api", "origins": ["http://app.example"]}}},
            "allowed_origins",
        ),
    ],
)
def test_production_refuses_what_is_for_a_developer(change: dict[str, Any], name: str) -> None:
    """Memory, plain keys, a development secret, plain HTTP: never silently weaker."""
    (line,) = refusal({**GOOD, **change})
    assert line.startswith(f"GATEPASS_{name.upper()} ({name}): ")


def test_development_takes_them() -> None:
    """What production refuses is there for a developer who asks for it."""
    settings = load_settings(
        **{**without("keys_secret", "behind_tls_proxy"), "issuer": "http://127.0.0.1:8000"},
        mode="development",
    )
    assert settings.keys_secret is None
    memory = {**DEVELOPMENT, "redis_url": "memory://x"}
    (line,) = refusal(memory)
    assert line.startswith("GATEPASS_WORKERS (workers): memory:// serves one process")
    assert load_settings(**{**memory, "workers": 1}).redis_url == "memory://x"


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://login.example/", "https://login.example"),
        ("https://login.example:8443", "https://login.example:8443"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_origin_is_as_browsers_send_it(given: str, origin: str) -> None:
    """Cookie mode compares it with the `Origin` header; a slash behind it is dropped."""
    assert load_settings(**{**DEVELOPMENT, "issuer": given}).issuer == origin


def test_no_secret_is_shown() -> None:
    """Neither `repr` nor `str` of settings holds a secret."""
    client = {"audience": "api", "secret_sha256": DIGEST, "introspect": True}
    settings = load_settings(**{**GOOD, "clients": {"rs": client}})
    assert settings.keys_secret is not None
    for text in (repr(settings), str(settings), repr(settings.clients["rs"])):
        assert SECRET not in text
        assert DIGEST not in text


def test_settings_do_not_change() -> None:
    """They are frozen, nested ones too."""
    settings = load_settings(**GOOD)
    for holder, name in ((settings, "port"), (settings.clients["demo"], "idle")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(holder, name, 1)


def test_every_setting_has_a_place_in_the_cases() -> None:
    """A setting that is added without a case of its wrong values is noticed."""
    covered = {name.partition(".")[0] for _, name in CASES}
    unchecked = {"keys_dir", "keys_secret", "host", "reset_sender", "tls_key"}
    unchecked |= {"behind_tls_proxy", "graceful_timeout"}
    unchecked |= {"notifications"}  # test_notification_settings.py
    unchecked |= {"anomalies"}  # test_anomaly_settings.py
    unchecked |= {"hsm_module", "hsm_token", "hsm_pin", "hsm_label"}  # test_hsm_issuer.py
    assert set(Settings.model_fields) - covered == unchecked
