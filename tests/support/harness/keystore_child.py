"""A process of its own on a `DirectoryStore`: killed at a point, held there, or racing others.

    keystore_child.py DIRECTORY crash POINT    one update, SIGKILL at the point
    keystore_child.py DIRECTORY hold POINT     one update, waits at the point for a line on stdin
    keystore_child.py DIRECTORY race COUNT     waits for a line, then COUNT updates

Each update adds one key and prints its `kid`.
"""

from __future__ import annotations

import os
import signal
import sys

from keys import DirectoryStore, KeyRing, generate

SECRET = bytes(range(32))


def add_key(ring: KeyRing) -> KeyRing:
    """The ring with one more pending key."""
    key = generate("EdDSA", 1)
    print(key.kid, flush=True)
    return KeyRing((*ring.keys, key))


def main(directory: str, what: str, argument: str) -> None:
    """Do what the module's text says."""

    def crash_point(name: str) -> None:
        if name != argument:
            return
        if what == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "hold":
            print("held", flush=True)
            sys.stdin.readline()

    store = DirectoryStore(directory, SECRET, lock_timeout=60, crash_point=crash_point)
    if what == "race":
        print("ready", flush=True)
        sys.stdin.readline()
    for _ in range(int(argument) if what == "race" else 1):
        store.update(add_key)


if __name__ == "__main__":
    main(*sys.argv[1:])
