"""`gatepass demo` that lives in another time: run as a program, with the clock's file first.

Time is the real one plus the seconds that the file holds, for the issuer and for the gateway's
verifier alike; the other arguments are the demo's own.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path


def main(clock_file: str, arguments: list[str]) -> None:
    from harness.altered_issuer import shifted_clock

    from issuer import demo
    from issuer.cli import main as gatepass

    clock = shifted_clock(Path(clock_file))
    demo.build_services = partial(demo.build_services, clock=clock)
    demo.Verifier = partial(demo.Verifier, clock=clock)  # type: ignore[assignment,misc]
    sys.argv = ["gatepass", *arguments]
    gatepass()


if __name__ == "__main__":
    # The harness as a package, and not its modules under names of their own.
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    sys.path.append(str(Path(__file__).parent.parent))
    main(sys.argv[1], sys.argv[2:])
