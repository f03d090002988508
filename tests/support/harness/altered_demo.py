"""`gatepass demo` in another time: run as a program, with three arguments of its own first.

The clock's file: time is the real one plus the seconds that it holds, for the issuer and for the
gateway's verifier alike. The seconds after which a session ends whatever happens; 0 leaves that
to the demo. And one JSON object of settings that replace the demo's; `no-origin-check` among them
is no setting but a mutant: cookie mode believes every page. The other arguments are the demo's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from issuer.settings import Settings


def main(clock_file: str, absolute: int, changes: Mapping[str, Any], arguments: list[str]) -> None:
    from harness.altered_issuer import shifted_clock

    from issuer import demo
    from issuer.cli import main as gatepass
    from issuer.http import auth

    clock = shifted_clock(Path(clock_file))
    demo.build_services = partial(demo.build_services, clock=clock)
    demo.Verifier = partial(demo.Verifier, clock=clock)  # type: ignore[assignment,misc]
    read = demo.read_settings

    settings = dict(changes)
    if settings.pop("no-origin-check", False):
        auth.require_own_origin = lambda _settings, _client_id: None

    def read_altered(path: Path) -> Settings:
        values = {**json.loads(path.read_text()), **settings}
        if absolute:
            values["clients"]["demo"]["absolute"] = absolute
        path.write_text(json.dumps(values))
        return read(path)

    demo.read_settings = read_altered
    sys.argv = ["gatepass", *arguments]
    gatepass()


if __name__ == "__main__":
    # The harness as a package, and not its modules under names of their own.
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    sys.path.append(str(Path(__file__).parent.parent))
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:])
