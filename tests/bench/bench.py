#!/usr/bin/env python3
"""The benchmark; called by tests/bench/run.sh in namespaces of its own. The rows are in memory.py, disk.py, timing.py,
rates.py and clusters.py; docs/performance.md says what they mean."""
import argparse
import json
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/bench")
import measure
import memory  # noqa: F401  (its rows)
import timing  # noqa: F401
import disk  # noqa: F401
import rates  # noqa: F401
import clusters  # noqa: F401
from case import Failure, Skip


def take(entry):
    value, peer_unit = entry["function"](), entry["unit"]
    if isinstance(value, measure.Ratio):
        value, peer_value, peer_unit = value.value, round(value.peers, 1), value.unit
    else:
        value, peer_value = value if isinstance(value, tuple) else (value, None)  # in the same unit
        peer_value = peer_value and round(peer_value, entry["decimals"])
    ratio = round(value if peer_unit != entry["unit"] else value / peer_value, 3) if peer_value else None
    value = round(value, entry["decimals"])
    within = value >= entry["budget"] if entry["at_least"] else value <= entry["budget"]
    return {"name": entry["name"], "unit": entry["unit"], "value": value, "budget": entry["budget"], "peer": entry["peer"],
            "peer_value": peer_value, "peer_unit": peer_unit if entry["peer"] else None, "ratio": ratio, "ok": within}


def load_average():
    return "%.1f" % os.getloadavg()[0]


def table(results, missing):
    print(f"{'name':26} {'value':>10} {'unit':6} {'budget':>9}  {'within':6} peer")
    for r in results:
        entry = next(e for e in measure.rows if e["name"] == r["name"])
        budget = (">= " if entry["at_least"] else "") + str(r["budget"])
        figure = "none here" if r["peer_value"] is None else f"{r['peer_value']} {r['peer_unit']}"
        peer = f"{r['peer']}: {figure}" if r["peer"] else ""
        print(f"{r['name']:26} {r['value']:>10} {r['unit']:6} {budget:>9}  {'yes' if r['ok'] else 'NO':6} {peer}")
    for name, reason in missing:
        print(f"{name:26} not measured: {reason}")
    for text in measure.notes:
        print("  " + text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    names = [e["name"] for e in measure.rows]
    unknown = set(options.names) - set(names)
    if unknown:
        sys.exit(f"unknown rows {' '.join(sorted(unknown))}; there are {' '.join(names)}")
    results, missing, failed = [], [], False
    for entry in measure.rows:
        if options.names and entry["name"] not in options.names:
            continue
        before = load_average()
        try:
            results.append(take(entry))
            print(f"{entry['name']}: {results[-1]['value']} {entry['unit']}, load average {before} before and "
                  f"{load_average()} after", file=sys.stderr)
        except Skip as reason:
            missing.append((entry["name"], str(reason)))
        except Failure as failure:
            failed = True
            print(f"{entry['name']}: {failure}", file=sys.stderr)
    table(results, missing)
    with open(options.output, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
