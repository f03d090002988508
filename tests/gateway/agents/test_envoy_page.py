"""The configuration on Envoy's page, as it stands there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.forward_auth import block_of, envoy
from harness.native_gateways import DOCS

from gateway.agents.denylist_source import DenylistSource
from gateway.agents.envoy_agent import EnvoyAgent
from gateway.agents.lua_source import Rules


def validated(config: Path) -> subprocess.CompletedProcess[str]:
    """What Envoy makes of a configuration that it does not run."""
    options = ["--mode", "validate", "--use-dynamic-base-id", "--log-level", "warning"]
    return subprocess.run(
        [envoy(), *options, "--config-path", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_envoy_takes_the_page_with_its_tls_block(tmp_path: Path) -> None:
    """Envoy finds nothing wrong with the page, of which but the filter's directory is changed.

    The gateways of other tests run without the issuer's TLS, since theirs has no certificate.
    """
    rules = Rules(
        issuer="https://id.example",
        audience="orders",
        leeway=10,
        max_lifetime=3600,
        max_staleness=5,
        heartbeat_interval=1,
    )
    denylist = DenylistSource(url="redis://127.0.0.1/0", issuer=rules.issuer)
    EnvoyAgent(tmp_path, rules, denylist).prepare()
    page = block_of(DOCS / "envoy-native.md", "yaml")
    assert page.count("/run/gatepass") == 1
    config = tmp_path / "envoy.yaml"
    config.write_text(page.replace("/run/gatepass", str(tmp_path)))
    done = validated(config)
    assert done.returncode == 0, done.stderr

    mistaken = page.replace("trusted_ca:", "trusted_cas:")
    assert mistaken != page
    config.write_text(mistaken.replace("/run/gatepass", str(tmp_path)))
    assert validated(config).returncode != 0
