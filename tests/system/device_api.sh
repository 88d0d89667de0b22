#!/bin/bash
# The API of one device through stock kubectl, over TLS and over the socket.
# parallel: yes
. "$LIMPET_SOURCE/tests/lib/device.sh"
command -v kubectl >/dev/null || skip "no kubectl"
device_start

expect "namespaces" '^kube-system +Active' kubectl get namespaces
check "create" kubectl create configmap a --from-literal=x=1
expect "get" '^a +1 ' kubectl get configmap a
refuse "create again" 'already exists' kubectl create configmap a
check "patch" kubectl patch configmap a -p '{"data":{"y":"2"}}'
expect "patched" '^12$' kubectl get configmap a -o 'jsonpath={.data.x}{.data.y}'
check "apply" kubectl apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","labels":{"l":"v"}},"data":{}}'
expect "selector" '^configmap/b$' kubectl get configmap -l l=v -o name
check "delete" kubectl delete configmap a
refuse "gone" 'NotFound' kubectl get configmap a
refuse "unknown type" "server doesn't have a resource type" kubectl get nonsense
! kubectl_at_least 1.27 || expect "the admin" 'system:masters' kubectl auth whoami

expect "nobody over TLS" '"code":401' curl -sk https://127.0.0.1:6443/api/v1/pods
expect "health needs no identity" '^ok$' curl -sk https://127.0.0.1:6443/livez
expect "the socket knows root" '"kind":"ConfigMapList"' device_api GET /api/v1/configmaps
expect "the certificate is for this device" 'ok' \
  curl -s --cacert "$device_dir/data/pki/ca.crt" --resolve device:6443:127.0.0.1 https://device:6443/livez
refuse "and for no other" 'subject name|match' \
  curl -sS --cacert "$device_dir/data/pki/ca.crt" --resolve other:6443:127.0.0.1 https://other:6443/livez
expect "bad requests are refused as Status" '"reason":"BadRequest"' \
  curl -sk -H 'Bad Header: x' https://127.0.0.1:6443/livez

# No device has registered yet: the scheduler says so as upstream does.
cat >"$TEST_TMP/pod.yaml" <<'POD'
apiVersion: v1
kind: Pod
metadata: {name: lost}
spec:
  nodeSelector: {nobody: has-this}
  containers: [{name: c, image: "registry.example/none:1"}]
POD
check "a pod nobody can take" kubectl apply -f "$TEST_TMP/pod.yaml"
unschedulable() { kubectl get pod lost -o jsonpath='{.status.conditions[?(@.type=="PodScheduled")].reason}' | grep -q Unschedulable; }
eventually 60 unschedulable || fail "the pod is not reported as unschedulable: $(kubectl get pod lost -o yaml)"
expect "and why" '0/[01] nodes are available|no nodes available' \
  kubectl get pod lost -o jsonpath='{.status.conditions[?(@.type=="PodScheduled")].message}'

metrics=$(device_api GET /metrics)
for name in limpet_store_fsyncs_total limpet_loop_handles limpet_loop_turn_seconds_count limpet_tls_handshakes_total limpet_http_requests_total \
  process_resident_memory_bytes; do
  expect "/metrics counts" "^$name(\{[^}]*\})? [1-9]" echo "$metrics"
done

device_stop
[ "$device_status" = 0 ] || fail "stop: exit status $device_status"
