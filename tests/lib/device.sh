# Shell library of the system tests: one limpetd per test, in the test's own namespaces and directories.
#
#   . "$LIMPET_SOURCE/tests/lib/device.sh"
#   device_start            writes a configuration, starts limpetd, waits until it is ready; sets KUBECONFIG
#   device_stop [SIGNAL]    and waits for its end; the exit status is in $device_status
#   check NAME COMMAND...   fails the test with the command's output unless it succeeds
#   expect NAME PATTERN COMMAND...   also wants the extended regular expression in the output
#   refuse NAME PATTERN COMMAND...   wants the command to fail with the pattern in its output
#   kubectl_at_least 1.27            whether kubectl is that new: a fresh Debian 12 has 1.20
#   eventually SECONDS COMMAND...    tries again until it succeeds
set -u
: "${TEST_TMP:?run by tests/run.sh}" "${LIMPET_BUILD:?}"
# The programs of one installation lie in one directory.
program_dir=$TEST_TMP/bin
mkdir -p "$program_dir"
for program in daemon/limpetd shim/limpet-shim unpack/limpet-unpack cli/limpet; do
  [ -x "$program_dir/${program##*/}" ] || cp "$LIMPET_BUILD/src/$program" "$program_dir/"
done
limpetd=$program_dir/limpetd
device_dir=$TEST_TMP/device
device_pid=
export KUBECONFIG=$device_dir/etc/admin.kubeconfig

skip() { echo "$*"; exit 77; }
fail() {
  echo "FAILED: $*"
  if [ -f "$device_dir/log" ]; then
    echo "--- the daemon's last lines:"
    tail -25 "$device_dir/log"
  fi
  exit 1
}
check() {
  local name=$1 output
  shift
  output=$("$@" 2>&1) || fail "$name: exit status $?: $output"
}
expect() {
  local name=$1 pattern=$2 output
  shift 2
  output=$("$@" 2>&1) || fail "$name: exit status $?: $output"
  grep -qE -- "$pattern" <<<"$output" || fail "$name: no /$pattern/ in: $output"
}
refuse() {
  local name=$1 pattern=$2 output
  shift 2
  if output=$("$@" 2>&1); then fail "$name: succeeded: $output"; fi
  grep -qE -- "$pattern" <<<"$output" || fail "$name: no /$pattern/ in: $output"
}
kubectl_at_least() {
  local have
  have=$(kubectl version --client -o json | sed -n 's/.*"gitVersion": *"v\([0-9]*\.[0-9]*\).*/\1/p')
  [ "$(printf '%s\n' "$1" "$have" | sort -V | head -1)" = "$1" ]
}
eventually() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.05
  done
}

# device_config [LINE...]: the lines go on top of what every test wants.
device_config() {
  mkdir -p "$device_dir"
  {
    echo "nodeName: device"
    echo "dataDir: $device_dir/data"
    echo "runDir: $device_dir/run"
    echo "adminKubeconfig: $KUBECONFIG"
    echo "manifestsDir: $device_dir/etc/manifests"
    echo "cgroupRoot: limpet-${TEST_TMP##*/}"
    printf '%s\n' "$@"
    [[ "$*" == *logs:* ]] || echo "logs: {dir: $device_dir/logs, level: debug}"
  } >"$device_dir/limpetd.yaml"
}
device_start() {
  [ -f "$device_dir/limpetd.yaml" ] || device_config
  "$limpetd" --config "$device_dir/limpetd.yaml" >>"$device_dir/log" 2>&1 &
  device_pid=$!
  eventually 60 device_ready || fail "limpetd is not ready"
}
device_ready() {
  kill -0 "$device_pid" && [ "$(curl -s --unix-socket "$device_dir/run/limpet.sock" http://localhost/readyz)" = ok ]
}
device_stop() {
  kill -"${1:-TERM}" "$device_pid"
  device_status=0
  wait "$device_pid" || device_status=$?
  device_pid=
}
device_api() {  # METHOD PATH [BODY]: over the socket, as root
  curl -sS --unix-socket "$device_dir/run/limpet.sock" -X "$1" -H 'Content-Type: application/json' \
    ${3:+--data-binary "$3"} "http://localhost$2"
}
