"""`python tests/conformance/pack --base-url URL …`: check an issuer and an API from outside.

Writes the table of clauses and results as Markdown. Exit code 0: every check that ran was met; 1:
some were not. Needs PyJWT and cryptography, and nothing of Gatepass.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
from pathlib import Path

from conformance.client import Http
from conformance.registry import all_checks
from conformance.running import NOT_MET, rows_of, run, summary, table
from conformance.target import METADATA, Paths, Target

SECRETS = {
    "CONFORMANCE_PASSWORD": "the account's password",
    "CONFORMANCE_INTROSPECTION_SECRET": "the secret of --introspection-client",
    "CONFORMANCE_OUTSIDER_SECRET": "the secret of --outsider-client",
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python tests/conformance/pack",
        description=__doc__,
        epilog="Secrets are read from the environment: "
        + "; ".join(f"{name}, {what}" for name, what in SECRETS.items()),
    )
    made.add_argument("--base-url", required=True, help="the issuer")
    made.add_argument("--username", required=True, help="an account of a test installation")
    made.add_argument("--password-file", type=Path, help="in place of CONFORMANCE_PASSWORD")
    made.add_argument("--client-id", default="", help="a public client")
    made.add_argument("--api-url", default="", help="an API that takes this client's tokens")
    made.add_argument("--introspection-client", default="", help="who may introspect them")
    made.add_argument("--outsider-client", default="", help="who may introspect another API's")
    made.add_argument("--other-client", default="", help="a public client of another API")
    made.add_argument("--idle-client", default="", help="one whose sessions idle out in 1-2 s")
    made.add_argument("--absolute-client", default="", help="one whose sessions end after 1-2 s")
    made.add_argument("--origin", default="", help="an origin, not the issuer's, that may call")
    made.add_argument("--signing-jwk", type=Path, help="the issuer's private key, as a JWK")
    made.add_argument("--grace", type=float, default=0.0, help="reuse interval, s (default 0)")
    made.add_argument("--bound", type=float, default=5.0, help="revocation delay, s (default 5)")
    made.add_argument("--refresh-in", choices=("body", "bearer"), default="body")
    made.add_argument("--authority", type=Path, help="certificate authority to trust (PEM)")
    for name, default in (
        ("login", "/login"),
        ("refresh", "/refresh"),
        ("logout", "/logout"),
        ("sessions", "/sessions"),
        ("password", "/password"),
        ("page", "/"),
        ("metadata", METADATA),
    ):
        made.add_argument(f"--{name}-path", default=default, help="'' where there is none")
    return made


def target_of(options: argparse.Namespace) -> Target:
    """What the command line and the environment describe."""
    secret = os.environ.get
    password = secret("CONFORMANCE_PASSWORD", "")
    if options.password_file:
        password = options.password_file.read_text("utf-8").rstrip("\n")
    introspector, outsider = options.introspection_client, options.outsider_client
    context = ssl.create_default_context(cafile=options.authority) if options.authority else None
    return Target(
        base_url=options.base_url.rstrip("/"),
        username=options.username,
        password=password,
        client_id=options.client_id,
        api_url=options.api_url,
        paths=Paths(
            options.login_path,
            options.refresh_path,
            options.logout_path,
            options.sessions_path,
            options.password_path,
            options.page_path,
            options.metadata_path,
        ),
        refresh_in=options.refresh_in,
        introspector=(introspector, secret("CONFORMANCE_INTROSPECTION_SECRET", ""))
        if introspector
        else None,
        outsider=(outsider, secret("CONFORMANCE_OUTSIDER_SECRET", "")) if outsider else None,
        other_client=options.other_client,
        idle_client=options.idle_client,
        absolute_client=options.absolute_client,
        origin=options.origin,
        signing_jwk=json.loads(options.signing_jwk.read_text("utf-8"))
        if options.signing_jwk
        else None,
        grace=options.grace,
        bound=options.bound,
        http=Http(context),
    )


def main() -> int:
    target = target_of(parser().parse_args())
    outcomes = [run(check, target) for check in all_checks()]
    target.http.close()
    rows = [row for outcome in outcomes for row in rows_of(outcome)]
    sys.stdout.write(f"# Conformance of {target.base_url}\n\n{summary(rows)}\n\n{table(rows)}")
    return 1 if any(outcome.result == NOT_MET for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
