"""Runs `gatepass` commands in forks of a process that has loaded it: 0.05 s each instead of 1 s.

A program of its own, started by `gatepass_command.Gatepass`. Each connection brings one command:
JSON with its arguments, environment and directory, and three descriptors for its streams. The
answer is its process, and, once it has ended, its exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib.util
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# Loaded before any fork, here and by these, as far as a command or a server needs it.
import zxcvbn  # noqa: F401

import issuer.demo
import issuer.patient_worker
import issuer.server  # noqa: F401
from issuer import crash_points
from issuer.cli.main import cli, main

DIE_AT = "DIE_AT"
"""The variable that names a crash point at which the command dies by SIGKILL."""
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def load_beside(name: str) -> ModuleType:
    """A module of this directory, whose other names are no modules for `gatepass` to find."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def next_command(listener: socket.socket) -> dict[str, Any]:
    """Serve until told to stop; returns in the fork that shall run a command."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    pid, connection = key.data
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    with connection:
                        tell(connection, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    continue
                connection, _ = listener.accept()
                message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
                pid = os.fork()
                if pid == 0:
                    for other in selector.get_map().values():
                        if other.data is not None:
                            os.close(other.fd)
                            other.data[1].close()
                    listener.close()
                    connection.close()
                    for number, descriptor in enumerate(descriptors):
                        os.dup2(descriptor, number)
                        os.close(descriptor)
                    command: dict[str, Any] = json.loads(message)
                    return command
                for descriptor in descriptors:
                    os.close(descriptor)
                tell(connection, pid)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))


def open_streams() -> None:
    """Make the standard streams anew: the zygote's may be of another sort, one a file, say."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def tell(connection: socket.socket, number: int) -> None:
    """One line to whoever wants to know; it may be gone."""
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % number)


def leave_group(death_signal: int, command: str) -> None:
    """Be a process group, as a started program is, that is signalled when the zygote dies.

    Its name in the system's lists is the command's: the arguments there are the zygote's.
    """
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"gatepass {command}".encode())


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
    altered_issuer = load_beside("altered_issuer")
    load_beside("crash_mail")
    with socket.socket(socket.AF_UNIX) as accepting:
        accepting.bind(sys.argv[1])
        accepting.listen()
        cli.load()
        gc.freeze()
        os.write(1, b"listening\n")
        taken = next_command(accepting)
    leave_group(taken["death_signal"], next(iter(taken["arguments"]), ""))
    open_streams()
    os.environ.clear()
    os.environ.update(taken["environment"])
    os.chdir(taken["directory"])
    altered_issuer.alter(taken["alterations"])
    sys.argv = ["gatepass", *taken["arguments"]]
    if DIE_AT in os.environ:
        crash_points.watch(dies_at(os.environ[DIE_AT]))
    end(main)
