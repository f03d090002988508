"""Connections to Redis, and the Lua scripts that run there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import AbstractBackoff, NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ReadOnlyError, RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from .denylist import REDIS_SCHEMES
from .errors import DenylistUnavailable
from .jitter import jittered
from .reasons import reason_of
from .redis_circuit import CircuitOpen, Circuits
from .redis_cluster import Cluster

CONNECT_TIMEOUT = 1.0
ANSWER_TIMEOUT = 2.0
"""Seconds. Every script of ours takes well below a millisecond; two seconds is a sick server."""
SENTINEL_TIMEOUT = 0.5
"""Seconds to connect to a sentinel, and as many to hear from it; the next one is asked then."""
RETRY_WITHIN = 0.5
"""Seconds from a call's beginning, after which what fails is not tried again."""
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.15

_SENTINEL_SCHEMES = frozenset({"redis+sentinel", "rediss+sentinel"})
_CLUSTER_SCHEMES = frozenset({"redis+cluster", "rediss+cluster"})

_SENTINEL_PORT = 26379
_REDIS_PORT = 6379

_SENTINEL_LOGIN = {"sentinel_username": "username", "sentinel_password": "password"}
"""Options of a URL for the sentinels themselves."""


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
    client = redis.Redis.from_url(url, **_bounded(tls=scheme == "rediss"))
    _check_options(client)
    return client


def check_url(url: str) -> None:
    """Whether `connect` would take this URL, told without connecting. Raises `ValueError`."""
    if url.partition("://")[0] in _CLUSTER_SCHEMES:
        _cluster_parts(url)
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


class _BriefRetry(Retry):
    """Retries while little time has passed: where each attempt is slow, one is enough."""

    __hash__ = Retry.__hash__

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 - redis-py's signature
    ) -> Any:
        end = time.monotonic() + RETRY_WITHIN

        def in_time(error: Exception) -> bool:
            return time.monotonic() < end and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, in_time, with_failure_count)


class _Backoff(AbstractBackoff):
    """Twice as long after each failure. (redis-py's own jitter is the same in forked processes.)"""

    def compute(self, failures: int) -> float:
        return jittered(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**failures))


def _bounded(*, tls: bool) -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": ANSWER_TIMEOUT,
        # A connection that is refused or cut may be good the next moment. A server that stays
        # silent is not asked twice: whoever waits has waited long enough.
        "retry": _BriefRetry(
            _Backoff(),
            retries=2,
            supported_errors=(redis.ConnectionError,),
        ),
        **_few_words(tls=tls),
    }


def _few_words(*, tls: bool) -> dict[str, Any]:
    # No HELLO and no CLIENT SETINFO: each is another wait. But on a TLS connection something must
    # be said, or redis-py takes the server's session tickets for an answer that nobody fetched.
    words: dict[str, Any] = {"protocol": 2, "decode_responses": False}
    return words if tls else {**words, "driver_info": None}


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
    kind = options.pop("connection_class", None)
    known = {name: value for name, value in options.items() if name not in _SENTINEL_LOGIN}
    try:
        (kind or redis.Connection)(**known)  # not connected yet
    except TypeError:
        raise ValueError("an unknown option") from None
    if kind is not None:
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
    # Sentinels get TLS, but not the credentials of the servers behind them.
    own = {name: value for name, value in options.items() if name.startswith("ssl")}
    own |= {name: options.pop(given) for given, name in _SENTINEL_LOGIN.items() if given in options}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        hosts,
        sentinel_kwargs={
            "socket_connect_timeout": SENTINEL_TIMEOUT,
            "socket_timeout": SENTINEL_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            **_few_words(tls="ssl" in options),
            **own,
        },
    )
    master = sentinel.master_for(  # type: ignore[no-untyped-call]
        service, **{**_bounded(tls="ssl" in options), **options}
    )
    return cast("redis.Redis", master)


def _cluster(url: str) -> redis.Redis:
    hosts, options = _cluster_parts(url)
    nodes = [ClusterNode(*host) for host in hosts]  # type: ignore[no-untyped-call]
    settings = {**_bounded(tls="ssl" in options), **options}
    settings.pop("retry")
    with unavailable_as(DenylistUnavailable):
        client = Cluster(startup_nodes=nodes, **settings)
    # The commands that we use are the same; the class is another branch of redis-py's tree.
    return cast("redis.Redis", client)


def _cluster_parts(url: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    hosts, _, options = _several(url, _REDIS_PORT)
    if options.keys() & {"db", *_SENTINEL_LOGIN}:
        raise ValueError("an option that a cluster does not have")
    return hosts, options


def evicting_policy(url: str) -> str | None:
    """The server's eviction policy if it may drop our keys, None if it may not or does not say.

    Of a Cluster, the first such policy of any master. Raises `DenylistUnavailable`.
    """
    with unavailable_as(DenylistUnavailable), connect(url) as connected:
        client: Any = connected
        try:
            # INFO, which our scripts need anyway: CONFIG GET would show the server's passwords.
            if isinstance(client, RedisCluster):
                answers: Any = client.info("memory", target_nodes=RedisCluster.PRIMARIES).values()
            else:
                answers = [client.info("memory")]
        except redis.ResponseError:
            return None
    policies = [str(answer.get("maxmemory_policy", "noeviction")) for answer in answers]
    return next((policy for policy in policies if policy != "noeviction"), None)


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
    except redis.ResponseError as cause:
        raise error(f"Redis refuses: {type(cause).__name__}") from cause
    except redis.AuthenticationError as cause:
        raise error("Redis refuses the user or the password") from cause
    except (redis.RedisError, RedisClusterException, OSError) as cause:
        raise error(f"Redis does not answer: {reason_of(cause)}") from cause


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
            try:
                yield
            except ReadOnlyError:
                self._leave()
                raise

    def _leave(self) -> None:
        """Let go of the connections to a demoted master: the address may lead elsewhere by now."""
        pool = getattr(self._client, "connection_pool", None)  # a Cluster has one for each node
        if pool is not None:
            pool.disconnect(inuse_connections=False)


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
