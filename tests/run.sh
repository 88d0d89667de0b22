#!/bin/bash
# Installs what the tests need, builds, runs the suites. As root, on Debian 12 or 13.
#
#   tests/run.sh [SUITE...] [-k FILTER] [-j JOBS]
#
#   unit       doctest executables, one result per test case
#   asan       the same built by clang, under AddressSanitizer and UndefinedBehaviorSanitizer
#   sim        the consensus core in a simulated world: SIM_SEEDS fresh seeds (default 2000), all that ever failed, ten planted
#              bugs (SIM_PLANTED=all: all), whole stores (a tenth as many seeds); a failing seed is replayed by
#              build/tests/sim/sim_raft --seed SEED --trace, or sim_store
#   system     tests/system/*: real daemons in namespaces, real kubectl, registry, crun or runc; KUBECTL=FILE in the
#              environment runs them with that kubectl (1.20 of Debian 12 is served, too)
#   fuzz       each fuzz target for FUZZ_SECONDS (default 10) over its corpus, with clang; for a night FUZZ_SECONDS=3600
#   lint       a build with clang, every warning an error
#   debian13   the unit suite, and joining and keys of several devices, in a Debian 13 root (g++ 14, mbedTLS 3.6, llhttp)
#   fresh      packaging/quickstart.sh --once and the suites of CI, without vm, in new Debian 12 and 13 roots: an hour
#   vm         tests/vm/*: a Debian 13 guest of 128 MB (for a cluster 256) under QEMU, with systemd and cgroup v2; needs no
#              KVM. Short here and in CI, long by numbers in the environment: VM_CYCLES power cuts under a write load, of a
#              device and of a cluster of three (default 3), CRASH_IMAGES states of a disk after a power cut (60),
#              VM_MINUTES of a device with ten pods (1)
#
# Without a suite: those of CI (unit sim asan system fuzz lint vm). -k runs only tests whose name contains FILTER.
# Prints PASS, FAIL or SKIP (with the reason) per test, the tail of a failure's output, and last
# "N passed, N failed, N skipped". The exit code is 0 when nothing failed.
set -euo pipefail
cd "$(dirname "$0")/.."

suites=() filter="" jobs=$(nproc)
while [ $# -gt 0 ]; do
  case $1 in
    -k) filter=${2:?-k needs a FILTER}; shift ;;
    -j) jobs=${2:?-j needs a number}; shift ;;
    -h | --help) sed -n '2,/^set -euo/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    unit | sim | asan | system | fuzz | lint | debian13 | fresh | vm) suites+=("$1") ;;
    *) echo "tests/run.sh: unknown suite $1 (unit sim asan system fuzz lint debian13 fresh vm)" >&2; exit 2 ;;
  esac
  shift
done
[ ${#suites[@]} -gt 0 ] || suites=(unit sim asan system fuzz lint vm)
has() { [[ " ${suites[*]} " == *" $1 "* ]]; }

groups=(build)
has system && groups+=(run test)
if has asan || has fuzz || has lint; then groups+=(fuzz); fi
if has debian13 || has fresh; then groups+=(debootstrap); fi
packaging/deps.sh "${groups[@]}"
# Where there is no QEMU to be had, that suite alone is skipped.
if has vm; then packaging/deps.sh vm || true; fi

# A build of its own per compiler and sanitizer, all below build/, so that the caller's CC and flags play no part.
unset CC CXX CFLAGS CXXFLAGS LDFLAGS
# With ccache what was compiled before, in any checkout, is not compiled again: it goes by contents. Meson finds it by
# itself for the compiler that it finds by itself.
export CCACHE_NOHASHDIR=1 CCACHE_COMPILERCHECK=content
ccache=""
command -v ccache >/dev/null && ccache="ccache "
configure() {  # DIR [meson option...]
  local dir=$1
  shift
  [ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >"$dir.log" 2>&1 || { cat "$dir.log" >&2; return 1; }
}
# One build with clang serves asan, fuzz and lint: not optimised, with lines for stack traces only, it costs less than
# half of what the ordinary build does.
configure_clang() {
  clang=$(compgen -c clang++- | sort -t- -k2 -n | grep -E '^clang\+\+-[0-9]+$' | tail -1)
  CC=$ccache${clang/++/} CXX=$ccache$clang configure build/clang -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
    -Doptimization=0 -Ddebug=false -Dcpp_args=-g1
}
compile() {  # DIR [target...]
  local dir=$1 ninja=ninja
  shift
  command -v "${NINJA:-}" >/dev/null && ninja=$NINJA
  "$ninja" -C "$dir" "$@" >"$dir.log" 2>&1 || { tail -60 "$dir.log" >&2; echo "build in $dir failed" >&2; return 1; }
}
mkdir -p build
results=build/test-results
rm -rf $results
mkdir -p $results

# A suite that does not build is one failure; the other suites still run.
run() { python3 tests/lib/runner.py --results $results --jobs "$jobs" --filter "$filter" "$@" || true; }
broken() { echo "FAIL $1: build"; echo "FAIL" >>"$results/build.tally"; }

for suite in "${suites[@]}"; do
  case $suite in
    unit)
      { configure build && compile build; } && run unit build || broken unit
      ;;
    sim)
      { configure build && compile build tests/sim/sim_raft tests/sim/sim_planted tests/sim/sim_store tests/sim/sim_store_planted; } && run sim build || broken sim
      ;;
    asan)
      configure_clang && compile build/clang && run unit build/clang --label asan || broken asan
      ;;
    system)
      { configure build && compile build; } && run system build || broken system
      ;;
    fuzz)
      configure_clang && compile build/clang fuzz && run fuzz build/clang || broken fuzz
      ;;
    lint)
      if configure_clang && compile build/clang; then
        echo "PASS lint: $clang builds without a warning"
        echo "PASS" >>$results/build.tally
      else
        broken lint
      fi
      ;;
    debian13)
      tests/lib/debian13.sh "$results" "$filter" || true
      ;;
    fresh)
      tests/lib/fresh.sh "$results" || true
      ;;
    vm)
      mkdir -p build/vm
      made=0
      tests/vm/make.sh build/vm $results >$results/vm.log 2>&1 || made=$?
      case $made in
        0) run vm build ;;
        77) echo "SKIP vm: $(tail -1 $results/vm.log)"; echo "SKIP" >>$results/build.tally ;;
        *) tail -60 $results/vm.log >&2; broken vm ;;
      esac
      ;;
  esac
done

passed=$(cat $results/*.tally 2>/dev/null | grep -c '^PASS' || true)
failed=$(cat $results/*.tally 2>/dev/null | grep -c '^FAIL' || true)
skipped=$(cat $results/*.tally 2>/dev/null | grep -c '^SKIP' || true)
if [ $((passed + failed + skipped)) = 0 ]; then
  echo "no test matched" >&2
  failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
