"""The memory of a process that holds keys: nobody gets a copy of it."""

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid_dumps() -> None:
    """Leave no memory behind when this process, or a fork of it, crashes (CWE-528).

    Not dumpable rather than a limit of 0 alone: the kernel ignores that where dumps are piped to
    a program. It also keeps other processes of the same user from reading the memory (ptrace).
    What is started by exec is dumpable again, and holds none of our keys.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None:  # Linux
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
