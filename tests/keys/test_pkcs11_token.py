"""Signing keys in a PKCS#11 token, against SoftHSM."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jwt
import pkcs11
import pytest
from harness.processes import short_directory
from harness.soft_hsm import LABEL, PIN, SoftHsm

from keys import (
    SIGNING_ALGORITHMS,
    DirectoryStore,
    HeldKeyStore,
    HsmUnavailable,
    Key,
    KeyRing,
    KeyState,
    KeyStoreError,
    RotationPolicy,
    UnreadableRing,
    revoke,
    rotate,
)
from keys.pkcs11_token import COOL_DOWN, Pkcs11Token

NOW = 1_800_000_000
POLICY = RotationPolicy()
SECRET = b"k" * 32


class Clock:
    """Stands still until moved."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def hsm() -> Iterator[SoftHsm]:
    """One SoftHSM token, seen by this process."""
    directory = short_directory("gp-hsm-")
    made = SoftHsm(directory / "hsm")
    with made.seen_here():
        yield made
    shutil.rmtree(directory)


@pytest.fixture
def clock() -> Clock:
    """The token's patience and the store's time."""
    return Clock(NOW)


@pytest.fixture
def token(hsm: SoftHsm, clock: Clock, request: pytest.FixtureRequest) -> Pkcs11Token:
    """The token under a label of the test's own, so that it sees its own keys alone."""
    return Pkcs11Token(hsm.module, LABEL, PIN, request.node.name[:32], clock)


@pytest.fixture
def store(token: Pkcs11Token, clock: Clock, tmp_path: Path) -> HeldKeyStore:
    """A directory's ring that refers to the token."""
    inner = DirectoryStore(tmp_path / "keys", SECRET, hold=token.hold)
    return HeldKeyStore(inner, token, grace=POLICY.handover, clock=clock)


def signed_by(key: Key) -> dict[str, object]:
    """Sign with the key as an issuer does, and verify with the public half."""
    assert not isinstance(key.private, bytes)
    assert key.private is not None
    token = jwt.encode({"sub": "somebody"}, key.private, algorithm=key.alg)
    claims: dict[str, object] = jwt.decode(token, key.public, algorithms=[key.alg])
    return claims


def rotated(store: HeldKeyStore, now: int) -> KeyRing:
    """Take the steps that are due."""
    return store.update(lambda ring: rotate(ring, now, POLICY, store.generate))


@pytest.mark.parametrize("alg", SIGNING_ALGORITHMS)
def test_every_algorithm_is_made_and_signs_in_the_token(token: Pkcs11Token, alg: str) -> None:
    """ES256, EdDSA, PS256 and RS256 verify under the public half, and only the token has more."""
    key = token.generate(alg, NOW)
    assert signed_by(key) == {"sub": "somebody"}
    assert token.kids() == {key.kid}
    token.destroy(key.kid)
    token.destroy(key.kid)
    assert token.kids() == set()
    with pytest.raises(HsmUnavailable, match="does not hold"):
        signed_by(key)


