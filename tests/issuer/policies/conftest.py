"""The issuers of `tests/issuer`, whose clients have more to say of their sessions."""

from __future__ import annotations

from typing import Any

import pytest
from harness.issuer_app import default_clients


@pytest.fixture
def clients() -> dict[str, dict[str, Any]]:
    """Relying parties: `demo` with a scope for elevations, and one for each kind of policy."""
    found = default_clients()
    found["demo"]["elevated_scopes"] = ["pay"]
    found["clinic"] = {"audience": "api", "policy": "aal2", "elevated_scopes": ["pay"]}
    found["vault"] = {"audience": "api", "policy": "aal3"}
    return found
