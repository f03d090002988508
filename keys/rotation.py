"""Rotation as a pure function over a ring and a time. No clock, no I/O, no memory of its own."""

from collections.abc import Callable
from dataclasses import replace

from .algorithms import SEALING_ALGORITHM
from .policy import RotationPolicy
from .ring import Key, KeyRing, KeyState, generate

Generate = Callable[[str, int], Key]
"""Makes a pending key for an algorithm, created at a time: `generate` of this package."""


def rotate(
    ring: KeyRing, now: int, policy: RotationPolicy, generate: Generate = generate
) -> KeyRing:
    """Bring the ring to where it should be at `now`; the same object if it is there already.

    Calling again at the same `now` changes nothing. However much time has passed, a key goes one
    state further at most, because the waiting between states is for verifiers and other issuers,
    who were not waiting while nobody rotated. Recorded times are never moved, so that a clock that
    went back only delays: nothing is promoted or dropped until it has caught up.
    """
    first = not ring.keys
    keys = [key for key in ring.keys if key.gone_at is None or now < key.gone_at]
    for alg in policy.all_algorithms:
        # Nobody can have cached an empty set of keys, so only the very first keys need not wait.
        keys = (
            [*keys, _activate(generate(alg, now), now)]
            if first
            else (_advance(keys, alg, now, policy, generate))
        )
    keys = _leave_removed_algorithms(keys, now, policy)
    if len(keys) == len(ring.keys) and all(a is b for a, b in zip(keys, ring.keys, strict=True)):
        return ring
    return KeyRing(tuple(keys))


def rotation_due(ring: KeyRing, now: int, policy: RotationPolicy) -> bool:
    """Whether `rotate` would change the ring, without the cost of making a key."""
    return rotate(ring, now, policy, generate=_placeholder) is not ring


def revoke(
    ring: KeyRing, kid: str, now: int, policy: RotationPolicy, generate: Generate = generate
) -> KeyRing:
    """Remove a compromised key at once; where it was the active one, put a successor in its place.

    The successor does not wait until verifiers have learnt it: they refetch on an unknown `kid`,
    and a stolen key must not sign a second longer. Removal here stops this issuer and whoever
    reads the JWKS afresh; what stops the gateways' cached copies is the denylist.
    Raises UnknownKey.
    """
    revoked = ring.get(kid)
    keys = [key for key in ring.keys if key.kid != kid]
    if revoked.state is KeyState.ACTIVE:
        # A key of an algorithm on its way out (see `_leave_removed_algorithms`) may have been the
        # last that signs: then the algorithm that was to follow starts now.
        alg = revoked.alg if revoked.alg in policy.all_algorithms else policy.algorithms[0]
        if _active(keys, alg) is None:
            successor = _oldest_pending(keys, alg)
            if successor is None:
                keys.append(_activate(generate(alg, now), now))
            else:
                keys[keys.index(successor)] = _activate(successor, now)
    return KeyRing(tuple(keys))


def _advance(
    keys: list[Key], alg: str, now: int, policy: RotationPolicy, generate: Generate
) -> list[Key]:
    """Promote the successor of `alg` if its time has come, and make one if it will come soon."""
    active, pending = _active(keys, alg), _oldest_pending(keys, alg)
    # `activated` is set in every active key; the fall-back only serves the type.
    due = now if active is None else (active.activated or 0) + policy.period(alg)
    if pending is None:
        return [*keys, generate(alg, now)] if now >= due - policy.lead else keys
    if now < due or now < pending.created + policy.lead:
        return keys
    swapped = {pending.kid: _activate(pending, now)}
    if active is not None:
        swapped[active.kid] = _demote(active, now, policy)
    return [swapped.get(key.kid, key) for key in keys]


def _leave_removed_algorithms(keys: list[Key], now: int, policy: RotationPolicy) -> list[Key]:
    """Demote the keys of algorithms that the policy no longer names.

    Unless nothing would be left to sign with: when ES256 gives way to EdDSA, ES256 signs until
    the first EdDSA key has been published for long enough.
    """
    can_sign = any(_active(keys, alg) for alg in policy.algorithms)
    kept = []
    for key in keys:
        if key.alg in policy.all_algorithms or key.state is KeyState.RETIRING:
            kept.append(key)
        elif key.state is KeyState.ACTIVE:
            kept.append(_demote(key, now, policy) if can_sign else key)
        # A pending key has signed nothing, so that nobody misses it.
    return kept


def _activate(key: Key, now: int) -> Key:
    return replace(key, state=KeyState.ACTIVE, activated=now)


def _demote(key: Key, now: int, policy: RotationPolicy) -> Key:
    # The private half goes now: a key that signs nothing more need not be worth stealing. The
    # sealing key is its own opener and stays until its last token has run out.
    return replace(
        key,
        state=KeyState.RETIRING,
        demoted=now,
        gone_at=now + policy.keep(key.alg),
        private=key.private if key.alg == SEALING_ALGORITHM else None,
    )


def _active(keys: list[Key], alg: str) -> Key | None:
    return next((k for k in keys if k.alg == alg and k.state is KeyState.ACTIVE), None)


def _oldest_pending(keys: list[Key], alg: str) -> Key | None:
    return next((k for k in keys if k.alg == alg and k.state is KeyState.PENDING), None)


def _placeholder(alg: str, now: int) -> Key:
    return Key(kid=f"placeholder for {alg}", alg=alg, state=KeyState.PENDING, created=now)
