"""What programs that the issuer starts inherit of it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .settings import ENV_PREFIX


def environment_of_children(ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without our settings, some of which are secrets (ASVS 13.3.1)."""
    inherited = os.environ if ours is None else ours
    return {
        name: text for name, text in inherited.items() if not name.upper().startswith(ENV_PREFIX)
    }
