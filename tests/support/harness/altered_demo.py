"""`gatepass demo` in another time: run as a program, with two arguments of its own first.

The clock's file: time is the real one plus the seconds that it holds, for the issuer and for the
gateway's verifier alike. And the seconds after which a session ends whatever happens; 0 leaves that
to the demo. The other arguments are the demo's.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from issuer.settings import Settings


def main(clock_file: str, absolute: int, arguments: list[str]) -> None:
    from harness.altered_issuer import shifted_clock

    from issuer import demo
    from issuer.cli import main as gatepass

    clock = shifted_clock(Path(clock_file))
    demo.build_services = partial(demo.build_services, clock=clock)
    demo.Verifier = partial(demo.Verifier, clock=clock)  # type: ignore[assignment,misc]
    read = demo.read_settings

    def read_shorter(path: Path) -> Settings:
        values = json.loads(path.read_text())
        values["clients"]["demo"]["absolute"] = absolute
        path.write_text(json.dumps(values))
        return read(path)

    if absolute:
        demo.read_settings = read_shorter
    sys.argv = ["gatepass", *arguments]
    gatepass()


if __name__ == "__main__":
    # The harness as a package, and not its modules under names of their own.
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    sys.path.append(str(Path(__file__).parent.parent))
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
