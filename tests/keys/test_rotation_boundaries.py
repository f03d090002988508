"""Each change of state happens at its second: not one earlier, not one later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keys import (
    SEALING_ALGORITHM,
    InvalidPolicy,
    InvalidRing,
    Key,
    KeyRing,
    KeyState,
    NoActiveKey,
    RotationPolicy,
    UnknownKey,
    generate,
    jwks_cache_control,
    revoke,
    rotate,
    rotation_due,
)

POLICY = RotationPolicy(
    algorithms=("ES256",),
    signing_period=1000,
    sealing_period=700,
    cache_lifetime=100,
    publish_margin=20,
    access_lifetime=50,
    refresh_lifetime=3000,
    leeway=10,
    handover=30,
)
LEAD = 120
START = 10_000
PERIOD = {"ES256": 1000, SEALING_ALGORITHM: 700}
KEEP = {"ES256": 50 + 10 + 30, SEALING_ALGORITHM: 3000 + 10 + 30}
ALGS = ["ES256", SEALING_ALGORITHM]

PENDING, ACTIVE, RETIRING = KeyState.PENDING, KeyState.ACTIVE, KeyState.RETIRING


def first_ring(policy: RotationPolicy = POLICY) -> KeyRing:
    return rotate(KeyRing(), START, policy)


def states(ring: KeyRing, alg: str) -> list[KeyState]:
    return [key.state for key in ring.keys if key.alg == alg]


def test_the_first_keys_are_active_at_once() -> None:
    """An empty ring gets one active key for each algorithm and for sealing."""
    ring = first_ring(replace(POLICY, algorithms=("ES256", "EdDSA")))
    assert [(key.alg, key.state) for key in ring.keys] == [
        ("ES256", ACTIVE),
        ("EdDSA", ACTIVE),
        (SEALING_ALGORITHM, ACTIVE),
    ]
    assert all(key.created == key.activated == START for key in ring.keys)
    assert ring.sealing().alg == SEALING_ALGORITHM
    assert set(ring.verification_keys()) == {key.kid for key in ring.keys[:2]}


@pytest.mark.parametrize("alg", ALGS)
def test_a_successor_is_published_lead_before_it_is_due(alg: str) -> None:
    """The pending key appears exactly `lead` before the active one's period ends."""
    ring = first_ring()
    at = START + PERIOD[alg] - LEAD
    assert states(rotate(ring, at - 1, POLICY), alg) == [ACTIVE]
    for now in (at, at + 1):
        rotated = rotate(ring, now, POLICY)
        assert states(rotated, alg) == [ACTIVE, PENDING]
        assert rotated.keys[-1].created == now


@pytest.mark.parametrize("alg", ALGS)
def test_a_successor_takes_over_when_the_period_ends(alg: str) -> None:
    """A successor made in time becomes active exactly when the period ends."""
    ring = rotate(first_ring(), START + PERIOD[alg] - LEAD, POLICY)
    old = ring.active(alg)
    at = START + PERIOD[alg]
    assert rotate(ring, at - 1, POLICY).active(alg) == old
    for now in (at, at + 1):
        rotated = rotate(ring, now, POLICY)
        assert rotated.active(alg).kid != old.kid
        assert rotated.active(alg).activated == now
        demoted = rotated.get(old.kid)
        assert (demoted.state, demoted.demoted) == (RETIRING, now)
        assert demoted.gone_at == now + KEEP[alg]


@pytest.mark.parametrize("alg", ALGS)
def test_a_late_successor_still_waits_its_lead(alg: str) -> None:
    """A successor made after the period's end is published for the whole lead before it signs."""
    late = START + PERIOD[alg] * 5
    ring = rotate(first_ring(), late, POLICY)
    assert states(ring, alg) == [ACTIVE, PENDING]
    assert states(rotate(ring, late + LEAD - 1, POLICY), alg) == [ACTIVE, PENDING]
    for now in (late + LEAD, late + LEAD + 1):
        assert states(rotate(ring, now, POLICY), alg) == [RETIRING, ACTIVE]


@pytest.mark.parametrize("alg", ALGS)
def test_a_retiring_key_is_gone_at_its_second(alg: str) -> None:
    """A retiring key is there until `gone_at` and absent from then on."""
    ring = rotate(first_ring(), START + PERIOD[alg] - LEAD, POLICY)
    old = ring.active(alg)
    demoted_at = START + PERIOD[alg]
    ring = rotate(ring, demoted_at, POLICY)
    at = demoted_at + KEEP[alg]
    assert rotate(ring, at - 1, POLICY).get(old.kid).state is RETIRING
    for now in (at, at + 1):
        with pytest.raises(UnknownKey):
            rotate(ring, now, POLICY).get(old.kid)


