"""Whatever happens when, rotation keeps its promises; and this test would notice if it did not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jwt
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keys import (
    SEALING_ALGORITHM,
    InvalidRing,
    Key,
    KeyRing,
    KeyState,
    NoActiveKey,
    RotationPolicy,
    UnknownKey,
    generate,
    rotate,
)

Rotate = Callable[[KeyRing, int, RotationPolicy], KeyRing]
ACTIVE, RETIRING = KeyState.ACTIVE, KeyState.RETIRING


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that a verifier must accept while its own clock is before `dead_at`."""

    kid: str
    dead_at: int
    text: str | None


class Rotation(RuleBasedStateMachine):
    """An issuer rotates whenever it likes, by a clock that may fall behind but never runs ahead.

    `real` is the time of the verifiers, whose clocks are right. `behind` is how far the issuer's
    clock has gone back so far. A clock that jumps ahead shortens every wait in the world, and no
    function of a time alone can know; so that is not among the moves.
    """

    rotate: ClassVar[Rotate] = staticmethod(rotate)

    @initialize(
        algorithms=st.sampled_from([("ES256",), ("EdDSA",), ("EdDSA", "ES256")]),
        cache_lifetime=st.integers(0, 40),
        publish_margin=st.integers(1, 10),
        extra=st.tuples(st.integers(1, 200), st.integers(1, 200)),
        access_lifetime=st.integers(1, 60),
        refresh_lifetime=st.integers(1, 400),
        leeway=st.integers(0, 10),
        handover=st.integers(0, 20),
        good_clock=st.booleans(),
    )
    def begin(
        self,
        algorithms: tuple[str, ...],
        extra: tuple[int, int],
        cache_lifetime: int,
        publish_margin: int,
        good_clock: bool,
        **others: int,
    ) -> None:
        lead = cache_lifetime + publish_margin
        self.policy = RotationPolicy(
            algorithms=algorithms,
            signing_period=lead + extra[0],
            sealing_period=lead + extra[1],
            cache_lifetime=cache_lifetime,
            publish_margin=publish_margin,
            **others,
        )
        self.real, self.behind = 1_000, 0
        self.good_clock = good_clock
        self.ring = type(self).rotate(KeyRing(), self.clock, self.policy)
        self.first_kids = {key.kid for key in self.ring.keys}
        self.published_at = dict.fromkeys(self.first_kids, self.real)
        # The longest-living token of each key: where it verifies, the others do.
        self.signed: dict[str, Issued] = {}
        # What another issuer still holds, and since when it is out of date.
        self.older: list[tuple[int, KeyRing]] = []

    @property
    def clock(self) -> int:
        return self.real - self.behind

    # --- moves -------------------------------------------------------------------------------

    @rule(data=st.data(), rotates=st.booleans())
    def time_passes(self, data: st.DataObject, rotates: bool) -> None:
        """Often to a boundary, or one second beside it."""
        policy, keys = self.policy, self.ring.keys
        ends = [k.gone_at for k in keys if k.gone_at is not None]
        ends += [k.created + policy.lead for k in keys if k.state is KeyState.PENDING]
        for key in keys:
            if key.state is ACTIVE and key.activated is not None:
                due = key.activated + policy.period(key.alg)
                ends += [due, due - policy.lead]
        steps = [1, *(end - self.clock + off for end in ends for off in (-1, 0, 1))]
        step = data.draw(
            st.sampled_from([s for s in steps if s > 0]) | st.integers(1, 3000), label="seconds"
        )
        self.wait_until(self.real + step)
        if rotates:
            self.rotates()

    def wait_until(self, real: int) -> None:
        self.real = real
        self.signed = {k: t for k, t in self.signed.items() if real < t.dead_at}
        self.older = [(at, r) for at, r in self.older if real <= at + self.policy.handover]

    @precondition(lambda self: not self.good_clock)
    @rule(seconds=st.integers(1, 500))
    def clock_goes_back(self, seconds: int) -> None:
        """The issuer's clock alone; the world's goes on."""
        self.behind += seconds

    @rule()
    def rotates(self) -> None:
        """Twice at one time is once; the ring changes by states only."""
        before = self.ring
        self.ring = type(self).rotate(before, self.clock, self.policy)
        assert type(self).rotate(self.ring, self.clock, self.policy) is self.ring
        for key in self.ring.keys:
            self.published_at.setdefault(key.kid, self.real)
        assert all(key.gone_at is None or self.clock < key.gone_at for key in self.ring.keys)
        if self.ring is not before:
            self.older.append((self.real, before))
            self.wait_until(self.real)
            self.signs()
        self.nothing_is_overdue()

    @rule()
    def signs(self) -> None:
        """With every active key, for the whole lifetime that a token may have."""
        for alg in self.policy.all_algorithms:
            self.issue(self.ring.active(alg))

    @precondition(lambda self: self.older)
    @rule(data=st.data(), latest=st.booleans())
    def another_issuer_signs_with_the_ring_it_still_holds(
        self, data: st.DataObject, latest: bool
    ) -> None:
        """Up to `handover` after the ring was replaced, often at that very second."""
        at, ring = data.draw(st.sampled_from(self.older))
        if latest:
            self.wait_until(at + self.policy.handover)
        for alg in self.policy.all_algorithms:
            self.issue(ring.active(alg))

    @precondition(lambda self: self.signed)
    @rule(data=st.data())
    def rotates_in_the_last_second_of_a_token(self, data: st.DataObject) -> None:
        """The moment at which a key that is dropped too early is missed."""
        token = data.draw(st.sampled_from(list(self.signed.values())))
        self.wait_until(token.dead_at - 1)
        self.rotates()
        self.accepts(token)

    def issue(self, key: Key) -> None:
        if key.kid not in self.first_kids:
            waited = self.real - self.published_at[key.kid]
            assert waited >= self.policy.lead, "signed before every verifier could know it"
        policy, text = self.policy, None
        sealing = key.alg == SEALING_ALGORITHM
        if not sealing:
            private: Any = key.private
            text = jwt.encode({"sub": "a"}, private, key.alg, {"kid": key.kid})
        lifetime = policy.refresh_lifetime if sealing else policy.access_lifetime
        self.signed[key.kid] = Issued(key.kid, self.real + lifetime + policy.leeway, text)

    def accepts(self, token: Issued) -> None:
        key = self.ring.get(token.kid)
        if token.text is None:
            assert isinstance(key.private, bytes)
        else:
            public: Any = self.ring.verification_keys()[token.kid].public
            assert jwt.decode(token.text, public, [key.alg]) == {"sub": "a"}

    # --- promises ----------------------------------------------------------------------------

    def nothing_is_overdue(self) -> None:
        """A key that is due has a successor under way; none waits longer than it must."""
        for alg in self.policy.all_algorithms:
            active = self.ring.active(alg)
            pending = [k for k in self.ring.keys if k.alg == alg and k.state is KeyState.PENDING]
            assert len(pending) <= 1
            assert active.activated is not None
            due = active.activated + self.policy.period(alg)
            if self.clock >= due - self.policy.lead:
                assert pending
            if pending and self.clock >= due:
                assert self.clock < pending[0].created + self.policy.lead

    @invariant()
    def exactly_one_key_signs(self) -> None:
        """For each algorithm and for sealing, at every moment."""
        for alg in self.policy.all_algorithms:
            active = [k for k in self.ring.keys if k.alg == alg and k.state is ACTIVE]
            assert len(active) == 1

    @invariant()
    def whatever_was_signed_has_its_key(self) -> None:
        """Until its `exp` and the leeway are over."""
        for token in self.signed.values():
            key = self.ring.get(token.kid)
            assert key.public is not None or isinstance(key.private, bytes)

    @invariant()
    def private_halves_are_where_they_belong(self) -> None:
        """Gone from a retiring signing key, there in every other."""
        for key in self.ring.keys:
            gone = key.state is RETIRING and key.alg != SEALING_ALGORITHM
            assert (key.private is None) is gone

    @invariant()
    def the_jwks_is_the_ring(self) -> None:
        """All three states are published, the sealing keys never."""
        published = [jwk["kid"] for jwk in self.ring.jwks()["keys"]]
        assert published == [k.kid for k in self.ring.keys if k.alg != SEALING_ALGORITHM]


