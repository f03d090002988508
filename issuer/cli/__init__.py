"""The `gatepass` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; without any extra that has a command line, say so in one line."""
    try:
        from .main import main as run
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit(
            "gatepass: the command line comes with an extra:"
            " pip install 'gatepass[issuer]' or 'gatepass[gateway]'"
        )
    run()


__all__ = ["main"]