def test_a_retiring_signing_key_has_no_private_half_but_a_sealing_key_keeps_its_secret() -> None:
    """Demotion destroys the private half of a signing key; the sealing key must still open."""
    ring = first_ring()
    for alg in ALGS:
        ring = rotate(ring, START + PERIOD[alg], POLICY)
    ring = rotate(ring, START + 1000 + LEAD, POLICY)
    retiring = {key.alg: key for key in ring.keys if key.state is RETIRING}
    assert retiring["ES256"].private is None
    assert retiring["ES256"].public is not None
    assert isinstance(retiring[SEALING_ALGORITHM].private, bytes)


def test_nothing_due_returns_the_same_object() -> None:
    """A ring that is where it should be comes back as the very same object."""
    ring = first_ring()
    assert rotate(ring, START, POLICY) is ring
    assert not rotation_due(ring, START + 1, POLICY)


def test_rotation_due_makes_no_key_and_agrees_with_rotate() -> None:
    """Whether a rotation is due is known at each boundary without making a key."""
    ring = first_ring()
    for now in range(START, START + 1500, 10):
        due = rotation_due(ring, now, POLICY)
        rotated = rotate(ring, now, POLICY)
        assert due is (rotated is not ring)
        ring = rotated


def test_many_missed_rotations_move_one_state_only() -> None:
    """After years without a tick, the old key signs on until a successor has been published."""
    ring = first_ring()
    now = START + 100_000_000
    ring = rotate(ring, now, POLICY)
    assert states(ring, "ES256") == [ACTIVE, PENDING]
    assert rotate(ring, now, POLICY) is ring
    ring = rotate(ring, now + 100_000_000, POLICY)
    assert states(ring, "ES256") == [RETIRING, ACTIVE]
    assert rotate(ring, now + 100_000_000, POLICY) is ring


def test_a_clock_that_went_back_changes_nothing() -> None:
    """At an earlier time than it has seen, a ring keeps its active key and its dates."""
    ring = rotate(first_ring(), START + 1000 - LEAD, POLICY)
    for now in (START + 500, START, 5, 0, -5):
        assert rotate(ring, now, POLICY) is ring


def test_an_added_algorithm_starts_as_pending() -> None:
    """A new algorithm in a ring that verifiers have cached waits for the lead like any key."""
    both = replace(POLICY, algorithms=("ES256", "EdDSA"))
    ring = rotate(first_ring(), START + 5, both)
    assert states(ring, "EdDSA") == [PENDING]
    with pytest.raises(NoActiveKey) as missing:
        ring.active("EdDSA")
    assert (missing.value.alg, missing.value.code) == ("EdDSA", "no_active_key")
    assert states(rotate(ring, START + 5 + LEAD - 1, both), "EdDSA") == [PENDING]
    assert states(rotate(ring, START + 5 + LEAD, both), "EdDSA") == [ACTIVE]


def test_a_removed_algorithm_is_demoted_at_once() -> None:
    """An algorithm that left the policy retires its active key and drops its pending one."""
    both = replace(POLICY, algorithms=("ES256", "EdDSA"))
    ring = rotate(first_ring(both), START + 1000 - LEAD, both)
    assert states(ring, "EdDSA") == [ACTIVE, PENDING]
    ring = rotate(ring, START + 900, POLICY)
    assert states(ring, "EdDSA") == [RETIRING]
    assert states(rotate(ring, START + 900 + KEEP["ES256"], POLICY), "EdDSA") == []


def test_replacing_the_only_algorithm_leaves_no_moment_without_a_signing_key() -> None:
    """ES256 signs until the first EdDSA key may, and is demoted in the same second."""
    ed = replace(POLICY, algorithms=("EdDSA",))
    ring = rotate(first_ring(), START + 5, ed)
    assert (states(ring, "ES256"), states(ring, "EdDSA")) == ([ACTIVE], [PENDING])
    ring = rotate(ring, START + 5 + LEAD - 1, ed)
    assert (states(ring, "ES256"), states(ring, "EdDSA")) == ([ACTIVE], [PENDING])
    ring = rotate(ring, START + 5 + LEAD, ed)
    assert (states(ring, "ES256"), states(ring, "EdDSA")) == ([RETIRING], [ACTIVE])


def test_revoking_the_active_key_puts_its_pending_successor_in_place() -> None:
    """A revoked active key is gone in the same second and its successor signs without waiting."""
    ring = rotate(first_ring(), START + 1000 - LEAD, POLICY)
    old, pending = (key for key in ring.keys if key.alg == "ES256")
    revoked = revoke(ring, old.kid, START + 1000 - LEAD, POLICY)
    assert revoked.active("ES256").kid == pending.kid
    assert revoked.active("ES256").activated == START + 1000 - LEAD
    with pytest.raises(UnknownKey):
        revoked.get(old.kid)
    assert rotate(revoked, START + 1000 - LEAD, POLICY) is revoked


