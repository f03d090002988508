"""The use cases of a session's life, one module each."""

from .elevate import elevate
from .end import end_all, end_client, end_own, logout
from .grant import Context, Grant
from .listing import SessionInfo, list_sessions
from .login import login
from .password import change_password, reset_password
from .refresh import refresh

__all__ = [
    "Context",
    "Grant",
    "SessionInfo",
    "change_password",
    "elevate",
    "end_all",
    "end_client",
    "end_own",
    "list_sessions",
    "login",
    "logout",
    "refresh",
    "reset_password",
]
