"""`/metrics`, in the text format of Prometheus, for whoever has the token for it."""

from __future__ import annotations

import hashlib
import hmac
from time import perf_counter

from flask import Blueprint, Flask, Response, g, request

from ..errors import invalid_token, token_required
from ..metrics import CONTENT_TYPE
from .current import bearer_token, services

blueprint = Blueprint("metrics", __name__)

UNMATCHED = "none"
"""Method and route of a request for what is not there: no caller makes up a label."""


@blueprint.get("/metrics")
def metrics() -> Response:
    parts = services()
    wanted = parts.settings.metrics_token_sha256
    given = bearer_token()
    if given is None:
        raise token_required()
    digest = hashlib.sha256(given.encode()).hexdigest()
    # In constant time: none tells how much of it was right. Without the setting, nobody may.
    if wanted is None or not hmac.compare_digest(digest, wanted.get_secret_value()):
        raise invalid_token("the token is not that of metrics_token_sha256")
    return Response(parts.metrics.text(parts.state_metrics), content_type=CONTENT_TYPE)


def count_requests(app: Flask) -> None:
    """Count every request that the application answers."""

    @app.before_request
    def begin() -> None:
        g.begun = perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        rule = request.url_rule
        method, route = (request.method, rule.rule) if rule else (UNMATCHED, UNMATCHED)
        begun = g.get("begun") or perf_counter()
        services().metrics.answered(method, route, response.status_code, perf_counter() - begun)
        return response
