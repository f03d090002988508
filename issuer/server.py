"""The production HTTP server, started by `gatepass serve`: gunicorn with threads.

Chosen by measurement (docs/server.md). One listening socket lives in the supervising process and
is shared by every worker, so that a connection waiting to be accepted survives any worker's end;
a worker that stops answers what it has. What gunicorn lacks is added here and in
`patient_worker`: a bad new configuration leaves the running workers alone, and Ctrl-C is as
gentle as SIGTERM.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.sock import ssl_context

from .patient_worker import PatientWorker, TimedTlsSocket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from gunicorn.workers.gthread import ThreadWorker

IDLE_TIMEOUT = 15
"""Seconds for which a kept-alive connection may stay silent."""
BOOT_TIMEOUT = 60
"""Seconds for the application to start when a reload is tried out."""
BOOT_PAUSE = 1.0
"""Seconds until a worker that could not start is tried again."""
MAX_HEADERS = 64
MAX_HEADER_BYTES = 8190
"""One field; a refresh token takes about 400 bytes, an access token below 1,000."""
MAX_REQUEST_LINE = 4094
MOST_CONNECTIONS = 2000
"""In each worker; beyond them, those that have been silent for longest are closed."""
OWN_DESCRIPTORS = 64
"""What a worker needs besides its connections, and four for each thread that uses stores."""

AppFactory = Callable[[], "WSGIApplication"]
Hook = Callable[[], None]


def _nothing() -> None:
    """The default hook."""


def _ignored(_pid: int) -> None:
    """The default hook that is told of a process."""


class _Supervisor(Arbiter):  # type: ignore[misc]  # gunicorn has no type hints
    def reap_workers(self) -> None:
        # gunicorn ends everything when a worker does not start. Once one has, what is wrong may
        # pass, as half of a renewed certificate does; meanwhile the other workers serve.
        try:
            super().reap_workers()
        except HaltServer:
            if not self.app.has_served:
                raise
            self.log.error("A worker does not start; it is tried again")  # noqa: TRY400 - it told why
            time.sleep(BOOT_PAUSE)

    def handle_int(self) -> None:
        # gunicorn drops requests on SIGINT; Ctrl-C and SIGTERM mean the same here. A second
        # Ctrl-C while waiting still stops at once.
        self.handle_term()

    def handle_hup(self) -> None:
        # A new worker that cannot boot makes gunicorn stop everything. Try the new
        # configuration in a throw-away child first, and keep the last good workers.
        if not self._would_boot():
            self.log.error("Reload refused: the application does not start; serving as before")
            return
        super().handle_hup()

    def _would_boot(self) -> bool:
        pid = os.fork()
        if pid == 0:
            status = 1
            signal.alarm(BOOT_TIMEOUT)  # its default action ends the child: refused
            try:
                self.app.load()
                status = 0
            except BaseException:
                self.log.exception("The application does not start")
            finally:
                os._exit(status)  # no clean-up: the sockets and locks are the parent's
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no type hints
    def __init__(self, factory: AppFactory, options: dict[str, Any], stopping: Hook) -> None:
        self._factory = factory
        self._options = options
        self.stopping = stopping
        self._served = mmap.mmap(-1, 1)  # shared with every worker
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    @property
    def has_served(self) -> bool:
        """Whether any worker has started."""
        return self._served[0] == 1

    def note_served(self) -> None:
        """Note, in a worker, that it has."""
        self._served[0] = 1

    def reload(self) -> None:
        super().reload()
        self.callable = None

    def load(self) -> WSGIApplication:
        return _closing(self._factory())


def _closing(application: WSGIApplication) -> WSGIApplication:
    """Honour the application's `Connection: close`, which gunicorn drops (RFC 9112 section 9.6)."""

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def begin(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if ("connection", "close") in {(name.lower(), value) for name, value in headers}:
                start_response.__self__.force_close()  # type: ignore[attr-defined]
            return start_response(status, headers, *rest)

        return application(environ, begin)

    return wrapped


def _room_for_connections(threads: int) -> int:
    """Raise the limit of descriptors as far as it may be, and tell how many connections fit."""
    own = OWN_DESCRIPTORS + 4 * threads
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + own
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(2 * threads, min(MOST_CONNECTIONS, soft - own))


def run(
    factory: AppFactory,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 2,
    threads: int = 4,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    graceful_timeout: int = 30,
    on_ready: Hook = _nothing,
    on_worker_start: Hook = _nothing,
    on_worker_stopping: Hook = _nothing,
    on_worker_stop: Hook = _nothing,
    on_worker_gone: Callable[[int], object] = _ignored,
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads. Does not return: raises SystemExit.

    The factory is called in each worker, after the fork, and reads its settings afresh, so a
    reload takes changed settings, keys and certificates (not changed code: restart for that).
    `on_worker_gone` is told, in the supervisor, of each worker's process that has ended.
    `on_worker_start` runs in each worker once the app is built: threads begin there, since a
    thread does not survive a fork. The caller must have started no thread. `on_worker_stopping`
    runs when a worker begins to wait for the requests under way: what would last ends then.
    graceful_timeout: seconds for requests under way; a reload or stop waits no longer.
    """

    def post_worker_init(worker: ThreadWorker) -> None:
        if worker.cfg.is_ssl:
            # Read now, while the files are those that were tried: a worker whose first client
            # comes later must not meet a half-renewed certificate.
            ssl_context(worker.cfg)
        on_worker_start()
        worker.app.note_served()

    def worker_exit(_supervisor: Arbiter, worker: ThreadWorker) -> None:
        if worker.pid == os.getpid():  # gunicorn also calls it in the supervisor
            on_worker_stop()

    contexts: dict[int, ssl.SSLContext] = {}

    def tls_context(_config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        # gunicorn asks once for each connection; reading the files each time costs milliseconds,
        # and a reload has new workers, hence a new context, anyway.
        context = contexts.get(os.getpid())
        if context is None:
            context = contexts[os.getpid()] = default()
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.sslsocket_class = TimedTlsSocket
        return context

    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options: dict[str, Any] = {
        "bind": address,
        "workers": workers,
        "threads": threads,
        "worker_class": PatientWorker,
        "worker_connections": _room_for_connections(threads),
        "backlog": 1024,
        "keepalive": IDLE_TIMEOUT,
        "timeout": 60,  # the worker's main loop silent for this long: replaced. Not per request.
        "graceful_timeout": graceful_timeout,
        "limit_request_line": MAX_REQUEST_LINE,
        "limit_request_fields": MAX_HEADERS,
        "limit_request_field_size": MAX_HEADER_BYTES,
        "header_map": "refuse",  # Content_Length is not Content-Length
        "forwarded_allow_ips": "",  # the application knows its proxies
        "forwarder_headers": "",  # no client sets SCRIPT_NAME or PATH_INFO
        "certfile": str(tls_certificate) if tls_certificate else None,
        "keyfile": str(tls_key) if tls_key else None,
        "ssl_context": tls_context,
        "accesslog": None,  # request lines can hold tokens; the app logs what is safe
        "loglevel": "info",
        "control_socket_disable": True,  # a thread in the forking process, and one more door
        "preload_app": False,  # settings, keys and connections belong to one worker
        "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108
        "when_ready": lambda _supervisor: on_ready(),
        "post_worker_init": post_worker_init,
        "worker_exit": worker_exit,
        "child_exit": lambda _supervisor, worker: on_worker_gone(worker.pid),
    }
    try:
        _Supervisor(_Application(factory, options, on_worker_stopping)).run()
    except RuntimeError as error:
        sys.exit(f"gatepass serve: {error}")
