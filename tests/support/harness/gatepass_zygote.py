"""Runs `gatepass` commands in forks of a process that has loaded it: 0.05 s each instead of 1 s.

A program of its own, started by `gatepass_command.Gatepass`. Each connection brings one command:
JSON with its arguments, environment and directory, and three descriptors for its streams. The
answer is its exit code.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

# Loaded before any fork, here and by these, as far as a command needs it.
import zxcvbn  # noqa: F401

from issuer import crash_points
from issuer.cli import main

DIE_AT = "DIE_AT"
"""The variable that names a crash point at which the command dies by SIGKILL."""


def next_command(listener: socket.socket) -> dict[str, Any]:
    """Serve until told to stop; returns in the fork that shall run a command."""
    while True:
        connection, _ = listener.accept()
        with connection:
            message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            command: dict[str, Any] = json.loads(message)
            child = os.fork()
            if child == 0:
                listener.close()
                for number, descriptor in enumerate(descriptors):
                    os.dup2(descriptor, number)
                    os.close(descriptor)
                return command
            for descriptor in descriptors:
                os.close(descriptor)
            status = os.waitpid(child, 0)[1]
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def dies_at(point: str) -> Callable[[str], None]:
    """What to do at each crash point: nothing, but at that one."""
    return lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None


def end(program: Callable[[], None]) -> NoReturn:
    """Run it to the end of this process, as the interpreter does, but without its tidying up.

    Giving back, page by page, the memory that is shared with the zygote takes most of a command.
    """
    code = 0
    try:
        program()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as accepting:
        accepting.bind(sys.argv[1])
        accepting.listen()
        gc.freeze()
        os.write(1, b"listening\n")
        taken = next_command(accepting)
    os.environ.clear()
    os.environ.update(taken["environment"])
    os.chdir(taken["directory"])
    sys.argv = ["gatepass", *taken["arguments"]]
    if taken["clock"]:
        sys.path.append(str(Path(__file__).resolve().parent.parent))
        from harness.altered_issuer import follow_clock

        follow_clock(taken["clock"])
    if DIE_AT in os.environ:
        crash_points.watch(dies_at(os.environ[DIE_AT]))
    end(main)
