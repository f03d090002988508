"""`gatepass serve` and `gatepass demo`."""

from __future__ import annotations

import json
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from keys.memory import forbid_dumps
from revocation import DenylistUnavailable, trace_export
from revocation.redis_client import evicting_policy

from .. import tracing
from ..app import create_app
from ..database import migrate, open_engine, require_schema
from ..demo import Demo, DemoWorker
from ..logs import configure_logs
from ..metrics import counting_together, process_has_ended
from ..server import run
from ..services import Services, build_services
from ..settings import Mode, Settings, SettingsError, load_settings, variable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


log = structlog.get_logger("gatepass.issuer")


@click.command()
def serve() -> None:
    """Run the issuer from its settings, for production.

    SIGTERM or Ctrl-C finishes the requests under way and stops; SIGHUP reads settings and
    certificates afresh without losing a request.
    """
    settings = load_settings()
    configure_logs(settings.log_level, as_json=settings.mode is Mode.PRODUCTION)
    with counting_together():
        check_deployment(settings)
        forbid_dumps()
        worker = _IssuerWorker(settings.all_threads)
        run(
            worker.build,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            threads=settings.all_threads,
            tls_certificate=settings.tls_certificate,
            tls_key=settings.tls_key,
            graceful_timeout=settings.graceful_timeout,
            on_ready=lambda: log.info("serving", issuer=settings.issuer, workers=settings.workers),
            on_worker_start=worker.start,
            on_worker_stopping=worker.stopping,
            on_worker_stop=worker.stop,
            on_worker_gone=process_has_ended,
        )


class _IssuerWorker:
    """What one worker process holds; a reload builds it anew, from settings read afresh."""

    def __init__(self, threads: int) -> None:
        """`threads` are those that the server was started with."""
        self._threads = threads
        self._services: Services | None = None

    def build(self) -> WSGIApplication:
        settings = load_settings()
        if settings.all_threads > self._threads:
            # More of those that hold one would take threads from requests.
            raise SettingsError(
                f"{variable('threads')} (threads): more threads, or more feed_streams,"
                " hashing.waiting or receivers that poll, need a restart"
            )
        require_certificate(settings)
        tracer = tracing.start("gatepass-issuer")
        self._services = build_services(settings)
        app = create_app(settings, services=self._services)
        if tracer is not None:
            tracing.instrument(app, self._services.engine, tracer)
        return app

    def start(self) -> None:
        if self._services is not None:
            self._services.start()

    def stopping(self) -> None:
        if self._services is not None:
            self._services.end_streams()

    def stop(self) -> None:
        if self._services is not None:
            self._services.stop()
        if trace_export.wanted():
            trace_export.stop()


def check_deployment(settings: Settings) -> None:
    """Refuse to start on what would lose data or work wrongly.

    Raises `SettingsError`, `SchemaMismatch`, `keys.KeyStoreError`; a store that is merely down is
    no reason, since it may come back.
    """
    require_certificate(settings)
    engine = open_engine(settings.database_url)
    try:
        if settings.mode is Mode.DEVELOPMENT:
            migrate(engine)
        else:
            require_schema(engine)
    finally:
        engine.dispose()
    build_services(settings).stop()  # what cannot be built here could not be in a worker
    for name, url in (("redis_url", settings.redis_url), ("denylist_url", settings.denylist)):
        if url.startswith("memory:"):
            log.warning("in_memory_store", setting=name, lost="with this process")
            continue
        _refuse_eviction(name, url)


def require_certificate(settings: Settings) -> None:
    """Try the certificate and its key, also at a reload, where they are read afresh.

    Raises `SettingsError`.
    """
    if settings.tls_certificate is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise SettingsError(
            f"{variable('tls_certificate')} (tls_certificate): it and tls_key cannot be used:"
            f" {reason or type(error).__name__}"
        ) from None


def _refuse_eviction(name: str, url: str) -> None:
    try:
        policy = evicting_policy(url)
    except DenylistUnavailable as error:
        log.warning("redis_unreachable", setting=name, error=str(error))
        return
    if policy is not None:
        raise SettingsError(
            f"{variable(name)} ({name}): the server's maxmemory-policy is {policy}, which may drop"
            " a revocation; set it to noeviction"
        )


def default_state_dir() -> Path:
    """Where the demo keeps its state unless told otherwise (XDG base directory specification)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "gatepass" / "demo"


@click.command()
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port on loopback; 0 takes that of last time, or a free one.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where everything is kept.  [default: ~/.local/state/gatepass/demo]",
)
@click.option("--tls", is_flag=True, help="Serve https with a self-signed certificate.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    help="Another origin whose pages may log people in, such as http://127.0.0.1:9300; repeatable.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object when ready, instead of text."
)
def demo(
    port: int,
    state_dir: Path | None,
    tls: bool,  # noqa: FBT001
    origins: tuple[str, ...],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Run issuer and example API on the embedded default: nothing to install by hand.

    SQLite, a private Redis, development keys and one account with a random password, kept in the
    state directory, so that starting again keeps accounts and sessions. Stop it with Ctrl-C.
    """
    configure_logs("WARNING" if as_json else "INFO")
    forbid_dumps()
    os.umask(0o077)  # SQLite, Redis and whoever else writes to the state make private files
    supervisor = os.getpid()
    running = Demo(
        state_dir or default_state_dir(), host="127.0.0.1", port=port, tls=tls, origins=origins
    )
    try:
        running.prepare()
        worker = DemoWorker(running, lambda: _announce(running, as_json=as_json))
        run(
            worker.build,
            host=running.host,
            port=running.port,
            workers=1,
            threads=running.settings.all_threads,
            tls_certificate=running.settings.tls_certificate,
            tls_key=running.settings.tls_key,
            on_worker_start=worker.start,
            on_worker_stop=worker.stop,
        )
    finally:
        # A worker leaves through here too, being a fork of this process.
        if os.getpid() == supervisor:
            running.stop()


def _announce(running: Demo, *, as_json: bool) -> None:
    click.echo(json.dumps(running.described()) if as_json else running.banner())
