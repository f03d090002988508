"""Issuers and verifiers live through a hundred rotations, each seeing the others late."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from freezegun import freeze_time

import keys.scheduler
from keys import (
    DirectoryStore,
    Key,
    KeyRing,
    KeyState,
    RotationPolicy,
    RotationScheduler,
    jwks_cache_control,
    load_public_jwk,
    rotate,
)

SECRET = bytes(32)
AUDIENCE = "https://api.example"
POLICY = RotationPolicy(
    algorithms=("ES256",),
    signing_period=420,
    sealing_period=900,
    cache_lifetime=300,
    publish_margin=60,
    access_lifetime=300,
    refresh_lifetime=3600,
    leeway=60,
    handover=60,
)
INTERVAL = 30
STEP = 10
AFTERLIFE = (
    POLICY.access_lifetime + POLICY.leeway + POLICY.handover + INTERVAL + POLICY.cache_lifetime
)


def clock() -> float:
    """Looks `time.time` up when called: freezegun replaces it after defaults are bound."""
    return time.time()


class Issuer:
    """Ticks by hand, and serves the JWKS of the ring of its last tick."""

    def __init__(self, directory: Path) -> None:
        self.scheduler = RotationScheduler(
            DirectoryStore(directory, SECRET), POLICY, clock, INTERVAL
        )
        self.next_tick = 0

    def jwks(self) -> tuple[dict[str, Any], str]:
        return self.scheduler.ring.jwks(), jwks_cache_control(POLICY)


def sign(key: Key) -> str:
    now = int(time.time())
    claims = {"aud": AUDIENCE, "iat": now, "exp": now + POLICY.access_lifetime}
    private: Any = key.private
    return jwt.encode(claims, private, key.alg, {"kid": key.kid})


@dataclass
class Verifier:
    """Reads the JWKS of whichever issuer answers, and keeps it for all of its max-age.

    It never fetches early for an unknown `kid`, so that it lives by the cache header alone.
    """

    issuers: list[Issuer]
    chance: random.Random
    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)
    stale_at: int = 0

    def verify(self, token: str) -> None:
        now = int(time.time())
        if now >= self.stale_at:
            jwks, header = self.chance.choice(self.issuers).jwks()
            age = re.fullmatch(r"public, max-age=(\d+)", header)
            assert age is not None
            self.stale_at = now + int(age[1])
            loaded = (load_public_jwk(jwk) for jwk in jwks["keys"])
            self.keys = {kid: (alg, public) for kid, alg, public in loaded}
        kid = jwt.get_unverified_header(token)["kid"]
        if kid not in self.keys:
            raise UnknownKidError(kid)
        alg, public = self.keys[kid]
        jwt.decode(token, public, [alg], audience=AUDIENCE, leeway=POLICY.leeway)


class UnknownKidError(Exception):
    """The cached JWKS has no such key."""


class Story:
    """Three issuers on one directory, four verifiers, and a thief who copies every private half."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.issuers = [Issuer(directory) for _ in range(3)]
        self.verifiers = [Verifier(self.issuers, self.chance) for _ in range(4)]
        self.in_flight: list[tuple[int, str]] = []  # last second in which it is valid, token
        self.stolen: dict[str, Key] = {}
        self.retired: dict[str, int] = {}  # from when on nobody may accept the key
        self.count = dict.fromkeys(("rotations", "accepted", "expired", "thefts", "late"), 0)
        for number, issuer in enumerate(self.issuers):
            issuer.scheduler.tick()
            issuer.next_tick = int(time.time()) + number * STEP
        self.current = self.issuers[0].scheduler.ring.active("ES256").kid

    def verify(self, token: str) -> None:
        """On a verifier with whatever it has cached."""
        self.chance.choice(self.verifiers).verify(token)

    def accept(self, token: str) -> None:
        self.verify(token)
        self.count["accepted"] += 1

    def old_tokens_are_accepted(self, now: int) -> None:
        """In the last second before exp + leeway."""
        for valid_until, token in self.in_flight:
            if valid_until == now:
                self.accept(token)

    def expired_tokens_are_refused(self, now: int) -> None:
        """In the second after that, and then forgotten."""
        for valid_until, token in self.in_flight:
            # A sample: what is shown here is PyJWT's work more than ours.
            if valid_until < now and self.chance.random() < 0.2:
                with pytest.raises((jwt.ExpiredSignatureError, UnknownKidError)):
                    self.verify(token)
                self.count["expired"] += 1
        self.in_flight = [(until, token) for until, token in self.in_flight if until >= now]

    def issuers_sign_and_tick(self, now: int) -> None:
        """Each signs just before its tick, with the oldest ring it ever has, and just after."""
        self.chance.shuffle(self.issuers)
        for issuer in self.issuers:
            if now < issuer.next_tick:
                continue
            self.issue(issuer, now)
            before = issuer.scheduler.ring
            issuer.scheduler.tick()
            issuer.next_tick = now + INTERVAL
            if issuer.scheduler.ring is not before:
                self.notice_rotation(issuer.scheduler.ring.active("ES256"), now)
                self.issue(issuer, now)

    def issue(self, issuer: Issuer, now: int) -> None:
        active = issuer.scheduler.ring.active("ES256")
        self.stolen.setdefault(active.kid, active)
        self.count["late"] += active.kid in self.retired
        token = sign(active)
        self.in_flight.append((now + POLICY.access_lifetime + POLICY.leeway - 1, token))
        self.accept(token)

    def notice_rotation(self, active: Key, now: int) -> None:
        if active.kid not in {self.current, *self.retired}:
            # Its last token has run out, the last issuer ticked, the last cache expired.
            self.retired[self.current] = now + AFTERLIFE
            self.current = active.kid
            self.count["rotations"] += 1

    def thieves_are_refused(self, now: int) -> None:
        """Once a retired key is gone everywhere, a fresh token signed with it opens nothing."""
        for kid, refused_from in self.retired.items():
            if now - STEP < refused_from <= now:
                for verifier in self.verifiers:
                    with pytest.raises(UnknownKidError):
                        verifier.verify(sign(self.stolen[kid]))
                    self.count["thefts"] += 1

    def check_end(self) -> None:
        """All issuers hold the same ring, and it has not grown."""
        for issuer in self.issuers:
            issuer.scheduler.tick()
        rings = [issuer.scheduler.ring for issuer in self.issuers]
        assert rings[0] == rings[1] == rings[2]
        signing = [key for key in rings[0].keys if key.alg == "ES256"]
        assert len(signing) <= 3
        assert all(key.private is None for key in signing if key.state is KeyState.RETIRING)


