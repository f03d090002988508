"""Settings that work, and weaken something."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from .deployment import Deployment
from .finding import Finding, fail, ok, warn


def rules(deployment: Deployment) -> Iterator[Finding]:
    """The mode, whose addresses are seen, and who can look in."""
    settings = deployment.settings
    if deployment.is_production:
        yield ok("mode", "production")
    else:
        yield warn(
            "mode",
            "development",
            "plain http, keys in the clear and stores in memory are let pass",
            "set mode to production, except on a developer's machine",
        )
    if not settings.knows_addresses:
        yield warn(
            "addresses",
            "behind_tls_proxy without trusted_proxies",
            "every client has the proxy's address: limits by address and network are off",
            "set trusted_proxies to how many hops of X-Forwarded-For are yours",
        )
    if settings.metrics_token_sha256 is None:
        yield warn(
            "metrics",
            "metrics_token_sha256 is not set",
            "nobody may fetch /metrics, so no alert can come of them",
            "make a token and set its SHA-256 (docs/metrics.md)",
        )


def settings_files(deployment: Deployment) -> Iterator[Finding]:
    """Whether others can read the files that may hold secrets (ASVS 13.3.2)."""
    for path in deployment.files:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o022:
            yield fail(
                "settings-file",
                f"{path} has mode {mode:04o}",
                "others can write it, and so choose keys, stores and clients",
                f"chmod 0640 {path}",
            )
        elif mode & 0o004:
            yield warn(
                "settings-file",
                f"{path} has mode {mode:04o}",
                "every user of this machine can read it, with the secrets that it may hold",
                f"chmod 0640 {path}",
            )
        else:
            yield ok("settings-file", f"{path} is for its owner and group")
