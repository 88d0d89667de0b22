#!/bin/bash
# Brings what limpet is measured against into build/peers: Debian's containerd and etcd, unpacked and not installed, so
# that nothing of them is set up or started on this machine; and etcd's own benchmark, built with Go where there is one.
# What cannot be had is left out: the table then says so. As often as one likes.
set -uo pipefail
cd "$(dirname "$0")/../.."
peers=$PWD/build/peers
mkdir -p "$peers/bin" "$peers/debs"

unpacked() {  # PACKAGE PROGRAM...
  local package=$1
  shift
  local program
  for program in "$@"; do
    if command -v "$program" >/dev/null; then continue; fi
    if [ ! -x "$peers/bin/$program" ]; then
      (cd "$peers/debs" && apt-get download -q "$package" && dpkg-deb -x "$package"_*.deb "$peers/root") >"$peers/$package.log" 2>&1 ||
        { echo "tests/bench/peers.sh: no $package: $(tail -1 "$peers/$package.log")" >&2; return; }
      ln -sf "$peers/root/usr/bin/$program" "$peers/bin/$program"
    fi
  done
}

unpacked etcd-server etcd
unpacked containerd containerd ctr containerd-shim-runc-v2

# The benchmark speaks to any etcd 3; the newest line that builds with Go 1.19.
if [ ! -x "$peers/bin/etcd-benchmark" ]; then
  go=$(command -v go || echo /usr/local/go/bin/go)
  if [ -x "$go" ]; then
    work=$(mktemp -d)
    (cd "$work" && export GOPATH=$work/go GOCACHE=$work/cache GOFLAGS=-modcacherw CGO_ENABLED=0 &&
      "$go" mod init bench && "$go" get go.etcd.io/etcd/v3/tools/benchmark@v3.5.9 &&
      "$go" build -o "$peers/bin/etcd-benchmark" go.etcd.io/etcd/v3/tools/benchmark) >"$peers/benchmark.log" 2>&1 ||
      echo "tests/bench/peers.sh: no benchmark of etcd: $(tail -1 "$peers/benchmark.log")" >&2
    rm -rf "$work"
  else
    echo "tests/bench/peers.sh: no benchmark of etcd: there is no Go to build it with" >&2
  fi
fi
