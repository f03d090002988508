"""The table, the JSON document, and what they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from .servers import redis_version
from .timing import MICROSECONDS, Row, Timing

PACKAGES = (
    "gatepass",
    "PyJWT",
    "joserfc",
    "cryptography",
    "redis",
    "hiredis",
    "Flask",
    "Flask-JWT-Extended",
    "gunicorn",
    "uvicorn",
    "SQLAlchemy",
)
FASTER = ("awscrt", "PyNaCl")
"""Those of the extra `fast`, which need not be there."""


def environment(*, quick: bool, fsync: str) -> dict[str, Any]:
    """When, on what, and with which versions. `load` is the machine's before the run.

    Raises `BenchmarkError`.
    """
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": quick,
        "cpus": os.cpu_count(),
        "cpu": _cpu_model(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "redis_server": redis_version(),
        "appendfsync": fsync,
        "versions": {name: metadata.version(name) for name in PACKAGES} | _faster(),
    }


def _faster() -> dict[str, str]:
    there = {found.name for found in metadata.distributions()}
    return {name: metadata.version(name) if name in there else "none" for name in FASTER}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def document(measured_on: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """What `--json` writes."""
    return {"environment": measured_on, "rows": [row.to_json() for row in rows]}


def table(measured_on: dict[str, Any], rows: Sequence[Row]) -> str:
    """Markdown: what it was measured on, then one line for each case and peer."""
    versions = ", ".join(f"{name} {number}" for name, number in measured_on["versions"].items())
    lines = [
        f"{measured_on['date']}; {measured_on['cpus']} CPUs ({measured_on['cpu']}), load"
        f" {measured_on['load']} before; Python {measured_on['python']}; {versions};"
        f" redis-server {measured_on['redis_server']}, appendfsync {measured_on['appendfsync']}."
        + (" Quick: too few rounds to conclude from." if measured_on["quick"] else ""),
        "",
        "Medians of interleaved rounds, for one operation. Ratio: the peer's time over ours in the"
        " same round, the median; above 1, ours is faster.",
        "",
        "| what | ours | peer | the peer's | ratio |",
        "|---|---:|---|---:|---:|",
    ]
    for row in rows:
        ours, theirs = (_time(timing, row.as_rate) for timing in (row.ours, row.peer))
        lines.append(f"| {row.case} | {ours} | {row.peer.name} | {theirs} | {row.ratio:.2f} |")
    return "\n".join(lines)


def _time(timing: Timing, as_rate: bool) -> str:
    if as_rate:
        return f"{MICROSECONDS / timing.median:,.0f}/s"
    return f"{timing.median:.3g} µs" if timing.median < 1000 else f"{timing.median:,.0f} µs"
