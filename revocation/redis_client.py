"""Connections to Redis, and the Lua scripts that run there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from .errors import DenylistUnavailable

CONNECT_TIMEOUT = 1.0
ANSWER_TIMEOUT = 2.0
"""Seconds. Every script of ours takes well below a millisecond; two seconds is a sick server."""


def connect(url: str) -> redis.Redis:
    """A client for `redis://`, `rediss://` or `unix://` with bounded waiting.

    Connecting is lazy. Retries are few, since every caller can answer 503 and be asked again.
    Raises `ValueError` for a URL that names no server or has an unknown option.
    """
    client = redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=ANSWER_TIMEOUT,
        retry=Retry(ExponentialWithJitterBackoff(cap=0.2, base=0.02), retries=2),
        health_check_interval=30,
        protocol=2,
        decode_responses=False,
    )
    pool = client.connection_pool
    try:
        # Not connected yet: it only looks whether the options are known.
        connection = pool.connection_class(**pool.connection_kwargs)
    except TypeError:
        raise ValueError("an unknown option") from None
    if getattr(connection, "path", None) == "":
        raise ValueError("a unix socket without a path")
    return client


def evicting_policy(url: str) -> str | None:
    """The server's eviction policy if it may drop our keys, None if it may not or does not say.

    A server that refuses `CONFIG` (a managed one) does not say. Raises `DenylistUnavailable`.
    """
    with unavailable_as(DenylistUnavailable), connect(url) as client:
        try:
            answer: Any = client.config_get("maxmemory-policy")
        except redis.ResponseError:
            return None
    policy = str(answer.get("maxmemory-policy", "noeviction"))
    return None if policy == "noeviction" else policy


def load_script(package: str, name: str) -> str:
    """The text of `lua/NAME.lua` in a package."""
    return resources.files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")


@contextmanager
def unavailable_as(error: Callable[[str], Exception]) -> Iterator[None]:
    """Turn every way in which Redis fails into one error of ours, without its address."""
    try:
        yield
    except redis.RedisError as cause:
        raise error(f"Redis does not answer: {type(cause).__name__}") from cause
    except OSError as cause:
        raise error(f"Redis cannot be reached: {os.strerror(cause.errno or 0)}") from cause
