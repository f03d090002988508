"""`gatepass config`: which rule of which policy a setting breaks, and what each client gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from harness.gatepass_command import Completed, Gatepass
from harness.served_issuer import toml

from issuer.policies import PRESETS, RULES

KIOSK = {"audience": "kiosk", "policy": "hipaa", "idle": 600}
SHIFT: dict[str, Any] = {"audience": "ward", "policy": "pci-dss", "idle": 3600}
REASON = "a shift at the till, locked by the till itself"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the settings are."""
    return tmp_path


def config(
    gatepass: Gatepass, directory: Path, clients: Mapping[str, Any], *arguments: str
) -> Completed:
    """`gatepass config …` with these clients."""
    given = {
        "issuer": "http://127.0.0.1:8000",
        "mode": "development",
        "database_url": f"sqlite:///{directory}/gatepass.db",
        "redis_url": "redis://127.0.0.1:1/0",
        "keys_dir": str(directory / "keys"),
        "clients": clients,
    }
    (directory / "gatepass.toml").write_text(toml(given))
    return gatepass("config", *arguments, directory=directory)


def test_a_setting_that_breaks_its_policy_is_explained(gatepass: Gatepass, directory: Path) -> None:
    """One line: the setting, the rule, its clause, and what to do; exit code 2."""
    line = config(gatepass, directory, {"till": SHIFT, "kiosk": KIOSK}, "check").refused(2)
    assert line.splitlines() == [
        "gatepass: GATEPASS_CLIENTS__TILL__IDLE (clients.till.idle): 1 hour is looser than"
        " 15 minutes, which policy pci-dss takes from PCI DSS 4.0.1 requirement 8.2.8"
        " (15 minutes): give 900 or less, and not 0, or say why not:"
        ' deviates = {idle = "the reason"}'
    ]


def test_a_deviation_is_shown_with_its_reason(gatepass: Gatepass, directory: Path) -> None:
    """ASVS 7.1.1: whoever checks the settings sees what deviates, and why."""
    clients = {"till": {**SHIFT, "deviates": {"idle": REASON}}, "kiosk": KIOSK}
    told = config(gatepass, directory, clients, "check").done().out.splitlines()
    assert told[1:] == [f"clients.till deviates from policy pci-dss: idle, because {REASON}"]
    shown = config(gatepass, directory, clients, "check", "--json").done().json
    assert shown["deviations"] == {"till": {"idle": REASON}}


def test_presets_and_what_clients_get_are_shown(gatepass: Gatepass, directory: Path) -> None:
    """Each rule with its clause, and for each client what holds for its sessions."""
    clients = {"till": {**SHIFT, "deviates": {"idle": REASON}}, "plain": {"audience": "api"}}
    shown = config(gatepass, directory, clients, "policies", "--json").done().json
    assert list(shown["presets"]) == list(PRESETS)
    for name, rules in shown["presets"].items():
        for rule in RULES:
            expected = PRESETS[name].rule(rule)
            assert rules[rule]["clause"] == expected.clause
            assert rules[rule]["value"] == json.loads(json.dumps(expected.value))
    till, plain = shown["clients"]["till"], shown["clients"]["plain"]
    assert (till["policy"], till["idle"], till["acr"]) == ("pci-dss", 3600, "aal2")
    assert till["deviates"] == {"idle": REASON}
    assert (plain["policy"], plain["idle"], plain["password_min_length"]) == (None, 1800, 15)
    text = config(gatepass, directory, clients, "policies").done().out
    assert "PCI DSS 4.0.1 requirement 8.2.8 (15 minutes)" in text
    assert REASON in text
