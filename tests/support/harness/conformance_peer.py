"""A foreign service for the conformance pack: flask-jwt-extended, as its documentation has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
)
from werkzeug.serving import make_server

USERNAME, PASSWORD = "peer", "a foreign password of some length"


def create_peer() -> Flask:
    """Login, refresh, logout by a blocklist, and one protected view."""
    app = Flask("peer")
    app.config["JWT_SECRET_KEY"] = "a secret of the peer's, long enough for HS256"
    blocklist: set[str] = set()

    @JWTManager(app).token_in_blocklist_loader
    def is_revoked(_header: dict[str, Any], payload: dict[str, Any]) -> bool:
        return payload["jti"] in blocklist

    @app.post("/login")
    def login() -> tuple[Response, int]:
        given = request.get_json()
        if (given.get("username"), given.get("password")) != (USERNAME, PASSWORD):
            return jsonify(msg="bad username or password"), 401
        access, refresh = create_access_token(USERNAME), create_refresh_token(USERNAME)
        return jsonify(access_token=access, refresh_token=refresh), 200

    # Named for its type, which the library does not give.
    with_refresh_token: Callable[[Callable[[], Response]], Callable[[], Response]]
    with_refresh_token = jwt_required(refresh=True)

    @app.post("/refresh")
    @with_refresh_token
    def refresh() -> Response:
        return jsonify(access_token=create_access_token(get_jwt_identity()))

    @app.post("/logout")
    @jwt_required()
    def logout() -> Response:
        blocklist.add(get_jwt()["jti"])
        return jsonify(msg="logged out")

    @app.get("/protected")
    @jwt_required()
    def protected() -> Response:
        return jsonify(logged_in_as=get_jwt_identity())

    return app


@contextmanager
def serving_peer() -> Iterator[str]:
    """The URL of the peer, served by a thread."""
    server = make_server("127.0.0.1", 0, create_peer(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
