"""A gateway's verifier as a program, of whichever release stands first on the path.

Its argument holds the verifier's options as JSON. For each token, a line on standard input, it
writes a line: `accepted`, or the code of the refusal. An empty line asks which release it is.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata


def main(options: str) -> None:
    """Answer until standard input ends."""
    from gateway import Verifier

    with Verifier(**json.loads(options)) as verifier:
        for line in sys.stdin:
            print(_answer(verifier, line.strip()), flush=True)


def _answer(verifier: object, token: str) -> str:
    if not token:
        in_step = verifier.replica.wait_in_step(60)  # type: ignore[attr-defined]
        return f"{'in step' if in_step else 'not in step'} {metadata.version('gatepass')}"
    try:
        verifier.verify(token)  # type: ignore[attr-defined]
    except Exception as error:
        return getattr(error, "code", repr(error))
    return "accepted"


if __name__ == "__main__":
    main(sys.argv[1])
