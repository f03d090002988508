"""The issuer's WSGI application."""

from __future__ import annotations

from flask import Flask

from .console.opening import add_console
from .http import (
    auth,
    discovery,
    factors,
    metrics,
    oauth,
    password_rules,
    revocations,
    session_list,
    signals,
    status,
)
from .http.answers import register_errors, register_headers
from .http.body import MAX_BODY, refuse_ambiguous_framing
from .http.client_address import ClientAddress
from .http.cors import BROWSER_PATHS, Cors
from .http.current import attach
from .http.outer_limit import limit_requests
from .http.request_context import identify_requests
from .services import Clock, Services, build_services
from .settings import Settings


def create_app(
    settings: Settings, *, clock: Clock | None = None, services: Services | None = None
) -> Flask:
    """The application of these settings.

    Its background work (heartbeats, key rotation) begins with `app.extensions["gatepass"].start()`,
    which belongs in the process that serves, after any fork. `clock` replaces all time, for tests.
    """
    app = Flask("issuer", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY
    app.url_map.strict_slashes = False
    # A path with doubled slashes is not found rather than redirected.
    app.url_map.merge_slashes = False
    wired = services or build_services(settings, clock=clock)
    attach(app, wired)
    identify_requests(app)
    metrics.count_requests(app)
    app.before_request(refuse_ambiguous_framing)
    parts = (
        auth,
        password_rules,
        session_list,
        factors,
        oauth,
        discovery,
        status,
        revocations,
        signals,
        metrics,
    )
    for module in parts:
        app.register_blueprint(module.blueprint)
    add_console(app, wired)
    limit_requests(app)
    register_errors(app)
    register_headers(app, https=settings.issuer.startswith("https://"))
    app.wsgi_app = Cors(  # type: ignore[method-assign]
        app.wsgi_app, settings.origins_of(None), paths=BROWSER_PATHS, credentials=True
    )
    app.wsgi_app = ClientAddress(  # type: ignore[method-assign]
        app.wsgi_app, settings.trusted_proxies
    )
    return app
