"""The peer of the HTTP benchmark: flask-jwt-extended with its documented Redis blocklist.

`python -m benchmarks.peer_server FILE` serves it under the very gunicorn settings of
`gatepass serve`. What it does for a refresh: verify the refresh token, look its `jti` up in Redis,
make an access and a refresh token, put the old `jti` on the blocklist. As documented, look-up and
write are two commands, so two requests with one token may both pass.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
from flask import Flask, Response, jsonify
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
)

from issuer.server import run

REFRESH_LIFETIME = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """What the server is told; either `secret`, or the two keys in PEM."""

    port: int
    workers: int
    threads: int
    algorithm: str
    redis_socket: str
    secret: str = ""
    private_key: str = ""
    public_key: str = ""

    def write(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, path: Path) -> PeerConfig:
        return cls(**json.loads(path.read_text("utf-8")))


def create_peer(config: PeerConfig) -> Flask:
    """The application, by the pattern of its documentation, with refresh tokens rotated."""
    app = Flask("peer")
    app.config["JWT_ALGORITHM"] = config.algorithm
    app.config["JWT_SECRET_KEY"] = config.secret or None
    app.config["JWT_PRIVATE_KEY"] = config.private_key or None
    app.config["JWT_PUBLIC_KEY"] = config.public_key or None
    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(minutes=5)
    app.config["JWT_REFRESH_TOKEN_EXPIRES"] = REFRESH_LIFETIME
    manager = JWTManager(app)
    blocklist = redis.Redis(unix_socket_path=config.redis_socket, db=2, decode_responses=True)

    @manager.token_in_blocklist_loader
    def is_revoked(_header: dict[str, Any], payload: dict[str, Any]) -> bool:
        return blocklist.get(payload["jti"]) is not None

    @app.get("/healthz")
    def health() -> Response:
        return jsonify(status="ok")

    @app.post("/login/<name>")
    def login(name: str) -> Response:
        return jsonify(
            access_token=create_access_token(name), refresh_token=create_refresh_token(name)
        )

    # Named for its type, which the library does not give.
    with_refresh_token: Callable[[Callable[[], Response]], Callable[[], Response]]
    with_refresh_token = jwt_required(refresh=True)

    @app.post("/refresh")
    @with_refresh_token
    def refresh() -> Response:
        identity = get_jwt_identity()
        access_token = create_access_token(identity, fresh=False)
        refresh_token = create_refresh_token(identity)
        blocklist.set(get_jwt()["jti"], "", ex=REFRESH_LIFETIME)
        return jsonify(access_token=access_token, refresh_token=refresh_token)

    return app


def main(path: Path) -> None:
    """Serve until SIGTERM."""
    config = PeerConfig.read(path)
    run(
        lambda: create_peer(config),
        port=config.port,
        workers=config.workers,
        threads=config.threads,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
