#!/bin/bash
# Start, stop, kill, reload, a second daemon, and what is on disk.
# parallel: yes
. "$LIMPET_SOURCE/tests/lib/device.sh"
command -v kubectl >/dev/null || skip "no kubectl"

# The service manager's end of sd_notify.
socat -u UNIX-RECV:"$TEST_TMP/notify",unlink-early OPEN:"$TEST_TMP/notified",creat,append &
eventually 60 test -S "$TEST_TMP/notify" || fail "socat does not listen"
export NOTIFY_SOCKET=$TEST_TMP/notify WATCHDOG_USEC=400000
device_config 'node: {labels: {zone: shore}}'
device_start
unset NOTIFY_SOCKET WATCHDOG_USEC
eventually 60 grep -q READY=1 "$TEST_TMP/notified" || fail "READY was not said"
eventually 60 grep -q WATCHDOG=1 "$TEST_TMP/notified" || fail "WATCHDOG was not said"
expect "the first line names the versions" '^<5>limpetd starts version=.* sqlite=.* mbedtls=.* libuv=' head -1 "$device_dir/log"

expect "dataDir is closed" '^700$' stat -c %a "$device_dir/data"
expect "so are keys" '^600$' stat -c %a "$device_dir/data/pki/ca.key"
expect "and the kubeconfig" '^600$' stat -c %a "$KUBECONFIG"

refuse "a second daemon on the same dataDir" "in use by .*pid $device_pid" "$limpetd" --config "$device_dir/limpetd.yaml"

device_config 'logs: {level: nonsense}'
kill -HUP "$device_pid"
eventually 60 grep -q 'limpetd.yaml:7:15: logs.level must be one of' "$device_dir/log" || fail "a bad file is not reported"
device_config 'nodeName2: x'
refuse "unknown key" 'limpetd.yaml:7:1: unknown key "nodeName2"; did you mean "nodeName"' \
  "$limpetd" --check-config --config "$device_dir/limpetd.yaml"
device_config 'node: {maxPods: 5}'
kill -HUP "$device_pid"
eventually 60 grep -q 'takes effect after a restart key=node.maxPods' "$device_dir/log" || fail "a key that needs a restart is not named"

# A certificate follows the addresses of the device.
ip link add limpet-test type veth peer name limpet-peer
ip address add 198.51.100.77/32 dev limpet-test
ip link set limpet-test up
named() { openssl x509 -in "$device_dir/data/pki/serving.crt" -noout -ext subjectAltName | grep -q 198.51.100.77; }
eventually 60 named || fail "the certificate does not name the new address"
served() { curl -s --cacert "$device_dir/data/pki/ca.crt" https://198.51.100.77:6443/livez; }
eventually 60 served || fail "the new certificate is not served"

# What was acknowledged is there after a kill. The check that follows one may take long, and the service manager is
# told so.
export NOTIFY_SOCKET=$TEST_TMP/notify
for i in 1 2 3; do
  check "write $i" kubectl create configmap "kept-$i"
  kill -KILL "$device_pid"
  wait "$device_pid" 2>/dev/null
  : >"$TEST_TMP/notified"
  device_start
  eventually 60 grep -qE '^EXTEND_TIMEOUT_USEC=[6-9][0-9]{7}' "$TEST_TMP/notified" || fail "no more time was asked for after kill $i"
  for ((k = 1; k <= i; k++)); do check "kept $k after kill $i" kubectl get configmap "kept-$k"; done
done
unset NOTIFY_SOCKET
device_stop INT
[ "$device_status" = 0 ] || fail "stop: exit status $device_status"
[ ! -e "$device_dir/run/limpet.sock" ] || fail "the socket is left behind"

# Descriptors 0 to 2 closed: nothing of the log may end up in a file of ours.
"$limpetd" --config "$device_dir/limpetd.yaml" <&- >&- 2>&- &
device_pid=$!
eventually 60 device_ready || fail "does not start with closed descriptors"
device_stop
[ "$device_status" = 0 ] || fail "stop with closed descriptors: exit status $device_status"
