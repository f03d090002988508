"""A master, its replica, and a sentinel that watches both."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import Self

import redis
from harness.processes import Process, free_port, require_binary, short_directory, until
from harness.redis_server import RedisServer

SERVICE = "gatepass"
DOWN_AFTER = 2000
"""Milliseconds after which the sentinel gives a silent server up: a busy machine must not look
like a lost one, whose data may be gone."""
FAILOVER_TIMEOUT = 3000
"""Milliseconds that one attempt may take; the next follows after twice as many."""
TILT_PERIOD = 1000
"""Milliseconds for which it does nothing after the machine stood still for two seconds.

Its own half a minute is there for servers whose clocks step.
"""


class RedisSentinel:
    """One pair on loopback, watched; entered, the replica is in step and known."""

    def __init__(self) -> None:
        self.directory = short_directory("gp-sentinel-")
        self.master = RedisServer(tcp=True)
        self.replica = RedisServer(tcp=True)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            stack.enter_context(self.master)
            stack.enter_context(self.replica)
            assert self.master.port is not None
            self.replica.follow(self.master.port)
            self._sentinel(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _sentinel(self, stack: ExitStack) -> None:
        self.port = free_port()
        config = self.directory / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT}\n"
        )
        binary = require_binary("redis-server", "redis-server")
        self._watcher = stack.enter_context(Process([binary, str(config), "--sentinel"]))
        asked = redis.Redis(port=self.port, socket_timeout=2)
        for _ in until(30, "the sentinel to know the replica"):
            if _knows_replica(asked):
                break
        asked.execute_command("SENTINEL", "DEBUG", "tilt-period", TILT_PERIOD)
        asked.close()

    @property
    def url(self) -> str:
        """The address that leads to whoever is the master."""
        return f"redis+sentinel://127.0.0.1:{self.port}/{SERVICE}"

    # --- faults ------------------------------------------------------------------------------

    def hold_replica_back(self) -> None:
        """Nothing that the master takes from now on reaches the replica."""
        self.replica.pause()
        # Cut from the master's side: what lies in the socket of a stopped process is still read.
        self.master.client().client_kill_filter(_type="replica")

    def lose_master(self) -> None:
        """The master dies, and the replica goes on from where it stands."""
        self.master.kill()
        self.replica.resume()

    def cut_off_master(self) -> None:
        """Nobody gets to the master any more but by its unix socket."""
        with redis.Redis.from_url(self.master.unix_url) as client:
            client.config_set("port", 0)
            client.client_kill_filter(laddr=f"127.0.0.1:{self.master.port}")

    def wait_promoted(self) -> None:
        """Wait until the replica is the master, and the sentinel sends everybody there."""
        asked = self.replica.client()
        with redis.Redis(port=self.port, socket_timeout=2, decode_responses=True) as sentinel:

            def is_promoted() -> bool:
                try:
                    role = asked.info("replication")["role"]
                except redis.ConnectionError:
                    return False  # a sentinel cuts every connection of the server that it promotes
                told = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return role == "master" and int(told[1]) == self.replica.port

            self._watcher.wait_until(is_promoted, "the failover", timeout=60)

    def return_master(self) -> None:
        """The old master comes back, as a replica of its successor."""
        self.master.start()
        assert self.replica.port is not None
        self.master.follow(self.replica.port)

    def swap(self) -> None:
        """Call each by what it has become."""
        self.master, self.replica = self.replica, self.master


def _knows_replica(sentinel: redis.Redis) -> bool:
    """Whether the sentinel has found the replica, which it needs for a failover."""
    try:
        found = sentinel.execute_command("SENTINEL", "REPLICAS", SERVICE)
    except redis.RedisError:
        return False
    return bool(found)
