"""What a process that holds keys owes them beyond the files: no dump, no heirs."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Mapping

from .settings import ENV_PREFIX

_PR_SET_DUMPABLE = 4


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


def environment_of_children(ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without our settings, some of which are secrets (ASVS 13.3.1)."""
    inherited = os.environ if ours is None else ours
    return {
        name: text for name, text in inherited.items() if not name.upper().startswith(ENV_PREFIX)
    }
