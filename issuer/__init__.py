"""The issuer: login, refresh rotation, logout, sessions and password change over HTTP."""