def live(directory: Path, rotations: int) -> dict[str, int]:
    """Run until so many rotations are through; returns counts. Raises what a verifier raises."""
    with freeze_time("2026-01-01", tick=False) as frozen:
        story = Story(directory, seed=rotations)
        while story.count["rotations"] < rotations:
            frozen.tick(STEP - 1)
            story.old_tokens_are_accepted(int(time.time()))
            frozen.tick(1)
            now = int(time.time())
            story.expired_tokens_are_refused(now)
            story.issuers_sign_and_tick(now)
            story.thieves_are_refused(now)
        story.check_end()
    return story.count


def test_a_hundred_rotations_refuse_nothing_valid_and_accept_nothing_retired(
    tmp_path: Path,
) -> None:
    """Three issuers on one store and four verifiers with full caches never disagree."""
    count = live(tmp_path / "keys", rotations=100)
    assert count["rotations"] == 100
    assert count["thefts"] >= 4 * 97
    # The hard cases did happen: an issuer signed with a key that another had already demoted.
    assert count["late"] >= 100
    assert count["expired"] > 500
    assert count["accepted"] > 8_000


def without_waiting(ring: KeyRing, now: int, policy: RotationPolicy, *_: object) -> KeyRing:
    """Promotes a key as soon as it is published."""
    return rotate(ring, now, RotationPolicy(**{**as_dict(policy), "cache_lifetime": 0}))


def without_handover(ring: KeyRing, now: int, policy: RotationPolicy, *_: object) -> KeyRing:
    """Drops a demoted key when the last token of the rotating issuer itself has run out."""
    return rotate(ring, now, RotationPolicy(**{**as_dict(policy), "handover": 0, "leeway": 0}))


def never_dropping(ring: KeyRing, now: int, policy: RotationPolicy, *_: object) -> KeyRing:
    """Keeps a retired key much too long."""
    return rotate(ring, now, RotationPolicy(**{**as_dict(policy), "access_lifetime": 3000}))


def as_dict(policy: RotationPolicy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in RotationPolicy.__slots__}


@pytest.mark.parametrize("mutant", [without_waiting, without_handover, never_dropping])
def test_the_story_catches_a_wrong_rotation(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutant: Callable[[KeyRing, int, RotationPolicy], KeyRing],
) -> None:
    """Issuers that rotate wrongly have a valid token refused, or a retired key accepted."""
    monkeypatch.setattr(keys.scheduler, "rotate", mutant)
    monkeypatch.setattr(
        keys.scheduler, "rotation_due", lambda ring, now, p: mutant(ring, now, p) is not ring
    )
    with pytest.raises((UnknownKidError, pytest.fail.Exception)):
        live(tmp_path / "keys", rotations=6)
