"""The console's routes, put together."""

from __future__ import annotations

from flask import Flask

from ..services import Services
from . import actions, guard, signing_in, views  # noqa: F401 - their routes are the blueprint's
from .blueprint import blueprint


def add_console(app: Flask, parts: Services) -> None:
    """Serve the console, if the settings turn it on."""
    if parts.settings.console.enabled:
        guard.attach(app, parts)
        app.register_blueprint(blueprint)
