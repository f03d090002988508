"""Fuzzes parsers, guided by coverage: `python tests/fuzz/run.py TARGET --minutes 10`.

Each target runs in a process of its own. What it finds is written to a file, named on standard
output; put into `tests/fuzz/corpus/TARGET/` it is tried first from then on.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import tempfile
import time
import traceback
from hashlib import sha256
from mmap import mmap
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
OURS = ["tokens", "keys", "revocation", "gateway", "issuer"]
_COUNTS = struct.Struct("QQ")

try:
    import atheris
except ImportError:
    sys.exit("atheris is missing: it is in the extra `test`, for CPython on x86-64 Linux")

with atheris.instrument_imports(include=OURS):
    from feed_targets import TARGETS as FEED
    from fuzz_target import Target
    from request_targets import TARGETS as REQUESTS
    from token_targets import TARGETS as TOKENS

TARGETS = {target.name: target for target in (*TOKENS, *FEED, *REQUESTS)}


def fuzz(target: Target, options: argparse.Namespace, directory: Path, counts: mmap) -> None:
    """Attack one target. Raises `SystemExit`, with 0 where nothing was found."""
    seeds = directory / "seeds"
    seeds.mkdir()
    for seed in target.seeds():
        (seeds / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    known = CORPUS / target.name
    seen = [0, 0]
    # Of the processor: on a busy machine no target gets less of it.
    end = time.process_time() + (options.seconds or options.minutes * 60)

    def one_input(data: bytes) -> None:
        if time.process_time() > end:
            os._exit(0)  # libFuzzer's own limit knows whole seconds
        seen[0] += 1
        seen[1] += target.one_input(data)
        counts[: _COUNTS.size] = _COUNTS.pack(*seen)

    arguments = [
        sys.argv[0],
        f"-seed={options.seed}",
        f"-max_len={target.longest}",
        f"-dict={HERE / 'words.dict'}",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={options.findings or directory}/{target.name}-",
        *([str(options.grow)] if options.grow else []),
        str(seeds),
        *([str(known)] if known.is_dir() else []),
    ]
    if options.mutant:
        target.mutant().__enter__()
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


def _in_child(target: Target, options: argparse.Namespace, log: Path, counts: mmap) -> NoReturn:
    code = 1
    try:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        fuzz(target, options, log.parent, counts)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        # What the parent has to tidy up is not this process' to tidy up.
        sys.stderr.flush()
        os._exit(code)


def attack(target: Target, options: argparse.Namespace) -> dict[str, object]:
    """Fuzz in a child process; what came of it."""
    counts = mmap(-1, _COUNTS.size)
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        child = os.fork()
        if child == 0:
            _in_child(target, options, log, counts)
        _, status = os.waitpid(child, 0)
        tried, taken = _COUNTS.unpack(counts[: _COUNTS.size])
        found = os.waitstatus_to_exitcode(status) != 0
        report = {"target": target.name, "tried": tried, "taken": taken, "found": found}
        return report | ({"log": log.read_text(errors="replace")[-4000:]} if found else {})


def main() -> int:
    """The command line; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="+", choices=[*TARGETS, "all"])
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--seconds", type=float, help="instead of minutes")
    parser.add_argument("--seed", type=int, default=20261128, help="0: another one each time")
    parser.add_argument("--mutant", action="store_true", help="with the target's mistake planted")
    parser.add_argument("--grow", type=Path, help="a directory for inputs that reach new code")
    parser.add_argument("--findings", type=Path, help="a directory for what is found")
    options = parser.parse_args()
    names = list(TARGETS) if "all" in options.targets else options.targets
    reports = [attack(TARGETS[name], options) for name in names]
    for report in reports:
        print(json.dumps(report), flush=True)
    return int(any(report["found"] for report in reports))


if __name__ == "__main__":
    sys.exit(main())
