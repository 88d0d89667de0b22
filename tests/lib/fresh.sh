#!/bin/bash
# What a new user does first, in a root that has nothing of ours: fresh.sh RESULTS_DIR. Called by tests/run.sh.
#
# For each release in FRESH_RELEASES (default: bookworm trixie), in a root just made by debootstrap (minbase, no npm, no
# pip, no kubectl): packaging/quickstart.sh --once, then tests/run.sh with the suites in FRESH_SUITES (default: those of
# CI without vm, whose guest is the same wherever it is started). One result for each; the output is in
# RESULTS_DIR/RELEASE-*.log. Uses the machine's network, one root at a time.
set -euo pipefail
. "$(dirname "$0")/debian_root.sh"
results=$(realpath "$1")
tally=$results/fresh.tally

result() {  # VERDICT TEXT
  echo "$1 fresh: $2"
  echo "$1 $2" >>"$tally"
}

reason=$(debian_reason)
[ -z "$reason" ] || { result SKIP "$reason"; exit 0; }

for release in ${FRESH_RELEASES:-bookworm trixie}; do
  root=$(realpath build)/fresh-$release
  rm -rf "$root"
  debian_bootstrap "$release" "$root" "$results/$release-debootstrap.log" || { result FAIL "$release: debootstrap"; continue; }
  debian_sources "$root"
  log=$results/$release-quickstart.log
  if debian_enter "$root" 'cd /src && packaging/quickstart.sh --once' >"$log" 2>&1; then
    result PASS "$release: packaging/quickstart.sh --once"
  else
    tail -40 "$log"
    result FAIL "$release: packaging/quickstart.sh --once"
  fi
  log=$results/$release-tests.log
  # shellcheck disable=SC2086
  if debian_enter "$root" 'cd /src && tests/run.sh "$@"' ${FRESH_SUITES:-unit asan system fuzz lint} >"$log" 2>&1; then
    result PASS "$release: tests/run.sh: $(tail -1 "$log")"
  else
    grep '^FAIL' "$log" | head -40 || true
    result FAIL "$release: tests/run.sh: $(tail -1 "$log")"
  fi
  rm -rf "$root"
done
