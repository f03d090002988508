"""A PKCS#11 module as one process uses it: one call at a time, and begun anew after a fork.

python-pkcs11 initialises a module without locks of its own (PKCS #11 version 2.40 section 5.4),
so one lock of ours is held during every call. It lets go of the interpreter meanwhile.
"""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pkcs11

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib


class Library:
    """One module, loaded once for each process however many tokens it serves.

    `lock` is the caller's to hold, during `ready`, `restart` and whatever is done with what they
    give. `epoch` rises with each initialisation: sessions and handles of an earlier one are void.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lib: lib | None = None
        self.lock = threading.RLock()
        self.epoch = 0
        self.inherited = False

    def ready(self) -> "lib":
        """The initialised module. Raises `pkcs11.PKCS11Error`."""
        if self.inherited:
            # A child must initialise for itself (section 5.4); some modules then remember that
            # their memory was initialised once, hence first the end of that.
            self.restart()
        if self._lib is None or not self._lib.initialized:
            self._lib = pkcs11.lib(str(self._path))
            self.epoch += 1
        return self._lib

    def restart(self) -> None:
        """End the module, so that the next use finds tokens that have come back."""
        self.inherited = False
        if self._lib is None:
            return
        try:
            self._lib.finalize()
        except pkcs11.PKCS11Error:
            # It was not initialised in this process, or is past answering: all the same.
            return


_libraries: Final[dict[Path, Library]] = {}
_guard: Final = threading.Lock()


def library(path: Path) -> Library:
    """The library of this path in this process; nothing is loaded yet."""
    with _guard:
        return _libraries.setdefault(path, Library(path))


def _before_fork() -> None:
    _guard.acquire()
    for each in _libraries.values():
        each.lock.acquire()


def _after_fork() -> None:
    for each in _libraries.values():
        each.lock.release()
    _guard.release()


def _in_child() -> None:
    for each in _libraries.values():
        each.inherited = True
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
