"""`gatepass gateway` in another time: run as a program, with the clock's file as its own argument.

Time is the real one plus the seconds that the file holds, for tokens; the copy of the denylist and
the keys age in the real time. The other arguments are the command's.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path


def main(clock_file: str, arguments: list[str]) -> None:
    from harness.altered_issuer import shifted_clock

    from gateway import serving
    from issuer.cli import main as gatepass

    clock = shifted_clock(Path(clock_file))
    serving.Verifier = partial(serving.Verifier, clock=clock)  # type: ignore[assignment,misc]
    sys.argv = ["gatepass", *arguments]
    gatepass()


if __name__ == "__main__":
    # The harness as a package, and not its modules under names of their own.
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    sys.path.append(str(Path(__file__).parent.parent))
    main(sys.argv[1], sys.argv[2:])
