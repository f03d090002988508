"""Why a connection failed, in words that hold no address and no secret."""

from __future__ import annotations

import ssl


def reason_of(error: BaseException) -> str:
    """What the system calls it: of the error or of the one behind it; else the error's type."""
    for found in (error, getattr(error, "reason", None), error.__cause__, error.__context__):
        # The texts of the other errors of TLS may quote names; these hold none.
        if isinstance(found, ssl.SSLCertVerificationError):
            return "its certificate is not trusted, or is for another name"
        if isinstance(found, ssl.SSLError):
            return f"TLS fails ({found.reason or type(found).__name__})"
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
    return type(error).__name__
