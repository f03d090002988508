"""Each rule has a switch, a response and limits of its own, and what cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.issuer_app import issuer_settings

from issuer.anomalies.places import Registries
from issuer.anomalies.rules import rules_of
from issuer.anomalies.settings import TOLD, AnomalySettings, Response, RuleSettings
from issuer.settings import SettingsError, load_settings

RULES = [
    name
    for name, field in AnomalySettings.model_fields.items()
    if isinstance(field.default, RuleSettings)
]


def names(settings: AnomalySettings) -> set[str]:
    return {rule.name for rule in rules_of(settings, Registries())}


def test_every_rule_is_on_and_only_tells() -> None:
    """But for reuse, whose session rotation has ended already."""
    settings = AnomalySettings()
    assert names(settings) == set(RULES)
    assert len(RULES) == 9
    for name in RULES:
        expected = (Response.END_SESSION, Response.WEBHOOK) if name == "reuse" else TOLD
        assert settings.of(name).respond == expected


@pytest.mark.parametrize("name", RULES)
def test_each_rule_has_its_own_switch(name: str) -> None:
    """And the others go on."""
    assert names(AnomalySettings(**{name: {"on": False}})) == set(RULES) - {name}


def test_the_file_and_the_environment_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response alone or a list, in a table of each rule; variables are joined by underscores."""
    given = issuer_settings("sqlite:////nowhere/a.db", "memory://settings", tmp_path)
    (tmp_path / "gatepass.toml").write_text(
        f'issuer = "{given.issuer}"\nmode = "development"\n'
        'database_url = "sqlite:////nowhere/a.db"\nredis_url = "memory://x"\nworkers = 1\n'
        f'keys_dir = "{tmp_path}"\n[clients.web]\naudience = "api"\n'
        '[anomalies.two_places]\non = true\nrespond = "end_session"\n'
        '[anomalies.guessing]\nrespond = ["log", "block"]\nan_hour = 9\n',
        "utf-8",
    )
    monkeypatch.setenv("GATEPASS_CONFIG", str(tmp_path / "gatepass.toml"))
    monkeypatch.setenv("GATEPASS_ANOMALIES__NEW_DEVICE__ON", "false")
    settings = load_settings().anomalies
    assert settings.two_places.respond == (Response.END_SESSION,)
    assert settings.guessing.respond == (Response.LOG, Response.BLOCK)
    assert (settings.guessing.an_hour, settings.new_device.on) == (9, False)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"two_places": {"respond": "shout"}}, "two_places.respond"),
        ({"guessing": {"respond": ["end_session"]}}, "guessing"),
        ({"stuffing": {"respond": "reauthenticate"}}, "stuffing"),
        ({"two_places": {"networks": 0}}, "two_places.networks"),
        ({"no_rule": {}}, "no_rule"),
        ({"block_for": 0}, "block_for"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], named: str, tmp_path: Path) -> None:
    """With the setting's name: a failed login has no session that could end."""
    with pytest.raises(SettingsError, match=named):
        issuer_settings("sqlite:////nowhere/a.db", "memory://settings", tmp_path, anomalies=given)
