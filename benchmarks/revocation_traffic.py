"""What goes on beside a measured revocation: entries of others, and tokens nobody has seen."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any, Self

from keys import Key
from revocation import Entry, open_denylist
from tokens import AccessClaims, sign

from .servers import BenchmarkError

LIFETIME = 300
LEAST = 0.95
"""The share of the rate asked for without which nothing was measured."""
START_SECONDS = 60.0
AT_ONCE = 4
"""Connections on which they come, as those of several issuers would."""
BACKLOG = 1.0
"""Seconds of the pace that are made up for after a stall."""


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    added: int
    seq: int


class OtherRevocations:
    """So many entries a second, each in a call and a feed item of its own, from another process."""

    def __init__(self, url: str, rate: int) -> None:
        """Take the denylist's URL; nothing runs before it is entered."""
        context = multiprocessing.get_context("spawn")
        self._asked = rate
        self._added = context.Value("Q", 0, lock=False)
        self._denylist = open_denylist(url)
        self._process = context.Process(
            target=_revoke, args=(url, rate, os.getpid(), self._added), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._added.value:
            self._is_alive()
            if time.monotonic() > deadline:
                raise BenchmarkError("nothing is revoked beside")
            time.sleep(0.01)
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._denylist.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def begin(self) -> None:
        """Count from now on."""
        self._begun = self._read()

    def achieved(self) -> float:
        """Entries a second that have reached the feed since then.

        Raises `BenchmarkError` where they were too few, or the process has ended.
        """
        self._is_alive()
        begun, now = self._begun, self._read()
        added, seconds = min(now.added - begun.added, now.seq - begun.seq), now.at - begun.at
        rate = added / seconds
        # One may be on its way.
        if added + 1 < LEAST * self._asked * seconds:
            raise BenchmarkError(f"{rate:.0f} other revocations a second, not {self._asked}")
        return rate

    def _read(self) -> _Reading:
        added = self._added.value
        return _Reading(time.monotonic(), added, self._denylist.state().position.seq)

    def _is_alive(self) -> None:
        if not self._process.is_alive():
            raise BenchmarkError(f"what revokes beside has ended: {self._process.exitcode}")


def _revoke(url: str, rate: int, parent: int, added: Any) -> None:
    denylist = open_denylist(url)
    turn, count = Lock(), Lock()
    due = time.monotonic()

    def revoke() -> None:
        nonlocal due
        while os.getppid() == parent:
            with turn:
                now = time.monotonic()
                due = max(due + 1 / rate, now - BACKLOG)
                time.sleep(max(0.0, due - now))
            expires = int(time.time()) + LIFETIME
            denylist.add([Entry.session(secrets.token_urlsafe(16), expires)])
            with count:
                added.value += 1

    threads = [Thread(target=revoke) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def valid_tokens(issuer: str, audience: str, key: Key, lifetime: int) -> Callable[[], str]:
    """What makes a token that the issuer could have signed, of a login of its own."""

    def make() -> str:
        now = int(time.time())
        claims = AccessClaims(
            iss=issuer,
            sub=secrets.token_hex(8),
            aud=(audience,),
            client_id="demo",
            iat=now,
            exp=now + lifetime,
            jti=secrets.token_urlsafe(16),
            sid=secrets.token_urlsafe(16),
            auth_time=now,
            sub_ver=1,
            amr=("pwd",),
            scope="read",
        )
        return sign(claims, key)

    return make
