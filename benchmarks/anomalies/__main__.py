"""The entry of `python -m benchmarks.anomalies`."""

import argparse
import sys
from time import process_time

from .evaluation import FULL, PART, QUICK, SEED, evaluate, halved
from .report import BUDGET, document


def main() -> int:
    """Prints the tables; 1 where false alarms are above what is promised."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.anomalies",
        description="Make a labelled trace, run the rules over it, print what they found.",
    )
    parser.add_argument("--quick", action="store_true", help="some seconds, with wide bounds")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--halved", action="store_true", help="every threshold at half: what the rest is there for"
    )
    parser.add_argument("--examples", action="store_true", help="show false alarms as well")
    options = parser.parse_args()
    scale = QUICK if options.quick else PART if options.halved else FULL
    results = evaluate(scale, halved() if options.halved else None, seed=options.seed)
    print(document(results))
    if options.examples:
        print("\n".join(results.examples))
    print(f"{process_time():.0f} s of processor time", file=sys.stderr)
    judged = not options.quick and not options.halved
    return int(judged and len(results.false_sessions) > results.sessions * BUDGET)


if __name__ == "__main__":
    sys.exit(main())
