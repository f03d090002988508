"""A reset sender for issuers in tests: leaves each token in a file named for its receiver."""

from __future__ import annotations

import os
from pathlib import Path

from issuer.resets import ResetMessage

VARIABLE = "GP_TEST_MAIL"
"""Names the directory."""


def post(message: ResetMessage) -> None:
    """Deliver one message."""
    directory = Path(os.environ[VARIABLE])
    fresh = directory / "mail.new"
    fresh.write_text(message.token)
    fresh.replace(directory / message.username)
