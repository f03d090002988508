"""Order and repetition do not matter: entries merge by maximum in stores and replicas alike."""

from __future__ import annotations

from harness.denylists import HandClock, Model, Store, contents, held_by, in_minutes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revocation import NEVER, Entry, Kind, Replica

NAMES = ("AAAAAAAAAAAAAAAAAAAAAA", "ann", "bob")

LIFETIMES = st.sampled_from([1, 30, 59, 60, 61, 119, 120, 121, 300, None])

FEW = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Kind, str, int, int | None]:
    """Kind, name, level and lifetime (None: for good) of an entry; few, so that they collide."""
    kind = draw(st.sampled_from(Kind))
    return kind, draw(st.sampled_from(NAMES)), draw(st.integers(1, 4)), draw(LIFETIMES)


@st.composite
def tellings(draw: st.DrawFn) -> list[list[list[tuple[Kind, str, int, int | None]]]]:
    """Some entries told twice over: each telling has them all, some of them several times."""
    base = draw(st.lists(entries(), min_size=1, max_size=8))
    told = []
    for _ in range(2):
        again = draw(st.lists(st.sampled_from(base), max_size=6))
        order = draw(st.permutations(base + again))
        cut = draw(st.integers(1, 5))
        told.append([order[at : at + cut] for at in range(0, len(order), cut)])
    return told


@FEW
@given(tellings())
def test_any_order_and_any_repetition_is_the_same(
    near_store: Store, told: list[list[list[tuple[Kind, str, int, int | None]]]]
) -> None:
    """Store, follower and latecomer hold the plain maximum, whatever came in which order."""
    clock = HandClock()
    for batches in told:
        own = near_store.fresh()
        denylist = own.ready(clock)
        follower, latecomer = (Replica(denylist, clock=clock, wall_clock=clock) for _ in range(2))
        follower.step(block=0)
        model = Model(own.end)
        for batch in batches:
            made = [
                Entry(kind, name, level, NEVER if lifetime is None else clock.after(lifetime))
                for kind, name, level, lifetime in batch
            ]
            denylist.add(made)
            model.add(made)
        denylist.heartbeat(0)
        follower.step(block=0)
        latecomer.step(block=0)
        state = denylist.state()
        expected = model.contents(state.salt)
        assert contents(denylist) == expected
        assert held_by(follower) == held_by(latecomer) == in_minutes(expected)
        for replica in (follower, latecomer):
            assert replica._copy.watermark == state.watermark == model.watermark
