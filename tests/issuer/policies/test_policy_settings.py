"""A client keeps to its policy: it may be tighter, and looser with a reason alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from issuer.parties import Client
from issuer.policies import PRESETS, RULES
from issuer.policies.policy import KINDS, duration
from issuer.settings import Settings, SettingsError, load_settings

GIVEN: dict[str, Any] = {
    "issuer": "http://127.0.0.1:8000",
    "mode": "development",
    "database_url": "sqlite:////nowhere/gatepass.db",
    "redis_url": "redis://127.0.0.1:1/0",
    "keys_dir": "/nowhere/keys",
}
OF_A_CLIENT = [rule for rule in RULES if rule != "password_min_length"]
LOOSER: dict[str, Any] = {
    "idle": 0,
    "absolute": 30 * 86_400,
    "access_lifetime": 3600,
    "acr": "aal1",
    "phishing_resistant": False,
    "reauthenticate": 0,
    "elevation": 3600,
    "sessions": 0,
    "binding": [],
}
"""Looser than `aal3`."""
TIGHTER: dict[str, Any] = {
    "idle": 60,
    "absolute": 3600,
    "access_lifetime": 30,
    "acr": "aal3",
    "phishing_resistant": True,
    "reauthenticate": 30,
    "elevation": 30,
    "sessions": 1,
    "binding": ["user_agent", "network"],
}


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those that are given."""
    monkeypatch.chdir(tmp_path)


def settings(issuer: dict[str, Any] | None = None, /, **client: Any) -> Settings:
    """Settings of an issuer with one client, `web`."""
    clients = {"web": {"audience": "api", **client}}
    return load_settings(**{**GIVEN, **(issuer or {}), "clients": clients})


def web(**client: Any) -> Client:
    return settings(**client).clients["web"]


def refusal(issuer: dict[str, Any] | None = None, /, **client: Any) -> str:
    """The lines that say what is wrong."""
    with pytest.raises(SettingsError) as caught:
        settings(issuer, **client)
    return str(caught.value)


def test_without_a_policy_everything_is_as_before() -> None:
    """The documented defaults, and no rule that could refuse anybody."""
    client = web()
    assert (client.idle, client.absolute, client.access_lifetime) == (1800, 43_200, 300)
    assert (client.acr, client.phishing_resistant, client.binding) == ("aal1", False, ())
    assert (client.reauthenticate, client.sessions, client.elevation) == (0, 0, 300)
    assert client.preset is None


@pytest.mark.parametrize("name", PRESETS)
def test_a_policy_alone_is_the_policy(name: str) -> None:
    """Each rule has the preset's value; tokens live no longer than they do by default."""
    client = web(policy=name)
    for rule in OF_A_CLIENT:
        expected = PRESETS[name].rule(rule).value
        if rule == "access_lifetime":
            expected = min(300, expected)
        assert getattr(client, rule) == expected, rule


@pytest.mark.parametrize(
    ("level", "idle", "absolute"), [("aal2", 3600, 86_400), ("aal3", 900, 43_200)]
)
def test_a_level_has_the_timeouts_of_the_standard(level: str, idle: int, absolute: int) -> None:
    """In seconds, at most: NIST SP 800-63B-4 sections 2.2.3 and 2.3.3; longer ones are refused."""
    client = web(policy=level)
    assert (client.idle, client.absolute) == (idle, absolute)
    assert "idle" in refusal(policy=level, idle=idle + 1)
    assert "absolute" in refusal(policy=level, absolute=absolute + 1)


@pytest.mark.parametrize("rule", OF_A_CLIENT)
def test_a_client_may_be_tighter(rule: str) -> None:
    """What it gives is what holds."""
    given = TIGHTER[rule]
    assert getattr(web(policy="aal2", **{rule: given}), rule) == (
        tuple(given) if isinstance(given, list) else given
    )


