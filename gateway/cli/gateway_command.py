"""`gatepass gateway`: the forward-auth service."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from keys.memory import forbid_dumps
from revocation import (
    DEFAULT_HEARTBEAT_INTERVAL,
    DEFAULT_MAX_STALENESS,
    MOST_ENTRIES,
    StalePolicy,
)
from tokens import DEFAULT_LEEWAY

from ..forward_auth import LogRequests
from ..service_log import configure_service_log
from ..service_settings import BadSetting, ServiceSettings, is_loopback
from ..serving import CannotListen, serve
from ..verifier import DEFAULT_MAX_LIFETIME
from .denylist_option import denylist_url

log = logging.getLogger("gatepass.gateway")

Command = TypeVar("Command", bound=Callable[..., Any])

VARIABLES = "GATEPASS_GATEWAY_"


def _variable(name: str) -> str:
    return VARIABLES + name.upper().replace("-", "_")


def _option(name: str, **options: Any) -> Callable[[Command], Command]:
    """An option that is also an environment variable."""
    return click.option(f"--{name}", envvar=_variable(name), show_envvar=True, **options)


@click.command(
    epilog="Whoever knows the denylist's password keeps it out of the list of processes:"
    " GATEPASS_GATEWAY_DENYLIST or --denylist-file. Exit codes: 0 stopped, 1 cannot listen,"
    " 2 wrong usage or setting.",
)
@_option("issuer", required=True, metavar="URL", help="The issuer, as `iss` of its tokens says.")
@_option("audience", required=True, help="The API that the tokens are for.")
@_option("denylist", metavar="URL", help="The denylist to follow; without a password here.")
@_option(
    "denylist-file",
    type=click.File(),
    help="A file whose first line is the denylist's URL; with a password in it, mode 0640 at most.",
)
@_option("namespace", default="gatepass", show_default=True, help="Prefix of every Redis key.")
@_option("host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@_option(
    "port",
    default=9000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.",
)
@_option(
    "socket",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Unix socket to listen on instead, for its user and group alone.",
)
@_option("workers", default=1, show_default=True, type=click.IntRange(1, 128), help="Processes.")
@_option(
    "replica-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the workers keep their one copy of the denylist, in a private directory.  [default:"
    " in memory, gone with the service]",
)
@_option(
    "most-entries",
    default=MOST_ENTRIES,
    show_default=True,
    type=click.IntRange(1),
    help="Entries of the denylist that the copy takes in; with more it ages.",
)
@_option(
    "policy",
    default=StalePolicy.CLOSED.value,
    show_default=True,
    type=click.Choice([policy.value for policy in StalePolicy]),
    help="While the copy of the denylist is too old: refuse with 503, ask the denylist for each"
    " token, or go by the copy. A route may say otherwise.",
)
@_option(
    "max-staleness",
    default=DEFAULT_MAX_STALENESS,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True, max=3600),
    help="Seconds after which a copy of the denylist is too old.",
)
@_option(
    "heartbeat-interval",
    default=DEFAULT_HEARTBEAT_INTERVAL,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True, max=3600),
    help="The issuer's, in seconds.",
)
@_option(
    "leeway",
    default=DEFAULT_LEEWAY,
    show_default=True,
    type=click.IntRange(0, 60),
    help="Clock skew that is forgiven, in seconds.",
)
@_option(
    "max-lifetime",
    default=DEFAULT_MAX_LIFETIME,
    show_default=True,
    type=click.IntRange(1, 86_400),
    help="The longest life of a token that is accepted, in seconds.",
)
@_option(
    "issuer-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Authorities that may vouch for the issuer (PEM), instead of the system's.",
)
@_option("plain-issuer", is_flag=True, help="Take keys over plain http from another machine.")
@_option(
    "recipients",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Own private keys for sealed tokens: a JWK set.",
)
@_option(
    "tls-certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Serve https with this PEM chain.",
)
@_option(
    "tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its key (PEM)."
)
@_option(
    "graceful-timeout",
    default=10,
    show_default=True,
    type=click.IntRange(0, 3600),
    help="Seconds that a stop waits for requests under way.",
)
@_option(
    "log-requests",
    default=LogRequests.REFUSED.value,
    show_default=True,
    type=click.Choice([which.value for which in LogRequests]),
    help="Which decisions are logged, on standard error.",
)
@_option(
    "metrics-token-sha256",
    metavar="DIGEST",
    help="SHA-256, in hexadecimal, of the token that opens /metrics; without it, this machine may"
    " fetch them.",
)
@_option(
    "trust-request-id",
    is_flag=True,
    help="The gateway sets X-Request-Id itself, so take it; else each request gets one here.",
)
@_option("json", is_flag=True, help="Print the first line and the log as JSON objects.")
@click.pass_context
def gateway(
    context: click.Context, /, denylist: str | None, denylist_file: IO[str] | None, **given: Any
) -> None:
    """Answer gateways that ask whether a request may pass: the forward-auth service.

    `/verify` answers 200 with X-Gatepass-* headers about the caller, 401, 403 or 503;
    `/verify/scope=orders:write&role=editor&policy=ask` asks for more. `/healthz` tells that it
    runs, `/readyz` that it has the keys and an up-to-date copy of the denylist, `/metrics` is for
    Prometheus. The first line on
    standard output is its address. SIGTERM or Ctrl-C finishes the requests under way.
    """
    denylist = denylist_url(context, denylist, denylist_file, variable=_variable("denylist"))
    given["policy"] = StalePolicy(given["policy"])
    given["log_requests"] = LogRequests(given["log_requests"])
    settings = ServiceSettings(denylist=denylist, **given)
    try:
        settings.check()
    except BadSetting as error:
        name = error.name
        raise click.BadParameter(str(error), param_hint=f"'--{name}' ({_variable(name)})") from None
    configure_service_log(as_json=settings.json)
    forbid_dumps()  # of `recipients`, and of the tokens that pass
    local = settings.socket is not None or is_loopback(settings.host)
    if settings.tls_certificate is None and not local:
        log.warning("plain_http_beyond_this_machine")
    try:
        serve(settings, lambda url: _announce(settings, url))
    except CannotListen as error:
        raise click.ClickException(f"cannot listen: {error}") from None


def _announce(settings: ServiceSettings, url: str) -> None:
    if settings.json:
        verify = None if settings.socket else f"{url}/verify"
        click.echo(json.dumps({"url": url, "verify_url": verify, "audience": settings.audience}))
    else:
        click.echo(f"listening on {url}")