SETTINGS = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_rotation_keeps_its_promises() -> None:
    """No sequence of waits, rotations, signatures and clocks set back breaks a verifier."""
    run_state_machine_as_test(Rotation, settings=SETTINGS)


# --- the same test against rotations that are wrong ----------------------------------------------


def promotes_a_second_early(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    # A second is taken from the sum, since neither part need have one to spare.
    if policy.publish_margin > 1:
        policy = replace(policy, publish_margin=policy.publish_margin - 1)
    elif policy.cache_lifetime > 0:
        policy = replace(policy, cache_lifetime=policy.cache_lifetime - 1)
    return rotate(ring, now, policy)


def drops_a_second_early(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    rotated = rotate(ring, now, policy)
    kept = tuple(k for k in rotated.keys if k.gone_at is None or now < k.gone_at - 1)
    return rotated if len(kept) == len(rotated.keys) else KeyRing(kept)


def forgets_the_leeway(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    return rotate(ring, now, replace(policy, leeway=0))


def forgets_the_handover(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    return rotate(ring, now, replace(policy, handover=0))


def keeps_sealing_keys_as_briefly_as_signing_keys(
    ring: KeyRing, now: int, policy: RotationPolicy
) -> KeyRing:
    return rotate(ring, now, replace(policy, refresh_lifetime=policy.access_lifetime))


def keeps_the_private_half(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    rotated = rotate(ring, now, policy)
    before = {key.kid: key for key in ring.keys}
    if rotated is ring:
        return ring
    return KeyRing(
        tuple(
            replace(k, private=before[k.kid].private) if k.kid in before else k
            for k in rotated.keys
        )
    )


def destroys_the_sealing_secret(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    rotated = rotate(ring, now, policy)
    if rotated is ring:
        return ring
    return KeyRing(
        tuple(replace(k, private=None) if k.state is RETIRING else k for k in rotated.keys)
    )


def does_not_demote(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    rotated = rotate(ring, now, policy)
    before = {key.kid: key for key in ring.keys}
    if rotated is ring:
        return ring
    return KeyRing(
        tuple(before[k.kid] if k.state is RETIRING and k.kid in before else k for k in rotated.keys)
    )


def backdates_a_new_key(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    rotated = rotate(ring, now, policy)
    born = {key.kid for key in rotated.keys} - {key.kid for key in ring.keys}
    if not ring.keys or not born:
        return rotated
    return rotate(ring, now, policy, lambda alg, at: replace(generate(alg, at), created=0))


def follows_a_clock_that_went_back(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    moved = tuple(
        replace(k, gone_at=min(k.gone_at, now + 1)) if k.gone_at else k for k in ring.keys
    )
    return rotate(ring if moved == ring.keys else KeyRing(moved), now, policy)


def makes_a_key_each_time(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    rotated = rotate(ring, now, policy)
    return KeyRing((*rotated.keys, generate(policy.algorithms[0], now))) if ring.keys else rotated


def never_promotes(ring: KeyRing, now: int, policy: RotationPolicy) -> KeyRing:
    rotated = rotate(ring, now, policy)
    return rotated if len(rotated.keys) != len(ring.keys) else ring


@pytest.mark.parametrize(
    "mutant",
    [
        promotes_a_second_early,
        drops_a_second_early,
        forgets_the_leeway,
        forgets_the_handover,
        keeps_sealing_keys_as_briefly_as_signing_keys,
        keeps_the_private_half,
        destroys_the_sealing_secret,
        does_not_demote,
        backdates_a_new_key,
        follows_a_clock_that_went_back,
        makes_a_key_each_time,
        never_promotes,
    ],
)
def test_a_wrong_rotation_is_caught(mutant: Rotate) -> None:
    """The test above fails for a rotation that is wrong in one respect."""

    class Wrong(Rotation):
        rotate = staticmethod(mutant)

    with pytest.raises((AssertionError, InvalidRing, NoActiveKey, UnknownKey, KeyError)):
        run_state_machine_as_test(
            Wrong,
            settings=settings(
                SETTINGS, max_examples=400, phases=[Phase.generate], derandomize=True
            ),
        )