@pytest.mark.parametrize("rule", OF_A_CLIENT)
def test_a_looser_setting_is_refused_and_explained(rule: str) -> None:
    """The line names setting, policy, clause, and what to do."""
    line = refusal(policy="aal3", **{rule: LOOSER[rule]})
    assert line.startswith(f"GATEPASS_CLIENTS__WEB__{rule.upper()} (clients.web.{rule}): ")
    assert "policy aal3" in line
    assert PRESETS["aal3"].rule(rule).clause in line
    assert f'or say why not: deviates = {{{rule} = "the reason"}}' in line


@pytest.mark.parametrize("rule", OF_A_CLIENT)
def test_a_reason_allows_the_one_rule_that_it_names(rule: str) -> None:
    """ASVS 7.1.1: a deviation is documented; it covers no other rule."""
    reason = {rule: "a kiosk that nobody leaves"}
    client = web(policy="aal3", deviates=reason, **{rule: LOOSER[rule]})
    assert client.deviates == reason
    other = "idle" if rule != "idle" else "absolute"
    given = {rule: LOOSER[rule], other: LOOSER[other]}
    assert f"(clients.web.{other})" in refusal(policy="aal3", deviates=reason, **given)


@pytest.mark.parametrize("rule", OF_A_CLIENT)
def test_a_reason_for_nothing_is_refused(rule: str) -> None:
    """One that has outlived its exception would cover the next."""
    line = refusal(policy="aal3", deviates={rule: "was needed once"})
    assert f"deviates names {rule}, which is not looser" in line


def test_every_broken_rule_has_its_line() -> None:
    """Nobody mends one only to be told of the next."""
    assert len(refusal(policy="aal3", **LOOSER).splitlines()) == len(LOOSER)


@pytest.mark.parametrize(
    ("client", "why"),
    [
        ({"policy": "aal4"}, "is none of aal1, aal2"),
        ({"policy": ["aal1"]}, "string"),
        ({"deviates": {"idle": "because"}}, "without a policy"),
        ({"policy": "aal2", "idle": 0, "deviates": {"idle": "  "}}, "at least 1 character"),
        ({"policy": "aal2", "deviates": {"idel": "because"}}, "none of idle, absolute"),
        ({"binding": ["cookie"]}, "user_agent"),
        ({"acr": "aal0"}, "aal1"),
        ({"elevated_scopes": ["two words"]}, "RFC 6749 section 3.3"),
    ],
)
def test_what_makes_no_sense_is_refused(client: dict[str, Any], why: str) -> None:
    """One clear line for each."""
    assert why in refusal(**client)


def test_the_passwords_length_is_a_rule_of_every_client() -> None:
    """It is the issuer's own setting, and the line names the client whose policy it breaks."""
    line = refusal({"password_min_length": 8}, policy="pci-dss")
    assert line.startswith("GATEPASS_PASSWORD_MIN_LENGTH (password_min_length): for clients.web, 8")
    assert "PCI DSS 4.0.1 requirement 8.3.6 (12 characters)" in line
    assert settings({"password_min_length": 12}, policy="pci-dss")
    reason = {"password_min_length": "a second factor is always there"}
    assert settings({"password_min_length": 8}, policy="pci-dss", deviates=reason)
    assert "not looser" in refusal(policy="pci-dss", deviates=reason)


def test_a_network_is_bound_where_it_is_known_alone() -> None:
    """Behind a proxy whose hops nobody counted every client has the proxy's network."""
    behind = {"behind_tls_proxy": True}
    assert "trusted_proxies" in refusal(behind, binding=["network"])
    assert settings({**behind, "trusted_proxies": 1}, binding=["network"])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_of_every_preset_has_a_clause(name: str, rule: str) -> None:
    """And a value that can be told; no preset is looser than itself."""
    found = PRESETS[name].rule(rule)
    assert found.clause
    assert KINDS[rule].told(found.value)
    assert not KINDS[rule].looser(found.value, found.value)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(1, "1 seconds"), (60, "1 minute"), (90, "90 seconds"), (7200, "2 hours"), (86_400, "1 day")],
)
def test_durations_are_told_in_their_largest_unit(seconds: int, told: str) -> None:
    """As a person would say them."""
    assert duration(seconds) == told
