"""`gatepass agent`: keeps the token check of a gateway of another make in step."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..agents.denylist_source import DenylistSource
from ..agents.envoy_agent import EnvoyAgent
from ..agents.haproxy_agent import HaproxyAgent, Reloading
from ..agents.haproxy_files import ALGORITHMS, HaproxyFiles
from ..agents.issuer_keys import IssuerKeys
from ..agents.lua_source import Rules
from ..agents.signals import Signals
from ..errors import KeysUnavailable
from ..fetching import fetch_json
from ..metrics_access import MetricsAccess
from ..service_log import configure_service_log
from ..service_settings import ServiceSettings, is_loopback
from .denylist_option import denylist_url
from .service_options import SECONDS, Command, ServiceOptions

if TYPE_CHECKING:
    from ..metrics import Watched

_option = ServiceOptions("GATEPASS_AGENT_")
_COMMON = (
    _option("issuer", help="The issuer, as in `iss` of tokens."),
    _option("audience"),
    _option("denylist"),
    _option("denylist-file"),
    _option("namespace"),
    _option("most-entries"),
    _option(
        "max-staleness",
        help="Seconds after which a copy of the denylist is too old, and the gateway answers 503.",
    ),
    _option("heartbeat-interval"),
    _option("issuer-ca"),
    _option("plain-issuer"),
    _option("leeway"),
    _option("max-lifetime"),
    _option("json"),
    _option(
        "metrics-port",
        type=click.IntRange(1, 65_535),
        help="Where to answer /metrics for Prometheus; not at all unless given.",
    ),
    _option(
        "metrics-host",
        default="127.0.0.1",
        show_default=True,
        metavar="ADDRESS",
        help="Where that listens; beyond this machine only with --metrics-token-sha256.",
    ),
    _option(
        "metrics-token-sha256",
        metavar="DIGEST",
        help="SHA-256, in hexadecimal, of the token that opens /metrics; without it, this machine"
        " may fetch them.",
    ),
)


def _common(command: Command) -> Command:
    return reduce(lambda inner, option: option(inner), reversed(_COMMON), command)


@click.group()
def agent() -> None:
    """Keep the token check of HAProxy or Envoy in step with issuer and denylist."""


@agent.command(
    epilog="Exit codes: 0 stopped, 1 the issuer does not answer (--prepare) or an address is taken,"
    " 2 wrong usage.",
)
@_common
@_option(
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where HAProxy loads keys, rules and maps from; the agent alone writes there.",
)
@_option(
    "socket",
    type=click.Path(path_type=Path),
    help="HAProxy's runtime socket (`stats socket`), at level admin.",
)
@_option(
    "master-socket",
    type=click.Path(path_type=Path),
    help="The socket of HAProxy's master process (-S), to reload it for a new key.",
)
@_option("reload-command", help="A command that reloads HAProxy instead.")
@_option(
    "keys-interval",
    default=30.0,
    show_default=True,
    type=SECONDS,
    help="Seconds between two looks at the issuer's keys.",
)
@click.option("--prepare", is_flag=True, help="Write what HAProxy needs to start, and end.")
@click.pass_context
def haproxy(context: click.Context, /, prepare: bool, **given: Any) -> None:  # noqa: FBT001
    """Keep HAProxy's own keys and maps in step, so that it asks nobody.

    HAProxy refuses with 503 until this has filled its maps, and again once this has been gone for
    --max-staleness. The first line on standard output says that HAProxy is in step.

    SIGHUP makes it reload HAProxy without such a pause, or save what a reload by hand within
    --max-staleness needs for that.
    """
    settings = _checked(context, given)
    if given["master_socket"] and given["reload_command"]:
        raise click.UsageError("--master-socket and --reload-command exclude each other")
    if given["socket"] is None and not prepare:
        raise click.UsageError(f"Missing option '--socket' (or {_option.variable('socket')}).")
    try:
        files = HaproxyFiles(given["directory"], _rules(settings))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--directory'") from None
    running = HaproxyAgent(
        files,
        IssuerKeys(settings.issuer, ALGORITHMS, fetch=_fetch(settings)),
        _source(settings),
        runtime=given["socket"] or Path(),
        reloading=Reloading(given["master_socket"], given["reload_command"]),
        keys_interval=given["keys_interval"],
        max_staleness=settings.max_staleness,
        heartbeat_interval=settings.heartbeat_interval,
    )
    try:
        if prepare:
            running.prepare()
            return
        signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        with _metrics(given) as watch:
            on_step = partial(_announce, settings, "HAProxy", given["socket"])
            running.run(signals, on_step, watch)
    except KeysUnavailable as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


@agent.command(
    epilog="Exit codes: 0 stopped, 1 a file cannot be written or an address is taken,"
    " 2 wrong usage.",
)
@_common
@_option(
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where Envoy reads its filter and the copy of the denylist from; nobody else may write"
    " there.",
)
@_option(
    "replica-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The copy, where other processes of this host share it.  [default: in --directory]",
)
@click.option("--prepare", is_flag=True, help="Write what Envoy needs to start, and end.")
@click.pass_context
def envoy(context: click.Context, /, prepare: bool, **given: Any) -> None:  # noqa: FBT001
    """Keep a copy of the denylist for Envoy's own filter, so that it asks nobody.

    Envoy refuses with 503 until the copy is there, and again once this has been gone for
    --max-staleness. The first line on standard output says that the copy is in step.
    """
    settings = _checked(context, given)
    running = EnvoyAgent(
        given["directory"],
        _rules(settings),
        _source(settings),
        replica=given["replica_file"],
    )
    try:
        running.prepare()
        if not prepare:
            with _metrics(given) as watch:
                on_step = partial(_announce, settings, "Envoy", running.replica_file)
                running.run(Signals(signal.SIGTERM, signal.SIGINT), on_step, watch)
    except OSError as error:
        raise click.ClickException(str(error)) from None


def _checked(context: click.Context, given: dict[str, Any]) -> ServiceSettings:
    """The common settings, checked as the forward-auth service's are."""
    denylist, file = given["denylist"], given["denylist_file"]
    denylist = denylist_url(context, denylist, file, variable=_option.variable("denylist"))
    names = (
        *("issuer", "audience", "namespace", "max_staleness", "heartbeat_interval", "leeway"),
        *("max_lifetime", "most_entries", "issuer_ca", "plain_issuer", "json"),
        "metrics_token_sha256",
    )
    settings = ServiceSettings(denylist=denylist, **{name: given[name] for name in names})
    _option.check(settings)
    if (
        given["metrics_port"] is not None
        and settings.metrics_token_sha256 is None
        and not is_loopback(given["metrics_host"])
    ):
        raise click.UsageError(
            "--metrics-host is no loopback address, so that metrics need --metrics-token-sha256"
            f" (or {_option.variable('metrics-token-sha256')})"
        )
    configure_service_log(as_json=settings.json)
    return settings


