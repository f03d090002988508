"""`gatepass` for a shell: hands its command to a process that has loaded it, and ends as that does.

A program of its own, started as `python -I -S gatepass_client.py SOCKET ARGUMENTS…` by what
`warm_process.put_on_path` writes; it imports next to nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from types import FrameType


def main(address: str, arguments: list[str]) -> int:
    """Run one command with our streams, environment and directory; returns its exit code."""
    command = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "directory": os.getcwd(),  # noqa: PTH109 - pathlib takes longer to import than all this
        "alterations": [],
        "death_signal": signal.SIGKILL,
    }
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("r") as answers:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(command).encode()], [0, 1, 2])
        pid = int(answers.readline())

        def pass_on(number: int, _: FrameType | None) -> None:
            os.kill(pid, number)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, pass_on)
        code = int(answers.readline() or -signal.SIGKILL)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
