"""Metadata (RFC 8414), JWKS (RFC 7517), OpenAPI, health and readiness."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, jsonify, request

from keys import HeldKeyStore, KeyRingError, jwks_cache_control
from revocation import RevocationError

from ..database import DatabaseUnavailable, SchemaMismatch, require_schema
from ..families import FamilyUnavailable
from .current import services
from .openapi import document

blueprint = Blueprint("discovery", __name__)

METADATA_CACHE = "public, max-age=300"


@blueprint.get("/.well-known/oauth-authorization-server")
def metadata() -> Response:
    settings = services().settings
    issuer = settings.issuer
    logouts = any(client.backchannel_logout_uri for client in settings.clients.values())
    response = jsonify(
        {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "revocation_endpoint": f"{issuer}/revoke",
            "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            "introspection_endpoint": f"{issuer}/introspect",
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
            # Logins go through /login, not through an authorization endpoint.
            "response_types_supported": [],
            "grant_types_supported": [],
            "service_documentation": f"{issuer}/openapi.json",
            # OpenID Connect Back-Channel Logout 1.0 section 2.1.
            "backchannel_logout_supported": logouts,
            "backchannel_logout_session_supported": logouts,
        }
    )
    response.headers["Cache-Control"] = METADATA_CACHE
    return response


@blueprint.get("/.well-known/jwks.json")
def jwks() -> Response:
    parts = services()
    response = jsonify(parts.keys.ring.jwks())
    response.headers["Cache-Control"] = jwks_cache_control(parts.settings.rotation_policy())
    response.add_etag()
    response.make_conditional(request)
    return response


@blueprint.get("/openapi.json")
def openapi() -> Response:
    response = jsonify(document(services().settings.issuer))
    response.headers["Cache-Control"] = METADATA_CACHE
    return response


@blueprint.get("/healthz")
def alive() -> Response:
    """Alive: the process answers. Stores do not matter here, or all would restart at once."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def ready() -> tuple[Response, int]:
    """Ready: every store answers and the denylist vouches for itself."""
    parts = services()
    checks = {
        "database": _works(lambda: require_schema(parts.engine)),
        "families": _works(parts.families.ping),
        "denylist": _works(_denylist_ready),
        "keys": _works(_keys_ready),
    }
    everything = all(checks.values())
    response = jsonify(
        {
            "status": "ready" if everything else "not ready",
            "checks": {name: "ok" if fine else "failing" for name, fine in checks.items()},
        }
    )
    if not everything:
        response.headers["Retry-After"] = "1"
    return response, 200 if everything else 503


def _keys_ready() -> None:
    parts = services()
    key = parts.signing_key()
    if isinstance(parts.key_store, HeldKeyStore):
        parts.key_store.check(key)
    parts.keys.ring.sealing()
    if parts.keys.staleness > parts.settings.rotation_policy().handover:
        # By now another issuer may have retired the key that this one would sign with.
        raise KeyRingError("the key ring has not been read for too long")


def _denylist_ready() -> None:
    if not services().denylist.state().ready:
        raise RevocationError("the denylist is being filled")
    services().pulse.require_clock()


def _works(check: Callable[[], object]) -> bool:
    try:
        check()
    except (
        DatabaseUnavailable,
        SchemaMismatch,
        FamilyUnavailable,
        RevocationError,
        KeyRingError,
    ):
        return False
    return True
