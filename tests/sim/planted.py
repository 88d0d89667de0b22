#!/usr/bin/env python3
"""Tries planted bugs in several sets of seeds that have none in common, and prints a table.

  tests/sim/planted.py [--build DIR] [--sets N] [--from SEED] [--most SEEDS] [--jobs N] [NAME...]

One row a bug of planted.txt, those with the fewest seeds first: how many seeds each set took until a rule of the
simulator was broken, or - when it was not within the bug's number of seeds, or within --most. A seed that crashed
counts as one that found nothing. The last lines add up how many bugs were found in more than half of the sets. The
same --from is the same table.
"""
import argparse
import concurrent.futures
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
import runner  # noqa: E402

APART = 1 << 32  # the first seeds of two sets


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--from", dest="first", type=int, default=random.randrange(1, 1 << 40))
    parser.add_argument("--most", type=int, default=15000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    bugs = sorted((b for b in runner.planted_bugs() if not options.names or b.name in options.names),
                  key=lambda b: b.seeds)
    unknown = set(options.names) - {b.name for b in bugs}
    if unknown:
        parser.error("not in planted.txt: " + " ".join(sorted(unknown)))
    print(f"sets from {options.first}, {APART} apart\n")
    print("| Bug |" + "".join(f" Set {n + 1} |" for n in range(options.sets)) + " Found |")
    print("|---|" + "---|" * options.sets + "---|")
    enough, enough_of_others = 0, 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        looked = [[pool.submit(runner.find_planted, options.build, bug, options.first + n * APART,
                               min(bug.seeds, options.most)) for n in range(options.sets)] for bug in bugs]
        for bug, sets in zip(bugs, looked):
            took = [found.result().seeds for found in sets]
            found = options.sets - took.count(None)
            enough += found * 2 > options.sets
            enough_of_others += bug.of_others and found * 2 > options.sets
            print(f"| {bug.name}{' *' if bug.of_others else ''} |" +
                  "".join(f" {n or '-'} |" for n in took) + f" {found} of {options.sets} |", flush=True)
    print(f"\n{enough} of {len(bugs)} planted bugs were found in more than half of {options.sets} sets, {enough_of_others} "
          "of them (*) mistakes that happened to others.")


if __name__ == "__main__":
    main()
