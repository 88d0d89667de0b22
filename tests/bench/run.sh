#!/bin/bash
# Measures what the design has budgets for, in a release build. As root, on Debian 12 or 13.
#
#   tests/bench/run.sh [NAME...]     rows by name, all by default
#
# BENCH_IDLE_SECONDS=60 makes the ten minutes of idle_flash_bytes shorter. docs/performance.md explains the rows.
# Prints a table and writes build/bench.json: an array of {"name","unit","value","budget","peer","peer_value","peer_unit","ratio",
# "ok"}; of a row that is a ratio, value is the ratio and peer_value the figure below it.
# Nothing fails because it is slow; the exit code is 0 when every row could be measured.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "tests/bench/run.sh: must be run as root" >&2; exit 1; }
packaging/deps.sh build run quickstart
tests/bench/peers.sh

unset CC CXX CFLAGS CXXFLAGS LDFLAGS
ninja=ninja
command -v "${NINJA:-}" >/dev/null && ninja=$NINJA
build=build/release
mkdir -p build
# The quickstart builds there, too, without what the bench needs.
again=""
[ ! -f $build/build.ninja ] || again=--reconfigure
meson setup $again $build --prefix=/usr/local --buildtype=minsize -Dtests=false -Dbench=true -Dstrip=true >$build.log 2>&1 ||
  { cat $build.log >&2; exit 1; }
"$ninja" -C $build >$build.log 2>&1 || { tail -60 $build.log >&2; exit 1; }

scratch=$(mktemp -d -t limpet-bench-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
export LIMPET_BUILD=$PWD/$build LIMPET_SOURCE=$PWD TEST_TMP=$scratch PYTHONDONTWRITEBYTECODE=1
unset KUBECONFIG
unshare --mount --net --uts --ipc --pid --fork --kill-child --mount-proc --propagation private \
  tests/lib/sandbox.sh tests/bench/bench.py --output build/bench.json "$@"
