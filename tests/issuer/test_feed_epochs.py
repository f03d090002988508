"""Whoever follows a new epoch is sent nothing of the one before."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator

import pytest
from harness.feed_server import ISSUER

from issuer.feed import FeedHub, FeedSigner
from keys import generate
from revocation import Denylist, Entry, open_denylist

KEY = generate("ES256", 0)


@pytest.fixture
def denylist() -> Iterator[Denylist]:
    """One that is ready, and as long as `LONG` items."""
    opened = open_denylist(f"memory://{secrets.token_hex(8)}")
    opened.initialise(0)
    opened.mark_ready()
    yield opened
    opened.close()


def test_a_hub_that_is_still_in_the_epoch_before_sends_none_of_it(denylist: Denylist) -> None:
    """Its numbers may be higher; they say nothing in the new epoch, which begins anew."""
    hub = FeedHub(denylist, FeedSigner(ISSUER, lambda: KEY, time.time), streams=1)
    before = denylist.state().position
    for _ in range(9):
        denylist.add([Entry.session(secrets.token_urlsafe(16), int(time.time()) + 300)])
    hub._begin_anew(before)
    hub._take(before, denylist.tail(before, 0))
    denylist.replace(watermark=0)
    start = denylist.mark_ready()
    denylist.heartbeat(0)
    stream = hub.open(start)
    sent = list(itertools.islice(stream, 20))
    stream.close()
    assert sent[0] == b":\n\n"
    epochs = [start.epoch.encode() in event for event in sent[1:]]
    assert epochs == [True]
