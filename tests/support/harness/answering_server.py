"""A program for tests of `issuer.server.run`: answers with its pid, and holds requests if asked.

Arguments: port, directory. `/held` says so on standard output and waits for a byte in the
directory's FIFO `gate`. While the directory holds a file `broken`, the application does not start.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from flask import Flask, request

from issuer.server import run

GATE, BROKEN, DONE = "gate", "broken", "done"
PADDING = 200_000


def say(text: str) -> None:
    """One whole line at once, whatever other processes write."""
    os.write(1, f"{text}\n".encode())


def main(port: int, directory: Path) -> None:
    done = os.open(directory / DONE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def create_app() -> Flask:
        if (directory / BROKEN).exists():
            raise RuntimeError("setting ISSUER is missing")
        app = Flask(__name__)

        @app.post("/done")
        def carried_out() -> dict[str, Any]:
            os.write(done, f"{request.headers['Request-Id']}\n".encode())
            return {"pid": os.getpid(), "threads": threading.active_count(), "pad": "x" * 20_000}

        @app.get("/held")
        def held() -> dict[str, Any]:
            say("held")
            gate = os.open(directory / GATE, os.O_RDONLY)
            os.read(gate, 1)
            os.close(gate)
            return {"pid": os.getpid(), "pad": "x" * PADDING}

        return app

    run(
        create_app,
        port=port,
        workers=2,
        threads=4,
        graceful_timeout=20,
        on_ready=lambda: say("listening"),
        on_worker_start=lambda: say(f"worker {os.getpid()}"),
        on_worker_stop=lambda: say("stopped"),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