@pytest.mark.parametrize("alg", ALGS)
def test_revoking_the_only_key_makes_a_fresh_active_one(alg: str) -> None:
    """Without a pending successor a fresh key becomes active at once."""
    ring = first_ring()
    old = ring.active(alg)
    revoked = revoke(ring, old.kid, START + 1, POLICY)
    assert revoked.active(alg).kid != old.kid
    assert (revoked.active(alg).created, revoked.active(alg).activated) == (START + 1, START + 1)
    assert len(revoked.keys) == len(ring.keys)


def test_revoking_a_key_that_does_not_sign_removes_just_it() -> None:
    """A pending or retiring key that is revoked leaves the others as they are."""
    ring = rotate(first_ring(), START + 1000 - LEAD, POLICY)
    pending = next(k for k in ring.keys if k.state is PENDING and k.alg == "ES256")
    assert revoke(ring, pending.kid, START + 1000 - LEAD, POLICY).keys == tuple(
        key for key in ring.keys if key != pending
    )
    ring = rotate(ring, START + 1000, POLICY)
    retiring = next(k for k in ring.keys if k.state is RETIRING and k.alg == "ES256")
    assert retiring not in revoke(ring, retiring.kid, START + 1001, POLICY).keys


def test_revoking_the_last_key_of_a_removed_algorithm_starts_the_next_at_once() -> None:
    """Where the revoked key was all that signed, the policy's algorithm takes over unwaited."""
    ed = replace(POLICY, algorithms=("EdDSA",))
    ring = rotate(first_ring(), START + 5, ed)
    ring = revoke(ring, ring.active("ES256").kid, START + 6, ed)
    assert states(ring, "ES256") == []
    assert states(ring, "EdDSA") == [ACTIVE]


def test_revoking_an_unknown_key_says_so() -> None:
    """A key id that the ring does not hold is an error, not a silent success."""
    with pytest.raises(UnknownKey) as missing:
        revoke(first_ring(), "nobody", START, POLICY)
    assert (missing.value.kid, missing.value.code) == ("nobody", "unknown_key")


def test_a_ring_refuses_two_active_keys_and_a_kid_twice() -> None:
    """No ring can be built that has two keys signing, or two keys under one id."""
    key = generate("ES256", 0)
    with pytest.raises(InvalidRing):
        KeyRing((key, key))
    active = [replace(generate("ES256", 0), state=ACTIVE, activated=0) for _ in range(2)]
    with pytest.raises(InvalidRing):
        KeyRing(tuple(active))


def test_the_cache_header_promises_what_the_policy_keeps() -> None:
    """The JWKS may be cached for exactly the policy's `cache_lifetime`."""
    assert jwks_cache_control(POLICY) == "public, max-age=100"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("algorithms", ()),
        ("algorithms", ["ES256"]),
        ("algorithms", ("ES256", "ES256")),
        ("algorithms", ("HS256",)),
        ("algorithms", ("A256GCM",)),
        ("signing_period", 0),
        ("signing_period", LEAD),
        ("signing_period", 1000.0),
        ("sealing_period", LEAD),
        ("sealing_period", True),
        ("cache_lifetime", -1),
        ("publish_margin", "60"),
        ("publish_margin", 0),
        ("access_lifetime", 0),
        ("refresh_lifetime", 0),
        ("leeway", -1),
        ("handover", None),
    ],
)
def test_a_policy_that_cannot_work_is_refused(setting: str, value: object) -> None:
    """A wrong setting is refused by name."""
    with pytest.raises(InvalidPolicy) as refused:
        replace(POLICY, **{setting: value})  # type: ignore[arg-type]
    assert refused.value.setting == setting
    assert setting in str(refused.value)


def test_a_policy_that_would_keep_thousands_of_keys_is_refused() -> None:
    """Periods too short for the lifetimes are refused instead of growing the ring for ever."""
    with pytest.raises(InvalidPolicy) as refused:
        replace(POLICY, refresh_lifetime=10_000_000)
    assert refused.value.setting == "sealing_period"
    with pytest.raises(InvalidPolicy) as refused:
        replace(POLICY, access_lifetime=10_000_000)
    assert refused.value.setting == "signing_period"


def test_the_shortest_allowed_period_is_idempotent() -> None:
    """A period one second longer than the lead still changes one thing at a time."""
    policy = replace(POLICY, signing_period=LEAD + 1, sealing_period=LEAD + 1)
    ring = KeyRing()
    for now in range(START, START + 1000):
        ring = rotate(ring, now, policy)
        assert rotate(ring, now, policy) is ring


def test_a_generator_can_be_given() -> None:
    """`rotate` makes keys through the function it is given, with algorithm and time."""
    made: list[tuple[str, int]] = []

    def counting(alg: str, now: int) -> Key:
        made.append((alg, now))
        return generate(alg, now)

    rotate(KeyRing(), START, POLICY, generate=counting)
    assert made == [("ES256", START), (SEALING_ALGORITHM, START)]