def _rules(settings: ServiceSettings) -> Rules:
    return Rules(
        issuer=settings.issuer,
        audience=settings.audience,
        leeway=settings.leeway,
        max_lifetime=settings.max_lifetime,
        max_staleness=settings.max_staleness,
        heartbeat_interval=settings.heartbeat_interval,
    )


def _source(settings: ServiceSettings) -> DenylistSource:
    return DenylistSource(
        url=settings.denylist,
        issuer=settings.issuer,
        namespace=settings.namespace,
        most_entries=settings.most_entries,
        fetch=_fetch(settings),
    )


def _fetch(settings: ServiceSettings) -> Callable[[str], Any]:
    authorities = None if settings.issuer_ca is None else str(settings.issuer_ca)
    return partial(fetch_json, cafile=authorities)


@contextmanager
def _metrics(given: dict[str, Any]) -> Iterator[Callable[[Watched], object] | None]:
    """What an agent gives to be watched, if there is a port for it; it answers within the block."""
    host, port = given["metrics_host"], given["metrics_port"]
    if port is None:
        yield None
        return
    try:
        from ..agents.metrics_server import MetricsServer
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise click.UsageError(
            "--metrics-port needs prometheus-client: pip install 'gatepass[gateway]'"
        ) from None
    try:
        server = MetricsServer(host, port, MetricsAccess(given["metrics_token_sha256"]))
    except OSError as error:
        raise click.ClickException(
            f"metrics cannot be served at {host} port {port}: {error.strerror}"
        ) from None
    with closing(server):
        yield server.watch


def _announce(settings: ServiceSettings, name: str, place: Path) -> None:
    if settings.json:
        click.echo(json.dumps({"in_step": str(place), "audience": settings.audience}))
    else:
        click.echo(f"{name} is in step: {place}")
