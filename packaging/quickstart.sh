#!/bin/bash
# From a fresh Debian 12 or 13 to a pod that answers, in one command, as root:
#
#   packaging/quickstart.sh            build, install under /usr/local, start a registry and one device, run a pod
#   packaging/quickstart.sh --once     the same, then undo it; the exit code says whether the pod answered
#   packaging/quickstart.sh --remove   undo it: processes, mounts, links, files. Debian packages stay
#   --builddir DIR                     where to build (default: build/release)
#
# Everything has its default place (/etc/limpet, /var/lib/limpet, /run/limpet); a second run goes on where the first
# one stopped. Without systemd limpetd runs in the background, its log is /var/log/limpetd.log.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/quickstart-lib.sh

action=up builddir=build/release
while [ $# -gt 0 ]; do
  case $1 in
    --once) action=once ;;
    --remove) action=remove ;;
    --builddir) builddir=${2:?--builddir needs a DIR}; shift ;;
    -h | --help) sed -n '2,/^set -euo/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) echo "quickstart.sh: unknown argument $1 (--once, --remove, --builddir DIR)" >&2; exit 2 ;;
  esac
  shift
done
[ "$(id -u)" = 0 ] || { echo "quickstart.sh: must be run as root" >&2; exit 1; }

up() {
  step "Dependencies"
  packaging/deps.sh build run quickstart
  mkdir -p "$state"
  step "Build (in $builddir; some minutes, what it does is in $builddir.log)"
  build
  install_programs
  find_kubectl
  step "Registry on $registry"
  start_registry
  packaging/busybox_image.py push "http://$registry" busybox:1
  step "Device"
  start_device
  step "Workload (configs/examples/hello.yaml)"
  k apply -f configs/examples/hello.yaml
  answer
}

build() {
  # The caller's compiler flags play no part, as in tests/run.sh.
  unset CC CXX CFLAGS CXXFLAGS LDFLAGS
  local ninja=ninja
  command -v "${NINJA:-}" >/dev/null && ninja=$NINJA
  mkdir -p "$builddir"
  [ -f "$builddir/build.ninja" ] ||
    meson setup "$builddir" --prefix=/usr/local --buildtype=minsize -Dtests=false -Dstrip=true >"$builddir.log" 2>&1 ||
    { cat "$builddir.log" >&2; return 1; }
  "$ninja" -C "$builddir" >"$builddir.log" 2>&1 || { tail -60 "$builddir.log" >&2; return 1; }
}

# The programs go to /usr/local/bin. Those of a running device are replaced, not written over: containers live on.
install_programs() {
  local program built
  for program in limpetd limpet limpet-shim limpet-unpack; do
    built=$(find "$builddir/src" -maxdepth 2 -type f -name "$program" | head -1)
    [ -n "$built" ] || { echo "quickstart.sh: $program was not built" >&2; return 1; }
    remember "/usr/local/bin/$program"
    if ! [ -e "/usr/local/bin/$program" ] || ! sha256sum --status -c "$state/$program.sha256" 2>/dev/null; then
      install -s -m 755 "$built" "/usr/local/bin/.$program.new"
      mv -f "/usr/local/bin/.$program.new" "/usr/local/bin/$program"
      sha256sum "$(realpath "$built")" >"$state/$program.sha256"
      changed=yes
    fi
  done
}

# Answers over HTTP at the pod's own address: that is what all of this is for.
answer() {
  k wait --for=condition=Ready pod/hello --timeout=120s || { explain; return 1; }
  address=$(k get pod hello -o 'jsonpath={.status.podIP}')
  host=$(k get pod hello -o 'jsonpath={.status.hostIP}')
  local text
  text=$(curl -sS --noproxy '*' --max-time 10 --retry 5 --retry-connrefused "http://$address:8080/") || { explain; return 1; }
  [ "$text" = "limpet holds on" ] || { echo "quickstart.sh: unexpected answer: $text" >&2; explain; return 1; }
  echo "http://$address:8080/ answers: $text"
}

explain() {
  k describe pod hello >&2 || true
  if has_systemd; then journalctl -u limpetd -n 40 --no-pager >&2 || true; else tail -40 "$daemon_log" >&2 || true; fi
}

next() {
  cat <<NEXT

It runs, and stays up. What to try next:

  export KUBECONFIG=$kubeconfig
  $kubectl get pods -o wide                  the pod and its address
  curl http://$address:8080/
  curl http://$host:30080/           the same through the device's port, from elsewhere too
  $kubectl logs -f hello
  $kubectl exec -it hello -- sh
  $kubectl apply -f configs/examples/sidecar.yaml
  $kubectl create deployment web --replicas=2 --image=$registry/busybox:1 -- sleep 100000
                                        images without a registry in their name come from docker.io
  limpet status                         the device itself, no kubeconfig needed
  limpet ps
  limpet why hello                      why a pod does not run, or that it does
  limpet doctor                         what is wrong with the device, if anything is
  kill -9 \$(pgrep -x limpetd)            the pod does not notice; $(has_systemd && echo "systemd" || echo "packaging/quickstart.sh") starts it again
  packaging/quickstart.sh --remove      undo everything
NEXT
}

case $action in
  up)
    up
    [ -n "${QUICKSTART_ONCE:-}" ] || next
    ;;
  remove)
    remove_all
    ;;
  once)
    result=0
    # A process of its own: in a subshell with `||` behind it errors would not end it.
    QUICKSTART_ONCE=1 packaging/quickstart.sh --builddir "$builddir" || result=$?
    remove_all || result=1
    [ "$result" = 0 ] && echo "quickstart: passed" || echo "quickstart: FAILED" >&2
    exit "$result"
    ;;
esac
