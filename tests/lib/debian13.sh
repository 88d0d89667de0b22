#!/bin/bash
# The unit suite in a Debian 13 root, and the system tests in which the TLS of devices meets (mbedTLS 3.6, TLS 1.3):
# debian13.sh RESULTS_DIR FILTER. Called by tests/run.sh. The root is made once below build/ and kept.
set -euo pipefail
. "$(dirname "$0")/debian_root.sh"
results=$(realpath "$1") filter=$2
root=$(realpath build)/debian13
skip() { echo "SKIP debian13: $1"; echo "SKIP $1" >>"$results/debian13.tally"; exit 0; }
fail() { echo "FAIL debian13: $1"; echo "FAIL $1" >>"$results/debian13.tally"; exit 1; }
reason=$(debian_reason)
[ -z "$reason" ] || skip "$reason"

debian_bootstrap trixie "$root" "$results/debootstrap.log" || fail "debootstrap"
debian_sources "$root"
debian_compile "$root" b || fail "build"
debian_enter "$root" '
  set -e
  mkdir -p /tmp/results
  rm -f /tmp/results/*
  cd /src
  packaging/deps.sh run test
  python3 tests/lib/runner.py --results /tmp/results --label debian13 --filter "$1" unit /build-cache/b
  for test in cluster_join cluster_keys cluster_agent_keys; do
    [[ $test == *"$1"* ]] || continue
    python3 tests/lib/runner.py --results /tmp/results --label debian13 --jobs 1 --filter "$test.py" system /build-cache/b
  done' "$filter" ||
  fail "run"
cat "$root/tmp/results/debian13.tally" >>"$results/debian13.tally"
