"""Runs the forward-auth service on uvicorn, in one process or several (docs/gateway.md).

The listening socket is made before any worker, so that its address is known, or refused, at once,
and a connection that waits to be accepted survives a worker's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess

from revocation import trace_export

from .bounded_http import BoundedHttp, make_room
from .counts import Counts
from .fetching import Fetch, fetch_json
from .forward_auth import ForwardAuth, Message, Receive, Send
from .metrics_access import MetricsAccess
from .request_ids import RequestIds
from .service_log import configure_service_log
from .service_settings import ServiceSettings, read_recipients
from .verifier import Verifier

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

IDLE_TIMEOUT = 75
"""Seconds for which a gateway may keep an idle connection; nginx keeps its own for 60."""
WORKER_TIMEOUT = 30
"""Seconds for which a worker may not answer its supervisor before it is replaced."""
BACKLOG = 1024
SOCKET_MODE = 0o660
"""The gateway's user is in the socket's group."""


class CannotListen(OSError):
    """The address is taken, or not ours."""


def build_application(settings: ServiceSettings) -> ForwardAuth:
    """The service of one process."""
    tracer = trace_export.start("gatepass-gateway")
    verifier = Verifier(
        issuer=settings.issuer,
        audience=settings.audience,
        denylist=settings.denylist,
        namespace=settings.namespace,
        recipients=read_recipients(settings.recipients),
        leeway=settings.leeway,
        max_lifetime=settings.max_lifetime,
        max_staleness=settings.max_staleness,
        heartbeat_interval=settings.heartbeat_interval,
        policy=settings.policy,
        shared=settings.replica_file,
        most_entries=settings.most_entries,
        fetch=_fetch(settings, tracer),
    )
    return ForwardAuth(
        verifier,
        log_requests=settings.log_requests,
        counts=Counts(settings.counts),
        metrics_access=MetricsAccess(settings.metrics_token_sha256),
        request_ids=RequestIds(trusted=settings.trust_request_id),
        tracer=tracer,
    )


def _fetch(settings: ServiceSettings, tracer: Tracer | None) -> Fetch:
    cafile = None if settings.issuer_ca is None else str(settings.issuer_ca)
    if tracer is None:
        return partial(fetch_json, cafile=cafile)
    from revocation.redis_tracing import trace_commands

    from .tracing import fetch_in_trace

    trace_commands(tracer)
    return fetch_in_trace(tracer, cafile)


class _Worker:
    """One of several processes: it ends when its supervisor is gone, however that went."""

    def __init__(self, settings: ServiceSettings, supervisor: int, temporary: Path | None) -> None:
        configure_service_log(as_json=settings.json)
        self._application = build_application(settings)
        self._supervisor = supervisor
        self._temporary = temporary
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._watching = asyncio.create_task(self._watch())
        await self._application(scope, receive, send)

    async def _watch(self) -> None:
        while os.getppid() == self._supervisor:
            await asyncio.sleep(0.5)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)  # nobody else will
        os.kill(os.getpid(), signal.SIGTERM)


class _Supervisor(Multiprocess):
    """uvicorn's, which notices at once that a worker has died while it is asked for its health.

    It would wait for the answer as long as for that of one that hangs, and hear no signal.
    """

    def keep_subprocess_alive(self) -> None:
        for process in self.processes:
            # Our copy of the worker's end, which would keep the pipe open after its death.
            process.child_conn.close()
        super().keep_subprocess_alive()


def serve(settings: ServiceSettings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    `announce` is called with the address once it accepts connections; whether the service is ready
    is for `/readyz` to say. Raises `CannotListen`.
    """
    make_room()
    with listening(settings) as (listener, url), one_replica(settings) as (given, temporary):
        config = uvicorn.Config(
            partial(build_application, given)
            if given.workers == 1
            else partial(_Worker, given, os.getpid(), temporary),
            factory=True,
            interface="asgi3",
            workers=given.workers,
            http=BoundedHttp,
            loop="auto",  # uvloop, where there is one
            ws="none",
            lifespan="on",
            ssl_context_factory=None if given.tls_certificate is None else _Context(given),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=IDLE_TIMEOUT,
            timeout_graceful_shutdown=given.graceful_timeout,
            timeout_worker_healthcheck=WORKER_TIMEOUT,
        )
        announce(url)
        if given.workers > 1:
            _Supervisor(config, [listener]).run()
            return
        # uvicorn raises the signal again once it has stopped, and this is no failure.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        uvicorn.Server(config).run([listener])


@contextmanager
def one_replica(settings: ServiceSettings) -> Iterator[tuple[ServiceSettings, Path | None]]:
    """Settings under which several processes share one copy of the denylist, and count together.

    In memory where the system has a place for it, for nobody else to read or write; that directory
    goes with the service.
    """
    if settings.workers == 1:
        yield settings, None
        return
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - mkdtemp: 0700
    with tempfile.TemporaryDirectory(prefix="gatepass-gateway-", dir=place) as name:
        directory = Path(name)
        replica = settings.replica_file or directory / "replica"
        yield replace(settings, replica_file=replica, counts=directory), directory


class _Context:
    """Makes the TLS context in each process; picklable, as a context is not."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def __call__(self, _config: uvicorn.Config, default: Callable[[], SSLContext]) -> SSLContext:
        return self._settings.tls_context() or default()


@contextmanager
def listening(settings: ServiceSettings) -> Iterator[tuple[socket.socket, str]]:
    """The listening socket and its URL. Raises `CannotListen`."""
    path = settings.socket
    if path is not None:
        with _unix_socket(path) as listener:
            yield listener, f"unix:{path}"
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    scheme = "http" if settings.tls_certificate is None else "https"
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(BACKLOG)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "no such host"
            raise CannotListen(f"{settings.host} port {settings.port}: {reason}") from None
        listener.set_inheritable(True)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        yield listener, f"{scheme}://{host}:{listener.getsockname()[1]}"


@contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    _remove_stale(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listener.bind(str(path))
            listener.listen(BACKLOG)
        except OSError as error:
            raise CannotListen(f"{path}: {error.strerror or error}") from None
        finally:
            os.umask(before)
        listener.set_inheritable(True)
        inode = path.stat().st_ino
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == inode:  # not that of whoever came after us
                    path.unlink()


def _remove_stale(path: Path) -> None:
    """Remove the socket of a service that was killed, and nothing else."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(f"{path}: exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                path.unlink()
                return
            raise CannotListen(f"{path}: {error.strerror}") from None
    raise CannotListen(f"{path}: another service listens there")
