"""redis-py's client of a Cluster, with waiting that is bounded in every thread."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

LAYOUT_WAIT = 0.5
"""Seconds that a failed call waits for the Cluster's new layout."""


class Cluster(RedisCluster):
    """As it is, redis-py repeats what timed out, and reads the layout anew within each failed call.

    It asks every node for it, one after the other and one thread after the other, which takes
    minutes while nodes hang. Here one thread of its own reads it, and a failed call waits for that
    only briefly.
    """

    def __init__(self, **options: Any) -> None:
        """Ask for the layout once, in this thread."""
        # A connection that was cut is made again before it is used, so nothing needs repeating.
        super().__init__(retry=Retry(NoBackoff(), 0), **options)
        self._refreshing = threading.Lock()
        self._refresh: threading.Thread | None = None
        layout: Any = self.nodes_manager
        self._read_layout = layout.initialize
        layout.initialize = self._refresh_layout

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Once more where a connection was refused or cut: the layout has been read anew by then.

        Otherwise each process would fail its first call after a node was replaced. Every command
        of ours may be repeated; one that timed out is not, its caller has waited long enough.
        """
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.ConnectionError:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def determine_slot(self, *args: Any) -> int | None:
        """Finds the keys of what we read by itself.

        redis-py asks its default node for them. Where that node is gone, nothing comes back from
        there that would make it ask for the new layout: a gateway, which only reads, would never
        recover.
        """
        command = str(args[0]).upper()
        if command in {"EVAL_RO", "EVALSHA_RO"}:
            return int(self.keyslot(args[3]))  # type: ignore[no-untyped-call]
        if command == "XREAD":
            key = args[args.index(b"STREAMS") + 1]
            return int(self.keyslot(key))  # type: ignore[no-untyped-call]
        slot: int | None = super().determine_slot(*args)
        return slot

    def _refresh_layout(self, **options: Any) -> None:
        with self._refreshing:
            if self._refresh is None or not self._refresh.is_alive():
                self._refresh = threading.Thread(
                    target=self._try_to_read_layout,
                    args=(options,),
                    name="gatepass-redis-layout",
                    daemon=True,
                )
                self._refresh.start()
            running = self._refresh
        running.join(LAYOUT_WAIT)

    def _try_to_read_layout(self, options: dict[str, Any]) -> None:
        with suppress(Exception):  # the call that failed tells of its own failure
            self._read_layout(**options)
