"""`gatepass gateway`: the forward-auth service."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import IO, Any

import click

from keys.memory import forbid_dumps
from revocation import StalePolicy
from tokens import signature_libraries

from ..service_log import LogRequests, configure_service_log, fields
from ..service_settings import ServiceSettings, is_loopback
from ..serving import CannotListen, serve
from .denylist_option import denylist_url
from .service_options import READABLE, ServiceOptions

log = logging.getLogger("gatepass.gateway")

_option = ServiceOptions("GATEPASS_GATEWAY_")


@click.command(
    epilog="Whoever knows the denylist's password keeps it out of the list of processes:"
    " GATEPASS_GATEWAY_DENYLIST or --denylist-file. Exit codes: 0 stopped, 1 cannot listen,"
    " 2 wrong usage or setting.",
)
@_option("issuer", help="The issuer, as `iss` of its tokens says.")
@_option("audience")
@_option("denylist")
@_option("denylist-file")
@_option("namespace")
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
@_option("most-entries")
@_option(
    "policy",
    default=StalePolicy.CLOSED.value,
    show_default=True,
    type=click.Choice([policy.value for policy in StalePolicy]),
    help="While the copy of the denylist is too old: refuse with 503, ask the denylist for each"
    " token, or go by the copy. A route may say otherwise.",
)
@_option("max-staleness", help="Seconds after which a copy of the denylist is too old.")
@_option("heartbeat-interval")
@_option("leeway")
@_option("max-lifetime")
@_option("issuer-ca")
@_option("plain-issuer")
@_option(
    "recipients",
    type=READABLE,
    help="Own private keys for sealed tokens: a JWK set.",
)
@_option(
    "tls-certificate",
    type=READABLE,
    help="Serve https with this PEM chain.",
)
@_option("tls-key", type=READABLE, help="Its key (PEM).")
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
@_option("json")
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
    denylist = denylist_url(context, denylist, denylist_file, variable=_option.variable("denylist"))
    given["policy"] = StalePolicy(given["policy"])
    given["log_requests"] = LogRequests(given["log_requests"])
    settings = ServiceSettings(denylist=denylist, **given)
    _option.check(settings)
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
    by = signature_libraries()
    log.info("signatures_checked", extra=fields(es256=by["ES256"], eddsa=by["EdDSA"]))
    if settings.json:
        verify = None if settings.socket else f"{url}/verify"
        click.echo(json.dumps({"url": url, "verify_url": verify, "audience": settings.audience}))
    else:
        click.echo(f"listening on {url}")
