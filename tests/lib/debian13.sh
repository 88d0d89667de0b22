#!/bin/bash
# The unit suite in a Debian 13 root: debian13.sh RESULTS_DIR FILTER. Called by tests/run.sh.
#
# The root is made once below build/ from the mirror this machine's apt uses, and kept. Everything runs in mount and
# PID namespaces of its own, so nothing is left mounted or running.
set -euo pipefail
results=$(realpath "$1") filter=$2
root=$(realpath build)/debian13
skip() { echo "SKIP debian13: $1"; echo "SKIP $1" >>"$results/debian13.tally"; exit 0; }
fail() { echo "FAIL debian13: $1"; echo "FAIL $1" >>"$results/debian13.tally"; exit 1; }
[ "$(id -u)" = 0 ] || skip "needs root"

# The first archive of this machine that is Debian's own, not security or a third party's.
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(COMPONENT)' 'Created-By: Packages' |
  sed -n 's/|main$//p' | grep '/debian/*$' | head -1)
[ -n "$mirror" ] || skip "no Debian archive among the apt sources"
proxy=$(apt-config dump Acquire::http::Proxy | sed -n 's/^Acquire::http::Proxy "\(.*\)";$/\1/p')

if [ ! -f "$root/.complete" ]; then
  rm -rf "$root"
  [ -z "$proxy" ] || export http_proxy=$proxy
  debootstrap --variant=minbase trixie "$root" "$mirror" >"$results/debootstrap.log" 2>&1 ||
    { tail -20 "$results/debootstrap.log"; fail "debootstrap"; }
  [ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";" >"$root/etc/apt/apt.conf.d/90proxy"
  touch "$root/.complete"
fi
rm -rf "$root/src"
mkdir -p "$root/src" "$root/build-cache"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -cf - | tar -C "$root/src" -xf -
[ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$root/etc/resolv.conf"
[ ! -e /etc/hosts ] || cp -L /etc/hosts "$root/etc/hosts"
cat >"$root/src/inside.sh" <<'INSIDE'
set -e
mount -t proc proc /proc
mkdir -p /dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
ln -sf pts/ptmx /dev/ptmx
export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
cd /src
packaging/deps.sh build
meson setup /build-cache/b >/tmp/setup.log 2>&1 || meson setup --wipe /build-cache/b >/tmp/setup.log 2>&1 || { cat /tmp/setup.log; exit 1; }
ninja -C /build-cache/b >/tmp/build.log 2>&1 || { tail -60 /tmp/build.log; exit 1; }
mkdir -p /tmp/results
rm -f /tmp/results/*
python3 tests/lib/runner.py --results /tmp/results --label debian13 --filter "$1" unit /build-cache/b
INSIDE
if ! unshare --mount --pid --fork --kill-child --propagation private \
  chroot "$root" /bin/bash /src/inside.sh "$filter"; then
  fail "build"
fi
cat "$root/tmp/results/debian13.tally" >>"$results/debian13.tally"
