#!/bin/bash
# Installs what limpet needs on Debian 12 or 13, as root, from the machine's own apt sources.
#
#   packaging/deps.sh [build] [run] [quickstart] [test] [fuzz] [debootstrap] [vm]    (default: build run)
#
# build  compiler, build tools, libraries     run   what a device needs beside limpet
# quickstart  a registry and an image's content
# test   what the system tests drive          fuzz  clang with libFuzzer, clang-format, clang-tidy
# debootstrap  what makes a Debian 13 root    vm    what makes and runs the guest of the vm suite
# Installs only what is missing; says nothing when nothing is.
set -euo pipefail

. /etc/os-release
release=${VERSION_ID:-}
[ "${ID:-}" = debian ] || echo "deps.sh: made for Debian 12 and 13, this is ${PRETTY_NAME:-unknown}; trying anyway" >&2

build="g++ meson ninja-build pkg-config git ca-certificates python3 python3-yaml
  libuv1-dev libcjson-dev libyaml-dev libsqlite3-dev libmbedtls-dev libarchive-dev libzstd-dev zlib1g-dev doctest-dev"
case $release in
  12) build+=" libhttp-parser-dev" ;;
  *) build+=" libllhttp-dev" ;;
esac
run="nftables iproute2 procps util-linux"
# An OCI runtime that is there already is good enough; only the choice of one is ours. crun refuses control groups of
# version 1 with those of version 2 mounted beside them: there it has to be runc.
if grep -q ' - cgroup ' /proc/self/mountinfo && grep -q ' - cgroup2 ' /proc/self/mountinfo; then
  command -v runc >/dev/null || run+=" runc"
else
  command -v crun >/dev/null || command -v runc >/dev/null || run+=" crun"
fi
quickstart="docker-registry busybox-static curl"
tests="docker-registry skopeo umoci busybox-static runc crun curl openssl sqlite3 socat strace zsh fish
  ccache"
case $release in
  12) clang=19; [[ $(apt-cache policy clang-19 2>/dev/null) == *"Candidate: "[0-9]* ]] || clang=14 ;;
  *) clang=19 ;;
esac
fuzz="clang-$clang libclang-rt-$clang-dev clang-format-$clang"

wanted=""
for group in "${@:-build run}"; do
  for name in $group; do
    case $name in
      build) wanted+=" $build" ;;
      run) wanted+=" $run" ;;
      quickstart) wanted+=" $quickstart" ;;
      test) wanted+=" $tests" ;;
      fuzz) wanted+=" $fuzz" ;;
      debootstrap) wanted+=" debootstrap" ;;
      vm) wanted+=" debootstrap qemu-system-x86 qemu-utils e2fsprogs busybox-static python3 xz-utils zstd" ;;
      *) echo "deps.sh: unknown group $name (build, run, quickstart, test, fuzz, debootstrap, vm)" >&2; exit 2 ;;
    esac
  done
done

missing=""
for package in $wanted; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=" $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "deps.sh: must be root to install:$missing" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
install() {
  # Services of the packages (docker-registry) must not start: policy-rc.d says so while apt runs.
  local policy=/usr/sbin/policy-rc.d made=""
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    made=$policy
  fi
  local result=0
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >"$log" 2>&1 || result=$?
  [ -z "$made" ] || rm -f "$made"
  return $result
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "deps.sh: installing$missing"
# Fresh lists only when the ones at hand do not do; a broken third-party source must not stop us.
if ! install; then
  apt-get update -qq >>"$log" 2>&1 || true
  install || { tail -20 "$log" >&2; exit 1; }
fi