def test_a_key_in_the_token_cannot_be_taken_out(token: Pkcs11Token, hsm: SoftHsm) -> None:
    """It is sensitive and never extractable (PKCS #11 section 4.9), and no copy leaves here."""
    key = token.generate("ES256", NOW)
    lib = pkcs11.lib(str(hsm.module))
    session = lib.get_token(token_label=LABEL).open()
    (found,) = session.get_objects(
        {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY,
            pkcs11.Attribute.LABEL: token._label,
        }
    )
    wanted = ("SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL")
    assert [found[pkcs11.Attribute[name]] for name in wanted] == [True] * 4
    assert found[pkcs11.Attribute.EXTRACTABLE] is False
    with pytest.raises(pkcs11.AttributeSensitive):
        found[pkcs11.Attribute.VALUE]
    private = key.private
    assert not isinstance(private, bytes)
    assert private is not None
    with pytest.raises(ValueError, match="stays in its token"):
        private.private_bytes(None, None, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(private)
    assert copy.deepcopy(private) is private


def test_the_ring_refers_to_the_token(
    store: HeldKeyStore, token: Pkcs11Token, tmp_path: Path
) -> None:
    """Whoever reads the ring with the token signs; without it he is told what is missing."""
    ring = rotated(store, NOW)
    assert token.kids() == {ring.active("ES256").kid}
    again = DirectoryStore(tmp_path / "keys", SECRET, hold=token.hold).load()
    assert signed_by(again.active("ES256")) == {"sub": "somebody"}
    assert again.jwks() == ring.jwks()
    with pytest.raises(UnreadableRing, match="lies in a PKCS#11 token"):
        DirectoryStore(tmp_path / "keys", SECRET).load()


def test_retiring_destroys_the_private_half(
    store: HeldKeyStore, token: Pkcs11Token, clock: Clock
) -> None:
    """Once every issuer has read the new ring, and not before: until then one may still sign."""
    first = rotated(store, NOW).active("ES256")
    due = NOW + POLICY.signing_period
    rotated(store, due - POLICY.lead)
    clock.now = due
    ring = rotated(store, due)
    assert ring.get(first.kid).state is KeyState.RETIRING
    assert first.kid in token.kids()
    assert signed_by(first) == {"sub": "somebody"}
    clock.now = due + POLICY.handover
    store.load()
    assert token.kids() == {ring.active("ES256").kid}


def test_another_process_destroys_what_a_killed_one_left(
    store: HeldKeyStore, token: Pkcs11Token, clock: Clock, tmp_path: Path
) -> None:
    """A ring that says retired is enough: no process has to remember what it owes."""
    first = rotated(store, NOW).active("ES256")
    store.inner.update(
        lambda ring: KeyRing(
            tuple(
                replace(key, state=KeyState.RETIRING, demoted=NOW, gone_at=NOW + 900, private=None)
                if key.kid == first.kid
                else key
                for key in ring.keys
            )
        )
    )
    clock.now = NOW + POLICY.handover
    inner = DirectoryStore(tmp_path / "keys", SECRET, hold=token.hold)
    HeldKeyStore(inner, token, grace=POLICY.handover, clock=clock).load()
    assert token.kids() == set()


def test_a_revoked_key_is_destroyed_at_once(store: HeldKeyStore, token: Pkcs11Token) -> None:
    """And its successor is in the token as well."""
    first = rotated(store, NOW).active("ES256")
    ring = store.update(lambda ring: revoke(ring, first.kid, NOW, POLICY, store.generate))
    assert token.kids() == {ring.active("ES256").kid} != {first.kid}


def test_a_failed_update_leaves_ring_and_keys_as_they_were(
    token: Pkcs11Token, clock: Clock, tmp_path: Path
) -> None:
    """Nothing is destroyed before the ring that gives it up has been written."""
    full = threading.Event()

    def reached(_point: str) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")

    inner = DirectoryStore(tmp_path / "keys", SECRET, hold=token.hold, crash_point=reached)
    store = HeldKeyStore(inner, token, grace=0, clock=clock)
    first = rotated(store, NOW).active("ES256")
    full.set()
    with pytest.raises(KeyStoreError, match="No space"):
        store.update(lambda ring: revoke(ring, first.kid, NOW, POLICY, store.generate))
    assert store.load().active("ES256") == first
    assert signed_by(first) == {"sub": "somebody"}


def test_keys_of_another_ring_are_left_alone(
    store: HeldKeyStore, token: Pkcs11Token, clock: Clock, tmp_path: Path
) -> None:
    """Even under the same label: an empty store set up by mistake destroys nothing."""
    first = rotated(store, NOW).active("ES256")
    other = HeldKeyStore(
        DirectoryStore(tmp_path / "other", SECRET, hold=token.hold), token, grace=0, clock=clock
    )
    second = rotated(other, NOW).active("ES256")
    assert token.kids() == {first.kid, second.kid}


def test_a_token_that_is_taken_away_refuses_and_comes_back(
    store: HeldKeyStore, token: Pkcs11Token, clock: Clock, hsm: SoftHsm
) -> None:
    """The ring stays readable; signing says what is wrong, and works again by itself."""
    key = rotated(store, NOW).active("ES256")
    hsm.take_away()
    try:
        for _ in range(2):
            with pytest.raises(HsmUnavailable) as refused:
                store.check(key)
            assert PIN not in str(refused.value)
            clock.now += COOL_DOWN
        with pytest.raises(HsmUnavailable, match="is it connected"):
            signed_by(key)
        assert store.load().jwks()["keys"]
    finally:
        hsm.put_back()
    with pytest.raises(HsmUnavailable):
        signed_by(key)  # not asked again so soon
    clock.now += COOL_DOWN
    assert signed_by(key) == {"sub": "somebody"}


def test_a_refused_pin_is_not_tried_again(hsm: SoftHsm, clock: Clock) -> None:
    """Tokens lock themselves after a few; and no text shows the PIN."""
    wrong = Pkcs11Token(hsm.module, LABEL, "wrong-pin-3310", "nobody", clock)
    wrong._forget()  # a process that is logged in already is asked for no PIN
    for _ in range(3):
        with pytest.raises(HsmUnavailable, match="refuses hsm_pin") as refused:
            wrong.kids()
        assert "3310" not in f"{refused.value!r}{refused.value}{wrong!r}{vars(refused.value)}"
        clock.now += 10 * COOL_DOWN
    calls: list[str] = []
    wrong._open = lambda token: calls.append("tried")  # type: ignore[assignment, method-assign]
    with pytest.raises(HsmUnavailable):
        wrong.kids()
    assert calls == []


def test_threads_share_the_token(token: Pkcs11Token) -> None:
    """Eight threads sign and make keys at once, each signature under its own key."""
    keys = [token.generate("ES256", NOW), token.generate("EdDSA", NOW)]
    start = threading.Barrier(8)

    def work(number: int) -> int:
        start.wait()
        return sum(
            signed_by(keys[(number + step) % 2]) == {"sub": "somebody"} for step in range(20)
        )

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 160


def test_one_call_at_a_time(token: Pkcs11Token) -> None:
    """The module is initialised without locks of its own (PKCS #11 section 5.4)."""
    together = threading.Barrier(2)

    def meets_another(_session: object) -> bool:
        try:
            together.wait(0.2)
        except threading.BrokenBarrierError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert not any(pool.map(lambda _: token._use(meets_another), range(2)))


def test_forks_share_the_token(token: Pkcs11Token) -> None:
    """A child of a process that has signed, while threads of it sign, signs too."""
    key = token.generate("ES256", NOW)
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [signed_by(key) for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        for _ in range(3):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = 0 if signed_by(key) == {"sub": "somebody"} else 2
                finally:
                    os._exit(code)
            end = time.monotonic() + 20
            while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
                assert time.monotonic() < end
                time.sleep(0.005)
            assert os.waitstatus_to_exitcode(done[1]) == 0
    finally:
        stop.set()
        busy.join()
    assert signed_by(key) == {"sub": "somebody"}


def test_a_module_that_is_none_is_told(tmp_path: Path) -> None:
    """A wrong path or another library is the token's failure, in one line."""
    for path in (tmp_path / "absent.so", Path("/usr/lib/x86_64-linux-gnu/libm.so.6")):
        with pytest.raises(HsmUnavailable):
            Pkcs11Token(path, LABEL, PIN).kids()
