"""The command: picks the benchmarks, runs them, prints the table."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from joserfc.errors import SecurityWarning

from . import (
    audit_cost,
    encryption,
    forward_auth,
    refresh_http,
    replica,
    report,
    revoked,
    signatures,
    verification,
)
from .lab import FULL, QUICK, Lab, Scale
from .servers import BenchmarkError
from .timing import Row

GROUPS: dict[str, tuple[str, Callable[[Lab], Iterator[Row]]]] = {
    signatures.SIGN: ("sign an access token", signatures.sign),
    signatures.VERIFY: ("verify a fresh access token", signatures.verify),
    verification.VERIFICATION: (
        "what a gateway pays for a token, new or seen before, revocation check included",
        verification.verification,
    ),
    revoked.REVOCATION: (
        "verify and check revocation as a gateway does, and the check alone by denylist size",
        revoked.revocation,
    ),
    replica.REPLICA: (
        "the replica's check of a token, at its largest beside smaller ones",
        replica.replica,
    ),
    encryption.SEAL: (
        "seal an access token for an audience, and open it",
        encryption.seal_and_unseal,
    ),
    encryption.REFRESH_TOKEN: ("mint and open a refresh token", encryption.refresh_tokens),
    revoked.DENYLIST: ("revoke a token on Redis, and ask Redis for one", revoked.denylist),
    refresh_http.REFRESH_HTTP: (
        "refresh through HTTP, beside flask-jwt-extended",
        refresh_http.refresh_http,
    ),
    audit_cost.AUDIT: (
        "refresh with the audit log, beside the same without",
        audit_cost.audit,
    ),
    forward_auth.FORWARD_AUTH: (
        "the forward-auth service, beside a bare ASGI application",
        forward_auth.forward_auth,
    ),
}


def _parser() -> argparse.ArgumentParser:
    names = "\n".join(f"  {name:<14} {text}" for name, (text, _) in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Gatepass beside its peers and print one markdown table.",
        epilog=f"benchmarks:\n{names}\n\nProgress is told on standard error."
        " Servers listen on loopback and unix sockets only and are ended with the run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to FILE too")
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds, to see that everything runs"
    )
    parser.add_argument(
        "--fsync",
        choices=("always", "everysec"),
        default="always",
        help="when redis-server syncs its file: always (default), as the embedded one does, so"
        " that writes cost what the disk costs; or everysec",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=GROUPS,
        help="run this benchmark alone; may be given more than once",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code: 0 fine, 1 something is missing or did not start."""
    options = _parser().parse_args(arguments)
    # So that SIGTERM, too, ends the servers and removes the directory.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measured_on = report.environment(quick=options.quick, fsync=options.fsync)
        scale = QUICK if options.quick else FULL
        rows = _run(options.only or list(GROUPS), scale, options.fsync)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(report.table(measured_on, rows))
    if options.json is not None:
        text = json.dumps(report.document(measured_on, rows), indent=2)
        options.json.write_text(text + "\n", "utf-8")
    return 0


def _run(names: Sequence[str], scale: Scale, fsync: str) -> list[Row]:
    rows: list[Row] = []
    with ExitStack() as stack:
        # joserfc warns of the name EdDSA, which every gateway still knows this algorithm by.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", SecurityWarning)
        place = tempfile.gettempdir()
        directory = stack.enter_context(
            # A unix socket's path has 107 bytes.
            tempfile.TemporaryDirectory(
                prefix="gp-bench-", dir=place if len(place) < 60 else "/tmp"
            )
        )
        lab = Lab(scale, Path(directory), fsync)
        stack.enter_context(lab.stack)
        for name, (_, benchmark) in GROUPS.items():
            if name in names:
                rows += benchmark(lab)
    return rows
