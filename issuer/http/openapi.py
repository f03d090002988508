"""The OpenAPI document, kept beside the views that it describes."""

from typing import Any


def document(issuer: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of this issuer."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gatepass", "version": "0"},
        "paths": {},
        "servers": [{"url": issuer}],
    }
