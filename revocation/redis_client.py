"""Connections to Redis, and the Lua scripts that run there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from .denylist import REDIS_SCHEMES
from .errors import DenylistUnavailable
from .redis_circuit import CircuitOpen, Circuits

CONNECT_TIMEOUT = 1.0
ANSWER_TIMEOUT = 2.0
"""Seconds. Every script of ours takes well below a millisecond; two seconds is a sick server."""


_SENTINEL_SCHEMES = frozenset({"redis+sentinel", "rediss+sentinel"})
_CLUSTER_SCHEMES = frozenset({"redis+cluster", "rediss+cluster"})

_SENTINEL_PORT = 26379
_REDIS_PORT = 6379


def connect(url: str) -> redis.Redis:
    """A client with bounded waiting and few retries: every caller can answer 503.

    `redis://`, `rediss://`, `unix://`; `redis+sentinel://[user:password@]host:port,.../service`
    follows the master that the sentinels name; `redis+cluster://host:port,...` spreads by hash tag.
    The query takes redis-py's options. Raises `ValueError` for a URL that names no server or has an
    unknown option, and `DenylistUnavailable` where a cluster does not answer, which must be asked
    for its layout first.
    """
    scheme = url.partition("://")[0]
    if scheme in _SENTINEL_SCHEMES:
        return _sentinel_master(url)
    if scheme in _CLUSTER_SCHEMES:
        return _cluster(url)
    if scheme not in REDIS_SCHEMES:
        raise ValueError("no scheme of a Redis")
    client = redis.Redis.from_url(url, **_bounded())
    _check_options(client)
    return client


def check_url(url: str) -> None:
    """Whether `connect` would take this URL, told without connecting. Raises `ValueError`."""
    if url.partition("://")[0] in _CLUSTER_SCHEMES:
        _several(url, _REDIS_PORT)
    else:
        connect(url).close()


def _check_options(client: redis.Redis) -> None:
    pool = client.connection_pool
    try:
        # Not connected yet: it only looks whether the options are known.
        connection = pool.connection_class(**pool.connection_kwargs)
    except TypeError:
        raise ValueError("an unknown option") from None
    if getattr(connection, "path", None) == "":
        raise ValueError("a unix socket without a path")


def _bounded() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": ANSWER_TIMEOUT,
        # A connection that is refused or cut may be good the next moment. A server that stays
        # silent is not asked twice: whoever waits has waited long enough.
        "retry": Retry(
            ExponentialWithJitterBackoff(cap=0.2, base=0.02),
            retries=2,
            supported_errors=(redis.ConnectionError,),
        ),
        "health_check_interval": 30,
        "protocol": 2,
        "decode_responses": False,
    }


def _several(url: str, default_port: int) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """The hosts, the path and redis-py's options of a URL with several hosts."""
    scheme, _, rest = url.partition("://")
    location, _, query = rest.partition("?")
    netloc, _, path = location.partition("/")
    credentials, _, hosts = netloc.rpartition("@")
    # redis-py reads everything but the hosts from a URL of its own form.
    prefix = f"{credentials}@" if credentials else ""
    plain = f"{scheme.partition('+')[0]}://{prefix}localhost/?{query}"
    options = dict(redis.connection.parse_url(plain))  # type: ignore[no-untyped-call]
    found = [_host(part, default_port) for part in hosts.split(",")]
    options.pop("host", None)
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    return found, path, options


def _host(text: str, default_port: int) -> tuple[str, int]:
    split = urlsplit(f"//{text}")
    if split.hostname is None:
        raise ValueError("no host")
    return split.hostname, split.port or default_port


def _sentinel_master(url: str) -> redis.Redis:
    hosts, service, options = _several(url, _SENTINEL_PORT)
    if not service:
        raise ValueError("no name of a service")
    # Sentinels get the timeouts and TLS, but not the credentials of the servers behind them.
    own = {name: value for name, value in options.items() if name.startswith("ssl")}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        hosts,
        sentinel_kwargs={
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_timeout": ANSWER_TIMEOUT,
            **own,
        },
    )
    master = sentinel.master_for(  # type: ignore[no-untyped-call]
        service, **{**_bounded(), **options}
    )
    return cast("redis.Redis", master)


class _Cluster(RedisCluster):
    """Finds the keys of what we read by itself.

    redis-py asks its default node for them. Where that node is gone, nothing comes back from there
    that would make it ask for the new layout: a gateway, which only reads, would never recover.
    """

    def determine_slot(self, *args: Any) -> int | None:
        command = str(args[0]).upper()
        if command in {"EVAL_RO", "EVALSHA_RO"}:
            return int(self.keyslot(args[3]))  # type: ignore[no-untyped-call]
        if command == "XREAD":
            key = args[args.index(b"STREAMS") + 1]
            return int(self.keyslot(key))  # type: ignore[no-untyped-call]
        slot: int | None = super().determine_slot(*args)
        return slot


def _cluster(url: str) -> redis.Redis:
    hosts, _, options = _several(url, _REDIS_PORT)
    nodes = [ClusterNode(*host) for host in hosts]  # type: ignore[no-untyped-call]
    settings = {**_bounded(), **options}
    settings.pop("health_check_interval")
    with unavailable_as(DenylistUnavailable):
        client = _Cluster(startup_nodes=nodes, **settings)
    # The commands that we use are the same; the class is another branch of redis-py's tree.
    return cast("redis.Redis", client)


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
    except CircuitOpen:
        raise error("Redis has failed several times in a row and was not asked again yet") from None
    except (redis.RedisError, RedisClusterException) as cause:
        raise error(f"Redis does not answer: {type(cause).__name__}") from cause
    except OSError as cause:
        raise error(f"Redis cannot be reached: {os.strerror(cause.errno or 0)}") from cause


class Link:
    """How one store talks to its Redis: every failure is one error, and a sick server fails fast.

    Callers retry later; what they are told is 503 with `Retry-After`.
    """

    def __init__(
        self, client: redis.Redis, error: Callable[[str], Exception], circuits: Circuits | None
    ) -> None:
        self._client = client
        self._error = error
        self._circuits = circuits or Circuits()

    @contextmanager
    def use(self, key: str, *, patient: bool = False) -> Iterator[None]:
        """Around a question about `key`; `patient` if it waits by its nature."""
        circuit = self._circuits.of(self._client, key)
        with unavailable_as(self._error), circuit.asking(patient=patient):
            yield


class ReadScript:
    """A Lua script that writes nothing: a read replica runs it, and a reader's account may."""

    def __init__(self, client: redis.Redis, source: str) -> None:
        self._client: Any = client
        self._source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return self._client.evalsha_ro(self._sha, len(keys), *keys, *args)
        except redis.exceptions.NoScriptError:
            return self._client.eval_ro(self._source, len(keys), *keys, *args)
